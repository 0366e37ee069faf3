"""Imports: lines in, products and reports out. One bad line never costs another."""

import json
import re
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from tradewind.contexts.catalog.commands import ImportChunk, ImportProgress, ProductBody
from tradewind.contexts.catalog.problems import ImportOutOfStep, InvalidProduct
from tradewind.contexts.catalog.rules.drafts import Draft, check
from tradewind.contexts.catalog.rules.products import Shelf, upsert
from tradewind.contexts.catalog.tables import ImportRow, LineError
from tradewind.kernel.problems import Problem

# Errors of one import that are kept; further ones are counted. 1,000 of 300 bytes: 300 kB.
IMPORT_ERRORS_KEPT_MAX = 1_000
MESSAGE_LENGTH_MAX = 300

PATH_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
JSON_DECODER = msgspec.json.Decoder()
ENCODER = msgspec.json.Encoder()


class Line(Struct, frozen=True, kw_only=True):
    """One line of an import, read. Both None: the line is empty."""

    number: int
    product_id: str = ""  # its id, should it be new
    draft: Draft | None = None
    error: LineError | None = None


def read_chunk(chunk: ImportChunk, rows_max: int, make_id: Callable[[], str]) -> list[Line]:
    """The lines of a chunk that fit into `rows_max` products and variants, but at least one."""
    lines: list[Line] = []
    rows = 0
    for number, text in enumerate(chunk.lines, chunk.first_line):
        line = read_line(number, text, make_id)
        rows += 1 + len(line.draft.variants) if line.draft else 0
        if lines and rows > rows_max:
            break
        lines.append(line)
    return lines


def read_line(number: int, text: bytes | None, make_id: Callable[[], str]) -> Line:
    """One line of an import. Whatever it holds, it says so in an error of its own."""
    if text is None:
        return broken(number, "line_too_long", "The line is longer than a line may be.")
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
        return broken(number, InvalidProduct.code, with_pointer(str(error)))
    except (ValueError, RecursionError) as error:
        return broken(number, "broken_json", f"The line is not JSON: {error}")
    if body.external_id is None:
        return broken(number, InvalidProduct.code, "/external_id: is required in an import")
    draft = check(body.external_id, body)
    if isinstance(draft, InvalidProduct):
        return broken(number, draft.code, draft.detail)
    return Line(number=number, product_id=make_id(), draft=draft)


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


def broken(number: int, code: str, message: str) -> Line:
    """A line that is not taken, and why."""
    return Line(number=number, error=LineError(number, code, message[:MESSAGE_LENGTH_MAX]))


def with_pointer(message: str) -> str:
    """A decoder's message with its path as a JSON pointer in front."""
    text, _, path = message.partition(" - at `$")
    steps = [name or index for name, index in PATH_STEP.findall(path.rstrip("`"))]
    pointer = "".join("/" + step for step in steps)
    return f"{pointer}: {text}" if pointer else text


def take(
    shelf: Shelf, report: ImportRow, first_line: int, lines: Sequence[Line]
) -> tuple[ImportRow, list[LineError]] | Problem:
    """Fold the lines of one chunk; returns the import's new row and the errors to keep.

    Lines that were taken before are skipped: the file may be sent again from its beginning.
    """
    if first_line > report.lines_taken + 1:
        return ImportOutOfStep(
            f"Line {report.lines_taken + 1} comes next, not line {first_line}.",
            lines_taken=report.lines_taken,
        )
    accepted, errors = 0, []
    for line in lines:
        if line.number <= report.lines_taken:
            continue
        error = line.error
        if line.draft is not None:
            outcome = upsert(shelf, line.draft, line.product_id)
            if isinstance(outcome, Problem):
                message = outcome.detail[:MESSAGE_LENGTH_MAX]
                error = LineError(line.number, outcome.code, message)
            else:
                accepted += 1
        if error is not None:
            errors.append(error)
    kept = errors[: IMPORT_ERRORS_KEPT_MAX - report.errors_kept]
    taken = msgspec.structs.replace(
        report,
        lines_taken=max(report.lines_taken, first_line + len(lines) - 1),
        accepted=report.accepted + accepted,
        rejected=report.rejected + len(errors),
        errors_kept=report.errors_kept + len(kept),
    )
    return taken, kept


def progress(report: ImportRow) -> ImportProgress:
    """An import as its caller is told about it."""
    return ImportProgress(
        import_id=report.import_id,
        lines_taken=report.lines_taken,
        accepted=report.accepted,
        rejected=report.rejected,
        finished=report.finished,
    )
