"""The log as it was written, wherever its parts are: archive files and the database as one.

The feed reads a page from a file where the position lies in one. Who goes through everything, a
rebuild or a check, gets a view over both: what left the database is laid out beside it for the
length of a session. While it is, no further segment leaves.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct

from tradewind.kernel import ids
from tradewind.platform.bus import archive, feed, segments
from tradewind.platform.bus.archive import Line, Written
from tradewind.platform.bus.feed import FeedEvent, FeedPage
from tradewind.platform.database.pool import Connection

ROWS_AT_ONCE = 5_000
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Names(Struct, frozen=True):
    """What to read from in place of bus.log and bus.feed."""

    log: str = "bus.log"
    feed: str = "bus.feed"

    def within(self, sql: str) -> str:
        """A statement about bus.log and bus.feed, about these."""
        if self.log == "bus.log":
            return sql
        sql = sql.replace("bus.feed_ranges", "bus.\0")
        sql = sql.replace("bus.log", self.log).replace("bus.feed", self.feed)
        return sql.replace("bus.\0", "bus.feed_ranges")


VIEWED = """
    CREATE INDEX ON archived_log (xid, number);
    CREATE INDEX ON archived_log (subject, source, sequence);
    ANALYZE archived_log;
    CREATE TEMP VIEW whole_log AS SELECT * FROM archived_log UNION ALL SELECT * FROM bus.log;
    CREATE TEMP VIEW whole_feed AS
    SELECT r.first + e.place - 1 AS position, e.xid, e.number
      FROM bus.feed_ranges r
     CROSS JOIN LATERAL (
           SELECT l.xid, l.number, row_number() OVER (ORDER BY l.xid, l.number) AS place
             FROM whole_log l
            WHERE (l.xid, l.number) >= (r.from_xid, r.from_number)
              AND (l.xid, l.number) <= (r.to_xid, r.to_number)
              AND l.subject NOT LIKE 'timer:%') e;
"""
COLUMNS = (*("xid", "number", "partition", "source", "type", "subject", "sequence", "at", "body"),)


async def lay_out(
    connection: Connection, folder: Path, *, types: Collection[str] | None = None
) -> Names:
    """Bring what left the database beside it, for this session; of these types or all.

    The files are verified first: raises `ArchiveBroken`. Where nothing has left, nothing is done.
    """
    await connection.execute("SELECT pg_advisory_lock_shared($1)", segments.ARCHIVER_LOCK)
    files = await segments.archived(connection, dropped=True)
    if not files:
        return Names()
    await asyncio.to_thread(segments.verify_chain, folder, files)
    await connection.execute("CREATE TEMP TABLE archived_log (LIKE bus.log)")
    lines = archive.all_lines(folder, files)
    while rows := await asyncio.to_thread(next_rows, lines, types):
        await connection.copy_records_to_table("archived_log", records=rows, columns=COLUMNS)
    await connection.execute(VIEWED)
    return Names("pg_temp.whole_log", "pg_temp.whole_feed")


def next_rows(lines: Iterator[Line], types: Collection[str] | None) -> list[tuple[Any, ...]]:
    """The next rows for the table; none at the end."""
    wanted = (line for line in lines if types is None or line.type in types)
    return [
        (
            line.xid,
            line.number,
            line.partition,
            line.source,
            line.type,
            line.subject,
            line.sequence,
            datetime.fromisoformat(line.at),
            line.body,
        )
        for line in islice(wanted, ROWS_AT_ONCE)
    ]


# -- pages of the feed

# Of the files alone, oldest first, the one with the position behind this.
FILE_BEHIND = f"""
    SELECT {segments.WRITTEN_COLUMNS} FROM bus.segments
     WHERE dropped_at IS NOT NULL AND last_position > $1 ORDER BY number LIMIT 1
"""


class Part(Struct, frozen=True):
    """What a file gave to a page, and the position up to which it was read; None: to its end."""

    events: list[FeedEvent]
    reached: int | None
    scanned: int


async def page(
    connection: Connection,
    folder: Path,
    *,
    after: int,
    sources: Sequence[str] | None,
    limit: int,
) -> FeedPage:
    """The events behind a position, from files and database. Raises `ArchiveBroken`."""
    # The database first: what leaves it between the two looks is then found in its file.
    found: FeedPage | None = await feed.page(connection, after=after, sources=sources, limit=limit)
    items: list[FeedEvent] = []
    to_scan = feed.SCANNED_MAX
    while (row := await connection.fetchrow(FILE_BEHIND, after)) is not None:
        written = segments.written_of(row)
        rest = limit - len(items)
        lines = archive.lines_from(folder, written, after)
        part = await asyncio.to_thread(part_of, lines, sources, limit=rest, to_scan=to_scan)
        items += part.events
        after = part.reached or written.last_position
        to_scan -= part.scanned
        found = None
        if len(items) == limit or to_scan <= 0:
            return FeedPage(items=items, next=feed.encode_cursor(after))
    if found is None:
        rest = limit - len(items)
        found = await feed.page(connection, after=after, sources=sources, limit=rest)
    return FeedPage(items=items + found.items, next=found.next)


def part_of(
    lines: Iterator[Line], sources: Sequence[str] | None, *, limit: int, to_scan: int
) -> Part:
    """At most `limit` events of these lines, of at most `to_scan`."""
    events: list[FeedEvent] = []
    scanned = 0
    for line in lines:
        if line.position is None:
            continue
        scanned += 1
        if sources is None or line.source in sources:
            events.append(feed.cloud_event(row_of(line)))
        if len(events) == limit or scanned == to_scan:
            return Part(events, line.position, scanned)
    return Part(events, None, scanned)


# -- what happened to a subject

# Files whose newest event is older than the subject are not looked into. Ids carry their time by
# the clock of whoever made them: so much is allowed for.
CLOCK_SLACK = timedelta(hours=1)
FILES_SINCE = f"""
    SELECT {segments.WRITTEN_COLUMNS} FROM bus.segments
     WHERE dropped_at IS NOT NULL AND last_at >= $1 ORDER BY number
"""


async def history(
    connection: Connection, folder: Path, subject: str, *, count_max: int
) -> list[FeedEvent]:
    """What happened to a subject, by the order of the log. Raises `ArchiveBroken`."""
    since = ids.time_of(subject)
    recent = await feed.history(connection, subject, count_max=count_max)
    rows = await connection.fetch(FILES_SINCE, BEGINNING if since is None else since - CLOCK_SLACK)
    items: list[FeedEvent] = []
    for written in map(segments.written_of, rows):
        items += await asyncio.to_thread(about, folder, written, subject)
    # A segment may have moved between the two looks: what stands in its file was read twice.
    seen = {(event.source, event.sequence) for event in items}
    items += [event for event in recent if (event.source, event.sequence) not in seen]
    return items[:count_max]


def about(folder: Path, written: Written, subject: str) -> list[FeedEvent]:
    """The events of a file about a subject."""
    return [
        feed.cloud_event(row_of(line)) for line in archive.lines_about(folder, written, subject)
    ]


def row_of(line: Line) -> dict[str, Any]:
    """A line as the row it was."""
    return {
        "source": line.source,
        "type": line.type,
        "subject": line.subject,
        "sequence": line.sequence,
        "at": datetime.fromisoformat(line.at),
        "body": line.body,
    }
