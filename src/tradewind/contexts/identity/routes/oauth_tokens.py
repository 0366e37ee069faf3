"""Tokens over HTTP: get them, ask whether one is good, make one void."""

from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from tradewind.contexts.identity.commands.oauth import (
    ABOUT_PEOPLE,
    DEVICE_GRANT,
    EndGrant,
    ExchangeCode,
    PollDevice,
    UseRefreshToken,
    VoidToken,
)
from tradewind.contexts.identity.problems import (
    AccessDenied,
    AnotherIssuer,
    AuthorizationPending,
    ExpiredToken,
    InvalidClient,
    InvalidGrant,
    InvalidOAuthRequest,
    InvalidScope,
    InvalidTarget,
    SlowDown,
    UnauthorizedClient,
    UnsupportedGrantType,
)
from tradewind.contexts.identity.queries import oauth as queries
from tradewind.contexts.identity.routes.oauth_discovery import own
from tradewind.contexts.identity.routes.oauth_proof import proven_client
from tradewind.contexts.identity.tables.oauth import ClientRow, Granted, GrantRow
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import new_id
from tradewind.platform.gateway.forms import FORM, FORM_BYTES_MAX
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import OwnCredentials, Recorded, Route, Whose
from tradewind.platform.security.access_tokens import TokensUnavailable, Verified
from tradewind.platform.security.handles import handle, opened
from tradewind.platform.security.jose import base64url
from tradewind.platform.security.keyring import NoSigningKey

Short = Annotated[str, Meta(max_length=200)]
Long = Annotated[str, Meta(max_length=4_096)]
Verifier = Annotated[str, Meta(pattern="^[A-Za-z0-9._~-]{43,128}$")]


class TokenRequest(Struct, frozen=True, kw_only=True):
    """What a client sends to get tokens; which fields count follows from `grant_type`."""

    grant_type: Annotated[str, Meta(max_length=100)]
    scope: Annotated[str, Meta(max_length=1_000)] | None = None
    resource: Annotated[str, Meta(max_length=500)] | None = None
    code: Short | None = None
    redirect_uri: Annotated[str, Meta(max_length=500)] | None = None
    code_verifier: Verifier | None = None
    refresh_token: Short | None = None
    device_code: Short | None = None
    client_id: Short | None = None
    client_secret: Short | None = None


class TokenAnswer(Struct, frozen=True, kw_only=True):
    """Tokens. `scope` says what they are good for, which may be less than was asked for."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the kind of token
    expires_in: int
    scope: str
    refresh_token: str | UnsetType = UNSET
    id_token: str | UnsetType = UNSET


class TokenQuestion(Struct, frozen=True, kw_only=True):
    """A token that somebody asks about, or wants void."""

    token: Long
    token_type_hint: Short | None = None
    client_id: Short | None = None
    client_secret: Short | None = None


class TokenFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token is good for (RFC 7662); `active` alone where it is good for nothing."""

    active: bool
    scope: str | None = None
    client_id: str | None = None
    sub: str | None = None
    aud: Any = None
    iss: str | None = None
    iat: int | None = None
    exp: int | None = None
    jti: str | None = None
    token_type: str | None = None
    cnf: Any = None


async def post_token(request: Request) -> Answer:
    """Get tokens: for the program itself, or for a person who agreed.

    A program proves who it is by its secret (Basic or in the form), by its certificate, or, if it
    can keep no secret, not at all: then PKCE does. Errors are those of RFC 6749, and problems.
    """
    form: TokenRequest = request.body
    issuer = own(request)
    client = await proven_client(request, form.client_id, form.client_secret)
    if form.resource not in (None, issuer.audience, issuer.url):
        raise InvalidTarget(f"There are tokens for {issuer.audience} only.")
    way = WAYS.get(form.grant_type)
    if way is None:
        raise UnsupportedGrantType(f"There are {', '.join(WAYS)}.")
    if form.grant_type not in client.grants:
        raise UnauthorizedClient(f"It was registered for {', '.join(client.grants)}.")
    return await way(request, form, client)


async def for_itself(request: Request, form: TokenRequest, client: ClientRow) -> Answer:
    """The client credentials grant."""
    own_scopes = [scope for scope in client.scopes if scope not in ABOUT_PEOPLE]
    wanted = own_scopes if form.scope is None else sorted(set(form.scope.split()))
    if beyond := sorted(set(wanted) - set(own_scopes)):
        raise InvalidScope(f"This client does not have {', '.join(beyond)[:200]}.")
    made = await own(request).access_token(
        subject=client.client_id,
        client_id=client.client_id,
        scope=" ".join(wanted),
        certificate=certificate_of(request, client),
    )
    return Answer(
        body=TokenAnswer(
            access_token=made.token, expires_in=made.expires_in, scope=" ".join(wanted)
        )
    )


