"""The public feed: every public event once, with a gap-free position that never changes.

One sequencer at a time (a consumer of the whole log, fenced like any other) numbers events in the
order of the log. The cursor a reader holds is that number, wrapped: it knows nothing of
transactions, and so survives a restore, a failover and a change of topology.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from msgspec import Raw, Struct

from tradewind.kernel.messages import Decision, Delivered, event_id
from tradewind.platform.bus.log import Body, decode_body
from tradewind.platform.database.pool import Connection
from tradewind.platform.database.transaction import Transaction

SEQUENCER = "sequencer"
BATCH_MAX = 500
# A topic that is rarely used is looked for among so many events a call; `next` goes on from there.
SCANNED_MAX = 10_000
CURSOR_VERSION = "f1:"
SPEC_VERSION = "1.0"


class FeedEvent(Struct, frozen=True, omit_defaults=True):
    """An event as outsiders read it: CloudEvents 1.0 in JSON."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    sequence: int
    partitionkey: str
    dataschema: str
    datacontenttype: str
    data: Raw
    causationid: str | None = None
    traceparent: str | None = None


class FeedPage(Struct, frozen=True):
    """A page of the feed; pass `next` as `after` to go on, now or in a year."""

    items: list[FeedEvent]
    next: str


LAST = "SELECT coalesce(max(position), 0) FROM bus.feed"
NUMBER = """
    INSERT INTO bus.feed (position, xid, number)
    SELECT e.position, e.xid::text::xid8, e.number
      FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS e (position, xid, number)
"""


async def number(tx: Transaction, messages: Sequence[Delivered]) -> Decision:
    """Give the next positions. Safe to repeat: the fence lets one batch after a position commit."""
    last = await tx.fetch_value(LAST)
    tx.write(
        NUMBER,
        list(range(last + 1, last + 1 + len(messages))),
        [message.position.xid for message in messages],
        [message.position.number for message in messages],
    )
    return Decision()


# Served by the primary keys of both.
PAGE = """
    SELECT f.position, l.source, l.type, l.subject, l.sequence, l.at, l.body
      FROM bus.feed f JOIN bus.log l ON l.xid = f.xid AND l.number = f.number
     WHERE f.position > $1 AND f.position <= $1 + $2 AND ($3::text[] IS NULL OR l.source = ANY($3))
     ORDER BY f.position LIMIT $4
"""


async def page(
    connection: Connection, *, after: int, sources: Sequence[str] | None, limit: int
) -> FeedPage:
    """The events behind a position, at most `limit`, of these sources or of all."""
    scanned = limit if sources is None else SCANNED_MAX
    # Asked first: what is numbered after this is not passed over by a page that did not see it.
    last = await connection.fetchval(LAST)
    rows = await connection.fetch(PAGE, after, scanned, sources, limit)
    if rows and (len(rows) == limit or sources is None):
        reached = rows[-1]["position"]
    else:
        reached = max(after, min(after + scanned, last), rows[-1]["position"] if rows else 0)
    return FeedPage(items=[cloud_event(row) for row in rows], next=encode_cursor(reached))


async def end(connection: Connection) -> str:
    """The cursor behind the last numbered event."""
    return encode_cursor(await connection.fetchval(LAST))


# Served by log_one_fact_per_version: everything any source said about a subject.
HISTORY = """
    SELECT source, type, subject, sequence, at, body FROM bus.log
     WHERE subject = $1 ORDER BY xid, number LIMIT $2
"""


async def history(connection: Connection, subject: str, *, count_max: int) -> list[FeedEvent]:
    """What happened to a subject, by the order of the log."""
    return [cloud_event(row) for row in await connection.fetch(HISTORY, subject, count_max)]


def cloud_event(row: Any) -> FeedEvent:
    """A row of the log as a CloudEvent."""
    body: Body = decode_body(row["body"])
    return FeedEvent(
        specversion=SPEC_VERSION,
        id=event_id(row["subject"], row["sequence"]),
        source=f"/tradewind/{row['source']}",
        type=row["type"],
        subject=row["subject"],
        time=row["at"].isoformat().replace("+00:00", "Z"),
        sequence=row["sequence"],
        partitionkey=body.key or row["subject"],
        dataschema=f"/schemas/{row['type']}",
        datacontenttype="application/json",
        data=body.data,
        causationid=body.cause,
        traceparent=body.trace,
    )


def encode_cursor(position: int) -> str:
    """A position as the opaque text a reader keeps."""
    return base64.urlsafe_b64encode(f"{CURSOR_VERSION}{position}".encode()).decode().rstrip("=")


def decode_cursor(text: str) -> int | None:
    """The position in a cursor, or None where it is none of ours."""
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        version, _, position = plain.decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        return None
    if f"{version}:" != CURSOR_VERSION or not position.isdigit() or len(position) > 18:
        return None
    return int(position)
