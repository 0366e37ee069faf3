"""How an OAuth client proves who it is: a secret, a certificate (RFC 8705), or not at all."""

import base64
import binascii
from datetime import datetime
from typing import NamedTuple
from urllib.parse import unquote_plus

from tradewind.contexts.identity.problems import InvalidClient, InvalidOAuthRequest
from tradewind.contexts.identity.queries import oauth as queries
from tradewind.contexts.identity.tables.oauth import ClientRow
from tradewind.platform.gateway.request import Request
from tradewind.platform.security.handles import opened
from tradewind.platform.security.secrets import Secrets

CHALLENGE = {"www-authenticate": 'Basic realm="tradewind", charset="UTF-8"'}


class Proof(NamedTuple):
    """What a client sent of itself."""

    client_id: str | None
    secret: str | None
    by_header: bool


async def proven_client(
    request: Request, client_id: str | None, client_secret: str | None
) -> ClientRow:
    """The client that asks. Raises `InvalidClient` unless it proved to be it."""
    proof = sent(request.headers.get("authorization"), client_id, client_secret)
    if proof.client_id is None:
        raise InvalidClient("Say which client asks: client_id, or Basic.", headers=CHALLENGE)
    async with request.reading() as snapshot:
        row = await queries.client(snapshot, proof.client_id)
        now = snapshot.now
    if row is None or row.revoked_at is not None:
        raise refused(proof)
    if row.authentication == "secret":
        good = is_secret_of(request.node.secrets, row, proof.secret or "", now)
    elif row.authentication == "certificate":
        good = proof.secret is None and request.certificate in row.certificates
    else:
        good = proof.secret is None
    if not good:
        raise refused(proof)
    return row


def sent(header: str | None, client_id: str | None, client_secret: str | None) -> Proof:
    """What came, in the header or in the form: one of them."""
    if header is None:
        return Proof(client_id, client_secret, by_header=False)
    kind, _, text = header.partition(" ")
    if client_secret is not None:
        raise InvalidOAuthRequest("Send the client's secret once: by Basic, or in the form.")
    try:
        assert kind.lower() == "basic"
        name, colon, secret = base64.b64decode(text.strip(), validate=True).decode().partition(":")
        assert colon
    except (AssertionError, binascii.Error, ValueError):
        raise InvalidClient("The Authorization header is not Basic.", headers=CHALLENGE) from None
    # RFC 6749, 2.3.1: both are form-encoded before they are joined.
    name, secret = unquote_plus(name), unquote_plus(secret)
    if client_id is not None and client_id != name:
        raise InvalidOAuthRequest("client_id and the Authorization header name two clients.")
    return Proof(name, secret, by_header=True)


def is_secret_of(secrets: Secrets, row: ClientRow, secret: str, now: datetime) -> bool:
    """Whether this is the client's secret, or the one before while that still counts."""
    found = opened(secrets, "cs", secret)
    if found is None or found.id != row.client_id:
        return False
    if found.generation == row.secret_generation:
        return True
    former = found.generation == row.secret_generation - 1
    return former and row.former_until is not None and now < row.former_until


def refused(proof: Proof) -> InvalidClient:
    """The refusal; the same whatever was wrong."""
    return InvalidClient(headers=CHALLENGE if proof.by_header else {})
