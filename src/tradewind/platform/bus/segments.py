"""Segments of the log: new ones ahead of need, old ones to their files and out of the database.

A segment is a partition of `bus.log` by transaction number. It moves in three steps, each of which
may be the last one of a process, and each of which whoever comes next simply does again or finds
done: the file is written, under another name until it is whole; the database notes it, with its
hashes; the partition is dropped. Nothing is dropped that was not read back from its file first.
One process at a time does this, held by an advisory lock.
"""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from msgspec import Struct

from tradewind.platform import faults
from tradewind.platform.bus.archive import (
    BLOCK_EVENTS,
    NO_CHAIN,
    ArchiveBroken,
    Writer,
    Written,
    verify,
)
from tradewind.platform.bus.log import LogRow
from tradewind.platform.database.pool import Connection, Pool
from tradewind.platform.settings import Settings
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

ARCHIVER_LOCK = 7_311_002
# A new segment needs the log for itself, for a moment. Who reads it for long (a check) comes first.
LOCK_TIMEOUT_MS = 500
# Within these a segment ends, whatever its events: 2^17 transactions are minutes of a busy shop,
# 2^22 some ten days of an idle one.
SIZE_XIDS_MIN = 1 << 17
SIZE_XIDS_MAX = 1 << 22
# About as many events should a segment hold: 4 GB in the database, half of one in its file.
SEGMENT_EVENTS = 10_000_000
UPKEEP_EVERY_S = 60.0
# Of the time a block takes, so much again is left to the orders.
REST_SHARE = 2.0

WRITTEN_COLUMNS = """number, file, events, first_position, last_position, size_bytes,
           last_at, content_sha256, chain_sha256, blocks, block_positions"""
ARCHIVED = f"SELECT {WRITTEN_COLUMNS} FROM bus.segments WHERE file IS NOT NULL ORDER BY number"
DROPPED = f"SELECT {WRITTEN_COLUMNS} FROM bus.segments WHERE dropped_at IS NOT NULL ORDER BY number"


class Moved(Struct, frozen=True):
    """What became of one segment."""

    segment: int
    events: int
    size_bytes: int


class Verified(Struct, frozen=True):
    """What a check of all files found."""

    files: int
    events: int
    size_bytes: int


def archive_folder(settings: Settings) -> Path:
    """Where the files of an installation lie."""
    return settings.home / "archive"


def written_of(row: Any) -> Written:
    """A row of bus.segments as what its writer noted."""
    return Written(**dict(zip(Written.__struct_fields__, row, strict=True)))


# -- ahead of need

# How far the last segment is, and how many events a transaction had lately.
AHEAD = """
    SELECT s.from_xid::text::bigint AS begins,
           pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next,
           (SELECT count(*)::float8
                   / greatest(1, max(xid::text::bigint) - min(xid::text::bigint))
              FROM (SELECT xid FROM bus.log ORDER BY xid DESC, number DESC LIMIT 1000) l)
               AS events_per_xid
      FROM bus.segments s WHERE to_xid IS NULL
"""


async def keep_ahead(connection: Connection, *, segment_events: int = SEGMENT_EVENTS) -> bool:
    """See that the last segment lies well ahead; whether one was added.

    `connection` speaks as the owner of the log.
    """
    row = await connection.fetchrow(AHEAD)
    density = max(row["events_per_xid"] or 0.0, 1e-9)
    size = int(min(max(segment_events / density, SIZE_XIDS_MIN), SIZE_XIDS_MAX))
    if row["begins"] - row["next"] > size // 2:
        return False
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            await connection.execute("SELECT bus.roll($1)", size)
    except asyncpg.LockNotAvailableError:
        logger.warning("segments.busy", next=row["next"], last_begins=row["begins"])
        return False
    return True


# -- what may go

