"""Reads of orders."""

from collections.abc import Sequence
from datetime import datetime

from tradewind.contexts.orders.tables import LineRow, OrderRow
from tradewind.platform.database.transaction import Snapshot

# Served by the primary key.
ONE = """
    SELECT order_id, version, status, currency, subtotal_minor, shipping_minor, tax_minor,
           discount_minor, fees_minor, total_minor, customer, contact, payment_id, payment_status,
           stock_released, channel, imported, external_id, fees, placed_at, decide_before,
           review_before,
           decided_at, rejection_code
      FROM orders.orders WHERE order_id = $1
"""
LINES = """
    SELECT order_id, number, sku, title, quantity, unit_price_e4, total_minor
      FROM orders.lines WHERE order_id = ANY($1::text[]) ORDER BY order_id, number
"""


async def order(db: Snapshot, order_id: str) -> tuple[OrderRow, list[LineRow]] | None:
    """An order and its lines, or None."""
    row = await db.fetch_one(ONE, order_id, into=OrderRow)
    if row is None:
        return None
    return row, await db.fetch(LINES, [order_id], into=LineRow)


COLUMNS = ONE.split("FROM", maxsplit=1)[0]
# Served by orders_by_placed, with a contact by orders_by_contact; the status is a filter.
LIST = (
    COLUMNS
    + """
      FROM orders.orders
     WHERE (placed_at, order_id) < ($1::timestamptz, $2::text)
       AND placed_at > $3 AND ($4::text IS NULL OR status = $4)
     ORDER BY placed_at DESC, order_id DESC LIMIT $5
"""
)
LIST_OF_CONTACT = (
    COLUMNS
    + """
      FROM orders.orders
     WHERE contact = $6 AND (placed_at, order_id) < ($1::timestamptz, $2::text)
       AND placed_at > $3 AND ($4::text IS NULL OR status = $4)
     ORDER BY placed_at DESC, order_id DESC LIMIT $5
"""
)


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
        rows = await db.fetch(LIST, *args, into=OrderRow)
    else:
        rows = await db.fetch(LIST_OF_CONTACT, *args, contact, into=OrderRow)
    lines: dict[str, list[LineRow]] = {row.order_id: [] for row in rows}
    if rows:
        for line in await db.fetch(LINES, list(lines), into=LineRow):
            lines[line.order_id].append(line)
    return [(row, lines[row.order_id]) for row in rows]


IN_USE = "SELECT customer FROM orders.orders WHERE customer = ANY($1::text[])"


async def customers_in_use(db: Snapshot, persons: Sequence[str]) -> set[str]:
    """Which of the vault's records an order points to."""
    return set(await db.fetch_values(IN_USE, list(persons)))