def certificate_of(request: Request, client: ClientRow) -> str | None:
    """The certificate that a token is bound to: that of a client which proved itself by one."""
    return request.certificate if client.authentication == "certificate" else None


async def for_a_code(request: Request, form: TokenRequest, client: ClientRow) -> Answer:
    """The authorization code grant, with PKCE."""
    found = opened(request.node.secrets, "ac", form.code or "")
    if form.code is None or form.code_verifier is None:
        raise InvalidOAuthRequest("code and code_verifier are needed.")
    if found is None:
        raise InvalidGrant("This is no code of ours.")
    exchanging = ExchangeCode(
        code_id=found.id,
        client_id=client.client_id,
        redirect_uri=form.redirect_uri,
        challenge=base64url(sha256(form.code_verifier.encode()).digest()),
        grant_id=new_id("gra"),
    )
    granted: Granted = await request.submit(exchanging)
    return await for_a_person(request, client, granted)


async def for_a_refresh_token(request: Request, form: TokenRequest, client: ClientRow) -> Answer:
    """The refresh token grant: each is good once, and the next one comes with the answer."""
    if form.refresh_token is None:
        raise InvalidOAuthRequest("refresh_token is needed.")
    found = opened(request.node.secrets, "rt", form.refresh_token)
    if found is None:
        raise InvalidGrant("This is no refresh token of ours.")
    using = UseRefreshToken(
        grant_id=found.id,
        generation=found.generation,
        client_id=client.client_id,
        scopes=None if form.scope is None else tuple(sorted(set(form.scope.split()))),
    )
    granted: Granted = await request.submit(using)
    return await for_a_person(request, client, granted)


async def for_a_device(request: Request, form: TokenRequest, client: ClientRow) -> Answer:
    """The device grant: refused as pending until somebody agreed elsewhere."""
    found = opened(request.node.secrets, "dc", form.device_code or "")
    if found is None:
        raise InvalidGrant("This is no device code of ours.")
    polling = PollDevice(device_id=found.id, client_id=client.client_id, grant_id=new_id("gra"))
    granted: Granted = await request.submit(polling)
    return await for_a_person(request, client, granted)


async def for_a_person(request: Request, client: ClientRow, granted: Granted) -> Answer:
    """The tokens of a grant: for what was agreed to, as far as the person still has it."""
    grant = granted.grant
    async with request.reading() as snapshot:
        found = await queries.holder(snapshot, grant.account_id, grant.session_id)
    if found is None or found[0].status != "active" or found[0].password_at > grant.given_at:
        raise InvalidGrant("The account was closed, or its password changed. Ask to sign in again.")
    holder, held = found
    offline = "offline_access" in grant.scopes
    if not offline and not holder.session_goes_on:
        raise InvalidGrant("The person has signed out. Ask to sign in again.")
    scopes = [scope for scope in granted.scopes if scope in held or scope in ABOUT_PEOPLE]
    more = {} if offline else {"session": grant.session_id}
    if holder.customer_group:
        more["group"] = holder.customer_group
    issuer = own(request)
    made = await issuer.access_token(
        subject=grant.account_id,
        client_id=client.client_id,
        scope=" ".join(scopes),
        grant_id=grant.grant_id,
        certificate=certificate_of(request, client),
        more=more,
    )
    refresh_token: str | UnsetType = UNSET
    if grant.generation:
        refresh_token = handle(request.node.secrets, "rt", grant.grant_id, grant.generation)
    id_token: str | UnsetType = UNSET
    if "openid" in scopes:
        id_token = await issuer.id_token(
            subject=grant.account_id,
            client_id=client.client_id,
            access_token=made.token,
            auth_time=int(grant.signed_in_at.timestamp()),
            grant_id=grant.grant_id,
            nonce=granted.nonce,
            more={"amr": ["pwd", "otp"] if grant.second_factor else ["pwd"]},
        )
    return Answer(
        body=TokenAnswer(
            access_token=made.token,
            expires_in=made.expires_in,
            scope=" ".join(scopes),
            refresh_token=refresh_token,
            id_token=id_token,
        )
    )


WAYS: Mapping[str, Callable[[Request, TokenRequest, ClientRow], Awaitable[Answer]]] = {
    "authorization_code": for_a_code,
    "refresh_token": for_a_refresh_token,
    "client_credentials": for_itself,
    DEVICE_GRANT: for_a_device,
}


