"""Devices without a keyboard (RFC 8628): they show a code, somebody types it in elsewhere."""

import secrets as chance
from typing import Annotated
from urllib.parse import urlencode

from msgspec import Meta, Struct

from tradewind.contexts.identity.commands.oauth import (
    DEVICE_GRANT,
    AskForDevice,
    DecideDevice,
    SignedIn,
)
from tradewind.contexts.identity.problems import (
    AnotherIssuer,
    InvalidClient,
    InvalidOAuthRequest,
    InvalidScope,
    UnauthorizedClient,
)
from tradewind.contexts.identity.queries import oauth as queries
from tradewind.contexts.identity.routes.oauth_authorize import PAGES, in_words
from tradewind.contexts.identity.routes.oauth_discovery import own
from tradewind.contexts.identity.routes.oauth_proof import proven_client
from tradewind.contexts.identity.routes.oauth_signing_in import (
    TOO_OLD,
    PageForm,
    email_of,
    end_session,
    sign_in,
    sign_in_page,
)
from tradewind.contexts.identity.routes.pages import Browser, message, moved, page
from tradewind.contexts.identity.tables.oauth import ClientRow, DeviceRow
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import new_id
from tradewind.platform.gateway.forms import FORM, FORM_BYTES_MAX
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import OwnCredentials, Route, Whose
from tradewind.platform.security.handles import handle
from tradewind.platform.security.secrets import Secrets

# No vowels, so that no words come about (RFC 8628, 6.1); 20^8 codes for the few that wait.
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
USER_CODE_LETTERS = 8
PATH = "/oauth/device"
PURPOSE = "to connect your device"
LIFE_S = 600
INTERVAL_S = 5
NOT_WAITING = "No device waits under this code. Codes are good for ten minutes."

Short = Annotated[str, Meta(max_length=200)]


class DeviceRequest(Struct, frozen=True, kw_only=True):
    """What a device asks for."""

    scope: Annotated[str, Meta(max_length=1_000)] = ""
    client_id: Short | None = None
    client_secret: Short | None = None


