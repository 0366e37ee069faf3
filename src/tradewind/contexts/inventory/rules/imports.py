"""Imports of stock: lines in, counts and reports out."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from tradewind.contexts.inventory.commands import (
    MAIN,
    LocationCode,
    TakeStockLines,
    Units,
    is_sku,
)
from tradewind.contexts.inventory.events import sku_key
from tradewind.contexts.inventory.problems import InvalidSku
from tradewind.contexts.inventory.rules.book import Book, Count, shelf_at
from tradewind.contexts.inventory.rules.counting import count
from tradewind.kernel.imports import (
    ERRORS_KEPT_MAX,
    MESSAGE_LENGTH_MAX,
    ImportOutOfStep,
    LineError,
    Report,
    digest_over,
)
from tradewind.kernel.problems import Problem
from tradewind.kernel.sheets import BrokenRow, Sheet, read_row

FIELDS = ("sku", "on_hand", "location")
BROKEN = "invalid_stock"


class StockLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of an import: so many units of a sku lie at a location."""

    sku: str
    on_hand: Units
    location: LocationCode = MAIN


class Line(Struct, frozen=True, kw_only=True):
    """One line, read. Without count and error: it is empty."""

    number: int
    end: int
    data: bytes | None
    stock: StockLine | None = None
    error: LineError | None = None


decode = msgspec.json.Decoder(StockLine).decode


def read_lines(chunk: TakeStockLines) -> list[Line]:
    """The lines of a chunk."""
    ends = chunk.ends or range(chunk.first_line, chunk.first_line + len(chunk.lines))
    lines = []
    number = chunk.first_line
    for data, end in zip(chunk.lines, ends, strict=True):
        found = read_line(number, data, chunk.form.sheet)
        stock, error = (None, found) if isinstance(found, LineError) else (found, None)
        lines.append(Line(number=number, end=end, data=data, stock=stock, error=error))
        number = end + 1
    return lines


def read_line(number: int, data: bytes | None, sheet: Sheet | None) -> StockLine | LineError | None:
    """What one line says, what is wrong with it, or None where it is empty."""
    if data is None:
        return LineError(number, "line_too_long", "The line is longer than a line may be.")
    if sheet is not None:
        return read_sheet_line(number, data, sheet)
    text = data.removeprefix(b"\xef\xbb\xbf") if number == 1 else data
    if not text.strip():
        return None
    try:
        text.decode("utf-8")
        stock = decode(text)
    except UnicodeDecodeError as error:
        return LineError(number, "not_utf8", f"Byte {error.start + 1} is not UTF-8.")
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        pointer = "/" + path.strip(".`") if path else None
        told = f"{pointer}: {message}" if pointer else message
        return LineError(number, BROKEN, told[:MESSAGE_LENGTH_MAX], pointer)
    except (ValueError, RecursionError) as error:
        told = f"The line is not JSON: {error}"
        return LineError(number, "broken_json", told[:MESSAGE_LENGTH_MAX])
    if not is_sku(stock.sku):
        return wrong_sku(number, "/sku", None)
    return stock


def read_sheet_line(number: int, data: bytes, sheet: Sheet) -> StockLine | LineError | None:
    """What one row of a sheet says."""
    try:
        said = read_row(sheet, data)
    except BrokenRow as error:
        return LineError(number, error.code, error.message)
    if not said:
        return None
    document: dict[str, str | int] = {name: cell.strip() for name, cell in said.items()}
    on_hand = str(document.get("on_hand", ""))
    if not (on_hand.isascii() and on_hand.isdecimal()):
        return wrong_cell(number, sheet, "on_hand", "must be a whole number, zero or more")
    document["on_hand"] = int(on_hand[:20])
    if not is_sku(str(document.get("sku", ""))):
        return wrong_sku(number, None, sheet.column_of("sku"))
    try:
        return msgspec.convert(document, StockLine)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        return wrong_cell(number, sheet, path.strip(".`") or "on_hand", message)


def wrong_cell(number: int, sheet: Sheet, field: str, message: str) -> LineError:
    """A cell that cannot be what its field wants."""
    column = sheet.column_of(field)
    return LineError(number, BROKEN, f"{column}: {message}"[:MESSAGE_LENGTH_MAX], None, column)


def wrong_sku(number: int, pointer: str | None, column: str | None) -> LineError:
    """A sku that cannot be."""
    message = "must be 1 to 64 printable ASCII characters without a blank at either end"
    return LineError(number, InvalidSku.code, f"{pointer or column}: {message}", pointer, column)


def out_of_step(report: Report, chunk: TakeStockLines) -> ImportOutOfStep | None:
    """Whether a chunk starts behind a line that never came."""
    begin = report.lines_taken + 1
    if chunk.form.sheet is not None:
        begin = max(begin, 2)  # the first line has the names of the columns
    if chunk.first_line <= begin:
        return None
    return ImportOutOfStep(
        f"Line {begin} comes next, not line {chunk.first_line}.", lines_taken=report.lines_taken
    )


def fold(book: Book, lines: Sequence[Line], counted_by: str) -> list[str | Problem]:
    """Count what the lines say; the sum each belongs to, or why it was not taken."""
    outcomes: list[str | Problem] = []
    for line in lines:
        if line.stock is None:
            continue
        wanted = line.stock
        sku = book.skus.get(sku_key(wanted.sku))
        shelf = shelf_at(sku, wanted.location) if sku else None
        before = shelf.on_hand if shelf else None
        request = Count(wanted.sku, wanted.location, wanted.on_hand, counted_by)
        outcome = count(book, request)
        if isinstance(outcome, Problem):
            outcomes.append(outcome)
        elif before is None:
            outcomes.append("created")
        else:
            outcomes.append("unchanged" if before == wanted.on_hand else "changed")
    return outcomes


def taken(
    report: Report,
    lines: Sequence[Line],
    outcomes: Sequence[str | Problem],
) -> tuple[Report, list[LineError]]:
    """The import after these lines; `outcomes` of those that are counts, in their order: the name
    of the sum they belong to, or why they were not taken.
    """
    sums = {"created": 0, "changed": 0, "unchanged": 0}
    errors: list[LineError] = []
    told = iter(outcomes)
    digest = report.digest
    for line in lines:
        digest = digest_over(digest, line.data)
        if line.error is not None:
            errors.append(line.error)
        elif line.stock is not None:
            outcome = next(told)
            if isinstance(outcome, Problem):
                errors.append(LineError(line.number, outcome.code, outcome.detail, "/location"))
            else:
                sums[outcome] += 1
    kept = errors[: ERRORS_KEPT_MAX - report.errors_kept]
    after = msgspec.structs.replace(
        report,
        lines_taken=max(report.lines_taken, lines[-1].end if lines else 0),
        accepted=report.accepted + sum(sums.values()),
        created=report.created + sums["created"],
        changed=report.changed + sums["changed"],
        unchanged=report.unchanged + sums["unchanged"],
        rejected=report.rejected + len(errors),
        errors_kept=report.errors_kept + len(kept),
        digest=digest,
    )
    return after, kept
