"""One answer per key, kept in the transaction of what it answers.

Before a batch runs, its keys are looked up: an answered key is replayed, a key under another body
is refused, an unanswered one is waited for. The key rows of the rest are written with the batch;
a twin in another process then fails on the primary key, runs alone, and finds the row.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from tradewind.kernel.answers import Answer, Idempotency, Pending, Settled
from tradewind.kernel.messages import Command
from tradewind.kernel.problems import Problem
from tradewind.platform.database.pool import Connection
from tradewind.platform.database.transaction import Transaction

encode_body = msgspec.json.Encoder().encode
encode_headers = msgspec.json.Encoder(order="sorted").encode
decode_headers = msgspec.json.Decoder(dict[str, str]).decode


class IdempotencyKeyReused(Problem):
    """The same key came with another body."""

    status = 422
    code = "idempotency_key_reused"
    title = "This Idempotency-Key was used for a different request."


class IdempotencyInFlight(Problem):
    """The first request with this key is still at work."""

    status = 409
    code = "idempotency_in_flight"
    title = "The first request with this Idempotency-Key is still running."


class KeyRow(Struct, frozen=True):
    """What is known about a key."""

    digest: bytes
    fingerprint: bytes
    resource: str | None
    status: int | None
    body: bytes | None
    headers: str | None


def digest_of(idempotency: Idempotency) -> bytes:
    """The key row's primary key: scope and key, hashed."""
    text = f"{idempotency.scope}\n{idempotency.key}".encode()
    return hashlib.blake2b(text, digest_size=16).digest()


# Served by the primary keys of both.
LOOK_UP = """
    SELECT k.digest, k.fingerprint, k.resource, coalesce(k.status, a.status),
           coalesce(k.body, a.body), coalesce(k.headers, a.headers)
      FROM {schema}.idempotency_keys k LEFT JOIN {schema}.kept_answers a USING (resource)
     WHERE k.digest = ANY($1::bytea[])
"""


async def look_up(
    connection: Connection, schema: str, keys: Sequence[Idempotency]
) -> dict[bytes, KeyRow]:
    """What is known about these keys, by digest."""
    rows = await connection.fetch(LOOK_UP.format(schema=schema), [digest_of(key) for key in keys])
    return {row["digest"]: KeyRow(*row) for row in rows}


def outcome_of(row: KeyRow, idempotency: Idempotency) -> Settled | Pending | Problem:
    """What a request is told whose key is known already."""
    if row.fingerprint != idempotency.fingerprint:
        return IdempotencyKeyReused(
            "Use a new key for a new request, or repeat the first request unchanged."
        )
    if row.status is not None:
        return settled(row, replayed=True)
    assert row.resource is not None
    return Pending(row.resource)


def settled(row: KeyRow, *, replayed: bool) -> Settled:
    """The kept answer of a row."""
    assert row.status is not None
    headers = decode_headers(row.headers) if row.headers else {}
    return Settled(row.status, row.body or b"", headers, replayed)


def fixed(answer: Answer | Problem, *, trace_id: str | None = None) -> Settled:
    """An answer in its final form: the bytes that the first caller and every later one get."""
    if isinstance(answer, Problem):
        body = encode_body(answer.document(trace_id=trace_id))
        headers = {"content-type": "application/problem+json", **answer.headers}
        return Settled(answer.status, body, headers)
    body = answer.body if isinstance(answer.body, bytes) else b""
    if answer.body is not None and not isinstance(answer.body, bytes):
        body = encode_body(answer.body)
    headers = {"content-type": answer.media_type, **answer.headers}
    return Settled(answer.status, body, headers, shown=answer.body)


KEEP = """
    INSERT INTO {schema}.idempotency_keys
           (digest, fingerprint, resource, status, body, headers, trace)
    SELECT k.* FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::smallint[], $5::bytea[],
                           $6::text[], $7::text[]) AS k
"""


def leaves_row(outcome: Any) -> bool:
    """Whether an outcome is kept under its key."""
    return not isinstance(outcome, Problem) or outcome.kept


def keep(
    tx: Transaction, schema: str, commands: Sequence[Command], outcomes: Sequence[Any]
) -> dict[int, Settled]:
    """Queue the key rows of what was decided or is pending; the fixed answers, by place.

    A refusal that the business did not decide (`Problem.kept` is false) leaves no row: the same
    key then simply runs again.
    """
    rows: list[tuple[Any, ...]] = []
    answers: dict[int, Settled] = {}
    for index, (command, outcome) in enumerate(zip(commands, outcomes, strict=True)):
        key = command.idempotency
        if key is None or not leaves_row(outcome):
            continue
        if isinstance(outcome, Pending):
            resource = outcome.resource
            rows.append(
                (digest_of(key), key.fingerprint, resource, None, None, None, command.trace)
            )
            continue
        assert isinstance(outcome, Answer | Problem), "an idempotent command answers"
        answer = answers[index] = fixed(outcome, trace_id=trace_id_of(command.trace))
        headers = encode_headers(dict(answer.headers)).decode()
        rows.append(
            (digest_of(key), key.fingerprint, None, answer.status, answer.body, headers, None)
        )
    if rows:
        tx.write(KEEP.format(schema=schema), *map(list, zip(*rows, strict=True)))
    return answers


# Nearly always there is no answer yet; where there is one, the unit is run anew.
SETTLE = """
    INSERT INTO {schema}.kept_answers (resource, status, body, headers)
    SELECT u.resource, u.status, convert_to(u.body, 'UTF8'), u.headers
      FROM unnest($1::text[], $2::smallint[], $3::text[], $4::text[])
           AS u (resource, status, body, headers)
"""
# The first answer stays. Two units that answer the same are put in line by the row they decide on.
SETTLE_ANEW = (
    SETTLE
    + """
     WHERE NOT EXISTS (SELECT FROM {schema}.kept_answers k WHERE k.resource = u.resource)
"""
)


def settle(
    tx: Transaction, schema: str, answers: Mapping[str, Answer | Problem]
) -> dict[str, Settled]:
    """Queue the answers to what was pending, by resource."""
    done = {
        resource: fixed(answer, trace_id=trace_of_resource(resource))
        for resource, answer in answers.items()
    }
    tx.write(
        (SETTLE_ANEW if tx.anew else SETTLE).format(schema=schema),
        list(done),
        [answer.status for answer in done.values()],
        [answer.body.decode() for answer in done.values()],
        [encode_headers(dict(answer.headers)).decode() for answer in done.values()],
    )
    return done


def trace_id_of(trace: str | None) -> str | None:
    """The trace id inside a W3C traceparent."""
    return trace.split("-")[1] if trace else None


def trace_of_resource(resource: str) -> str:
    """A trace id that follows from the resource, so that a later answer has the same bytes."""
    return hashlib.blake2b(resource.encode(), digest_size=16).hexdigest()


ANSWERED = """
    SELECT resource, status, body, headers FROM {schema}.kept_answers
     WHERE resource = ANY($1::text[])
"""


async def answered(
    connection: Connection, schema: str, resources: Sequence[str]
) -> dict[str, Settled]:
    """Those of the pending resources that have an answer by now."""
    rows = await connection.fetch(ANSWERED.format(schema=schema), list(resources))
    return {
        row["resource"]: Settled(row["status"], row["body"], decode_headers(row["headers"]))
        for row in rows
    }
