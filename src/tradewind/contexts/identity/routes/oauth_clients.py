"""OAuth clients over HTTP: register a program, list them, renew a secret, shut one out."""

from typing import Any

import msgspec

from tradewind.contexts.identity.commands.oauth import (
    RegisterClient,
    RenewClientSecret,
    RevokeClient,
)
from tradewind.contexts.identity.problems import (
    ClientNotFound,
    InvalidClientSettings,
    ScopeNotHeld,
)
from tradewind.contexts.identity.queries import oauth as queries
from tradewind.contexts.identity.tables import KeyPage
from tradewind.contexts.identity.tables.oauth import (
    ClientIssued,
    ClientList,
    ClientShown,
    NewClient,
    client_shown,
)
from tradewind.kernel.answers import Answer, Settled
from tradewind.kernel.ids import new_id
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Keyed, Route, Scope, Whose
from tradewind.platform.security.handles import handle
from tradewind.platform.security.secrets import Secrets

MANAGE = Scope("clients:write")


async def post_client(request: Request) -> Answer | Settled:
    """Register a program that may ask for tokens. `secret` is shown here and nowhere else.

    You can give only scopes that you hold. A program that people hold in their hands (an app, a
    page in a browser) cannot keep a secret: register it with `"authentication": "none"`.
    """
    body: NewClient = request.body
    assert request.credential is not None
    outcome = await request.submit(
        RegisterClient(
            client_id=new_id("cli"),
            name=body.name,
            authentication=body.authentication,
            certificates=body.certificates,
            redirect_uris=body.redirect_uris,
            logout_uris=body.logout_uris,
            grants=body.grants,
            scopes=body.scopes,
            registered_by=request.credential.id,
            held=request.credential.scopes,
            idempotency=request.idempotency,
        )
    )
    return issued(outcome, request.node.secrets)


def issued(outcome: Any, secrets: Secrets) -> Answer | Settled:
    """The answer with the secret added on its way out: what is kept for a repetition has none."""
    if isinstance(outcome, Settled):
        if outcome.status not in (200, 201):
            return outcome
        made = msgspec.json.decode(outcome.body, type=ClientShown)
        return msgspec.structs.replace(
            outcome, body=msgspec.json.encode(with_secret(made, secrets))
        )
    assert isinstance(outcome, Answer)
    return msgspec.structs.replace(outcome, body=with_secret(outcome.body, secrets))


def with_secret(made: ClientShown, secrets: Secrets) -> ClientIssued:
    """A client with its newest secret, if it has one."""
    shown = msgspec.structs.asdict(made)
    if isinstance(made.secret_generation, int):
        shown["secret"] = handle(secrets, "cs", made.id, made.secret_generation)
    return ClientIssued(**shown)


async def get_clients(request: Request) -> Answer:
    """List OAuth clients, newest first, revoked ones too. Secrets are not shown."""
    page: KeyPage = request.query
    before: str | None = None
    if page.cursor is not None:
        (before,) = decode_cursor(page.cursor, str)
    async with request.reading() as snapshot:
        rows = await queries.clients(snapshot, before=before, count_max=page.limit + 1)
    more = len(rows) > page.limit
    rows = rows[: page.limit]
    return Answer(
        body=ClientList(
            items=[client_shown(row) for row in rows],
            next=encode_cursor(rows[-1].client_id) if more else None,
        )
    )


async def get_client(request: Request) -> Answer:
    """Show one OAuth client, without its secret."""
    async with request.reading() as snapshot:
        row = await queries.client(snapshot, request.params["client_id"])
    if row is None:
        raise ClientNotFound("GET /v1/oauth/clients lists them.")
    return Answer(body=client_shown(row))


async def post_client_secret(request: Request) -> Answer | Settled:
    """Give a client another secret. The one before is good for one more day."""
    async with request.reading() as snapshot:
        row = await queries.client(snapshot, request.params["client_id"])
    if row is None:
        raise ClientNotFound("GET /v1/oauth/clients lists them.")
    outcome = await request.submit(
        RenewClientSecret(
            client_id=row.client_id,
            generation=row.secret_generation,
            idempotency=request.idempotency,
        )
    )
    return issued(outcome, request.node.secrets)


async def post_client_revoke(request: Request) -> Answer | Settled:
    """Shut a program out for ever. Every process refuses all of its tokens within a second."""
    assert request.credential is not None
    outcome: Answer | Settled = await request.submit(
        RevokeClient(
            client_id=request.params["client_id"],
            revoked_by=request.credential.id,
            idempotency=request.idempotency,
        )
    )
    return outcome


ROUTES = (
    Route(
        method="POST",
        path="/v1/oauth/clients",
        handler=post_client,
        summary="Register an OAuth client.",
        permission=MANAGE,
        whose=Whose.SHOP,
        notice="key_made",
        body=NewClient,
        answers={201: ClientIssued},
        problems=(ScopeNotHeld, InvalidClientSettings),
        keyed=Keyed.ACCEPTED,
        tag="oauth",
    ),
    Route(
        method="GET",
        path="/v1/oauth/clients",
        handler=get_clients,
        summary="List OAuth clients.",
        permission=MANAGE,
        whose=Whose.SHOP,
        query=KeyPage,
        answers={200: ClientList},
        tag="oauth",
    ),
    Route(
        method="GET",
        path="/v1/oauth/clients/{client_id}",
        handler=get_client,
        summary="Show an OAuth client.",
        permission=MANAGE,
        whose=Whose.SHOP,
        answers={200: ClientShown},
        problems=(ClientNotFound,),
        tag="oauth",
    ),
    Route(
        method="POST",
        path="/v1/oauth/clients/{client_id}/secret",
        handler=post_client_secret,
        summary="Renew the secret of an OAuth client.",
        permission=MANAGE,
        whose=Whose.SHOP,
        notice="key_rotated",
        answers={200: ClientIssued},
        problems=(ClientNotFound,),
        keyed=Keyed.ACCEPTED,
        tag="oauth",
    ),
    Route(
        method="POST",
        path="/v1/oauth/clients/{client_id}/revoke",
        handler=post_client_revoke,
        summary="Revoke an OAuth client.",
        permission=MANAGE,
        whose=Whose.SHOP,
        notice="key_revoked",
        answers={200: ClientShown},
        problems=(ClientNotFound,),
        keyed=Keyed.ACCEPTED,
        tag="oauth",
    ),
)
