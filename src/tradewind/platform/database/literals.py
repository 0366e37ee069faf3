"""Arrays of parameters as text.

The driver encodes an array element by element, with two type checks each; a batch of thirty orders
has some six thousand elements, and half of the driver's time went there. Here a column of a batch
is joined into one text and taken apart by the server: ``$1::text[]`` becomes an expression over a
single text parameter. Handlers do not notice. Texts are joined by a control character that cannot
stand in any text of ours; a column in which one does stand is sent the slow way.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from msgspec import Struct

SEPARATOR = "\x1e"
NULL = "\x1d"
ARRAY = re.compile(
    r"\$([0-9]+)(?:::(text|bigint|integer|int|smallint|boolean|bool|timestamptz|bytea)\[\])?"
)
# Columns side by side, as most units of work send them: ``unnest($1::text[], ...) AS n (a, ...)``.
CAST = r"\$[0-9]+::(?:text|bigint|integer|int|smallint|boolean|bool|timestamptz|bytea)\[\]"
COLUMNS = re.compile(
    rf"unnest\(\s*({CAST}(?:\s*,\s*{CAST})+)\s*\)"
    r"\s*(WITH\s+ORDINALITY\s+)?AS\s+([a-z_]+)(?:\s*\(([a-z0-9_,\s]*)\))?"
)
# A look into an array of texts passes all before it: 200 rows of ten columns are a millisecond.
ROWS_BY_SUBSCRIPT_MAX = 200
STATEMENTS_MAX = 1_000

Encode = Callable[[Sequence[Any]], str | None]


def texts(values: Sequence[str | None]) -> str | None:
    """A column of texts. It begins with a separator, so that [""] and [] differ."""
    if not values:
        return ""
    nulls = values.count(None)
    shown = [NULL if v is None else v for v in values] if nulls else values
    joined = SEPARATOR + SEPARATOR.join(shown)  # type: ignore[arg-type]
    if joined.count(SEPARATOR) != len(values) or joined.count(NULL) != nulls:
        return None
    return joined


def numbers(values: Sequence[int | None]) -> str | None:
    """A column of whole numbers."""
    if None in values:
        return "{" + ",".join(["NULL" if v is None else str(int(v)) for v in values]) + "}"
    return "{" + repr(list(values))[1:-1] + "}"


def booleans(values: Sequence[bool | None]) -> str | None:
    """A column of truth values."""
    return "{" + ",".join(["NULL" if v is None else "t" if v else "f" for v in values]) + "}"


def instants(values: Sequence[datetime | None]) -> str | None:
    """A column of instants; each must know its zone."""
    return "{" + ",".join(["NULL" if v is None else instant(v) for v in values]) + "}"


@lru_cache(maxsize=1_000)
def instant(value: datetime) -> str:
    """An instant; a batch has few of them, many times. Raises `ValueError` without a zone."""
    if value.tzinfo is None:
        raise ValueError("an instant without a zone")
    return value.isoformat()


def blobs(values: Sequence[bytes | None]) -> str | None:
    """A column of bytes."""
    shown = ["NULL" if v is None else '"\\\\x' + bytes(v).hex() + '"' for v in values]
    return "{" + ",".join(shown) + "}"


ENCODERS: dict[str, Encode] = {
    "text": texts,
    "bigint": numbers,
    "integer": numbers,
    "int": numbers,
    "smallint": numbers,
    "boolean": booleans,
    "bool": booleans,
    "timestamptz": instants,
    "bytea": blobs,
}


class Fast(Struct, frozen=True):
    """A statement over text parameters."""

    sql: str
    encoders: tuple[tuple[int, Encode], ...]  # which parameters (from 0) are encoded how
    rows: str  # the same for few rows, where it has columns side by side; else empty
    leading: int  # the parameter (from 0) that has as many elements as there are rows


@lru_cache(maxsize=STATEMENTS_MAX)
def rewritten(sql: str) -> Fast:
    """A statement over text parameters.

    A parameter that also stands somewhere without the cast keeps its array.
    """
    kinds: dict[int, set[str | None]] = {}
    for number, kind in ARRAY.findall(sql):
        kinds.setdefault(int(number), set()).add(kind or None)
    chosen = {
        number: next(iter(found))
        for number, found in kinds.items()
        if len(found) == 1 and None not in found
    }

    def replace(match: re.Match[str]) -> str:
        number, kind = int(match[1]), chosen.get(int(match[1]))
        if kind is None:
            return match[0]
        return array(number, kind) + ("[2:]" if kind == "text" else "")

    rows, leading = "", 0
    found = list(COLUMNS.finditer(sql))
    if len(found) == 1:
        columns = [(int(number), kind) for number, kind in ARRAY.findall(found[0][1])]
        if all(chosen.get(number) is not None for number, _ in columns):
            leading = columns[0][0] - 1
            before, after = sql[: found[0].start()], sql[found[0].end() :]
            rows = ARRAY.sub(replace, before) + by_subscript(columns, found[0])
            rows += ARRAY.sub(replace, after)
    return Fast(
        sql=ARRAY.sub(replace, sql),
        encoders=tuple((n - 1, ENCODERS[kind]) for n, kind in sorted(chosen.items()) if kind),
        rows=rows,
        leading=leading,
    )


def array(number: int, kind: str) -> str:
    """A text parameter as an array; one of texts has an empty text before the others."""
    if kind == "text":
        return f"(string_to_array(${number}::text, E'\\x1e', E'\\x1d'))"
    return f"${number}::text::{kind}[]"


def by_subscript(columns: Sequence[tuple[int, str]], unnested: re.Match[str]) -> str:
    """Columns side by side, of which only the first is unnested and the others are looked into.

    Each function in FROM has a scan and a store of its own, which costs the server more than all
    that a few dozen rows do in it.
    """
    _, numbered, name, names = unnested.groups()
    called = names.replace(",", " ").split() if names else []
    called = called or [f"c{place}" for place in range(len(columns) + bool(numbered))]
    (first, kind), *others = columns
    arrays = [array(first, kind) + ("[2:]" if kind == "text" else "") + " AS a0"]
    shown = [f"u.v AS {called[0]}"]
    for place, (number, kind) in enumerate(others, start=1):
        arrays.append(f"{array(number, kind)} AS a{place}")
        index = "u.i + 1" if kind == "text" else "u.i"
        shown.append(f"q.a{place}[{index}] AS {called[place]}")
    if numbered:
        shown.append(f"u.i AS {called[-1]}")
    return (
        f"(SELECT {', '.join(shown)} FROM (SELECT {', '.join(arrays)} OFFSET 0) q,"
        f" unnest(q.a0) WITH ORDINALITY AS u (v, i)) AS {name}"
    )


def encoded(sql: str, args: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """A statement and its arguments, arrays as text where that can be done."""
    fast = rewritten(sql)
    if not fast.encoders:
        return sql, args
    texts_: list[Any] = list(args)
    for place, encode in fast.encoders:
        if args[place] is None:
            continue
        try:
            text = encode(args[place])
        except (TypeError, ValueError, AttributeError):
            text = None
        if text is None:
            return sql, args
        texts_[place] = text
    if fast.rows and len(args[fast.leading] or ()) <= ROWS_BY_SUBSCRIPT_MAX:
        return fast.rows, texts_
    return fast.sql, texts_


def text_array(texts: Sequence[str]) -> str:
    """The literal of a text[], for an array inside a column: ``{"A","B"}``."""
    if not texts:
        return "{}"
    quoted = [text.replace("\\", "\\\\").replace('"', '\\"') for text in texts]
    return '{"' + '","'.join(quoted) + '"}'


def number_array(numbers: Sequence[int]) -> str:
    """The literal of an int[] or bigint[], for an array inside a column: ``{1,2}``."""
    return "{" + ",".join(map(str, numbers)) + "}"


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as columns, for unnest. There is at least one row."""
    return [list(column) for column in zip(*rows, strict=True)]
