"""What a program learns of the person who agreed (userinfo), and how they sign out again."""

from typing import Annotated
from urllib.parse import urlencode

from msgspec import UNSET, Meta, Struct, UnsetType

from tradewind.contexts.identity.problems import AnotherIssuer
from tradewind.contexts.identity.queries import oauth as queries
from tradewind.contexts.identity.routes.oauth_authorize import PAGES
from tradewind.contexts.identity.routes.oauth_discovery import own
from tradewind.contexts.identity.routes.oauth_signing_in import TOO_OLD, email_of, end_session
from tradewind.contexts.identity.routes.pages import Browser, message, moved, page
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import is_id
from tradewind.platform.gateway.forms import FORM, FORM_BYTES_MAX
from tradewind.platform.gateway.problems import Forbidden
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import OwnCredentials, Recorded, Route, Scope, Whose
from tradewind.platform.security import jose
from tradewind.platform.security.jose import TokenRefused

SIGN_OUT = "sign out"
PATH = "/oauth/logout"
Text = Annotated[str, Meta(max_length=4_096)]


class UserInfo(Struct, frozen=True, kw_only=True):
    """A person, as far as they let this program know."""

    sub: str
    name: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    email_verified: bool | UnsetType = UNSET


async def get_userinfo(request: Request) -> Answer:
    """Show who agreed, as far as the token's scopes go: `profile` the name, `email` the address."""
    credential = request.credential
    assert credential is not None, "the route needs a scope"
    if credential.client_id is None or not is_id(credential.id, "acc"):
        raise Forbidden("This is for access tokens that stand for a person.")
    async with request.reading() as snapshot:
        found = await queries.holder(snapshot, credential.id)
    if found is None or found[0].status != "active":
        raise Forbidden("The account is not in use any more.")
    person = found[0].person
    opened = (await request.node.vault.open([person]))[person] or {}
    may_see_email = credential.may("email") and "email" in opened
    return Answer(
        body=UserInfo(
            sub=credential.id,
            name=opened.get("name", UNSET) if credential.may("profile") else UNSET,
            email=opened["email"] if may_see_email else UNSET,
            email_verified=True if may_see_email else UNSET,
        )
    )


async def post_userinfo(request: Request) -> Answer:
    """Show who agreed; OpenID Connect lets programs ask by POST as well."""
    return await get_userinfo(request)


class LogoutQuery(Struct, frozen=True, kw_only=True):
    """Who is to be signed out, and where they go afterwards (RP-initiated logout)."""

    id_token_hint: Text | None = None
    client_id: Text | None = None
    post_logout_redirect_uri: Text | None = None
    state: Text | None = None
    form_code: Annotated[str, Meta(max_length=64)] | None = None


async def get_logout(request: Request) -> Answer:
    """Sign somebody out in this browser, and go back where the program asks, if it is registered.

    With an ID token of theirs at once, without one after a question: a link must not do it.
    """
    query: LogoutQuery = request.query
    return await log_out(request, query, is_form=False)


async def post_logout(request: Request) -> Answer:
    """Sign somebody out, from the page's form or a program's."""
    query: LogoutQuery = request.body
    return await log_out(request, query, is_form=True)


async def log_out(request: Request, query: LogoutQuery, *, is_form: bool) -> Answer:
    """What both ways do."""
    hinted = await hint_of(request, query.id_token_hint)
    if query.id_token_hint is not None and hinted is None:
        return message("This link does not work", "Its id_token_hint is none of ours.")
    subject, client_id = hinted or (None, query.client_id)
    if query.client_id is not None and client_id != query.client_id:
        return message("This link does not work", "client_id and id_token_hint do not belong.")
    target = query.post_logout_redirect_uri
    if target is not None and not await is_registered(request, client_id, target):
        return message("This link does not work", "The address to go back to is not registered.")
    browser = await Browser.of(request)
    if browser.who is not None and subject != browser.who.account_id:
        purpose = f"{SIGN_OUT}\n{target}\n{query.state}"
        if not is_form or query.form_code is None:
            return await question(request, browser, query, purpose)
        if not browser.is_own_form(purpose, query.form_code):
            return message("That did not work", TOO_OLD, status=403)
    await end_session(request, browser)
    cookie = browser.no_session_cookie()
    if target is None:
        facts = {"title": "Signed out", "text": "You can close this page.", "good": True}
        return page("message", facts, headers=cookie)
    told = {} if query.state is None else {"state": query.state}
    joint = "&" if "?" in target else "?"
    return moved(f"{target}{joint}{urlencode(told)}" if told else target, cookie)


async def question(request: Request, browser: Browser, query: LogoutQuery, purpose: str) -> Answer:
    """Whether they want to be signed out."""
    fields = {
        name: value
        for name in ("client_id", "post_logout_redirect_uri", "state")
        if (value := getattr(query, name)) is not None
    }
    facts = {
        "title": "Sign out",
        "email": await email_of(request, browser),
        "action": PATH,
        "form_code": browser.form_code(purpose),
        "fields": fields,
    }
    target = query.post_logout_redirect_uri
    return page("sign_out", facts, targets=[] if target is None else [target])


async def hint_of(request: Request, token: str | None) -> tuple[str, str] | None:
    """Whom an ID token of ours is about, and for which client, expired or not; None for others'."""
    if token is None:
        return None
    issuer = own(request)
    try:
        parsed = jose.take_apart(token)
        key = await issuer.keyring.find(parsed.kid)
        if key is None or parsed.type != "jwt":
            return None
        jose.verify(token, parsed, key, ("ES256",))
        client_id = jose.text(parsed.claims, "aud")
        subject = jose.check_parties(parsed.claims, issuer=issuer.url, audience=client_id)
    except TokenRefused:
        return None
    return subject, client_id


async def is_registered(request: Request, client_id: str | None, target: str) -> bool:
    """Whether a client registered this address to go back to after signing out."""
    async with request.reading() as snapshot:
        client = await queries.client(snapshot, (client_id or "")[:64])
    return client is not None and client.revoked_at is None and target in client.logout_uris


ROUTES = (
    Route(
        method="GET",
        path="/oauth/userinfo",
        handler=get_userinfo,
        summary="Show who agreed.",
        permission=Scope("openid"),
        whose=Whose.CALLER,
        answers={200: UserInfo},
        tag="oauth",
    ),
    Route(
        method="POST",
        path="/oauth/userinfo",
        handler=post_userinfo,
        summary="Show who agreed, by POST.",
        permission=Scope("openid"),
        whose=Whose.CALLER,
        recorded=Recorded.NOBODY,  # a read, by the standard's other method
        answers={200: UserInfo},
        tag="oauth",
    ),
    Route(
        method="GET",
        path=PATH,
        handler=get_logout,
        summary="Sign somebody out.",
        permission=OwnCredentials(),
        whose=Whose.CALLER,
        query=LogoutQuery,
        lenient=True,
        page=True,
        answers=PAGES,
        problems=(AnotherIssuer,),
        tag="oauth",
    ),
    Route(
        method="POST",
        path=PATH,
        handler=post_logout,
        summary="Sign somebody out, from a form.",
        permission=OwnCredentials(),
        whose=Whose.CALLER,
        page=True,
        body=LogoutQuery,
        media_types=(FORM,),
        body_bytes_max=FORM_BYTES_MAX,
        answers={**PAGES, 403: bytes},
        problems=(AnotherIssuer,),
        tag="oauth",
    ),
)
