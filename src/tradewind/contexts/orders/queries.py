"""Reads of orders."""

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

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


# Statements are planned once, for any parameters: of a LIMIT that comes as one a tenth of the table
# is expected, and then all baskets are read at once. So the plan is told what a page has at most.
PAGE_MAX = 100
# Served by orders_by_placed.
LIST = f"""
    SELECT {ORDER_COLUMNS}, {BASKET_COLUMNS}
      FROM (SELECT * FROM orders.orders s
             WHERE (s.placed_at, s.order_id) < ($1::timestamptz, $2::text) AND s.placed_at > $3
             ORDER BY s.placed_at DESC, s.order_id DESC LIMIT {PAGE_MAX}) o
      JOIN orders.baskets b USING (order_id)
     ORDER BY o.placed_at DESC, o.order_id DESC LIMIT $4
"""
# Served by orders_by_contact; the status is a filter: nobody has so many orders.
LIST_OF_CONTACT = f"""{SELECT}
     WHERE o.contact = $5 AND (o.placed_at, o.order_id) < ($1::timestamptz, $2::text)
       AND o.placed_at > $3 AND ($6::text IS NULL OR o.status = $6)
     ORDER BY o.placed_at DESC, o.order_id DESC LIMIT $4
"""
# Served by orders_reviewed and orders_rejected: they hold few orders of many.
LIST_HELD = LIST.replace(
    "ORDER BY s", "AND review_before IS NOT NULL AND status = 'held' ORDER BY s"
)
LIST_REJECTED = LIST.replace("ORDER BY s", "AND rejection_code IS NOT NULL ORDER BY s")
# Served by orders_by_placed: the other states are the common ones, and no index may name what a
# decision changes. Where one is rare, so many orders are looked at for a page and no more.
SCANNED_MAX = 10_000
PASSED_OVER = SCANNED_MAX - 1
LIST_AMONG = f"""
    SELECT {ORDER_COLUMNS}, {BASKET_COLUMNS}
      FROM (SELECT * FROM orders.orders s
             WHERE (s.placed_at, s.order_id) < ($1::timestamptz, $2::text) AND s.placed_at > $3
             ORDER BY s.placed_at DESC, s.order_id DESC LIMIT {SCANNED_MAX}) o
      JOIN orders.baskets b USING (order_id)
     WHERE o.status = $5
     ORDER BY o.placed_at DESC, o.order_id DESC LIMIT $4
"""
SCANNED = f"""
    SELECT s.placed_at, s.order_id FROM orders.orders s
     WHERE (s.placed_at, s.order_id) < ($1::timestamptz, $2::text) AND s.placed_at > $3
     ORDER BY s.placed_at DESC, s.order_id DESC OFFSET {PASSED_OVER} LIMIT 1
"""
IN_ONE_INDEX = {None: LIST, "held": LIST_HELD, "rejected": LIST_REJECTED}


class Place(Struct, frozen=True):
    """A place in the list of orders."""

    placed_at: datetime
    order_id: str


# Before all orders: "~" sorts behind every id.
NEWEST = Place(datetime(9998, 1, 1, tzinfo=UTC), "~")


class FoundOrders(Struct, frozen=True):
    """Orders with their lines, and where to go on; None at the end of the list."""

    items: list[tuple[OrderRow, list[LineRow]]]
    next: Place | None


async def orders(
    db: Snapshot,
    *,
    before: Place,
    placed_after: datetime,
    status: str | None,
    contact: str | None,
    count_max: int,
) -> FoundOrders:
    """Orders from a place in the list on, newest first. There may be more behind a short page."""
    args = (before.placed_at, before.order_id, placed_after, count_max)
    if contact is not None:
        rows = await db.fetch(LIST_OF_CONTACT, *args, contact, status, into=OrderWithLines)
    elif status in IN_ONE_INDEX:
        rows = await db.fetch(IN_ONE_INDEX[status], *args, into=OrderWithLines)
    else:
        rows = await db.fetch(LIST_AMONG, *args, status, into=OrderWithLines)
    place: Place | None = None
    if len(rows) == count_max:
        place = Place(rows[-1].placed_at, rows[-1].order_id)
    elif contact is None and status not in IN_ONE_INDEX:
        place = await db.fetch_one(SCANNED, *args[:3], into=Place)
    return FoundOrders([(row, row.lines()) for row in rows], place)


# Served by orders_by_customer.
IN_USE = "SELECT customer FROM orders.orders WHERE customer = ANY($1::text[])"


async def customers_in_use(db: Snapshot, persons: Sequence[str]) -> set[str]:
    """Which of the vault's records an order points to."""
    return set(await db.fetch_values(IN_USE, list(persons)))
