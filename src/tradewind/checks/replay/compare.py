"""Rows that the facts make against rows that are there, one subject after the other."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from msgspec import Struct, field

from tradewind.checks.replay import folds
from tradewind.checks.replay.facts import Fact, Read
from tradewind.checks.replay.folds import Row

SHOWN_MAX = 5

# Each in the order of its key, in the collation of the log's subjects.
ORDERS = """
    SELECT order_id AS key, version, status, currency, subtotal_minor, shipping_minor, tax_minor,
           discount_minor, fees_minor, total_minor, customer, contact, payment_id, payment_status,
           stock_released, channel, imported, placed_at, review_before, decided_at, rejection_code
      FROM orders.orders ORDER BY order_id
"""
LINES = """
    SELECT order_id AS key, array_agg(sku ORDER BY number) AS sku,
           array_agg(title ORDER BY number) AS title,
           array_agg(quantity ORDER BY number) AS quantity,
           array_agg(unit_price_e4 ORDER BY number) AS unit_price_e4,
           array_agg(total_minor ORDER BY number) AS total_minor
      FROM orders.lines GROUP BY order_id ORDER BY order_id
"""
RESERVATIONS = """
    SELECT order_id AS key, status, version, reason, created_at, changed_at,
           sku_keys, quantities, locations
      FROM inventory.reservations ORDER BY order_id
"""
# A payment that was authorised for an order that is dead by then is not told of: it is voided.
PAYMENTS = """
    SELECT p.order_id AS key, p.payment_id, p.amount_minor, p.currency, p.token, p.terms, p.status,
           p.wanted, p.captured_minor, p.refunded_minor, p.sequence,
           p.status = 'authorised' AND p.wanted = 'nothing' AS being_voided
      FROM payments.payments p ORDER BY p.order_id
"""
CARD = "SELECT token FROM payments.payments WHERE order_id = $1"
LEDGER = """
    SELECT order_id AS key, array_agg(kind ORDER BY number) AS kind,
           array_agg(debit ORDER BY number) AS debit, array_agg(credit ORDER BY number) AS credit,
           array_agg(amount_minor ORDER BY number) AS amount_minor,
           array_agg(currency ORDER BY number) AS currency,
           -- a credit is booked by who heard of it, later
           array_agg(CASE WHEN kind <> 'credit' THEN at END ORDER BY number) AS at
      FROM payments.ledger GROUP BY order_id ORDER BY order_id
"""
SKUS = (
    "SELECT 'sku:' || sku_key AS key, sequence, availability FROM inventory.skus ORDER BY sku_key"
)
STOCK = "SELECT sku_key, location, on_hand, reserved FROM inventory.stock"


class Difference(Struct, frozen=True):
    """One row that is not as its events say."""

    id: str
    detail: str


class Table(Struct):
    """What was found out about one table."""

    name: str
    compared: int = 0
    differing: int = 0
    first: list[Difference] = field(default_factory=list)

    def compare(self, key: str, told: Row | None, row: Row | None) -> None:
        """Count a row, and keep what differs in it."""
        if told is None and row is None:
            return
        self.compared += 1
        if told is None:
            self.differ(key, "is there, and no event says so")
        elif row is None:
            self.differ(key, "is not there, and its events say that it should be")
        else:
            different = [name for name in told if told[name] != row.get(name)]
            if different:
                says = "; ".join(
                    f"{name} is {row.get(name)!r}, its events say {told[name]!r}"
                    for name in different
                )
                self.differ(key, says)

    def differ(self, key: str, detail: str) -> None:
        """One more row that differs."""
        self.differing += 1
        if len(self.first) < SHOWN_MAX:
            self.first.append(Difference(key, detail))


class Rows:
    """The rows of one table, asked for key after key, in the order of both."""

    def __init__(self, rows: AsyncIterator[Any], shape: Callable[[Any], Row]) -> None:
        self._rows = rows
        self._shape = shape
        self._next: Any = None

    async def up_to(self, key: str) -> AsyncIterator[tuple[str, Row]]:
        """The rows before a key and at it."""
        while True:
            if self._next is None:
                self._next = await anext(self._rows, None)
            if self._next is None or self._next["key"] > key:
                return
            row, self._next = self._next, None
            yield row["key"], self._shape(row)


def plain(row: Any) -> Row:
    """A row as it is."""
    return dict(row)


def reserved(row: Any) -> Row:
    """A reservation with its units by sku and location."""
    places = row["locations"] or ["main"] * len(row["sku_keys"])
    parts: dict[tuple[str, str], int] = {}
    for key, place, quantity in zip(row["sku_keys"], places, row["quantities"], strict=True):
        parts[key, place] = parts.get((key, place), 0) + quantity
    return {**dict(row), "parts": parts}


def posted(row: Any) -> Row:
    """The postings of an order as a sorted list."""
    names = ("kind", "debit", "credit", "amount_minor", "currency", "at")
    return {"postings": sorted(zip(*(row[name] for name in names), strict=True))}


class Ledgers(Struct):
    """What is added up over all orders: promised units by sku and location, and what lies there."""

    promised: dict[tuple[str, str], int] = field(default_factory=dict)
    on_hand: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, row: Row | None) -> None:
        """The units of one reservation."""
        if row is not None and row["status"] in ("reserved", "allocated"):
            for key, quantity in row["parts"].items():
                self.promised[key] = self.promised.get(key, 0) + quantity

    def compare(self, table: Table, rows: Sequence[Any]) -> None:
        """Every shelf."""
        there = {(row["sku_key"], row["location"]): row for row in rows}
        for key in sorted({*there, *self.on_hand, *self.promised}):
            told = {"on_hand": self.on_hand.get(key), "reserved": self.promised.get(key, 0)}
            row = there.get(key)
            table.compare(" at ".join(key), told, None if row is None else dict(row))


def told(table: str, facts: Sequence[Fact], read: Read) -> Row | None:
    """The row of a table that the facts about one subject make."""
    if not facts:
        return None
    match table:
        case "orders.orders":
            return folds.order(facts, read)
        case "orders.lines":
            return folds.lines(facts)
        case "inventory.reservations":
            return folds.reservation(facts)
        case "payments.payments":
            return folds.payment(facts, read)
        case "payments.ledger":
            return folds.postings(facts)
        case _:
            return folds.sku(facts)
