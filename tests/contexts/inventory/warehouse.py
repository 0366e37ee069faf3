"""A reference that takes one request at a time and keeps no rows, and requests of all kinds."""

from collections import Counter
from datetime import UTC, datetime

from hypothesis import strategies as st

from tradewind.contexts.inventory import rules
from tradewind.contexts.inventory.events import (
    MovementKind,
)
from tradewind.contexts.inventory.rules import (
    Adjust,
    Allocate,
    Book,
    Count,
    Hold,
    Release,
    Request,
)
from tradewind.contexts.inventory.tables import ReservationRow, ShelfRow
from tradewind.kernel.terms import PaymentTerms

LOW = 5
PRIORITIES = {"main": 0, "north": 1, "south": 1}
SKUS = ("mug", "Mug", "lamp", "rug")
ORDERS = tuple(f"ord_{n}" for n in range(5))


def terms(order_id: str) -> PaymentTerms:
    return PaymentTerms(
        order_id=order_id,
        payment_id="pay_" + order_id,
        amount_minor=100,
        currency="GBP",
        token="tok_ok",
        customer="prs_1",
        contact="ctc_1",
        guest=True,
        imported=False,
        shipping_country="GB",
        billing_country=None,
        placed_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def hold(order_id: str, *lines: tuple[str, int]) -> Hold:
    return Hold(order_id, lines, terms(order_id))


def count(sku: str, on_hand: int, location: str = "main", *, expected: int | None = None) -> Count:
    return Count(sku, location, on_hand, "key_1", expected=expected)


def adjust(
    sku: str,
    quantity: int,
    location: str = "main",
    *,
    kind: MovementKind = "correction",
    external_id: str | None = None,
) -> Adjust:
    return Adjust(sku, location, kind, quantity, "key_1", external_id=external_id)


def empty_book() -> Book:
    return rules.open_book([], [], main="main", low_stock_quantity=LOW, priorities=PRIORITIES)


def rows_of(book: Book) -> tuple[list[ShelfRow], list[ReservationRow]]:
    """The rows that the next unit of work would read."""
    shelves = []
    for sku in book.skus.values():
        assert sku.availability is not None
        for shelf in sku.shelves:
            shelves.append(
                ShelfRow(
                    sku.key,
                    sku.sku,
                    sku.availability,
                    sku.sequence,
                    sku.product,
                    sku.product_sequence,
                    shelf.location,
                    shelf.on_hand,
                    shelf.reserved,
                    shelf.short,
                )
            )
    reservations = [
        ReservationRow(r.order_id, r.status, r.version, r.sku_keys, r.quantities, r.locations)
        for r in book.reservations.values()
    ]
    return shelves, reservations


def reopen(book: Book) -> Book:
    return rules.open_book(
        *rows_of(book),
        main="main",
        low_stock_quantity=LOW,
        priorities=PRIORITIES,
        recorded=book.recorded,
    )


def run(*requests: Request, book: Book | None = None) -> Book:
    return rules.decide(reopen(book) if book else empty_book(), requests)


class Warehouse:
    """The reference: plain counters, one request at a time, in the words of the semantics."""

    def __init__(self) -> None:
        self.on_hand: Counter[tuple[str, str]] = Counter()
        self.counted: set[str] = set()
        self.held: dict[str, dict[str, int]] = {}
        self.status: dict[str, str] = {}
        self.products: dict[str, tuple[str, int]] = {}
        self.recorded: set[str] = set()

    def reserved(self, sku: str) -> int:
        return sum(held.get(sku, 0) for held in self.held.values())

    def available(self, sku: str) -> int:
        there = sum(units for (key, _), units in self.on_hand.items() if key == sku)
        return max(there - self.reserved(sku), 0)

    def apply(self, request: Request) -> None:
        match request:
            case Hold(order_id=order_id):
                if order_id in self.status:
                    return
                wants: Counter[str] = Counter()
                for sku, quantity in request.lines:
                    wants[sku.upper()] += quantity
                fits = all(self.available(sku) >= quantity for sku, quantity in wants.items())
                self.status[order_id] = "reserved" if fits else "refused"
                if fits:
                    self.held[order_id] = dict(wants)
            case Allocate(order_id=order_id):
                if self.status.get(order_id) == "reserved":
                    self.status[order_id] = "allocated"
            case Release(order_id=order_id):
                if self.status.get(order_id, "unknown") != "refused":
                    self.status[order_id] = "released"
                    self.held.pop(order_id, None)
            case Count():
                self.count(request)
            case Adjust():
                self.adjust(request)

    def adjust(self, request: Adjust) -> None:
        key = request.sku.upper()
        after = self.on_hand[key, request.location] + request.quantity
        known = request.external_id is not None and request.external_id in self.recorded
        if known or request.location not in PRIORITIES or after < 0:
            return
        if request.external_id is not None:
            self.recorded.add(request.external_id)
        self.counted.add(key)
        self.on_hand[key, request.location] = after

    def count(self, request: Count) -> None:
        key = request.sku.upper()
        if request.location not in PRIORITIES:
            return
        if request.product is not None:
            product, version = self.products.get(key, ("", 0))
            if product == request.product and version >= request.product_sequence:
                return
        there = self.on_hand[key, request.location]
        if request.expected is not None and request.expected != there:
            return
        if request.product is not None:
            self.products[key] = (request.product, request.product_sequence)
        self.counted.add(key)
        self.on_hand[key, request.location] = request.on_hand


skus = st.sampled_from(SKUS)
lines = st.lists(st.tuples(skus, st.integers(1, 8)), min_size=1, max_size=4).map(tuple)
orders = st.sampled_from(ORDERS)
counts = st.builds(
    Count,
    sku=skus,
    location=st.sampled_from(["main", "main", "north", "south", "nowhere"]),
    on_hand=st.integers(0, 20),
    cause=st.just("key_1"),
    expected=st.none() | st.integers(0, 20),
)
imports = st.builds(
    Count,
    sku=skus,
    location=st.just("main"),
    on_hand=st.integers(0, 20),
    cause=st.just("prd_1"),
    product=st.sampled_from(["prd_1", "prd_2"]),
    product_sequence=st.integers(1, 3),
)
adjustments = st.builds(
    Adjust,
    sku=skus,
    location=st.sampled_from(["main", "main", "north", "nowhere"]),
    kind=st.just("correction"),
    quantity=st.integers(-12, 12).filter(bool),
    cause=st.just("key_1"),
    external_id=st.none() | st.sampled_from(["a", "b", "c"]),
)
holds = st.builds(lambda order_id, wants: hold(order_id, *wants), orders, lines)
requests_of_all_kinds = st.one_of(
    holds,
    holds,
    counts,
    adjustments,
    imports,
    st.builds(Allocate, orders),
    st.builds(Release, orders, st.just("cancelled")),
)
histories = st.lists(st.lists(requests_of_all_kinds, max_size=6), max_size=4)
