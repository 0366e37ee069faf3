"""The public feed: every public event once, with a gap-free position that never changes.

One sequencer at a time (a consumer of the whole log, fenced like any other) numbers events in the
order of the log. The cursor a reader holds is that number, wrapped: it knows nothing of
transactions, and so survives a restore, a failover and a change of topology.
"""

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Raw, Struct

from tradewind.kernel.messages import Decision, Delivered, event_id
from tradewind.platform import faults
from tradewind.platform.bus.log import Body, decode_body
from tradewind.platform.database.pool import Connection
from tradewind.platform.database.transaction import Transaction

SEQUENCER = "sequencer"
BATCH_MAX = 500
# A topic that is rarely used is looked for among so many events a call; `next` goes on from there.
SCANNED_MAX = 10_000
TIMER = "timer:"  # what the subject of a timer begins with
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


# Served by the primary key, from its end.
LAST = """
    SELECT coalesce((SELECT first + count - 1 FROM bus.feed_ranges ORDER BY first DESC LIMIT 1), 0)
"""
NUMBER = """
    INSERT INTO bus.feed_ranges (first, count, from_xid, from_number, to_xid, to_number)
    VALUES ($1, $2, $3::text::xid8, $4, $5::text::xid8, $6)
"""


async def number(tx: Transaction, messages: Sequence[Delivered]) -> Decision:
    """Give the next positions. Safe to repeat: the fence lets one batch after a position commit.

    The batch is all that the log holds between its first and its last event, so its ends are
    enough. Timers that fired are on the log, but they are no facts.
    """
    facts = [message for message in messages if not message.subject.startswith(TIMER)]
    if facts:
        # Whoever numbered since took the position behind the last one that is known here.
        last = tx.recall("feed", ["last"]).get("last")
        if last is None:
            last = await tx.fetch_value(LAST)
        tx.vouch("feed", ["last"])
        tx.remember("feed", {"last": last + len(facts)})
        first, end = facts[0].position, facts[-1].position
        tx.write(
            NUMBER,
            last + 1,
            len(facts),
            str(first.xid),
            first.number,
            str(end.xid),
            end.number,
            expect=1,
        )
    faults.passing("feed-numbered")
    return Decision()


# Served by the primary keys of both: the ranges that the wanted positions lie in.
PAGE = """
    SELECT r.first + e.place - 1 AS position, e.source, e.type, e.subject, e.sequence, e.at, e.body
      FROM bus.feed_ranges r
     CROSS JOIN LATERAL (
           SELECT l.*, row_number() OVER (ORDER BY l.xid, l.number) AS place FROM bus.log l
            WHERE (l.xid, l.number) >= (r.from_xid, r.from_number)
              AND (l.xid, l.number) <= (r.to_xid, r.to_number)
              AND l.subject NOT LIKE 'timer:%') e
     WHERE r.first >= coalesce((SELECT max(first) FROM bus.feed_ranges WHERE first <= $1 + 1), 0)
       AND r.first <= $1 + $2 AND r.first + e.place - 1 > $1 AND r.first + e.place - 1 <= $1 + $2
       AND ($3::text[] IS NULL OR e.source = ANY($3))
     ORDER BY r.first, e.place LIMIT $4
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


def sources_of(
    by_topic: Mapping[str, Sequence[str]], topic: str | None, hidden: Collection[str]
) -> list[str] | None:
    """Whose events a reader is shown; None: everybody's."""
    if topic is None and not hidden:
        return None
    topics = by_topic if topic is None else (topic,)
    told = [source for name in topics for source in by_topic.get(name, ())]
    return [source for source in told if source not in hidden]
