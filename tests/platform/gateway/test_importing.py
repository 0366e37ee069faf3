"""Files cut into records: wherever the pieces end, whatever stands in the cells."""

import csv
import io
import time
import tracemalloc
from collections.abc import AsyncIterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from tradewind.kernel.sheets import (
    BrokenRow,
    Sheet,
    Source,
    as_written,
    harmless,
    read_row,
    read_sheet,
    write_rows,
)
from tradewind.platform.gateway import importing
from tradewind.platform.gateway.importing import Pace, Record, lines_of, rows_of

CELLS = st.text(
    alphabet=st.sampled_from(list("ab;,\t\"'=+-@\r\n é東")) | st.characters(codec="utf-8"),
    max_size=8,
).filter(lambda cell: "\x00" not in cell)


async def stream(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def records(data: bytes, size: int, delimiter: bytes = b",") -> list[Record]:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return [record async for record in rows_of(lines_of(stream(pieces)), delimiter)]


def sheet_of(count: int) -> Sheet:
    columns = tuple(f"c{n}" for n in range(count))
    fields = {name: Source(column=name) for name in columns}
    return Sheet(delimiter=",", encoding="utf-8", columns=columns, fields=fields)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=5), st.integers(1, 9))
async def test_rows_that_are_written_are_read_as_they_were(rows: list[list[str]], cut: int) -> None:
    """Also cells that look like formulas, hold line breaks, quotes and apostrophes."""
    found = await records(write_rows(rows), cut)
    assert [record.data is None for record in found] == [False] * len(rows)
    said = [read_row(sheet_of(2), record.data or b"") for record in found]
    assert said == [{f"c{n}": c for n, c in enumerate(row) if c} for row in rows]


@given(st.lists(st.lists(CELLS, min_size=1, max_size=3), min_size=1, max_size=4))
async def test_records_end_where_other_readers_end_them(rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    csv.writer(text, lineterminator="\n", delimiter=";").writerows(rows)
    found = await records(text.getvalue().encode(), 7, b";")
    read = list(csv.reader(io.StringIO(text.getvalue(), newline=""), delimiter=";"))
    assert len(found) == len(read)
    assert found[-1].last == text.getvalue().count("\n") + 1


@given(st.binary(max_size=300), st.integers(1, 50))
async def test_whatever_comes_is_cut_and_read_or_refused(data: bytes, cut: int) -> None:
    last = 1
    for record in await records(data, cut):
        assert record.last > last
        last = record.last
        try:
            read_row(sheet_of(3), record.data or b"")
        except BrokenRow as error:
            assert error.code and error.message
    found = read_sheet(data, None, fields=("sku",))
    assert isinstance(found, Sheet) or found[0].message


@given(st.text(max_size=10))
def test_a_harmless_cell_is_read_as_it_was(cell: str) -> None:
    assert as_written(harmless(cell)) == cell
    assert not harmless(cell).startswith(("=", "+", "-", "@", "\t", "\r"))


async def test_a_quote_that_never_closes_costs_what_it_swallows_and_no_more() -> None:
    """Memory stays below twice the longest line, and what comes behind is read."""
    line = b"x" * 999 + b"\n"
    swallowed = b'a,"open\n' + line * (importing.LINE_BYTES_MAX // 1_000 + 2)
    found = await records(swallowed + b"b,2\n", 65_536)
    assert found[0].data is None
    assert found[-1].data == b"b,2"


async def test_a_line_without_an_end_is_held_nowhere() -> None:
    """A quarter of a gibibyte without a line break: never more than one line of it is held."""
    piece = b"y" * 65_536

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(4_096):
            yield piece
        yield b"\nb,1\n"

    tracemalloc.start()
    try:
        found = [record async for record in rows_of(lines_of(endless()), b",")]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [record.data for record in found] == [None, b"b,1"]
    assert peak < 4 * importing.LINE_BYTES_MAX


async def test_an_import_gives_way_to_who_waits() -> None:
    waiting = 3
    pace = Pace(lambda: waiting)
    before = pace.lines
    began = time.monotonic()
    await pace.give_way(0.1, 0.12)
    assert time.monotonic() - began >= 0.12, "it rests as long as it took"
    assert pace.lines < before
    await pace.give_way(0.01, 0.02)
    assert before / 2 < pace.lines, "and no longer, with more lines: they took little"
    waiting = 0
    for _ in range(40):
        await pace.give_way(0.001, 10)
    assert pace.lines == importing.CHUNK_LINES_MAX
    await pace.give_way(10, 10)
    assert pace.lines < importing.CHUNK_LINES_MAX
