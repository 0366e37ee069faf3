"""Reads of orders."""

from collections.abc import Sequence
from datetime import datetime

from tradewind.contexts.orders.tables import (
    BASKET_COLUMNS,
    ORDER_COLUMNS,
    LineRow,
    OrderRow,
    OrderWithLines,
)
from tradewind.platform.database.transaction import Snapshot

SELECT = f"""
    SELECT {ORDER_COLUMNS}, {BASKET_COLUMNS}
      FROM orders.orders o JOIN orders.baskets b USING (order_id)"""
# Served by the primary keys of both.
ONE = f"{SELECT} WHERE o.order_id = $1"


async def order(db: Snapshot, order_id: str) -> tuple[OrderRow, list[LineRow]] | None:
    """An order and its lines, or None."""
    row = await db.fetch_one(ONE, order_id, into=OrderWithLines)
    return None if row is None else (row, row.lines())


# Served by orders_by_placed, with a contact by orders_by_contact; the status is a filter.
LIST = f"""{SELECT}
     WHERE (o.placed_at, o.order_id) < ($1::timestamptz, $2::text)
       AND o.placed_at > $3 AND ($4::text IS NULL OR o.status = $4)
     ORDER BY o.placed_at DESC, o.order_id DESC LIMIT $5
"""
LIST_OF_CONTACT = f"""{SELECT}
     WHERE o.contact = $6 AND (o.placed_at, o.order_id) < ($1::timestamptz, $2::text)
       AND o.placed_at > $3 AND ($4::text IS NULL OR o.status = $4)
     ORDER BY o.placed_at DESC, o.order_id DESC LIMIT $5
"""


async def orders(
    db: Snapshot,
    *,
    before: tuple[datetime, str],
    placed_after: datetime,
    status: str | None,
    contact: str | None,
    count_max: int,
) -> list[tuple[OrderRow, list[LineRow]]]:
    """Orders from a place in the list on, newest first, each with its lines."""
    args = (*before, placed_after, status, count_max)
    if contact is None:
        rows = await db.fetch(LIST, *args, into=OrderWithLines)
    else:
        rows = await db.fetch(LIST_OF_CONTACT, *args, contact, into=OrderWithLines)
    return [(row, row.lines()) for row in rows]


IN_USE = "SELECT customer FROM orders.orders WHERE customer = ANY($1::text[])"


async def customers_in_use(db: Snapshot, persons: Sequence[str]) -> set[str]:
    """Which of the vault's records an order points to."""
    return set(await db.fetch_values(IN_USE, list(persons)))
