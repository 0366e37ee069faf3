"""Lines of an import: each says what is wrong with it, and none is counted twice."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contexts.catalog.factories import line, variant
from tradewind.contexts.catalog.commands import ImportChunk
from tradewind.contexts.catalog.rules.attributes import from_cell, is_date
from tradewind.contexts.catalog.rules.imports import (
    Bounds,
    Line,
    read_chunk,
    read_line,
    take,
)
from tradewind.contexts.catalog.rules.products import Shelf
from tradewind.contexts.catalog.rules.sheet_rows import BadCell, value_of
from tradewind.contexts.catalog.tables import Attribute
from tradewind.kernel.ids import new_id
from tradewind.kernel.imports import ERRORS_KEPT_MAX, ImportOutOfStep, LineError, Report

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_id() -> str:
    return new_id("prd")


def report(lines_taken: int = 0, *, accepted: int = 0, rejected: int = 0) -> Report:
    return Report("imp_1", NOW, NOW, lines_taken, accepted, rejected)


def attribute(kind: str) -> Attribute:
    return Attribute("any", kind, None, (), False, (), "")


def shelf() -> Shelf:
    return Shelf(products={}, owners={})


def chunk(*lines: bytes | None, first_line: int = 1) -> ImportChunk:
    return ImportChunk(import_id="imp_1", first_line=first_line, lines=lines)


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (None, "line_too_long", "longer"),
        (b'{"title":"\xff"}', "not_utf8", "Byte 11"),
        (b"not json", "broken_json", "not JSON"),
        (line("a") + b"{}", "broken_json", "trailing"),
        (b"[" * 100_000, "broken_json", "recursion"),
        (line("a").replace(b'"Mug"', b'"A","title":"B"'), "broken_json", "stands twice"),
        (line("a").replace(b'"Mug"', b"NaN"), "broken_json", "invalid character"),
        (line("a").replace(b'"Mug"', b'"\\ud800 x y z"'), "broken_json", "surrogate"),
        (b"[]", "invalid_product", "Expected `object`"),
        (b'{"title":"x"}', "invalid_product", "variants"),
        (line("a", title=1), "invalid_product", "/title: "),
        (line("a", colour="red"), "invalid_product", "colour"),
        (line("a", variants=[variant(on_hand=-1)]), "invalid_product", "/variants/0/on_hand: "),
        (line("a", variants=[variant(amount="x")]), "invalid_product", "/variants/0/price/amount"),
        (line("a", attributes={"a": 2**60}), "invalid_product", "/attributes"),
        (b'{"title":"x","variants":[{"sku":"A"}]}', "invalid_product", "/external_id"),
    ],
)
def test_a_bad_line_says_what_is_wrong(text: bytes | None, code: str, says: str) -> None:
    read = read_line(7, text, make_id)
    assert read.draft is None and read.error is not None
    assert (read.error.line, read.error.code) == (7, code)
    assert says in read.error.message


@pytest.mark.parametrize("cell", ["1_000", "\u0661\u0662", "nan", "1e999", "9" * 5_000, "0x1"])
def test_a_cell_that_python_would_read_as_a_number_is_none(cell: str) -> None:
    assert from_cell(attribute("number"), cell) == cell
    with pytest.raises(BadCell, match="whole number"):
        value_of("on_hand", cell)


def test_cells_hold_numbers_and_days() -> None:
    assert [from_cell(attribute("number"), c) for c in ("12", "-1.50", "+0")] == [12, -1.5, 0]
    assert value_of("on_hand", " 7 ") == 7
    assert [is_date(day) for day in ("2026-01-31", "2026-W01-1", "2026-02-30", 20260131)] == [
        True,
        *[False] * 3,
    ]


def test_empty_lines_and_a_byte_order_mark_are_no_errors() -> None:
    assert read_line(2, b" \r", make_id) == Line(number=2)
    assert read_line(1, b"\xef\xbb\xbf" + line("a") + b"\r", make_id).draft is not None


@given(st.binary(max_size=200) | st.text(max_size=60).map(str.encode))
def test_no_line_raises(text: bytes) -> None:
    read = read_line(1, text, make_id)
    assert read.draft is None
    assert read.error is not None or not text.removeprefix(b"\xef\xbb\xbf").strip()


def test_a_chunk_is_read_as_far_as_its_rows_fit() -> None:
    lines = [line("a", "A", "B"), b"", b"bad", line("b", "C"), line("c", "D")]
    assert [read.number for read in read_chunk(chunk(*lines), Bounds(5), make_id)] == [1, 2, 3, 4]
    assert len(read_chunk(chunk(*lines), Bounds(0), make_id)) == 1


def test_one_bad_line_costs_no_other() -> None:
    on = shelf()
    lines = read_chunk(
        chunk(line("a", "A"), b"bad", b"", line("b", "a"), line("c", "C")), Bounds(100), make_id
    )
    taken = take(on, report(), 1, lines)
    assert not isinstance(taken, Exception)
    row, errors = taken
    assert (row.lines_taken, row.accepted, row.rejected, row.errors_kept) == (5, 2, 2, 2)
    assert [(error.line, error.code) for error in errors] == [(2, "broken_json"), (4, "sku_taken")]
    assert sorted(on.products) == ["a", "c"]


def test_lines_that_were_taken_are_skipped() -> None:
    on = shelf()
    lines = read_chunk(chunk(line("a"), b"bad", line("b"), first_line=3), Bounds(100), make_id)
    taken = take(on, report(lines_taken=4, accepted=3, rejected=1), 3, lines)
    assert not isinstance(taken, Exception)
    assert (taken[0].lines_taken, taken[0].accepted, taken[0].rejected) == (5, 4, 1)
    assert sorted(on.products) == ["b"]
    again = take(on, taken[0], 3, lines)
    assert not isinstance(again, Exception)
    assert again[0] == taken[0]


def test_a_gap_is_refused() -> None:
    refused = take(shelf(), report(lines_taken=4), 6, [])
    assert isinstance(refused, ImportOutOfStep)
    assert refused.members["lines_taken"] == 4


def test_only_the_first_errors_are_kept() -> None:
    kept = ERRORS_KEPT_MAX
    lines = [Line(number=n, error=LineError(n, "broken_json", "x")) for n in range(1, kept + 3)]
    taken = take(shelf(), report(), 1, lines)
    assert not isinstance(taken, Exception)
    assert (taken[0].rejected, taken[0].errors_kept, len(taken[1])) == (kept + 2, kept, kept)


@given(
    st.lists(st.sampled_from(["good", "bad", "empty", "twin"]), max_size=20),
    st.lists(st.integers(1, 7), max_size=20),
)
def test_however_a_file_is_cut_the_report_is_the_same(kinds: list[str], cuts: list[int]) -> None:
    """Also when every chunk is sent twice."""
    texts = {"bad": b"{", "empty": b"", "twin": line("twin", "T")}
    lines = [
        texts.get(kind) or (line(f"p{i}") if kind == "good" else texts[kind])
        for i, kind in enumerate(kinds)
    ]
    whole = take(shelf(), report(), 1, read_chunk(chunk(*lines), Bounds(1_000), make_id))
    assert not isinstance(whole, Exception)
    on, row, first = shelf(), report(), 1
    cut = iter(cuts)
    while first <= len(lines):
        part = chunk(*lines[first - 1 :][: next(cut, 3)], first_line=first)
        read = read_chunk(part, Bounds(4), make_id)
        for _ in range(2):
            taken = take(on, row, first, read)
            assert not isinstance(taken, Exception)
            row = taken[0]
        first = row.lines_taken + 1
    assert row == whole[0]
    assert row.accepted + row.rejected == sum(kind != "empty" for kind in kinds)
