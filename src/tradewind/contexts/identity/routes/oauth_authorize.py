"""The authorization endpoint: a program sends somebody here, and gets a code if they agree.

Every step checks the whole request anew: it stands in the address, and nothing in a page or a
cookie replaces it. Nobody is sent to an address before client and redirect_uri are known to belong
together; until then whatever is wrong is said on a page of ours.
"""

import re
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from msgspec import Meta, Struct

from tradewind.contexts.identity.commands.oauth import GiveCode, SignedIn
from tradewind.contexts.identity.problems import AnotherIssuer
from tradewind.contexts.identity.queries import oauth as queries
from tradewind.contexts.identity.routes.oauth_discovery import own
from tradewind.contexts.identity.routes.oauth_signing_in import (
    TOO_OLD,
    PageForm,
    email_of,
    end_session,
    sign_in,
    sign_in_page,
)
from tradewind.contexts.identity.routes.pages import Browser, message, moved, page
from tradewind.contexts.identity.tables.oauth import ClientRow
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import new_id
from tradewind.platform.gateway.forms import FORM, FORM_BYTES_MAX
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import OwnCredentials, Route, Whose
from tradewind.platform.security.handles import handle

SECONDS = re.compile(r"[0-9]{1,9}")
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
LOGIN, CONSENT, NONE = "login", "consent", "none"
# What is agreed to, in words. Rights of the API that have none are shown by their name.
IN_WORDS = {
    "openid": "know that it is you",
    "profile": "see your name",
    "email": "see your e-mail address",
    "account": "see and change your orders and carts",
    "offline_access": "go on when you are not there, until you take it back",
}
Text = Annotated[str, Meta(max_length=2_000)]


class AuthorizeQuery(Struct, frozen=True, kw_only=True):
    """What a program asks for (RFC 6749, RFC 7636, OpenID Connect)."""

    client_id: Text = ""
    redirect_uri: Text = ""
    response_type: Text = ""
    scope: Text = ""
    state: Text | None = None
    code_challenge: Text = ""
    code_challenge_method: Text = ""
    nonce: Text | None = None
    prompt: Text = ""
    max_age: Text | None = None
    login_hint: Text = ""
    resource: Text | None = None
    response_mode: Text | None = None
    request: Text | None = None
    request_uri: Text | None = None


class Asked(Struct, frozen=True):
    """A request that may be shown to somebody."""

    query: AuthorizeQuery
    client: ClientRow
    scopes: tuple[str, ...]
    prompts: frozenset[str]
    max_age_s: int | None

    @property
    def purpose(self) -> str:
        """What a form about this request is for."""
        return "authorize\n" + address(self.query)


async def get_authorize(request: Request) -> Answer:
    """Where a program sends somebody: a page to sign in, a page to agree, then back with a code."""
    asked = await read(request)
    if isinstance(asked, Answer):
        return asked
    browser = await Browser.of(request)
    if browser.who is None or not await is_recent(request, browser, asked):
        if NONE in asked.prompts:
            return back(request, asked.query, error="login_required")
        return sign_in_page(
            browser,
            action=address(asked.query),
            purpose=purpose_of(asked),
            email=asked.query.login_hint if "@" in asked.query.login_hint else "",
        )
    if await is_agreed(request, browser, asked):
        return await with_code(request, browser, asked)
    if NONE in asked.prompts:
        return back(request, asked.query, error="consent_required")
    return await consent_page(request, browser, asked)


async def post_authorize(request: Request) -> Answer:
    """What somebody typed or chose on a page of the authorization endpoint."""
    asked = await read(request)
    if isinstance(asked, Answer):
        return asked
    form: PageForm = request.body
    browser = await Browser.of(request)
    if form.step == "sign_in":
        # They have just signed in: asking for that once more would never end.
        then = address(without_prompt(asked.query, LOGIN))
        return await sign_in(
            request,
            browser,
            form,
            action=address(asked.query),
            then=then,
            purpose=purpose_of(asked),
        )
    if browser.who is None or not browser.is_own_form(asked.purpose, form.form_code):
        return message("That did not work", TOO_OLD, status=403)
    if form.step == "allow":
        return await with_code(request, browser, asked)
    if form.step == "switch":
        await end_session(request, browser)
        return moved(address(asked.query), browser.no_session_cookie())
    return back(request, asked.query, error="access_denied")