# The oldest living segment, if all have passed it: every transaction of it has ended, no consumer
# and no dead letter is in it, and its newest event is old enough. `limit` is in the way of none.
OLDEST = """
    SELECT s.number, s.from_xid::text::bigint AS from_xid, s.to_xid::text::bigint AS to_xid,
           s.file IS NOT NULL AS is_archived,
           coalesce((SELECT last_position FROM bus.segments WHERE number = s.number - 1), 0)
               AS after_position,
           (SELECT chain_sha256 FROM bus.segments WHERE number = s.number - 1) AS previous
      FROM bus.segments s
     WHERE s.dropped_at IS NULL AND s.to_xid <= pg_snapshot_xmin(pg_current_snapshot())
       AND s.to_xid <= (SELECT min(xid) FROM bus.offsets)
       AND NOT EXISTS (SELECT FROM bus.dead_letters d WHERE d.xid < s.to_xid)
       AND coalesce((SELECT at FROM bus.log l WHERE l.xid < s.to_xid
                      ORDER BY l.xid DESC, l.number DESC LIMIT 1) < $1, true)
       AND NOT EXISTS (SELECT FROM bus.segments o
                        WHERE o.number < s.number AND o.dropped_at IS NULL)
"""
# Served by the primary key of the segment.
BLOCK = """
    SELECT 0::bigint, xid::text::bigint, number, partition, source, type, subject, sequence, at,
           body
      FROM bus.log
     WHERE (xid, number) > ($1::text::xid8, $2) AND xid >= $1::text::xid8
       AND xid < $3::text::xid8 ORDER BY xid, number LIMIT $4
"""
# The position that the feed gave to the last event before a transaction number.
LAST_POSITION = """
    SELECT coalesce(max(CASE WHEN r.to_xid < $1::text::xid8 THEN r.first + r.count - 1
        ELSE r.first - 1 + (SELECT count(*) FROM bus.log l
                             WHERE (l.xid, l.number) >= (r.from_xid, r.from_number)
                               AND l.xid < $1::text::xid8 AND l.subject NOT LIKE 'timer:%') END), 0)
      FROM (SELECT * FROM bus.feed_ranges WHERE from_xid < $1::text::xid8
             ORDER BY first DESC LIMIT 1) r
"""
NOTE = """
    UPDATE bus.segments
       SET file = $2, events = $3, first_position = $4, last_position = $5, size_bytes = $6,
           last_at = $7, content_sha256 = $8, chain_sha256 = $9, blocks = $10,
           block_positions = $11, archived_at = now()
     WHERE number = $1 AND file IS NULL
"""
# A range of the feed may lie on both sides of the border: its second part becomes a range.
SPLIT = """
    WITH crossing AS (
      SELECT * FROM bus.feed_ranges
       WHERE from_xid < $1::text::xid8 AND to_xid >= $1::text::xid8),
    kept AS (
      SELECT l.xid, l.number FROM bus.log l, crossing c
       WHERE l.xid >= $1::text::xid8 AND (l.xid, l.number) <= (c.to_xid, c.to_number)
         AND l.subject NOT LIKE 'timer:%' ORDER BY l.xid, l.number LIMIT 1),
    gone AS (
      SELECT l.xid, l.number FROM bus.log l, crossing c
       WHERE l.xid < $1::text::xid8 AND (l.xid, l.number) >= (c.from_xid, c.from_number)
         AND l.subject NOT LIKE 'timer:%' ORDER BY l.xid DESC, l.number DESC LIMIT 1),
    shortened AS (
      UPDATE bus.feed_ranges r
         SET count = $2 - r.first + 1, to_xid = gone.xid, to_number = gone.number
        FROM crossing c, gone WHERE r.first = c.first RETURNING r.first)
    INSERT INTO bus.feed_ranges (first, count, from_xid, from_number, to_xid, to_number)
    SELECT $2 + 1, c.first + c.count - 1 - $2, kept.xid, kept.number, c.to_xid, c.to_number
      FROM crossing c, kept
"""
DROP = "UPDATE bus.segments SET dropped_at = now() WHERE number = $1 AND dropped_at IS NULL"


async def move_oldest(
    connection: Connection, folder: Path, *, older_than: timedelta, now: datetime
) -> Moved | None:
    """Bring the oldest segment to its file and out of the database, where it may go.

    None: there is none that may, or somebody else is at it. `connection` speaks as the owner of
    the log. Raises `ArchiveBroken` where a file is not what was written; then nothing is dropped.
    """
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", ARCHIVER_LOCK):
        return None
    try:
        segment = await connection.fetchrow(OLDEST, now - older_than)
        if segment is None:
            return None
        if not segment["is_archived"]:
            await write(connection, folder, segment)
        return await drop(connection, folder, segment)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", ARCHIVER_LOCK)


