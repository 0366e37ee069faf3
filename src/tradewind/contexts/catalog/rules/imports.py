"""Imports: lines in, products and reports out. One bad line never costs another."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import msgspec
from msgspec import Struct

from tradewind.contexts.catalog.commands import ImportChunk, ProductBody
from tradewind.contexts.catalog.events import ProductChanged, VariantChanged, sku_key
from tradewind.contexts.catalog.problems import InvalidProduct
from tradewind.contexts.catalog.rules import sheet_rows as rows
from tradewind.contexts.catalog.rules.drafts import Draft, check
from tradewind.contexts.catalog.rules.products import Shelf, put, upsert
from tradewind.contexts.catalog.rules.sheet_rows import Row, pointed
from tradewind.contexts.catalog.tables import Attribute, CountRow
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

JSON_DECODER = msgspec.json.Decoder()
ENCODER = msgspec.json.Encoder()


class Line(Struct, frozen=True, kw_only=True):
    """One line of an import, read. Without draft, row and error: the line is empty."""

    number: int
    last: int = 0  # the line it ends on, where that is another one
    data: bytes | None = b""
    product_id: str = ""  # its id, should it be new
    draft: Draft | None = None  # a whole product
    row: Row | None = None  # one variant of a product
    error: LineError | None = None

    @property
    def end(self) -> int:
        """The line it ends on."""
        return self.last or self.number

    @property
    def size(self) -> int:
        """How many rows it may write."""
        if self.draft is not None:
            return 1 + len(self.draft.variants)
        return 2 if self.row is not None else 0


class Bounds(Struct, frozen=True):
    """What one unit of work takes."""

    rows_max: int
    bytes_max: int = 1024 * 1024


def read_chunk(chunk: ImportChunk, bounds: Bounds, make_id: Callable[[], str]) -> list[Line]:
    """The lines of a chunk that fit into the bounds, but at least one."""
    sheet = chunk.form.sheet
    lines: list[Line] = []
    size = bytes_ = 0
    ends = chunk.ends or range(chunk.first_line, chunk.first_line + len(chunk.lines))
    number = chunk.first_line
    for text, end in zip(chunk.lines, ends, strict=True):
        line = read_line(number, text, make_id, sheet)
        size += line.size
        bytes_ += len(text or b"")
        if lines and (size > bounds.rows_max or bytes_ > bounds.bytes_max):
            break
        lines.append(msgspec.structs.replace(line, last=end, data=text))
        number = end + 1
    return lines


def read_line(
    number: int, text: bytes | None, make_id: Callable[[], str], sheet: Sheet | None = None
) -> Line:
    """One line of an import. Whatever it holds, it says so in an error of its own."""
    if text is None:
        return broken(number, "line_too_long", "The line is longer than a line may be.")
    if sheet is not None:
        return read_sheet_line(number, text, make_id, sheet)
    if number == 1:
        text = text.removeprefix(b"\xef\xbb\xbf")
    text = text.strip()
    if not text:
        return Line(number=number)
    try:
        body = read_body(text)
    except UnicodeDecodeError as error:
        return broken(number, "not_utf8", f"Byte {error.start + 1} is not UTF-8.")
    except msgspec.ValidationError as error:
        pointer, message = pointed(str(error))
        return broken(number, InvalidProduct.code, message, pointer=pointer)
    except (ValueError, RecursionError) as error:
        return broken(number, "broken_json", f"The line is not JSON: {error}")
    if body.external_id is None:
        pointer = "/external_id"
        return broken(number, InvalidProduct.code, "is required in an import", pointer=pointer)
    draft = check(body.external_id, body)
    if isinstance(draft, InvalidProduct):
        return refused(number, draft)
    return Line(number=number, product_id=make_id(), draft=draft)


def read_sheet_line(number: int, text: bytes, make_id: Callable[[], str], sheet: Sheet) -> Line:
    """One row of a sheet."""
    try:
        said = read_row(sheet, text)
        row = rows.read_fields(said) if said else None
    except rows.BadCell as error:
        return bad_cell(number, sheet, error)
    except BrokenRow as error:
        return broken(number, error.code, error.message)
    return Line(number=number, product_id=make_id() if row else "", row=row)


def read_body(text: bytes) -> ProductBody:
    """A line as a body. Raises `ValueError` (also for a key that stands twice) where it is none."""
    text.decode("utf-8")
    document = JSON_DECODER.decode(text)
    # Every key and text has two quotes. A key that stood twice is gone from the document, so
    # written out again it has fewer. Escaped quotes differ too: then look closely.
    if text.count(b'"') != ENCODER.encode(document).count(b'"') or b"\\u0022" in text:
        json.loads(text, object_pairs_hook=unique)
    return msgspec.convert(document, ProductBody)


def unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """An object whose keys differ. Raises `ValueError`: readers differ in which one they take."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return members


