"""Reads of orders."""

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from tradewind.contexts.orders.tables import (
    BASKET_COLUMNS,
    DOCUMENT_COLUMNS,
    ORDER_COLUMNS,
    RETURN_LINE_COLUMNS,
    FulfilmentRow,
    IssuedRow,
    LineRow,
    OrderRow,
    OrderWithLines,
    ReturnLineRow,
    ReturnRow,
    ReturnView,
    return_view,
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


# Served by the primary key.
ACCOUNT_OF = "SELECT account FROM orders.orders WHERE order_id = $1"


async def account_of(db: Snapshot, order_id: str) -> str | None:
    """The account that an order belongs to."""
    account: str | None = await db.fetch_value(ACCOUNT_OF, order_id)
    return account


# Served by orders_by_account.
LIST_OF_ACCOUNT = f"""{SELECT}
     WHERE o.account = $3 AND (o.placed_at, o.order_id) < ($1::timestamptz, $2::text)
     ORDER BY o.placed_at DESC, o.order_id DESC LIMIT $4
"""


async def orders_of_account(
    db: Snapshot, account: str, *, before: Place, count_max: int
) -> FoundOrders:
    """The orders of an account from a place in the list on, newest first."""
    args = (before.placed_at, before.order_id, account, count_max)
    rows = await db.fetch(LIST_OF_ACCOUNT, *args, into=OrderWithLines)
    place = Place(rows[-1].placed_at, rows[-1].order_id) if len(rows) == count_max else None
    return FoundOrders([(row, row.lines()) for row in rows], place)


# Served by orders_by_customer and documents_alone.
IN_USE = """
    SELECT customer FROM orders.orders WHERE customer = ANY($1::text[])
    UNION SELECT customer FROM orders.documents
           WHERE order_id IS NULL AND customer = ANY($1::text[])
"""


async def customers_in_use(db: Snapshot, persons: Sequence[str]) -> set[str]:
    """Which of the vault's records an order or a credit note points to."""
    return set(await db.fetch_values(IN_USE, list(persons)))


# Served by the primary key.
FULFILMENT = """
    SELECT order_id, carrier, tracking, fulfilled_at FROM orders.fulfilments WHERE order_id = $1
"""


async def fulfilment(db: Snapshot, order_id: str) -> FulfilmentRow | None:
    """How an order left the house, if it did."""
    return await db.fetch_one(FULFILMENT, order_id, into=FulfilmentRow)


class FoundReturn(ReturnRow):
    """A return with what is shown beside it."""

    currency: str
    series: str | None
    year: int | None
    serial: int | None

    @property
    def credit_note(self) -> str | None:
        """The number of its credit note."""
        if self.series is None or self.year is None or self.serial is None:
            return None
        return f"{self.series}-{self.year}-{self.serial:06d}"


RETURN_FIELDS = ", ".join(f"r.{name}" for name in ReturnRow.__struct_fields__)
FOUND_RETURN = f"""
    SELECT {RETURN_FIELDS}, o.currency,
           d.series, d.year, d.serial
      FROM orders.returns r JOIN orders.orders o USING (order_id)
      LEFT JOIN orders.documents d ON d.source = r.refund_id"""
# Served by the primary keys of both and documents_source.
ONE_RETURN = f"{FOUND_RETURN} WHERE r.return_id = $1"
# Served by returns_by_order.
RETURNS_OF_ORDER = f"{FOUND_RETURN} WHERE r.order_id = $1 ORDER BY r.return_id"
# Served by the primary key: ids are in the order of time.
RETURNS = f"""{FOUND_RETURN}
     WHERE r.return_id < $1 AND ($2::text IS NULL OR r.status = $2)
     ORDER BY r.return_id DESC LIMIT $3"""
# Served by the primary key.
RETURN_LINES = f"""
    SELECT {RETURN_LINE_COLUMNS} FROM orders.return_lines
     WHERE return_id = ANY($1::text[]) ORDER BY return_id, line
"""
LAST_ID = "~"  # sorts behind every id


async def one_return(db: Snapshot, return_id: str) -> ReturnView | None:
    """A return with its lines."""
    found = await db.fetch(ONE_RETURN, return_id, into=FoundReturn)
    views = await with_lines(db, found)
    return views[0] if views else None


async def returns_of(db: Snapshot, order_id: str) -> list[ReturnView]:
    """All returns of an order, oldest first."""
    return await with_lines(db, await db.fetch(RETURNS_OF_ORDER, order_id, into=FoundReturn))


async def returns(
    db: Snapshot, *, before: str, status: str | None, count_max: int
) -> list[ReturnView]:
    """Returns, newest first."""
    found = await db.fetch(RETURNS, before, status, count_max, into=FoundReturn)
    return await with_lines(db, found)


async def with_lines(db: Snapshot, found: Sequence[FoundReturn]) -> list[ReturnView]:
    """Returns as they go on the wire."""
    if not found:
        return []
    lines: dict[str, list[ReturnLineRow]] = {row.return_id: [] for row in found}
    for line in await db.fetch(RETURN_LINES, list(lines), into=ReturnLineRow):
        lines[line.return_id].append(line)
    return [return_view(row, lines[row.return_id], row.currency, row.credit_note) for row in found]


ISSUED_COLUMNS = f"{DOCUMENT_COLUMNS}, issued_at"
# Served by the primary key.
ONE_DOCUMENT = f"""
    SELECT {ISSUED_COLUMNS} FROM orders.documents d
     WHERE (d.series, d.year, d.serial) = ($1, $2, $3)
"""
# Served by documents_source and credit_notes_by_order.
DOCUMENTS_OF_ORDER = f"""
    SELECT {ISSUED_COLUMNS} FROM orders.documents d
     WHERE d.source = $1 OR (d.order_id = $1 AND d.kind = 'credit_note')
     ORDER BY d.issued_at, d.kind DESC, d.year, d.serial
"""
# Served by the primary key.
DOCUMENTS = f"""
    SELECT {ISSUED_COLUMNS} FROM orders.documents d
     WHERE d.series = $1 AND (d.year, d.serial) < ($2, $3) AND d.year >= $4
     ORDER BY d.year DESC, d.serial DESC LIMIT $5
"""


async def document(db: Snapshot, series: str, year: int, serial: int) -> IssuedRow | None:
    """A document by its number."""
    return await db.fetch_one(ONE_DOCUMENT, series, year, serial, into=IssuedRow)


async def documents_of(db: Snapshot, order_id: str) -> list[IssuedRow]:
    """The invoice of an order and its credit notes, as they were issued."""
    return await db.fetch(DOCUMENTS_OF_ORDER, order_id, into=IssuedRow)


async def documents(
    db: Snapshot, *, series: str, before: tuple[int, int], year_min: int, count_max: int
) -> list[IssuedRow]:
    """The documents of a series, newest number first."""
    return await db.fetch(DOCUMENTS, series, *before, year_min, count_max, into=IssuedRow)
