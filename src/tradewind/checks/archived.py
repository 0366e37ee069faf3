"""Events that have left the database, read from their files by a reader of the checks' own.

A file is lines of JSON in gzip: a header that names the chain of hashes before it, an event a line,
and a footer with a hash of all lines before. What the files hold is laid out beside the log for one
session, so a question about `bus.log` can be asked about both.
"""

import asyncio
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

# Held shared while a check reads: the platform takes it to move a segment.
ARCHIVER_LOCK = 7_311_002
ROWS_AT_ONCE = 5_000
COLUMNS = ("xid", "number", "partition", "source", "type", "subject", "sequence", "at", "body")
FILES = """
    SELECT file, first_position, last_position, chain_sha256 FROM bus.segments
     WHERE dropped_at IS NOT NULL ORDER BY number
"""
LAID_OUT = """
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


class FilesWrong(Exception):
    """A file is missing, was changed, or does not follow the one before; the text says which."""


class Names(Struct, frozen=True):
    """Where a question about the log is to be asked."""

    files: bool = False

    def within(self, sql: str) -> str:
        """A question about bus.log and bus.feed, about these."""
        if not self.files:
            return sql
        return (
            sql.replace("bus.feed_ranges", "\0")
            .replace("bus.feed", "pg_temp.whole_feed")
            .replace("bus.log", "pg_temp.whole_log")
            .replace("\0", "bus.feed_ranges")
        )


class Event(Struct):
    """A line of a file."""

    xid: int
    number: int
    partition: int
    source: str
    type: str
    subject: str
    sequence: int
    at: datetime
    body: str
    position: int | None = None


class Header(Struct):
    """The first line of a file."""

    previous: str


class Footer(Struct):
    """The last line of a file."""

    events: int
    content_sha256: str


async def lay_out(connection: Any, folder: Path) -> Names:
    """Bring what left the database beside it, for this session. Raises `FilesWrong`."""
    await connection.execute("SELECT pg_advisory_lock_shared($1)", ARCHIVER_LOCK)
    files = await connection.fetch(FILES)
    if not files:
        return Names()
    await connection.execute("CREATE TEMP TABLE archived_log (LIKE bus.log)")
    previous, position = bytes(32), 0
    for file in files:
        events = events_of(folder / file["file"], previous, file["chain_sha256"])
        while rows := await asyncio.to_thread(next_of, events):
            for event in rows:
                if event.position is not None:
                    position += 1
                    if event.position != position:
                        raise FilesWrong(f"{file['file']}: position {position} is missing.")
            records = [tuple(getattr(event, name) for name in COLUMNS) for event in rows]
            await connection.copy_records_to_table("archived_log", records=records, columns=COLUMNS)
        if position != file["last_position"]:
            raise FilesWrong(f"{file['file']} ends at position {position}.")
        previous = file["chain_sha256"]
    await connection.execute(LAID_OUT)
    return Names(files=True)


def next_of(events: Iterator[Event]) -> list[Event]:
    """The next few; none at the end."""
    return list(islice(events, ROWS_AT_ONCE))


def events_of(path: Path, previous: bytes, chain: bytes) -> Iterator[Event]:
    """The events of a file; raises `FilesWrong` at its end, if it is not the one it should be."""
    content = hashlib.sha256()
    decode = msgspec.json.Decoder(Event).decode
    last, events = b"", 0
    try:
        with gzip.open(path) as lines:
            head = lines.readline()
            content.update(head)
            if msgspec.json.decode(head, type=Header).previous != previous.hex():
                raise FilesWrong(f"{path.name} does not follow the file before it.")
            for line in lines:
                if last:
                    content.update(last)
                    events += 1
                    yield decode(last)
                last = line
        footer = msgspec.json.decode(last, type=Footer)
    except (OSError, EOFError, zlib.error, msgspec.DecodeError) as error:
        raise FilesWrong(f"{path.name} cannot be read: {error}") from None
    digest = content.digest()
    if hashlib.sha256(previous + digest).digest() != chain or events != footer.events:
        raise FilesWrong(f"{path.name} was changed: its hash is not the one that was noted.")
