"""Sheets: CSV as people and programs write it, read and written without loss.

A sheet says which of its columns holds which field. A cell that begins like a formula is written
behind an apostrophe, and read without it, so that a spreadsheet shows it and does not run it.
An empty cell says nothing.
"""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tradewind.kernel.problems import FieldError

DELIMITERS = ",;\t|"
COLUMNS_MAX = 300
MAPPING_LENGTH_MAX = 6_000
# What a spreadsheet takes for the beginning of a formula, and the sign that says it is none.
FORMULA = "=+-@\t\r'"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Of a mapping: "attributes.colour" says the attribute "colour".
NAMED = "."

Encoding = Literal["utf-8", "windows-1252", "iso-8859-1"]


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a field comes from: a column, or the same `value` for every line."""

    column: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    value: Annotated[str, Meta(max_length=1_000)] | None = None  # where the cell is empty, too
    decimal: Literal[".", ","] = "."
    separator: Annotated[str, Meta(min_length=1, max_length=5)] | None = None


class Sheet(Struct, frozen=True, kw_only=True):
    """How a sheet is read. `columns` as its first line has them; `fields` by name of the field."""

    delimiter: str
    encoding: Encoding
    columns: tuple[str, ...]
    fields: dict[str, Source]

    def column_of(self, field: str) -> str:
        """What a person calls a field of this sheet."""
        source = self.fields.get(field)
        return source.column if source and source.column else field


class BrokenRow(Exception):
    """A record that is no row of its sheet; the text says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


decode_mapping = msgspec.json.Decoder(dict[str, str | Source]).decode


def read_sheet(
    header: bytes,
    mapping: str | None,
    *,
    fields: Collection[str],
    named: Collection[str] = (),
    delimiter: str | None = None,
    encoding: Encoding = "utf-8",
) -> Sheet | list[FieldError]:
    """The sheet that begins with this line, or what is wrong with it and its mapping.

    `fields` may stand in it; those in `named` also as ``attributes.colour``. Without a mapping
    each column is called like its field.
    """
    if header[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in header:
        return [FieldError("", "is UTF-16 or binary: save the sheet as CSV in UTF-8")]
    try:
        text = header.removeprefix(BYTE_ORDER_MARK).decode(encoding)
    except UnicodeDecodeError as error:
        message = f"has a first line that is not {encoding} (byte {error.start + 1})"
        return [FieldError("", f"{message}; say which encoding it is with ?encoding=")]
    delimiter = delimiter or likeliest_delimiter(text)
    try:
        columns = tuple(cell.strip() for cell in split(text, delimiter))
    except BrokenRow as error:
        return [FieldError("", error.message)]
    problems = wrong_with_columns(columns)
    if problems:
        return problems
    if mapping is None:
        sources: Mapping[str, str | Source] = {name: name for name in columns if name}
        known = {name for name in sources if is_field(name, fields, named)}
        problems = [
            FieldError(name, "is no field; rename the column, or say with ?mapping= what it holds")
            for name in sources
            if name not in known
        ]
    else:
        try:
            sources = decode_mapping(mapping)
        except msgspec.ValidationError as error:
            return [FieldError("mapping", str(error))]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return [FieldError("mapping", f"is not JSON: {error}")]
        problems = wrong_with_mapping(sources, columns, fields=fields, named=named)
    if problems:
        return problems
    return Sheet(
        delimiter=delimiter,
        encoding=encoding,
        columns=columns,
        fields={
            name: source if isinstance(source, Source) else Source(column=source)
            for name, source in sources.items()
        },
    )


def wrong_with_columns(columns: Sequence[str]) -> list[FieldError]:
    """What is wrong with the first line of a sheet."""
    if not any(columns):
        return [FieldError("", "must have the names of its columns in the first line")]
    if len(columns) > COLUMNS_MAX:
        return [FieldError("", f"has more than {COLUMNS_MAX} columns")]
    twice = {name for name in columns if name and columns.count(name) > 1}
    return [FieldError(name, "is the name of two columns") for name in sorted(twice)]


def wrong_with_mapping(
    sources: Mapping[str, str | Source],
    columns: Sequence[str],
    *,
    fields: Collection[str],
    named: Collection[str],
) -> list[FieldError]:
    """What is wrong with a mapping."""
    problems: list[FieldError] = []
    for name, source in sources.items():
        column = source if isinstance(source, str) else source.column
        if not is_field(name, fields, named):
            possible = ", ".join(sorted(fields))
            problems.append(FieldError(f"mapping/{name}", f"is no field; there are {possible}"))
        elif column is not None and column not in columns:
            problems.append(
                FieldError(f"mapping/{name}", f"names the column {column!r}, which is not there")
            )
        elif isinstance(source, Source) and source.column is None and source.value is None:
            problems.append(FieldError(f"mapping/{name}", "needs a column or a value"))
    return problems


def is_field(name: str, fields: Collection[str], named: Collection[str]) -> bool:
    """Whether a name is that of a field, or of one of many under a field."""
    first, dot, rest = name.partition(NAMED)
    return name in fields or bool(dot and rest and first in named)


def likeliest_delimiter(header: str) -> str:
    """What stands between the names of the columns: the most frequent of the usual ones."""
    return max(DELIMITERS, key=header.count)


def split(text: str, delimiter: str) -> list[str]:
    """The cells of one record. Raises `BrokenRow`."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise BrokenRow("broken_csv", f"The line is not CSV: {error}.") from None
    if len(rows) > 1:
        raise BrokenRow("broken_csv", "The line holds a line break outside of quotes.")
    return rows[0] if rows else []


def read_row(sheet: Sheet, record: bytes) -> dict[str, str]:
    """What a record says, by field; empty cells say nothing. Raises `BrokenRow`."""
    try:
        text = record.decode(sheet.encoding)
    except UnicodeDecodeError as error:
        message = f"Byte {error.start + 1} of the line is not {sheet.encoding}."
        raise BrokenRow(f"not_{sheet.encoding.replace('-', '')}", message) from None
    cells = split(text.rstrip("\r\n"), sheet.delimiter)
    if not any(cells):
        return {}
    while len(cells) > len(sheet.columns) and not cells[-1]:
        cells.pop()
    if len(cells) != len(sheet.columns):
        raise BrokenRow(
            "ragged_row", f"The line has {len(cells)} cells and the first {len(sheet.columns)}."
        )
    by_column = dict(zip(sheet.columns, cells, strict=True))
    said: dict[str, str] = {}
    for field, source in sheet.fields.items():
        cell = as_written(by_column[source.column]) if source.column is not None else ""
        if not cell and source.value is not None:
            cell = source.value
        if not cell:
            continue
        if source.decimal == ",":
            cell = cell.replace(".", "").replace(",", ".")
        if source.separator is not None:
            cell = "/".join(part.strip() for part in cell.split(source.separator))
        said[field] = cell
    return said


def as_written(cell: str) -> str:
    """A cell without the apostrophe that keeps it from being a formula."""
    return cell[1:] if len(cell) > 1 and cell[0] == "'" and cell[1] in FORMULA else cell


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; `as_written` undoes it."""
    return "'" + cell if cell[:1] and cell[0] in FORMULA else cell


def write_rows(rows: Sequence[Sequence[Any]]) -> bytes:
    """Rows as CSV: RFC 4180, UTF-8; None is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    for row in rows:
        writer.writerow(["" if cell is None else harmless(str(cell)) for cell in row])
    return text.getvalue().encode()
