"""Reads of inventory."""

from collections.abc import Sequence
from itertools import groupby

from tradewind.contexts.inventory.tables import (
    LevelRow,
    Location,
    Movement,
    StockLevel,
    level_over,
)
from tradewind.platform.database.transaction import Snapshot

# Served by the primary keys of skus and stock.
LEVEL = """
    SELECT k.sku_key, k.sku, s.location, s.on_hand, s.reserved, s.short
      FROM inventory.skus k
      JOIN inventory.stock s ON s.sku_key = k.sku_key
      JOIN inventory.locations l ON l.code = s.location
     WHERE k.sku_key = $1
     ORDER BY l.priority, l.code
"""


async def level(db: Snapshot, sku_key: str) -> StockLevel | None:
    """The units of one sku; None where none were ever counted."""
    levels = in_levels(await db.fetch(LEVEL, sku_key, into=LevelRow))
    return levels[0] if levels else None


# Served by skus_pkey from its cursor on: no sort of the whole table, at most a page is joined.
LEVELS = """
    SELECT k.sku_key, k.sku, s.location, s.on_hand, s.reserved, s.short
      FROM (SELECT sku_key, sku FROM inventory.skus
             WHERE sku_key > $1 ORDER BY sku_key LIMIT $2) k
      JOIN inventory.stock s ON s.sku_key = k.sku_key
      JOIN inventory.locations l ON l.code = s.location
     ORDER BY k.sku_key, l.priority, l.code
"""


async def levels_after(db: Snapshot, *, after: str, count_max: int) -> list[tuple[str, StockLevel]]:
    """Skus in order, those behind the key `after`; each with its key."""
    rows = await db.fetch(LEVELS, after, count_max, into=LevelRow)
    keys = dict.fromkeys(row.sku_key for row in rows)
    return list(zip(keys, in_levels(rows), strict=True))


def in_levels(rows: Sequence[LevelRow]) -> list[StockLevel]:
    """Rows, sorted by sku, as one level per sku."""
    levels = []
    for _, shelves in groupby(rows, key=lambda row: row.sku_key):
        of_sku = list(shelves)
        levels.append(
            level_over(
                of_sku[0].sku, ((r.location, r.on_hand, r.reserved, r.short) for r in of_sku)
            )
        )
    return levels


# Served by movements_by_sku (sku_key, number DESC): no sort.
MOVEMENTS = """
    SELECT number, location, kind, on_hand_delta, cause, at, movement_id, reason, external_id
      FROM inventory.movements
     WHERE sku_key = $1 AND number < $2
     ORDER BY number DESC LIMIT $3
"""


async def movements(db: Snapshot, sku_key: str, *, before: int, count_max: int) -> list[Movement]:
    """The ledger of a sku, newest first, entries with a number below `before`."""
    return await db.fetch(MOVEMENTS, sku_key, before, count_max, into=Movement)


# The whole table: a few rows.
LOCATIONS = "SELECT id, code, name, priority FROM inventory.locations ORDER BY priority, code"


async def locations(db: Snapshot) -> list[Location]:
    """Every location, in the order they serve."""
    return await db.fetch(LOCATIONS, into=Location)