async def post_introspect(request: Request) -> Answer:
    """Say whether a token is good, and for what (RFC 7662).

    A client may ask about its own tokens, and one with the scope `tokens:read` about all. Anything
    else is answered like a token that is good for nothing.
    """
    form: TokenQuestion = request.body
    issuer = own(request)
    client = await proven_client(request, form.client_id, form.client_secret)
    if client.authentication == "none":
        raise UnauthorizedClient("A client that cannot prove who it is may not ask.")
    sees_all = "tokens:read" in client.scopes
    verified = await issuer.tokens.check(form.token)
    if verified is not None and (sees_all or verified.credential.client_id == client.client_id):
        return Answer(body=facts_of_access(verified))
    found = await live_refresh_grant(request, form.token)
    if found is not None and (sees_all or found.client_id == client.client_id):
        return Answer(body=facts_of_refresh(found, issuer.url))
    return Answer(body=TokenFacts(active=False))


def facts_of_access(verified: Verified) -> TokenFacts:
    """What an access token says."""
    claims = verified.claims
    return TokenFacts(
        active=True,
        scope=claims["scope"],
        client_id=claims["client_id"],
        sub=claims["sub"],
        aud=claims["aud"],
        iss=claims["iss"],
        iat=claims["iat"],
        exp=claims["exp"],
        jti=claims["jti"],
        token_type="Bearer",  # noqa: S106 - the kind of token
        cnf=claims.get("cnf"),
    )


def facts_of_refresh(grant: GrantRow, issuer: str) -> TokenFacts:
    """What a refresh token stands for."""
    return TokenFacts(
        active=True,
        scope=" ".join(grant.scopes),
        client_id=grant.client_id,
        sub=grant.account_id,
        iss=issuer,
        iat=int(grant.given_at.timestamp()),
        exp=int(grant.expires_at.timestamp()),
    )


async def live_refresh_grant(request: Request, token: str) -> GrantRow | None:
    """The grant of the newest refresh token of a family that has not ended."""
    found = opened(request.node.secrets, "rt", token)
    if found is None:
        return None
    async with request.reading() as snapshot:
        row = await queries.grant(snapshot, found.id)
        now = snapshot.now
    if row is None or row.revoked_at is not None or now >= row.expires_at:
        return None
    return row if row.generation == found.generation else None


async def post_revocation(request: Request) -> Answer:
    """Make a token void (RFC 7009). Every process refuses it within a second.

    A refresh token takes its whole family with it. What is no token is answered 200 as well.
    """
    form: TokenQuestion = request.body
    issuer = own(request)
    client = await proven_client(request, form.client_id, form.client_secret)
    found = opened(request.node.secrets, "rt", form.token)
    if found is not None:
        ending = EndGrant(grant_id=found.id, client_id=client.client_id, because="revoked")
        await request.submit(ending)
        return Answer(status=200)
    verified = await issuer.tokens.check(form.token)
    if verified is not None and verified.credential.client_id == client.client_id:
        await request.submit(VoidToken(token_id=verified.claims["jti"]))
    return Answer(status=200)


ROUTES = (
    Route(
        method="POST",
        path="/oauth/token",
        handler=post_token,
        summary="Get tokens.",
        permission=OwnCredentials(),
        whose=Whose.SECRET,
        body=TokenRequest,
        media_types=(FORM,),
        body_bytes_max=FORM_BYTES_MAX,
        answers={200: TokenAnswer},
        problems=(
            InvalidOAuthRequest,
            InvalidClient,
            InvalidGrant,
            InvalidScope,
            InvalidTarget,
            UnauthorizedClient,
            UnsupportedGrantType,
            AuthorizationPending,
            SlowDown,
            AccessDenied,
            ExpiredToken,
            AnotherIssuer,
            NoSigningKey,
        ),
        tag="oauth",
    ),
    Route(
        method="POST",
        path="/oauth/introspect",
        handler=post_introspect,
        summary="Ask about a token.",
        permission=OwnCredentials(),
        whose=Whose.SECRET,
        body=TokenQuestion,
        media_types=(FORM,),
        body_bytes_max=FORM_BYTES_MAX,
        answers={200: TokenFacts},
        problems=(
            InvalidOAuthRequest,
            InvalidClient,
            UnauthorizedClient,
            AnotherIssuer,
            TokensUnavailable,
        ),
        tag="oauth",
    ),
    Route(
        method="POST",
        path="/oauth/revoke",
        handler=post_revocation,
        summary="Make a token void.",
        permission=OwnCredentials(),
        whose=Whose.SECRET,
        recorded=Recorded.EVERYBODY,
        notice="token_revoked",
        body=TokenQuestion,
        media_types=(FORM,),
        body_bytes_max=FORM_BYTES_MAX,
        answers={200: None},
        problems=(InvalidOAuthRequest, InvalidClient, AnotherIssuer, TokensUnavailable),
        tag="oauth",
    ),
)