class DeviceAnswer(Struct, frozen=True, kw_only=True):
    """What a device shows, and what it asks with."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class DeviceQuery(Struct, frozen=True, kw_only=True):
    """The code that a device shows."""

    user_code: Annotated[str, Meta(max_length=20)] = ""


async def post_device_authorization(request: Request) -> Answer:
    """Begin for a device: it shows `user_code`, and asks for tokens with `device_code`."""
    form: DeviceRequest = request.body
    url = own(request).url
    client = await proven_client(request, form.client_id, form.client_secret)
    if DEVICE_GRANT not in client.grants:
        raise UnauthorizedClient("It was not registered for devices.")
    scopes = tuple(dict.fromkeys(form.scope.split()))
    if not scopes or not set(scopes) <= set(client.scopes):
        raise InvalidScope("Ask for scopes that the client was registered with.")
    device_id = new_id("dev")
    user_code = as_shown("".join(chance.choice(LETTERS) for _ in range(USER_CODE_LETTERS)))
    await request.submit(
        AskForDevice(
            device_id=device_id,
            user_code_hash=hash_of_user_code(request.node.secrets, user_code),
            client_id=client.client_id,
            scopes=scopes,
        )
    )
    return Answer(
        body=DeviceAnswer(
            device_code=handle(request.node.secrets, "dc", device_id),
            user_code=user_code,
            verification_uri=f"{url}{PATH}",
            verification_uri_complete=f"{url}{PATH}?{urlencode({'user_code': user_code})}",
            expires_in=LIFE_S,
            interval=INTERVAL_S,
        )
    )


def hash_of_user_code(secrets: Secrets, text: str) -> bytes:
    """What is kept of a user code. Case, spaces and dashes are whatever people make of them."""
    return secrets.keyed_hash("user codes", letters_of(text).encode())


def letters_of(text: str) -> str:
    """The letters of a code that somebody typed."""
    return "".join(letter for letter in text.upper() if letter in LETTERS)


def as_shown(text: str) -> str:
    """A code that somebody typed, as the device shows it: to be compared."""
    letters = letters_of(text)
    return f"{letters[:4]}-{letters[4:]}"


async def get_device(request: Request) -> Answer:
    """The page on which somebody types in the code of a device, and agrees."""
    own(request)
    query: DeviceQuery = request.query
    browser = await Browser.of(request)
    if browser.who is None:
        return sign_in_page(browser, action=address(query.user_code), purpose=PURPOSE)
    if not query.user_code:
        return code_page()
    found = await waiting(request, query.user_code)
    if found is None:
        return code_page(query.user_code, NOT_WAITING, status=400)
    device, client = found
    facts = {
        "title": f"{client.name} wants access",
        "client": client.name,
        "scopes": in_words(list(device.scopes)),
        "email": await email_of(request, browser),
        "action": PATH,
        "form_code": browser.form_code(purpose_of(query.user_code)),
        "fields": {"user_code": query.user_code},
        "target": "",
        "code": as_shown(query.user_code),
    }
    return page("consent", facts)


async def post_device(request: Request) -> Answer:
    """What somebody typed or chose on the page for devices."""
    own(request)
    form: PageForm = request.body
    query: DeviceQuery = request.query
    browser = await Browser.of(request)
    here = address(query.user_code)
    if form.step == "sign_in":
        return await sign_in(request, browser, form, action=here, then=here, purpose=PURPOSE)
    purpose = purpose_of(form.user_code)
    if browser.who is None or not browser.is_own_form(purpose, form.form_code):
        return message("That did not work", TOO_OLD, status=403)
    if form.step == "switch":
        await end_session(request, browser)
        return moved(address(form.user_code), browser.no_session_cookie())
    who = browser.who
    was_waiting: bool = await request.submit(
        DecideDevice(
            user_code_hash=hash_of_user_code(request.node.secrets, form.user_code),
            allowed=form.step == "allow",
            who=SignedIn(who.account_id, who.session_id, who.opened_at, who.second_factor),
        )
    )
    if not was_waiting:
        return code_page(form.user_code, NOT_WAITING, status=400)
    if form.step == "allow":
        text = "Your device goes on by itself in a few seconds. You can close this page."
        return message("Connected", text, status=200, good=True)
    return message("Not connected", "The device gets no access.", status=200, good=True)


async def waiting(request: Request, user_code: str) -> tuple[DeviceRow, ClientRow] | None:
    """The device that waits under a code, and its program."""
    async with request.reading() as snapshot:
        digest = hash_of_user_code(request.node.secrets, user_code)
        device = await queries.waiting_device(snapshot, digest)
        if device is None:
            return None
        client = await queries.client(snapshot, device.client_id)
    return None if client is None or client.revoked_at is not None else (device, client)


def code_page(user_code: str = "", problem: str = "", *, status: int = 200) -> Answer:
    """The form for a code."""
    facts = {
        "title": "Connect a device",
        "error": problem,
        "action": PATH,
        "user_code": user_code,
    }
    return page("device", facts, status=status)


def address(user_code: str) -> str:
    """The page for a code."""
    return f"{PATH}?{urlencode({'user_code': user_code})}" if user_code else PATH


def purpose_of(user_code: str) -> str:
    """What a form about this device is for."""
    return f"device\n{user_code}"


ROUTES = (
    Route(
        method="POST",
        path="/oauth/device_authorization",
        handler=post_device_authorization,
        summary="Begin for a device.",
        permission=OwnCredentials(),
        whose=Whose.MAKER,
        body=DeviceRequest,
        media_types=(FORM,),
        body_bytes_max=FORM_BYTES_MAX,
        answers={200: DeviceAnswer},
        problems=(
            InvalidOAuthRequest,
            InvalidClient,
            InvalidScope,
            UnauthorizedClient,
            AnotherIssuer,
        ),
        tag="oauth",
    ),
    Route(
        method="GET",
        path=PATH,
        limit="logins",
        handler=get_device,
        summary="Connect a device on a page.",
        permission=OwnCredentials(),
        whose=Whose.CALLER,
        query=DeviceQuery,
        lenient=True,
        page=True,
        answers=PAGES,
        problems=(AnotherIssuer,),
        tag="oauth",
    ),
    Route(
        method="POST",
        path=PATH,
        limit="logins",
        handler=post_device,
        summary="Sign in or agree on the page for devices.",
        permission=OwnCredentials(),
        whose=Whose.CALLER,
        query=DeviceQuery,
        lenient=True,
        page=True,
        body=PageForm,
        media_types=(FORM,),
        body_bytes_max=FORM_BYTES_MAX,
        answers={**PAGES, 401: bytes, 403: bytes, 429: bytes},
        problems=(AnotherIssuer,),
        tag="oauth",
    ),
)