def broken(number: int, code: str, message: str, *, pointer: str | None = None) -> Line:
    """A line that is not taken, and why."""
    text = f"{pointer}: {message}" if pointer else message
    return Line(number=number, error=LineError(number, code, text[:MESSAGE_LENGTH_MAX], pointer))


def refused(number: int, problem: Problem) -> Line:
    """A line that is not taken because of a problem."""
    return Line(number=number, error=error_of(number, problem))


def error_of(number: int, problem: Problem) -> LineError:
    """A problem as the error of a line."""
    pointer = problem.errors[0].pointer if problem.errors else None
    return LineError(number, problem.code, problem.detail[:MESSAGE_LENGTH_MAX], pointer)


def bad_cell(number: int, sheet: Sheet, error: rows.BadCell) -> Line:
    """A line with a cell that cannot be."""
    column = sheet.column_of(error.field)
    message = f"{column}: {error.message}"[:MESSAGE_LENGTH_MAX]
    return Line(number=number, error=LineError(number, error.code, message, None, column))


class Taken(Struct):
    """What became of the lines of one chunk."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0
    errors: list[LineError] = []

    def count(self, *, is_new: bool, changed: bool) -> None:
        """One line more."""
        if is_new:
            self.created += 1
        elif changed:
            self.changed += 1
        else:
            self.unchanged += 1


def take(
    shelf: Shelf,
    report: Report,
    first_line: int,
    lines: Sequence[Line],
    *,
    counts: dict[str, CountRow] | None = None,
    sheet: Sheet | None = None,
) -> tuple[Report, list[LineError]] | Problem:
    """Fold the lines of one chunk; returns the import's new row and the errors to keep.

    Lines that were taken before are skipped: the file may be sent again from its beginning.
    """
    begin = report.lines_taken + 1
    if sheet is not None:
        begin = max(begin, 2)  # the first line has the names of the columns
    if first_line > begin:
        return ImportOutOfStep(
            f"Line {report.lines_taken + 1} comes next, not line {first_line}.",
            lines_taken=report.lines_taken,
        )
    fresh = [line for line in lines if line.end > report.lines_taken]
    known = {} if counts is None else counts
    taken = Taken()
    for external_id, group in groupby(fresh, key=lambda line: line.row and line.row.external_id):
        if external_id is None or sheet is None:
            for line in group:
                take_line(shelf, line, known, taken)
        else:
            take_rows(shelf, list(group), known, taken, sheet)
    digest = report.digest
    for line in fresh:
        digest = digest_over(digest, line.data)
    kept = taken.errors[: ERRORS_KEPT_MAX - report.errors_kept]
    accepted = taken.created + taken.changed + taken.unchanged
    after = msgspec.structs.replace(
        report,
        lines_taken=max(report.lines_taken, lines[-1].end if lines else 0),
        accepted=report.accepted + accepted,
        created=report.created + taken.created,
        changed=report.changed + taken.changed,
        unchanged=report.unchanged + taken.unchanged,
        rejected=report.rejected + len(taken.errors),
        errors_kept=report.errors_kept + len(kept),
        digest=digest,
    )
    return after, kept


def take_line(shelf: Shelf, line: Line, counts: dict[str, CountRow], taken: Taken) -> None:
    """Fold one line that is a whole product."""
    if line.error is not None:
        taken.errors.append(line.error)
    if line.draft is None:
        return
    draft = without_old_news(line.draft, counts)
    before = shelf.products.get(draft.external_id)
    outcome = upsert(shelf, draft, line.product_id)
    if isinstance(outcome, Problem):
        taken.errors.append(error_of(line.number, outcome))
        return
    note_counts(draft, counts)
    taken.count(is_new=before is None, changed=outcome is not before)


def take_rows(
    shelf: Shelf, lines: Sequence[Line], counts: dict[str, CountRow], taken: Taken, sheet: Sheet
) -> None:
    """Fold rows of one product that follow each other: one change, whatever their number."""
    row = lines[0].row
    assert row is not None
    external_id = row.external_id
    existing = shelf.products.get(external_id)
    # Beside the shelf: each row sees those before it, and only what comes of all is announced.
    beside = Shelf(products={}, owners=shelf.owners, by=shelf.by, defined=shelf.defined)
    if existing is not None:
        beside.products[external_id] = existing
    for line in lines:
        state = beside.products.get(external_id)
        draft = draft_of(state, line, sheet, shelf.defined)
        if isinstance(draft, LineError):
            taken.errors.append(draft)
            continue
        told = without_old_news(draft, counts)
        outcome = upsert(beside, told, existing.product_id if existing else lines[0].product_id)
        if isinstance(outcome, Problem):
            taken.errors.append(error_of(line.number, outcome))
            continue
        note_counts(draft, counts)
        assert line.row is not None
        key = sku_key(line.row.variant["sku"])
        known = state is not None and any(sku_key(v.sku) == key for v in state.variants)
        taken.count(is_new=not known, changed=outcome is not state)
    if beside.events:
        announce_once(shelf, beside.events, existing)


def announce_once(
    shelf: Shelf, events: Sequence[ProductChanged], existing: ProductChanged | None
) -> None:
    """Put on the shelf what several changes of a product come to, as one."""
    on_hand = {
        sku_key(variant.sku): variant.on_hand
        for event in events
        for variant in event.variants
        if variant.on_hand is not None
    }
    version = existing.version + 1 if existing else 1
    last = events[-1]
    changed = msgspec.structs.replace(
        last,
        sequence=version,
        version=version,
        variants=tuple(
            msgspec.structs.replace(variant, on_hand=on_hand.get(sku_key(variant.sku)))
            for variant in last.variants
        ),
    )
    put(shelf, existing, changed)


def draft_of(
    state: ProductChanged | None, line: Line, sheet: Sheet, defined: Mapping[str, Attribute]
) -> Draft | LineError:
    """The whole product that a row makes of the one that is there."""
    assert line.row is not None
    pointer: str | None = None
    at = 0
    try:
        body, at = rows.merged(state, line.row, defined)
        draft = check(line.row.external_id, body)
        if not isinstance(draft, InvalidProduct):
            return draft
        pointer, message = draft.errors[0].pointer, draft.errors[0].message
        field = rows.field_of(pointer, at)
    except rows.BadCell as error:
        field, message = error.field, error.message
    except msgspec.ValidationError as error:
        pointer, message = pointed(str(error))
        field = rows.field_of(pointer or "", at)
    column = sheet.column_of(field) if field else None
    text = f"{column or pointer or ''}: {message}"[:MESSAGE_LENGTH_MAX]
    return LineError(line.number, InvalidProduct.code, text, pointer, column)


def without_old_news(draft: Draft, counts: Mapping[str, CountRow]) -> Draft:
    """The draft without counts that were declared before and are what lies there."""
    variants = tuple(
        msgspec.structs.replace(variant, on_hand=None)
        if variant.on_hand is not None and is_known(counts.get(sku_key(variant.sku)), variant)
        else variant
        for variant in draft.variants
    )
    return msgspec.structs.replace(draft, variants=variants)


def is_known(known: CountRow | None, variant: VariantChanged) -> bool:
    """Whether these units were the last declared and the last counted."""
    return known is not None and known.declared == known.counted == variant.on_hand


def note_counts(draft: Draft, counts: dict[str, CountRow]) -> None:
    """Later lines of the batch see what this one declared."""
    for variant in draft.variants:
        if variant.on_hand is not None:
            key = sku_key(variant.sku)
            counted = counts[key].counted if key in counts else None
            counts[key] = CountRow(key, variant.on_hand, counted)