async def read(request: Request) -> Asked | Answer:
    """The request, or what to answer to it: a page, or back to the program with an error."""
    own(request)
    query: AuthorizeQuery = request.query
    async with request.reading() as snapshot:
        client = await queries.client(snapshot, query.client_id[:64])
    if client is None or client.revoked_at is not None:
        return message(
            "This link does not work",
            "The program that sent you here is not known. Go back and tell whoever made it.",
        )
    if query.redirect_uri not in client.redirect_uris:
        return message(
            "This link does not work",
            f"{client.name} sent you here with an address to go back to that is not registered.",
        )
    error, text = wrong(request, query, client)
    if error:
        return back(request, query, error=error, error_description=text)
    return Asked(
        query,
        client,
        tuple(dict.fromkeys(query.scope.split())),
        frozenset(query.prompt.split()),
        None if query.max_age is None else int(query.max_age),
    )


def wrong(request: Request, query: AuthorizeQuery, client: ClientRow) -> tuple[str, str]:
    """The error of a request whose client and redirect_uri are right, and a text; "" for none."""
    scopes, prompts = query.scope.split(), query.prompt.split()
    issuer = own(request)
    checks = (
        (query.request is not None, "request_not_supported", "request is not read"),
        (query.request_uri is not None, "request_uri_not_supported", "request_uri is not read"),
        (query.response_type != "code", "unsupported_response_type", "there is code alone"),
        (query.response_mode not in (None, "query"), "invalid_request", "response_mode is query"),
        (
            "authorization_code" not in client.grants,
            "unauthorized_client",
            "the client was not registered for codes",
        ),
        (
            query.code_challenge_method != "S256" or not CHALLENGE.fullmatch(query.code_challenge),
            "invalid_request",
            "PKCE is needed: code_challenge with code_challenge_method=S256",
        ),
        (not scopes, "invalid_scope", "scope is needed"),
        (
            not set(scopes) <= set(client.scopes),
            "invalid_scope",
            "the client was not registered for all of these scopes",
        ),
        (
            query.resource not in (None, issuer.audience, issuer.url),
            "invalid_target",
            "there are tokens for this API only",
        ),
        (
            not set(prompts) <= {NONE, LOGIN, CONSENT} or (NONE in prompts and len(prompts) > 1),
            "invalid_request",
            "prompt is none, or login and consent",
        ),
        (
            query.max_age is not None
            and not (
                query.max_age.isascii() and query.max_age.isdigit() and len(query.max_age) < 10
            ),
            "invalid_request",
            "max_age is a number of seconds",
        ),
        (len(query.nonce or "") > 255, "invalid_request", "nonce has at most 255 characters"),
    )
    return next(((error, text) for is_wrong, error, text in checks if is_wrong), ("", ""))


async def is_recent(request: Request, browser: Browser, asked: Asked) -> bool:
    """Whether whoever is signed in did so recently enough for this request."""
    assert browser.who is not None
    if LOGIN in asked.prompts:
        return False
    if asked.max_age_s is None:
        return True
    age_s = (request.node.clock.now() - browser.who.opened_at).total_seconds()
    return age_s <= asked.max_age_s


