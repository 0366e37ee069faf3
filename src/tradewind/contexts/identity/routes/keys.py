"""API keys over HTTP: create one, list them, revoke one."""

from typing import Any

import msgspec
from msgspec import UNSET

from tradewind.contexts.identity import queries
from tradewind.contexts.identity.commands import CreateKey, RevokeKey, RotateKey
from tradewind.contexts.identity.problems import (
    FirstKey,
    InvalidExpiry,
    KeyNotFound,
    LastKey,
    ScopeNotHeld,
)
from tradewind.contexts.identity.tables import (
    KeyIssued,
    KeyList,
    KeyPage,
    KeyShown,
    NewKey,
    Rotation,
    shown,
)
from tradewind.kernel.answers import Answer, Settled
from tradewind.kernel.ids import new_id
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Keyed, Route, Scope, Whose
from tradewind.platform.security.authentication import hash_of_key
from tradewind.platform.security.secrets import Secrets

MANAGE = Scope("keys:write")


async def post_key(request: Request) -> Answer | Settled:
    """Create an API key. `key` in the answer is the only place where its secret is ever shown.

    You can give only scopes that you hold. With an Idempotency-Key, a repeated request gets the
    same answer again for as long as answers are kept.
    """
    body: NewKey = request.body
    assert request.credential is not None
    key_id = new_id("key")
    outcome = await request.submit(
        CreateKey(
            key_id=key_id,
            secret_hash=hash_of_key(request.node.secrets.api_key(key_id)),
            name=body.name,
            scopes=body.scopes,
            expires_at=body.expires_at,
            customer_group=body.customer_group or "",
            limits=body.limits or "",
            created_by=request.credential.id,
            held=request.credential.scopes,
            idempotency=request.idempotency,
        )
    )
    return issued(outcome, request.node.secrets)


def issued(outcome: Any, secrets: Secrets) -> Answer | Settled:
    """The answer with the secret added on its way out: what is kept for a repetition has none.

    The secret follows from the id in the answer, so a repetition gets the first one's key.
    """
    if isinstance(outcome, Settled):
        if outcome.status >= 400:
            return outcome
        made = msgspec.json.decode(outcome.body, type=KeyShown)
        return msgspec.structs.replace(
            outcome, body=msgspec.json.encode(with_secret(made, secrets))
        )
    assert isinstance(outcome, Answer)
    return msgspec.structs.replace(outcome, body=with_secret(outcome.body, secrets))


def with_secret(made: KeyShown, secrets: Secrets) -> KeyIssued:
    """A key with its newest secret."""
    generation = 1 if made.generation is UNSET else made.generation
    return KeyIssued(**msgspec.structs.asdict(made), key=secrets.api_key(made.id, generation))


async def post_rotate(request: Request) -> Answer | Settled:
    """Give a key a new secret. The old one opens beside it for `overlap_s` more.

    Id, scopes and limits stay, so nothing but the secret has to be carried to where it is used.
    You can rotate only what you could have created. Rotating again ends the secret before.
    """
    body: Rotation = request.body
    assert request.credential is not None
    key_id = request.params["key_id"]
    async with request.reading() as snapshot:
        row = await queries.key(snapshot, key_id)
    if row is None:
        raise KeyNotFound(f"There is no key {key_id[:64]!r}. GET /v1/keys lists them.")
    secret = request.node.secrets.api_key(key_id, row.generation + 1)
    outcome = await request.submit(
        RotateKey(
            key_id=key_id,
            generation=row.generation,
            secret_hash=hash_of_key(secret),
            overlap_s=body.overlap_s,
            by=request.credential.id,
            held=request.credential.scopes,
            idempotency=request.idempotency,
        )
    )
    return issued(outcome, request.node.secrets)


async def get_keys(request: Request) -> Answer:
    """List API keys, newest first, revoked ones too. Secrets are not shown."""
    page: KeyPage = request.query
    before: str | None = None
    if page.cursor is not None:
        (before,) = decode_cursor(page.cursor, str)
    async with request.reading() as snapshot:
        rows = await queries.keys(snapshot, before=before, count_max=page.limit + 1)
    more = len(rows) > page.limit
    rows = rows[: page.limit]
    return Answer(
        body=KeyList(
            items=[shown(row) for row in rows],
            next=encode_cursor(rows[-1].key_id) if more else None,
        )
    )


async def post_revoke(request: Request) -> Answer | Settled:
    """Revoke an API key for ever. Every process refuses it within a second.

    The last key that can manage keys cannot be revoked.
    """
    assert request.credential is not None
    outcome: Answer | Settled = await request.submit(
        RevokeKey(
            key_id=request.params["key_id"],
            revoked_by=request.credential.id,
            idempotency=request.idempotency,
        )
    )
    return outcome


ROUTES = (
    Route(
        method="POST",
        path="/v1/keys",
        handler=post_key,
        summary="Create an API key.",
        permission=MANAGE,
        whose=Whose.SHOP,
        notice="key_made",
        body=NewKey,
        answers={201: KeyIssued},
        problems=(ScopeNotHeld, InvalidExpiry),
        keyed=Keyed.ACCEPTED,
        tag="keys",
    ),
    Route(
        method="GET",
        path="/v1/keys",
        handler=get_keys,
        summary="List API keys.",
        permission=MANAGE,
        whose=Whose.SHOP,
        query=KeyPage,
        answers={200: KeyList},
        tag="keys",
    ),
    Route(
        method="POST",
        path="/v1/keys/{key_id}/revoke",
        handler=post_revoke,
        summary="Revoke an API key.",
        permission=MANAGE,
        whose=Whose.SHOP,
        notice="key_revoked",
        answers={200: KeyShown},
        problems=(KeyNotFound, LastKey),
        keyed=Keyed.ACCEPTED,
        tag="keys",
    ),
    Route(
        method="POST",
        path="/v1/keys/{key_id}/rotate",
        handler=post_rotate,
        summary="Give an API key a new secret.",
        permission=MANAGE,
        whose=Whose.SHOP,
        notice="key_rotated",
        body=Rotation,
        answers={200: KeyIssued},
        problems=(KeyNotFound, FirstKey, ScopeNotHeld),
        keyed=Keyed.ACCEPTED,
        tag="keys",
    ),
)
