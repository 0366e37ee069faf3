"""Columns sent as text come out of the server as they went in."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradewind.platform.database import literals
from tradewind.platform.database.transaction import Snapshot
from tradewind.testing.database import UnitRunner

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "text": TEXT,
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "int": st.integers(-(2**31), 2**31 - 1),
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "bool": st.booleans(),
    "bytea": st.binary(),
    "timestamptz": st.integers(0, 2**40).map(lambda s: datetime.fromtimestamp(s / 16, UTC)),
}


@pytest.mark.parametrize("kind", sorted(COLUMNS))
async def test_there_and_back(unit: UnitRunner, kind: str) -> None:
    """Nulls, empty texts, quotes, braces, separators and all."""
    async with unit.reading("orders") as db:

        async def check(values: list[Any]) -> None:
            sql = f"SELECT v FROM unnest($1::{kind}[]) WITH ORDINALITY AS u (v, n) ORDER BY n"
            assert await db.fetch_values(sql, values) == values

        for edge in ([], [None], [None, None]):
            await check(edge)
        for example in examples(st.lists(st.none() | COLUMNS[kind], max_size=20), 60):
            await check(example)


def examples(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Some values of a strategy, drawn outside the event loop's business."""
    drawn: list[Any] = []

    @settings(max_examples=count, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def draw(value: Any) -> None:
        drawn.append(value)

    draw()
    return drawn


@pytest.mark.parametrize(
    "values",
    [[""], ["", ""], ["a\x1eb"], ["\x1d"], ["\x1e"], ["{", "}", '"', "\\", ",", "NULL", "null"]],
)
async def test_awkward_texts(unit: UnitRunner, values: list[str]) -> None:
    """Also those that hold a separator: they go the slow way."""
    async with unit.reading("orders") as db:
        sql = "SELECT v FROM unnest($1::text[]) WITH ORDINALITY AS u (v, n) ORDER BY n"
        assert await db.fetch_values(sql, values) == values


ROW = st.tuples(*(st.none() | COLUMNS[kind] for kind in sorted(COLUMNS)))
SIDE_BY_SIDE = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(sorted(COLUMNS), start=1))
NAMES = ", ".join(f"c{n}" for n in range(len(COLUMNS)))


@pytest.mark.parametrize("leads", range(len(COLUMNS)))
async def test_columns_side_by_side(unit: UnitRunner, leads: int) -> None:
    """Rows come out as they went in, few or many, whichever column is the first."""
    columns = SIDE_BY_SIDE.split(", ")
    names = NAMES.split(", ")
    turned = ", ".join(columns[leads:] + columns[:leads])
    called = ", ".join(names[leads:] + names[:leads])
    sql = f"""SELECT json_build_array({NAMES}, n)::text
                FROM unnest({turned}) WITH ORDINALITY AS u ({called}, n) ORDER BY n"""
    unnamed = f"SELECT count(u.*)::text FROM unnest({turned}) AS u"
    few = examples(st.lists(ROW, max_size=6), 30)
    many = [row for rows in few for row in rows] * 20
    assert len(many) > literals.ROWS_BY_SUBSCRIPT_MAX
    async with unit.reading("orders") as db:
        for rows in [[], *few, many]:
            args = [[row[n] for row in rows] for n in range(len(COLUMNS))]
            plain = await db._connection.fetch(sql, *args)
            assert await db.fetch_values(sql, *args) == [row[0] for row in plain]
            assert await db.fetch_value(unnamed, *args) == str(len(rows))


def test_columns_are_looked_into_where_there_are_few_rows() -> None:
    """One function to scan in place of one for each column; not for many rows."""
    sql = "SELECT n.* FROM unnest($1::text[], $2::bigint[]) AS n"
    few, _ = literals.encoded(sql, [["a"], [1]])
    assert few.count("unnest(") == 1 and "[u.i]" in few
    rows = literals.ROWS_BY_SUBSCRIPT_MAX + 1
    many, _ = literals.encoded(sql, [["a"] * rows, [1] * rows])
    assert "[u.i]" not in many


async def test_a_parameter_without_the_cast_keeps_its_array(unit: UnitRunner) -> None:
    """One parameter, one type."""
    sql = "SELECT ($1::text[])[1] || cardinality($1)::text"
    assert literals.rewritten(sql).sql == sql
    assert literals.encoded(sql, [["x"]]) == (sql, [["x"]])
    async with unit.reading("orders") as db:
        assert isinstance(db, Snapshot)
        assert await db.fetch_value(sql, ["x", "y"]) == "x2"
