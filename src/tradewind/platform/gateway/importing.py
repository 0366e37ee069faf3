"""Imports as they arrive: a stream is cut into records and handed in, some at a time.

An import is in no hurry, shoppers are: a unit of work that takes long makes the next one smaller,
and the next one waits until the copies elsewhere have what this one announced, so that an import
is never more than one unit ahead of anybody. Memory is constant: nothing but one chunk is held.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from msgspec import Struct

from tradewind.kernel.ids import is_id, new_id
from tradewind.kernel.imports import (
    Heading,
    ImportDiffers,
    ImportNotFound,
    ImportProgress,
    ImportQuery,
    digest_over,
)
from tradewind.kernel.messages import Command
from tradewind.kernel.problems import Problem
from tradewind.platform.gateway.problems import invalid_query
from tradewind.platform.gateway.request import Request

LINE_BYTES_MAX = 1024 * 1024
# A commit takes 500 lines at most; a chunk holds at most twice the longest line.
CHUNK_LINES_MAX = 500
CHUNK_LINES_MIN = 20
CHUNK_LINES_FIRST = 50
CHUNK_BYTES_MAX = 1024 * 1024
# A unit of work that writes may take 250 ms; one of an import shall take less than half of that,
# and a sixth where somebody waits for an order.
UNIT_S, UNIT_BESIDE_ORDERS_S = 0.1, 0.04
# How long it rests beside orders, in times of what the last lines took: two fifths of the time are
# the import's. With half of it, the p95 of orders was 2.6 to 3.2 times that of orders alone.
RESTS = 1.5
GROWS_BY = 1.25
SHRINKS_BY = 0.5
GIVES_WAY_S_MAX = 0.5
LOOK_S = 0.005
# A queue that stays full for 10 s is no queue that an import should wait in.
BUSY_ROUNDS_MAX = 50
BUSY_WAIT_S = 0.2
COPIES_TIMEOUT_S = 2.0
# The first is its name; the others are what tools send for a file of lines.
NDJSON = (
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/json",
    "application/octet-stream",
    "text/plain",
)
CSV = ("text/csv", "application/csv")
MEDIA_TYPES = (*NDJSON, *CSV)
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}


class Record(NamedTuple):
    """One line of an import, or several where a cell holds line breaks; None: it was too long."""

    data: bytes | None
    last: int  # number of the line it ends on


class Kind(Struct, frozen=True):
    """A kind of import: its commands, and whose copies follow it."""

    begin: Callable[..., Command]
    chunk: Callable[..., Command]
    finish: Callable[..., Command]
    copies: tuple[str, ...]


async def receive_import(request: Request, kind: Kind) -> str:
    """Take the whole body as an import of this kind; returns its id. Raises what refuses it."""
    query: ImportQuery = request.query
    if query.resume is not None and not is_id(query.resume, "imp"):
        raise ImportNotFound()
    import_id = query.resume or query.id or new_id("imp")
    lines = lines_of(request.stream())
    heading, records = None, numbered(lines)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in CSV:
        heading = Heading(
            line=await first_line(lines),
            mapping=query.mapping,
            delimiter=DELIMITERS[query.delimiter] if query.delimiter else None,
            encoding=query.encoding,
        )
    elif query.mapping is not None or query.delimiter is not None:
        raise invalid_query(
            "mapping" if query.mapping is not None else "delimiter",
            "is for sheets: send the file with Content-Type: text/csv",
        )
    progress: ImportProgress = await request.submit(
        kind.begin(
            import_id=import_id,
            must_exist=query.resume is not None,
            dry_run=query.dry_run,
            heading=heading,
        )
    )
    if heading is not None:
        sheet = progress.form.sheet
        assert sheet is not None, "what begins with a heading is a sheet"
        records = rows_of(lines, sheet.delimiter.encode())
    await take_all(request, kind, progress, records, begins_at=1 if heading is None else 2)
    await request.submit(kind.finish(import_id=import_id))
    await request.known_to_all()
    await request.node.caught_up(kind.copies, timeout_s=COPIES_TIMEOUT_S)
    return import_id


async def take_all(
    request: Request,
    kind: Kind,
    progress: ImportProgress,
    records: AsyncIterator[Record],
    *,
    begins_at: int,
) -> None:
    """Hand every record in, from where the import is."""
    pace = Pace(lambda: len(request.node.answers))
    resumed = Resumed(progress)
    first_line = begins_at
    async for chunk in chunks_of(records, pace):
        waiting: list[Record] = chunk
        while True:
            done = [record for record in waiting if record.last <= progress.lines_taken]
            resumed.skip(done)
            waiting = waiting[len(done) :]
            if done:
                first_line = done[-1].last + 1
            if not waiting:
                break
            resumed.check()
            began = time.monotonic()
            part = waiting[: pace.lines]
            progress = await submit_patiently(
                request,
                kind.chunk(
                    import_id=progress.import_id,
                    first_line=first_line,
                    lines=tuple(record.data for record in part),
                    ends=tuple(record.last for record in part),
                    form=progress.form,
                ),
            )
            resumed.over = True
            unit_s = time.monotonic() - began
            await request.node.caught_up(kind.copies, timeout_s=COPIES_TIMEOUT_S)
            await pace.give_way(unit_s, time.monotonic() - began)
    if not resumed.over and resumed.taken:
        resumed.check()


class Resumed:
    """Whether what was taken before is what is skipped now."""

    def __init__(self, progress: ImportProgress) -> None:
        self.taken = progress.lines_taken
        self.over = not self.taken
        self._wanted = progress.digest
        self._digest = ""

    def skip(self, records: Sequence[Record]) -> None:
        """These were taken before, it is said."""
        if not self.over:
            for record in records:
                self._digest = digest_over(self._digest, record.data)

    def check(self) -> None:
        """Raise `ImportDiffers` unless they were the same."""
        if not self.over and self._wanted and self._digest != self._wanted:
            raise ImportDiffers(
                f"The first {self.taken:,} lines are not those that were taken before. Send the "
                "file it began with, or import this one anew.",
                lines_taken=self.taken,
            )
        self.over = True


class Pace:
    """How many lines are handed in at a time, and how long an import rests between: as many as a
    unit of work takes in its time; while somebody waits for an order fewer, and part of the time.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.lines = CHUNK_LINES_FIRST
        self._waiting = waiting

    async def give_way(self, unit_s: float, copied_s: float) -> None:
        """Return when nobody waits for an order, or after a rest by what the last lines took: so
        long as a unit of work, so long until all copies had them.

        In a shop that is never without a buyer the import goes on with a part of the time: waiting
        until nobody waits would be for ever.
        """
        wanted_s = UNIT_BESIDE_ORDERS_S if self._waiting() else UNIT_S
        factor = max(SHRINKS_BY, min(GROWS_BY, wanted_s / max(unit_s, 0.001)))
        self.lines = max(CHUNK_LINES_MIN, min(CHUNK_LINES_MAX, int(self.lines * factor)))
        until = time.monotonic() + min(GIVES_WAY_S_MAX, RESTS * copied_s)
        while self._waiting() and time.monotonic() < until:
            await asyncio.sleep(LOOK_S)