async def write(connection: Connection, folder: Path, segment: Any) -> None:
    """Write a segment's file and note it. Blocks are packed in a thread, with rests in between."""
    to_xid = segment["to_xid"]
    writer = await asyncio.to_thread(
        Writer,
        folder,
        segment=segment["number"],
        from_xid=segment["from_xid"],
        to_xid=to_xid,
        previous=segment["previous"] or NO_CHAIN,
        after_position=segment["after_position"],
    )
    loop = asyncio.get_running_loop()
    try:
        xid, number = 0, 0
        while True:
            began = loop.time()
            args = str(xid), number, str(to_xid), BLOCK_EVENTS
            rows = [LogRow(*row) for row in await connection.fetch(BLOCK, *args)]
            if not rows:
                break
            await asyncio.to_thread(writer.add, rows)
            xid, number = rows[-1].xid or 0, rows[-1].number
            await asyncio.sleep((loop.time() - began) * REST_SHARE)
        position = await connection.fetchval(LAST_POSITION, str(to_xid))
        if position != writer.position:
            raise ArchiveBroken(
                f"Segment {segment['number']} ends at position {position} of the feed, its events "
                f"count to {writer.position}."
            )
        faults.passing("segment-half-written")
        written = await asyncio.to_thread(writer.finish)
    except BaseException:
        writer.abandon()
        raise
    faults.passing("segment-written")
    await connection.execute(NOTE, *[getattr(written, n) for n in Written.__struct_fields__])
    faults.passing("segment-noted")


async def drop(connection: Connection, folder: Path, segment: Any) -> Moved | None:
    """Read the file back, then drop the partition."""
    number = segment["number"]
    row = await connection.fetchrow(
        f"SELECT {WRITTEN_COLUMNS} FROM bus.segments WHERE number = $1", number
    )
    written = written_of(row)
    await asyncio.to_thread(verify, folder, written, segment["previous"] or NO_CHAIN)
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            await connection.execute("LOCK TABLE bus.log IN ACCESS EXCLUSIVE MODE")
            await connection.execute(SPLIT, str(segment["to_xid"]), written.last_position)
            await connection.execute(DROP, number)
            await connection.execute(f"DROP TABLE bus.log_{number}")
            faults.passing("segment-dropping")
    except asyncpg.LockNotAvailableError:
        logger.warning("segments.busy", segment=number)
        return None
    logger.info(
        "segments.archived", segment=number, events=written.events, bytes=written.size_bytes
    )
    return Moved(number, written.events, written.size_bytes)


async def upkeep(pool: Pool, settings: Settings) -> None:
    """Keep a segment ahead and bring old ones to their files, until cancelled."""
    while True:
        await asyncio.sleep(UPKEEP_EVERY_S * random.uniform(0.8, 1.2))
        try:
            connection = await pool.connect(name="tradewind segments")
            try:
                await once(connection, settings)
            finally:
                await connection.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as fault:
            logger.warning("segments.fault", fault=repr(fault)[:300])
        except ArchiveBroken as broken:
            logger.error("segments.archive_broken", why=str(broken))


async def once(connection: Connection, settings: Settings) -> list[Moved]:
    """One round of upkeep: what was archived."""
    await keep_ahead(connection)
    moved: list[Moved] = []
    if settings.archive_days:
        age = timedelta(days=settings.archive_days)
        now = datetime.now(UTC)
        while one := await move_oldest(
            connection, archive_folder(settings), older_than=age, now=now
        ):
            moved.append(one)
    return moved


# -- what is in files


async def archived(connection: Connection, *, dropped: bool = False) -> list[Written]:
    """Every file, oldest first; with `dropped`, those whose events are nowhere else."""
    rows = await connection.fetch(DROPPED if dropped else ARCHIVED)
    return [written_of(row) for row in rows]


async def verify_all(connection: Connection, folder: Path) -> Verified:
    """Read every file and follow the chain through all. Raises `ArchiveBroken`."""
    files = await archived(connection)
    await asyncio.to_thread(verify_chain, folder, files)
    return Verified(len(files), sum(w.events for w in files), sum(w.size_bytes for w in files))


def verify_chain(folder: Path, files: Sequence[Written]) -> None:
    """Each file is what was written, and follows the one before it. Raises `ArchiveBroken`."""
    previous, position = NO_CHAIN, 0
    for written in files:
        if written.first_position != position + 1:
            raise ArchiveBroken(f"{written.file} begins at {written.first_position}.")
        verify(folder, written, previous)
        previous, position = written.chain_sha256, written.last_position