async def is_agreed(request: Request, browser: Browser, asked: Asked) -> bool:
    """Whether they agreed to all of this before, and the program is the same for certain.

    What has no secret and lives behind an address that any program of the device can take is asked
    about each time (RFC 8252, 8.6).
    """
    assert browser.who is not None
    if CONSENT in asked.prompts:
        return False
    certain = asked.client.authentication != "none" or asked.query.redirect_uri.startswith("https:")
    if not certain:
        return False
    async with request.reading() as snapshot:
        before = await queries.agreed(snapshot, browser.who.account_id, asked.client.client_id)
    return set(asked.scopes) <= set(before)


async def consent_page(request: Request, browser: Browser, asked: Asked) -> Answer:
    """What somebody is asked to agree to."""
    facts = {
        "title": f"{asked.client.name} wants access",
        "client": asked.client.name,
        "scopes": in_words(asked.scopes),
        "email": await email_of(request, browser),
        "action": address(asked.query),
        "form_code": browser.form_code(asked.purpose),
        "fields": {},
        "target": target_of(asked.query.redirect_uri),
        "code": "",
    }
    return page("consent", facts, targets=[asked.query.redirect_uri])


def in_words(scopes: Sequence[str]) -> list[str]:
    """What scopes open, as people read it."""
    return [IN_WORDS.get(scope, f"use your right {scope}, if you have it") for scope in scopes]


def target_of(uri: str) -> str:
    """Where an address leads, as people tell places apart."""
    parts = urlsplit(uri)
    return parts.netloc or f"{parts.scheme}:"


async def with_code(request: Request, browser: Browser, asked: Asked) -> Answer:
    """Back to the program, with a code."""
    who = browser.who
    assert who is not None
    code_id = new_id("cod")
    await request.submit(
        GiveCode(
            code_id=code_id,
            client_id=asked.client.client_id,
            redirect_uri=asked.query.redirect_uri,
            scopes=asked.scopes,
            challenge=asked.query.code_challenge,
            nonce=asked.query.nonce,
            who=SignedIn(who.account_id, who.session_id, who.opened_at, who.second_factor),
        )
    )
    return back(request, asked.query, code=handle(request.node.secrets, "ac", code_id))


def back(request: Request, query: AuthorizeQuery, **told: str) -> Answer:
    """Back to the program. The address was compared with those it registered.

    `iss` lets a program that asks several issuers tell their answers apart (RFC 9207).
    """
    if query.state is not None:
        told["state"] = query.state
    told["iss"] = own(request).url
    joint = "&" if "?" in query.redirect_uri else "?"
    return moved(f"{query.redirect_uri}{joint}{urlencode(told)}")


def address(query: AuthorizeQuery) -> str:
    """The address of this request, on this host."""
    given = {
        name: value
        for name in query.__struct_fields__
        if (value := getattr(query, name)) not in (None, "")
    }
    return f"/oauth/authorize?{urlencode(given)}"


def without_prompt(query: AuthorizeQuery, prompt: str) -> AuthorizeQuery:
    """The request without one of its prompts, and without the age that it has just met."""
    left = " ".join(one for one in query.prompt.split() if one != prompt)
    return AuthorizeQuery(
        **{
            **{name: getattr(query, name) for name in query.__struct_fields__},
            "prompt": left,
            "max_age": None,
        }
    )


def purpose_of(asked: Asked) -> str:
    """What somebody signs in for."""
    return f"to go on to {asked.client.name}"


PAGES = {200: bytes, 303: None, 400: bytes}

ROUTES = (
    Route(
        method="GET",
        path="/oauth/authorize",
        handler=get_authorize,
        summary="Ask somebody to sign in and agree.",
        permission=OwnCredentials(),
        whose=Whose.CALLER,
        query=AuthorizeQuery,
        lenient=True,
        page=True,
        answers=PAGES,
        problems=(AnotherIssuer,),
        tag="oauth",
    ),
    Route(
        method="POST",
        path="/oauth/authorize",
        limit="logins",
        handler=post_authorize,
        summary="Sign in or agree on a page.",
        permission=OwnCredentials(),
        whose=Whose.CALLER,
        query=AuthorizeQuery,
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