async def submit_patiently(request: Request, chunk: Command) -> ImportProgress:
    """Hand a chunk in; while the queue is full, wait: an import is in no hurry, shoppers are."""
    for round_ in range(BUSY_ROUNDS_MAX):
        try:
            progress: ImportProgress = await request.submit(chunk)
            return progress
        except Problem as problem:
            if problem.status != 503 or round_ == BUSY_ROUNDS_MAX - 1:
                raise
        await asyncio.sleep(BUSY_WAIT_S)
    raise AssertionError("the last round returns or raises")


async def lines_of(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes | None]:
    """The lines of a stream without their ends; None for one longer than `LINE_BYTES_MAX`."""
    rest = bytearray()
    too_long = False
    async for piece in stream:
        *ended, open_end = piece.split(b"\n")
        for end in ended:
            whole = len(rest) + len(end) <= LINE_BYTES_MAX and not too_long
            yield bytes(rest) + end if whole else None
            rest.clear()
            too_long = False
        if len(rest) + len(open_end) > LINE_BYTES_MAX:
            too_long = True
            rest.clear()
        elif not too_long:
            rest += open_end
    if rest or too_long:
        yield None if too_long else bytes(rest)


async def first_line(lines: AsyncIterator[bytes | None]) -> bytes:
    """The first line of a sheet; nothing where there is none, or one without an end."""
    async for line in lines:
        return line or b""
    return b""


async def numbered(lines: AsyncIterator[bytes | None]) -> AsyncIterator[Record]:
    """Lines with their numbers."""
    number = 0
    async for line in lines:
        number += 1
        yield Record(line, number)


async def rows_of(lines: AsyncIterator[bytes | None], delimiter: bytes) -> AsyncIterator[Record]:
    """The records of a sheet behind its first line: a cell in quotes may hold line breaks."""
    number = 1
    held: list[bytes] = []
    size = 0
    quoted = False
    async for line in lines:
        number += 1
        if line is None:
            held, size, quoted = [], 0, False
            yield Record(None, number)
            continue
        held.append(line)
        size += len(line) + 1
        quoted = ends_in_quotes(line, delimiter, quoted=quoted)
        if size > LINE_BYTES_MAX:
            yield Record(None, number)
        elif not quoted:
            yield Record(b"\n".join(held), number)
        else:
            continue
        held, size, quoted = [], 0, False
    if held:
        yield Record(b"\n".join(held), number)


def ends_in_quotes(line: bytes, delimiter: bytes, *, quoted: bool) -> bool:
    """Whether a cell in quotes is still open at the end of a line; `quoted`: it was before it.

    A quote opens a cell at its very beginning only: 5" of something is five inches.
    """
    if b'"' not in line:
        return quoted
    at = 0
    while True:
        if not quoted:
            if line[at : at + 1] != b'"':
                at = line.find(delimiter, at) + 1
                if at == 0:
                    return False
                continue
            quoted = True
            at += 1
        at = line.find(b'"', at)
        if at < 0:
            return True
        if line[at + 1 : at + 2] == b'"':
            at += 2
            continue
        quoted = False
        at = line.find(delimiter, at + 1) + 1
        if at == 0:
            return False


async def chunks_of(records: AsyncIterator[Record], pace: Pace) -> AsyncIterator[list[Record]]:
    """Records in lists of as many as the pace has, and not much more than `CHUNK_BYTES_MAX`."""
    chunk: list[Record] = []
    size = 0
    async for record in records:
        chunk.append(record)
        size += len(record.data or b"")
        if len(chunk) >= pace.lines or size >= CHUNK_BYTES_MAX:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
