"""Writing to and reading from the log.

A row carries what is needed to find and order an event; the rest of the envelope and the payload
stand in `body`, compact JSON: ``{"data": ..., "key"?, "cause"?, "trace"?}``. What follows from the
columns (id, time, schema) is not stored: it is added where an event leaves the platform.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Raw, Struct

from tradewind.kernel.messages import Delivered, Event, Position, partition_of
from tradewind.platform.database.pool import Connection
from tradewind.platform.database.transaction import Transaction
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

# One read serves every consumer of the process: 500 rows are about 250 kB and 3 ms of decoding.
READ_ROWS_MAX = 500
# Behind every number of a transaction: "everything of this xid".
END_OF_XID = 2**62


class Body(Struct, frozen=True, omit_defaults=True):
    """What stands in the `body` column."""

    data: Raw
    key: str | None = None  # None: the subject
    cause: str | None = None  # "orders/ord_....1": source, subject and sequence of what led to it
    trace: str | None = None  # W3C traceparent, where the request is sampled


encode = msgspec.json.Encoder().encode
decode_body = msgspec.json.Decoder(Body).decode


class Written(Struct, frozen=True):
    """What one unit of work put on the log."""

    xid: int
    partitions: frozenset[int]


class Cause(Struct, frozen=True):
    """What led to an event: the id of another event, and the trace both belong to."""

    id: str | None
    trace: str | None


NO_CAUSE = Cause(None, None)

APPEND = """
    INSERT INTO bus.log (source, at, partition, type, subject, sequence, body, number)
    SELECT $1, $2, e.* FROM unnest($3::smallint[], $4::text[], $5::text[], $6::bigint[], $7::text[])
      WITH ORDINALITY AS e (partition, type, subject, sequence, body, number)
"""


def append(
    tx: Transaction, source: str, events: Sequence[Event], causes: Mapping[str, Cause | Delivered]
) -> frozenset[int]:
    """Queue the events of a unit of work, numbered from 1 in its transaction.

    Their cause is the message with the same key.
    """
    partitions: list[int] = []
    types: list[str] = []
    subjects: list[str] = []
    sequences: list[int] = []
    bodies: list[str] = []
    for event in events:
        subject, key = event.subject, event.key
        cause = causes.get(key, NO_CAUSE)
        body = Body(
            data=Raw(encode(event)),
            key=None if key == subject else key,
            cause=cause.reference if isinstance(cause, Delivered) else cause.id,
            trace=cause.trace,
        )
        partitions.append(partition_of(key))
        types.append(event.type)
        subjects.append(subject)
        sequences.append(event.sequence)
        bodies.append(encode(body).decode())
    tx.write(APPEND, source, tx.now, partitions, types, subjects, sequences, bodies)
    return frozenset(partitions)


class LogRow(Struct, frozen=True):
    """A row of the log; all but the horizon are None where nothing new stands below it."""

    horizon: int
    xid: int | None = None
    number: int = 0
    partition: int = 0
    source: str = ""
    type: str = ""
    subject: str = ""
    sequence: int = 0
    at: datetime | None = None
    body: str = ""


# Served by the primary key (xid, number), in the segments from the cursor on: that alone is what
# the last condition is for. Below xmin every transaction has ended, so nothing can
# still appear behind the cursor; the horizon itself tells how far an empty read has come.
READ = """
    SELECT h.xmin::text::bigint, l.xid::text::bigint, l.number, l.partition, l.source, l.type,
           l.subject, l.sequence, l.at, l.body
      FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xmin) h
      LEFT JOIN LATERAL (
           SELECT xid, number, partition, source, type, subject, sequence, at, body
             FROM bus.log
            WHERE (xid, number) > ($1::text::xid8, $2) AND xid < h.xmin
              AND xid >= $1::text::xid8
            ORDER BY xid, number LIMIT $3) l ON true
     ORDER BY l.xid, l.number
"""


async def read(
    connection: Connection, after: Position, *, rows_max: int = READ_ROWS_MAX
) -> tuple[list[LogRow], Position]:
    """The next rows of the log, and the place up to which everything has now been seen."""
    rows = [
        LogRow(*row) for row in await connection.fetch(READ, str(after.xid), after.number, rows_max)
    ]
    if rows[0].xid is None:
        return [], max(after, Position(rows[0].horizon - 1, END_OF_XID))
    if len(rows) < rows_max:
        return rows, Position(rows[0].horizon - 1, END_OF_XID)
    last = rows[-1]
    assert last.xid is not None
    return rows, Position(last.xid, last.number)


# The same, without what stands there: served by the primary key alone.
PLACES = """
    SELECT h.xmin::text::bigint, l.xid::text::bigint, l.number
      FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xmin) h
      LEFT JOIN LATERAL (
           SELECT xid, number FROM bus.log
            WHERE (xid, number) > ($1::text::xid8, $2) AND xid < h.xmin
              AND xid >= $1::text::xid8
            ORDER BY xid, number LIMIT $3) l ON true
     ORDER BY l.xid, l.number
"""


async def places(
    connection: Connection, after: Position, *, rows_max: int = READ_ROWS_MAX
) -> tuple[list[Position], Position]:
    """Like `read`, but only where events stand: for who knows most of them already."""
    rows = await connection.fetch(PLACES, str(after.xid), after.number, rows_max)
    horizon = rows[0][0]
    if rows[0][1] is None:
        return [], max(after, Position(horizon - 1, END_OF_XID))
    found = [Position(xid, number) for _, xid, number in rows]
    return found, Position(horizon - 1, END_OF_XID) if len(rows) < rows_max else found[-1]


# Served by the primary key.
ROWS_OF = """
    SELECT 0::bigint, xid::text::bigint, number, partition, source, type, subject, sequence, at,
           body
      FROM bus.log
     WHERE xid = ANY($1::text[]::xid8[]) AND xid >= $2::text::xid8 AND xid <= $3::text::xid8
"""


async def rows_of(connection: Connection, xids: Sequence[int]) -> dict[Position, LogRow]:
    """What these transactions wrote, by place."""
    args = [str(xid) for xid in xids], str(min(xids)), str(max(xids))
    rows = [LogRow(*row) for row in await connection.fetch(ROWS_OF, *args)]
    return {Position(row.xid or 0, row.number): row for row in rows}


class Vocabulary:
    """The event types this process knows, and how each is decoded."""

    def __init__(self, events: Sequence[type[Event]]) -> None:
        self.known: dict[str, type[Event]] = {event.type: event for event in events}
        self._decoders = {name: msgspec.json.Decoder(event) for name, event in self.known.items()}

    def decode(self, row: LogRow) -> Delivered:
        """A row as what a consumer is handed; without its event where that cannot be decoded."""
        decoder = self._decoders.get(row.type)
        assert row.xid is not None and row.at is not None
        body, event = Body(data=Raw(b"null")), None
        try:
            body = decode_body(row.body)
            event = decoder.decode(body.data) if decoder else None
        except msgspec.DecodeError as error:
            logger.error(
                "bus.undecodable", subject=row.subject, sequence=row.sequence, error=str(error)
            )
        return Delivered(
            source=row.source,
            type=row.type,
            subject=row.subject,
            sequence=row.sequence,
            at=row.at,
            partition=row.partition,
            position=Position(row.xid, row.number),
            key=body.key or row.subject,
            event=event,
            trace=body.trace,
        )
