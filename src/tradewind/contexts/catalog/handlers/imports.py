"""Imports: lines and their report, committed together."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tradewind.contexts.catalog.commands import BeginImport, FinishImport, ImportChunk
from tradewind.contexts.catalog.events import sku_key
from tradewind.contexts.catalog.handlers.shelves import LOCK, load, names_of, save
from tradewind.contexts.catalog.rules import imports
from tradewind.contexts.catalog.rules import sheet_rows as rows
from tradewind.contexts.catalog.rules.drafts import Draft
from tradewind.contexts.catalog.rules.products import Shelf
from tradewind.contexts.catalog.tables import CountRow
from tradewind.kernel.audit import Change
from tradewind.kernel.ids import new_id
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
from tradewind.kernel.messages import Decision
from tradewind.kernel.problems import Problem
from tradewind.kernel.sheets import read_sheet
from tradewind.platform.database.transaction import Transaction

# Products and variants that one unit of work may write, and the bytes it may read: on two busy
# cores 100 ms. A writing transaction that is longer than 250 ms holds the bus back.
BOUNDS = imports.Bounds(rows_max=400, bytes_max=256 * 1024)
FORMS = msgspec.json.Decoder(Form)
ENCODER = msgspec.json.Encoder()

# Served by the primary key.
IMPORTS = """
    SELECT import_id, created_at, updated_at, lines_taken, accepted, rejected, errors_kept,
           finished, created, changed, unchanged, digest, form
      FROM catalog.imports WHERE import_id = ANY($1::text[])
"""
BEGIN_IMPORTS = """
    INSERT INTO catalog.imports
           (import_id, lines_taken, accepted, rejected, errors_kept, finished, form,
            created_at, updated_at)
    SELECT u.import_id, 0, 0, 0, 0, false, u.form, $3, $3
      FROM unnest($1::text[], $2::text[]) AS u(import_id, form)
