"""Imports of stock: counts and their report, committed together.

Under locks from the start: an import meets orders on every sku it names, and would be thrown away
again and again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tradewind.contexts.inventory.commands import (
    BeginStockImport,
    FinishStockImport,
    TakeStockLines,
)
from tradewind.contexts.inventory.events import sku_key
from tradewind.contexts.inventory.handlers import shelves
from tradewind.contexts.inventory.rules import Count, imports
from tradewind.contexts.inventory.rules.deciding import announce_availability
from tradewind.kernel.audit import Change
from tradewind.kernel.imports import (
    Form,
    Heading,
    ImportDiffers,
    ImportNotFound,
    LineError,
    Report,
    progress_of,
    refusal_of,
)
from tradewind.kernel.messages import Decision, Event
from tradewind.kernel.problems import Problem
from tradewind.kernel.sheets import read_sheet
from tradewind.platform.database.transaction import Transaction

ENCODER = msgspec.json.Encoder()
FORMS = msgspec.json.Decoder(Form)
# Counts are light: so many in one unit of work, of all imports together.
LINES_MAX = 500
LOCK = "stock"

# Served by the primary key.
IMPORTS = """
    SELECT import_id, created_at, updated_at, lines_taken, accepted, rejected, errors_kept,
           finished, created, changed, unchanged, digest, form
      FROM inventory.imports WHERE import_id = ANY($1::text[])
"""
BEGIN = """
    INSERT INTO inventory.imports (import_id, form, created_at, updated_at)
    SELECT u.import_id, u.form, $3, $3 FROM unnest($1::text[], $2::text[]) AS u(import_id, form)
"""
SAVE = """
    UPDATE inventory.imports i
       SET lines_taken = u.lines_taken, accepted = u.accepted, rejected = u.rejected,
           errors_kept = u.errors_kept, finished = u.finished, created = u.created,
           changed = u.changed, unchanged = u.unchanged, digest = u.digest, updated_at = $12
      FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                  $7::boolean[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[])
        AS u(import_id, lines_before, lines_taken, accepted, rejected, errors_kept, finished,
             created, changed, unchanged, digest)
     WHERE i.import_id = u.import_id AND i.lines_taken = u.lines_before
"""
SAVE_ERRORS = """
    INSERT INTO inventory.import_errors (import_id, line, code, message, pointer, column_name)
    SELECT u.import_id, u.line, u.code, u.message, u.pointer, u.column_name
      FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])
        AS u(import_id, line, code, message, pointer, column_name)
