"""Imports: lines in, a report out. What every kind of import has in common.

An import is taken line by line and never twice: `lines_taken` says how far it is, and `digest` is
made of every byte up to there, so that only the same file can go on where it broke off.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from tradewind.kernel.problems import FieldError, Problem
from tradewind.kernel.sheets import MAPPING_LENGTH_MAX, Encoding, Sheet

# Errors of one import that are kept; further ones are counted. 1,000 of 300 bytes: 300 kB.
ERRORS_KEPT_MAX = 1_000
MESSAGE_LENGTH_MAX = 300
TOO_LONG = b"\x00too long"


class ImportNotFound(Problem):
    """No import has this id."""

    status = 404
    code = "import_not_found"
    title = "There is no such import."


class ImportOutOfStep(Problem):
    """A chunk starts behind a line that never came."""

    status = 409
    code = "import_out_of_step"
    title = "Lines of the import are missing."


class ImportDiffers(Problem):
    """An import goes on with the very file and options it began with; import another one anew."""

    status = 409
    code = "import_differs"
    title = "This is not what the import began with."


class InvalidSheet(Problem):
    """The first line or the mapping of a sheet cannot be; `errors` name columns and fields."""

    status = 422
    code = "invalid_sheet"
    title = "The sheet cannot be read as it is."


class LineError(Struct, frozen=True):
    """Why a line of an import was not taken, and where in it: a JSON pointer, or a column."""

    line: int
    code: str
    message: str
    pointer: str | None = None
    column: str | None = None


class Form(Struct, frozen=True, kw_only=True):
    """How the lines of an import are written and what is done with them; kept with it."""

    dry_run: bool = False
    sheet: Sheet | None = None  # None: NDJSON


class Heading(Struct, frozen=True, kw_only=True):
    """What a caller says of a sheet: its first line, and how to read it."""

    line: bytes
    mapping: str | None = None
    delimiter: str | None = None
    encoding: Encoding = "utf-8"


class Report(Struct, frozen=True):
    """How far an import is: the row of every kind of import."""

    import_id: str
    created_at: datetime
    updated_at: datetime
    lines_taken: int = 0
    accepted: int = 0
    rejected: int = 0
    errors_kept: int = 0
    finished: bool = False
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    digest: str = ""
    form: str = "{}"  # a `Form` as JSON


class ImportProgress(Struct, frozen=True, kw_only=True):
    """How far an import is. `lines_taken` counts empty lines too."""

    import_id: str
    lines_taken: int
    accepted: int
    rejected: int
    finished: bool
    digest: str = ""
    form: Form = Form()


ImportKind = Literal["products", "stock", "price-lists"]


class Import(Struct, frozen=True, kw_only=True):
    """An import and its report. `errors` are the first ones; `errors_omitted` were not kept.

    Every accepted line created, changed or found something unchanged; of a dry run: it would.
    """

    id: str
    kind: ImportKind
    status: Literal["receiving", "finished"]
    dry_run: bool
    lines: int
    accepted: int
    created: int
    changed: int
    unchanged: int
    rejected: int
    errors: list[LineError]
    errors_omitted: int
    created_at: datetime
    updated_at: datetime


class ImportQuery(Struct, frozen=True, kw_only=True):
    """How to import."""

    # Of an import that broke off: send the whole file again, what was taken is skipped.
    resume: str | None = None
    # Of a new import, chosen by who sends it (imp_ and 26 letters): sent twice it is one import.
    id: Annotated[str, Meta(pattern="^imp_[0-7][0-9a-hjkmnp-tv-z]{25}$")] | None = None
    dry_run: bool = False
    # Of a sheet: {"title": "Name", "price": {"column": "Price", "decimal": ","}}.
    mapping: Annotated[str, Meta(max_length=MAPPING_LENGTH_MAX)] | None = None
    delimiter: Literal["comma", "semicolon", "tab", "pipe"] | None = None  # default: the likeliest
    encoding: Encoding = "utf-8"


decode_form = msgspec.json.Decoder(Form).decode


def digest_over(digest: str, line: bytes | None) -> str:
    """The digest of an import after one more line."""
    data = TOO_LONG if line is None else line
    return hashlib.blake2b(digest.encode() + data, digest_size=12).hexdigest()


def refusal_of(errors: Sequence[FieldError]) -> InvalidSheet:
    """What is wrong with a sheet, as a problem."""
    first = errors[0]
    where = f"{first.pointer}: " if first.pointer else "The file "
    return InvalidSheet(f"{where}{first.message}.", errors=tuple(errors))


def progress_of(report: Report, form: Form) -> ImportProgress:
    """An import as its caller is told about it."""
    return ImportProgress(
        import_id=report.import_id,
        lines_taken=report.lines_taken,
        accepted=report.accepted,
        rejected=report.rejected,
        finished=report.finished,
        digest=report.digest,
        form=form,
    )


def import_of(report: Report, errors: Sequence[LineError], *, kind: ImportKind) -> Import:
    """An import as it is shown."""
    return Import(
        id=report.import_id,
        kind=kind,
        status="finished" if report.finished else "receiving",
        dry_run=decode_form(report.form).dry_run,
        lines=report.lines_taken,
        accepted=report.accepted,
        created=report.created,
        changed=report.changed,
        unchanged=report.unchanged,
        rejected=report.rejected,
        errors=list(errors),
        errors_omitted=report.rejected - report.errors_kept,
        created_at=report.created_at,
        updated_at=report.updated_at,
    )