"""


async def begin_imports(tx: Transaction, commands: Sequence[BeginImport]) -> Decision:
    """Open imports. Safe to repeat: one that is there is found again."""
    import_ids = [command.import_id for command in commands]
    await tx.lock(LOCK, [f"import:{import_id}" for import_id in import_ids])
    reports = await load_imports(tx, import_ids)
    begun: list[Report] = []
    outcomes: list[object] = []
    for command in commands:
        form = form_of(command.heading, dry_run=command.dry_run)
        report = reports.get(command.import_id)
        if isinstance(form, Problem):
            outcomes.append(form)
        elif report is None and command.must_exist:
            outcomes.append(ImportNotFound())
        elif report is None:
            report = Report(
                import_id=command.import_id,
                form=ENCODER.encode(form).decode(),
                created_at=tx.now,
                updated_at=tx.now,
            )
            reports[command.import_id] = report
            begun.append(report)
            outcomes.append(progress_of(report, form))
        elif FORMS.decode(report.form) != form:
            outcomes.append(
                ImportDiffers(
                    "It began with another first line, mapping or with another ?dry_run. Send "
                    "what it began with, or import anew."
                )
            )
        else:
            outcomes.append(progress_of(report, form))
    if begun:
        ids, forms = [row.import_id for row in begun], [row.form for row in begun]
        tx.write(BEGIN_IMPORTS, ids, forms, tx.now)
    changes = {i: Change(c.import_id, None, {"begun": True}) for i, c in enumerate(commands)}
    return Decision(outcomes=outcomes, changes=changes)


def form_of(heading: Heading | None, *, dry_run: bool) -> Form | Problem:
    """How an import is written, or what is wrong with its first line."""
    if heading is None:
        return Form(dry_run=dry_run)
    sheet = read_sheet(
        heading.line,
        heading.mapping,
        fields=rows.FIELDS,
        named=rows.NAMED,
        delimiter=heading.delimiter,
        encoding=heading.encoding,
    )
    if isinstance(sheet, list):
        return refusal_of(sheet)
    return Form(dry_run=dry_run, sheet=sheet)


async def take_chunks(tx: Transaction, chunks: Sequence[ImportChunk]) -> Decision:
    """Take lines of imports. Safe to repeat: lines that were taken are skipped.

    Rows, events, counts and errors of the lines commit together, so a killed import loses and
    doubles nothing; it goes on at `lines_taken`. Of a dry run only the report is kept.
    """
    import_ids = sorted({chunk.import_id for chunk in chunks})
    read = read_lines(chunks)
    good = [line.draft for lines in read for line in lines if line.draft]
    said = [line.row for lines in read for line in lines if line.row]
    named = names_of(good)
    named.update(f"product:{row.external_id}" for row in said)
    named.update(f"sku:{sku_key(row.variant['sku'])}" for row in said)
    await tx.lock(LOCK, [*named, *(f"import:{import_id}" for import_id in import_ids)])
    before = await load_imports(tx, import_ids)
    loaded = await load(
        tx, good, [r.external_id for r in said], [sku_key(r.variant["sku"]) for r in said]
    )
    counts = await load_counts(tx, good, said)
    reports = dict(before)
    errors: list[tuple[str, LineError]] = []
    outcomes: list[object] = []
    for chunk, lines in zip(chunks, read, strict=True):
        report = reports.get(chunk.import_id)
        if report is None:
            outcomes.append(ImportNotFound())
            continue
        shelf = loaded.shelf
        if chunk.form.dry_run:
            shelf = Shelf(
                products=dict(shelf.products), owners=dict(shelf.owners), defined=shelf.defined
            )
        shelf.by = f"import {chunk.import_id}"
        taken = imports.take(
            shelf, report, chunk.first_line, lines, counts=counts, sheet=chunk.form.sheet
        )
        if isinstance(taken, Problem):
            outcomes.append(taken)
            continue
        reports[chunk.import_id], kept = taken
        errors += [(chunk.import_id, error) for error in kept]
        outcomes.append(progress_of(reports[chunk.import_id], chunk.form))
    save(tx, loaded)
    save_imports(tx, before, reports, errors)
    return Decision(events=loaded.shelf.events, outcomes=outcomes)


def read_lines(chunks: Sequence[ImportChunk]) -> list[list[imports.Line]]:
    """The lines of all chunks that fit into one unit of work: at least one of each."""
    bounds = BOUNDS
    read: list[list[imports.Line]] = []
    for chunk in chunks:
        lines = imports.read_chunk(chunk, bounds, lambda: new_id("prd"))
        bounds = imports.Bounds(
            rows_max=bounds.rows_max - sum(line.size for line in lines),
            bytes_max=bounds.bytes_max - sum(len(line.data or b"") for line in lines),
        )
        read.append(lines)
    return read


async def finish_imports(tx: Transaction, commands: Sequence[FinishImport]) -> Decision:
    """Close imports. Safe to repeat."""
    import_ids = [command.import_id for command in commands]
    await tx.lock(LOCK, [f"import:{import_id}" for import_id in import_ids])
    before = await load_imports(tx, import_ids)
    after = {
        import_id: msgspec.structs.replace(report, finished=True)
        for import_id, report in before.items()
    }
    save_imports(tx, before, after, [])
    return Decision(
        outcomes=[
            progress_of(after[import_id], Form()) if import_id in after else ImportNotFound()
            for import_id in import_ids
        ],
        changes={
            index: Change(import_id, taken(before[import_id]), taken(after[import_id]))
            for index, import_id in enumerate(import_ids)
            if import_id in after
        },
    )


def taken(report: Report) -> dict[str, Any]:
    """How an import stands, for the record."""
    return {
        "accepted": report.accepted,
        "rejected": report.rejected,
        "finished": report.finished,
    }


async def load_imports(tx: Transaction, import_ids: Sequence[str]) -> dict[str, Report]:
    """Imports by their id; those that do not exist are not in it."""
    rows_ = await tx.fetch(IMPORTS, import_ids, into=Report)
    return {row.import_id: row for row in rows_}


# Served by the primary key.
COUNTS = """
    SELECT sku_key, declared, counted FROM catalog.counts WHERE sku_key = ANY($1::text[])
"""


async def load_counts(
    tx: Transaction, good: Sequence[Draft], said: Sequence[rows.Row]
) -> dict[str, CountRow]:
    """What is known of the units of skus that are declared anew."""
    keys = {sku_key(v.sku) for draft in good for v in draft.variants if v.on_hand is not None}
    keys.update(sku_key(row.variant["sku"]) for row in said if "on_hand" in row.variant)
    if not keys:
        return {}
    return {row.sku_key: row for row in await tx.fetch(COUNTS, sorted(keys), into=CountRow)}


SAVE_IMPORTS = """
    UPDATE catalog.imports i
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
    INSERT INTO catalog.import_errors (import_id, line, code, message, pointer, column_name)
    SELECT u.import_id, u.line, u.code, u.message, u.pointer, u.column_name
      FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])
        AS u(import_id, line, code, message, pointer, column_name)
"""


def save_imports(
    tx: Transaction,
    before: Mapping[str, Report],
    after: Mapping[str, Report],
    errors: Sequence[tuple[str, LineError]],
) -> None:
    """Queue the changed imports and their new errors."""
    changed = [row for import_id, row in after.items() if row != before[import_id]]
    if changed:
        tx.write(
            SAVE_IMPORTS,
            [row.import_id for row in changed],
            [before[row.import_id].lines_taken for row in changed],
            [row.lines_taken for row in changed],
            [row.accepted for row in changed],
            [row.rejected for row in changed],
            [row.errors_kept for row in changed],
            [row.finished for row in changed],
            [row.created for row in changed],
            [row.changed for row in changed],
            [row.unchanged for row in changed],
            [row.digest for row in changed],
            tx.now,
            expect=len(changed),
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
