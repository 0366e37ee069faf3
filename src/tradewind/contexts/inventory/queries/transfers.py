"""Reports of imports, and pages of exports."""

from tradewind.contexts.inventory.tables import ShelfLine
from tradewind.kernel.imports import LineError, Report
from tradewind.platform.database.transaction import Snapshot

# Served by the primary keys of both.
IMPORT = """
    SELECT import_id, created_at, updated_at, lines_taken, accepted, rejected, errors_kept,
           finished, created, changed, unchanged, digest, form
      FROM inventory.imports WHERE import_id = $1
"""
IMPORT_ERRORS = """
    SELECT line, code, message, pointer, column_name FROM inventory.import_errors
     WHERE import_id = $1 AND line <= $2 ORDER BY line LIMIT $3
"""


async def import_report(
    snapshot: Snapshot, import_id: str, *, errors_max: int
) -> tuple[Report, list[LineError]] | None:
    """An import and its first errors. Errors of lines that the row does not count yet stay out."""
    row = await snapshot.fetch_one(IMPORT, import_id, into=Report)
    if row is None:
        return None
    args = (import_id, row.lines_taken, errors_max)
    return row, await snapshot.fetch(IMPORT_ERRORS, *args, into=LineError)


# Served by the primary keys, in the order of stock_pkey (sku_key, location): no sort.
SHELVES = """
    SELECT s.sku_key, k.sku, s.location, s.on_hand
      FROM inventory.stock s JOIN inventory.skus k ON k.sku_key = s.sku_key
     WHERE (s.sku_key, s.location) > ($1, $2)
     ORDER BY s.sku_key, s.location LIMIT $3
"""


async def shelves_after(
    snapshot: Snapshot, place: tuple[str, str], *, count_max: int
) -> list[ShelfLine]:
    """Shelves in the order of skus and locations, those behind a place."""
    return await snapshot.fetch(SHELVES, *place, count_max, into=ShelfLine)
