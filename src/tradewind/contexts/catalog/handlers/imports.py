"""Imports: lines and their report, committed together."""

from collections.abc import Mapping, Sequence

import msgspec

from tradewind.contexts.catalog.commands import BeginImport, FinishImport, ImportChunk
from tradewind.contexts.catalog.handlers.shelves import LOCK, load, names_of, save
from tradewind.contexts.catalog.problems import ImportNotFound
from tradewind.contexts.catalog.rules import imports
from tradewind.contexts.catalog.tables import ImportRow, LineError
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Decision
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction

# Products and variants that one unit of work may write. A writing transaction that is longer than
# 250 ms holds the bus back; 1,000 rows take about 150 ms.
IMPORT_ROWS_MAX = 1_000

# Served by the primary key.
IMPORTS = """
    SELECT import_id, lines_taken, accepted, rejected, errors_kept, finished,
           created_at, updated_at
      FROM catalog.imports WHERE import_id = ANY($1::text[])
"""
BEGIN_IMPORTS = """
    INSERT INTO catalog.imports
           (import_id, lines_taken, accepted, rejected, errors_kept, finished,
            created_at, updated_at)
    SELECT u.import_id, 0, 0, 0, 0, false, $2, $2 FROM unnest($1::text[]) AS u(import_id)
"""


async def begin_imports(tx: Transaction, commands: Sequence[BeginImport]) -> Decision:
    """Open imports. Safe to repeat: one that is there is found again."""
    import_ids = [command.import_id for command in commands]
    await tx.lock(LOCK, [f"import:{import_id}" for import_id in import_ids])
    reports = await load_imports(tx, import_ids)
    begun: list[str] = []
    outcomes: list[object] = []
    for command in commands:
        report = reports.get(command.import_id)
        if report is None and not command.must_exist:
            report = ImportRow(command.import_id, 0, 0, 0, 0, False, tx.now, tx.now)
            reports[command.import_id] = report
            begun.append(command.import_id)
        outcomes.append(imports.progress(report) if report else ImportNotFound())
    if begun:
        tx.write(BEGIN_IMPORTS, begun, tx.now)
    return Decision(outcomes=outcomes)


async def take_chunks(tx: Transaction, chunks: Sequence[ImportChunk]) -> Decision:
    """Take lines of imports. Safe to repeat: lines that were taken are skipped.

    Rows, events, counts and errors of the lines commit together, so a killed import loses and
    doubles nothing; it goes on at `lines_taken`.
    """
    rows_left = IMPORT_ROWS_MAX
    read: list[list[imports.Line]] = []
    for chunk in chunks:
        lines = imports.read_chunk(chunk, rows_left, lambda: new_id("prd"))
        rows_left -= sum(1 + len(line.draft.variants) for line in lines if line.draft)
        read.append(lines)
    good = [line.draft for lines in read for line in lines if line.draft]
    import_ids = {chunk.import_id for chunk in chunks}
    await tx.lock(LOCK, [*names_of(good), *(f"import:{import_id}" for import_id in import_ids)])
    before = await load_imports(tx, sorted(import_ids))
    loaded = await load(tx, good)
    reports = dict(before)
    errors: list[tuple[str, LineError]] = []
    outcomes: list[object] = []
    for chunk, lines in zip(chunks, read, strict=True):
        report = reports.get(chunk.import_id)
        if report is None:
            outcomes.append(ImportNotFound())
            continue
        taken = imports.take(loaded.shelf, report, chunk.first_line, lines)
        if isinstance(taken, Problem):
            outcomes.append(taken)
            continue
        reports[chunk.import_id], kept = taken
        errors += [(chunk.import_id, error) for error in kept]
        outcomes.append(imports.progress(reports[chunk.import_id]))
    save(tx, loaded)
    save_imports(tx, before, reports, errors)
    return Decision(events=loaded.shelf.events, outcomes=outcomes)


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
            imports.progress(after[import_id]) if import_id in after else ImportNotFound()
            for import_id in import_ids
        ]
    )


async def load_imports(tx: Transaction, import_ids: Sequence[str]) -> dict[str, ImportRow]:
    """Imports by their id; those that do not exist are not in it."""
    rows = await tx.fetch(IMPORTS, import_ids, into=ImportRow)
    return {row.import_id: row for row in rows}


SAVE_IMPORTS = """
    UPDATE catalog.imports i
       SET lines_taken = u.lines_taken, accepted = u.accepted, rejected = u.rejected,
           errors_kept = u.errors_kept, finished = u.finished, updated_at = $8
      FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                  $7::boolean[])
        AS u(import_id, lines_before, lines_taken, accepted, rejected, errors_kept, finished)
     WHERE i.import_id = u.import_id AND i.lines_taken = u.lines_before
"""
SAVE_ERRORS = """
    INSERT INTO catalog.import_errors (import_id, line, code, message)
    SELECT u.import_id, u.line, u.code, u.message
      FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[])
        AS u(import_id, line, code, message)
"""


def save_imports(
    tx: Transaction,
    before: Mapping[str, ImportRow],
    after: Mapping[str, ImportRow],
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
        )