"""


async def begin_imports(tx: Transaction, commands: Sequence[BeginStockImport]) -> Decision:
    """Open imports. Safe to repeat: one that is there is found again."""
    import_ids = [command.import_id for command in commands]
    await tx.lock(LOCK, [f"import:{import_id}" for import_id in import_ids])
    reports = await load(tx, import_ids)
    begun: dict[str, str] = {}
    outcomes: list[object] = []
    for command in commands:
        form = form_of(command.heading, dry_run=command.dry_run)
        report = reports.get(command.import_id)
        if isinstance(form, Problem):
            outcomes.append(form)
        elif report is None and command.must_exist:
            outcomes.append(ImportNotFound())
        elif report is None:
            text = ENCODER.encode(form).decode()
            report = Report(command.import_id, tx.now, tx.now, form=text)
            reports[command.import_id] = report
            begun[command.import_id] = text
            outcomes.append(progress_of(report, form))
        elif FORMS.decode(report.form) != form:
            outcomes.append(ImportDiffers("It began with another first line, mapping or dry_run."))
        else:
            outcomes.append(progress_of(report, form))
    if begun:
        tx.write(BEGIN, list(begun), list(begun.values()), tx.now)
    changes = {i: Change(c.import_id, None, {"begun": True}) for i, c in enumerate(commands)}
    return Decision(outcomes=outcomes, changes=changes)


def form_of(heading: Heading | None, *, dry_run: bool) -> Form | Problem:
    """How an import is written, or what is wrong with its first line."""
    if heading is None:
        return Form(dry_run=dry_run)
    sheet = read_sheet(
        heading.line,
        heading.mapping,
        fields=imports.FIELDS,
        delimiter=heading.delimiter,
        encoding=heading.encoding,
    )
    return refusal_of(sheet) if isinstance(sheet, list) else Form(dry_run=dry_run, sheet=sheet)


async def take_lines(tx: Transaction, chunks: Sequence[TakeStockLines]) -> Decision:
    """Take lines of imports. Safe to repeat: lines that were taken are skipped. Of a dry run only
    the report is kept.
    """
    share = max(1, LINES_MAX // len(chunks))
    read = [imports.read_lines(chunk)[:share] for chunk in chunks]
    keys = {sku_key(line.stock.sku) for lines in read for line in lines if line.stock}
    import_ids = sorted({chunk.import_id for chunk in chunks})
    await tx.lock(LOCK, [*keys, *(f"import:{import_id}" for import_id in import_ids)])
    before = await load(tx, import_ids)
    elsewhere = [
        Count(line.stock.sku, line.stock.location, 0, "")
        for lines in read
        for line in lines
        if line.stock
    ]
    book = await shelves.read(tx, elsewhere, keys, [])
    reports = dict(before)
    errors: list[tuple[str, LineError]] = []
    outcomes: list[object] = []
    for chunk, lines in zip(chunks, read, strict=True):
        report = reports.get(chunk.import_id)
        late = imports.out_of_step(report, chunk) if report else ImportNotFound()
        if report is None or late is not None:
            outcomes.append(late)
            continue
        fresh = [line for line in lines if line.end > report.lines_taken]
        counted_in = await shelves.read(tx, elsewhere, keys, []) if chunk.form.dry_run else book
        counted = imports.fold(counted_in, fresh, f"import {chunk.import_id}")
        reports[chunk.import_id], kept = imports.taken(report, fresh, counted)
        errors += [(chunk.import_id, error) for error in kept]
        outcomes.append(progress_of(reports[chunk.import_id], chunk.form))
    announce_availability(book)
    shelves.save(tx, book)
    save(tx, before, reports, errors)
    events: list[Event] = book.events
    return Decision(events=events, outcomes=outcomes)


async def finish_imports(tx: Transaction, commands: Sequence[FinishStockImport]) -> Decision:
    """Close imports. Safe to repeat."""
    import_ids = [command.import_id for command in commands]
    await tx.lock(LOCK, [f"import:{import_id}" for import_id in import_ids])
    before = await load(tx, import_ids)
    after = {i: msgspec.structs.replace(report, finished=True) for i, report in before.items()}
    save(tx, before, after, [])
    return Decision(
        outcomes=[
            progress_of(after[i], Form()) if i in after else ImportNotFound() for i in import_ids
        ],
        changes={
            index: Change(i, taken(before[i]), taken(after[i]))
            for index, i in enumerate(import_ids)
            if i in after
        },
    )


def taken(report: Report) -> dict[str, Any]:
    """How an import stands, for the record."""
    return {
        "accepted": report.accepted,
        "rejected": report.rejected,
        "finished": report.finished,
    }


async def load(tx: Transaction, import_ids: Sequence[str]) -> dict[str, Report]:
    """Imports by their id; those that do not exist are not in it."""
    return {row.import_id: row for row in await tx.fetch(IMPORTS, import_ids, into=Report)}


def save(
    tx: Transaction,
    before: Mapping[str, Report],
    after: Mapping[str, Report],
    errors: Sequence[tuple[str, LineError]],
) -> None:
    """Queue the changed imports and their new errors."""
    rows = [row for import_id, row in after.items() if row != before[import_id]]
    if rows:
        tx.write(
            SAVE,
            [row.import_id for row in rows],
            [before[row.import_id].lines_taken for row in rows],
            [row.lines_taken for row in rows],
            [row.accepted for row in rows],
            [row.rejected for row in rows],
            [row.errors_kept for row in rows],
            [row.finished for row in rows],
            [row.created for row in rows],
            [row.changed for row in rows],
            [row.unchanged for row in rows],
            [row.digest for row in rows],
            tx.now,
            expect=len(rows),
        )
    if errors:
        tx.write(
            SAVE_ERRORS,
            [import_id for import_id, _ in errors],
            [error.line for _, error in errors],
            [error.code for _, error in errors],
            [error.message for _, error in errors],
            [error.pointer for _, error in errors],
            [error.column for _, error in errors],
        )
