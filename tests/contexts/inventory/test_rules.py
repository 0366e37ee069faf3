"""The rules of stock against a reference that takes one request at a time and keeps no rows."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.contexts.inventory import rules
from tradewind.contexts.inventory.events import (
    Availability,
    AvailabilityChanged,
    ShortLine,
    StockAllocated,
    StockCounted,
    StockRefused,
    StockReleased,
    StockReserved,
)
from tradewind.contexts.inventory.problems import QuantityChanged, UnknownLocation
from tradewind.contexts.inventory.rules import Allocate, Book, Count, Hold, Release, Request
from tradewind.contexts.inventory.tables import ReservationRow, ShelfRow, StockLevel
from tradewind.kernel.messages import Event
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
        *rows_of(book), main="main", low_stock_quantity=LOW, priorities=PRIORITIES
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
holds = st.builds(lambda order_id, wants: hold(order_id, *wants), orders, lines)
requests_of_all_kinds = st.one_of(
    holds,
    holds,
    counts,
    imports,
    st.builds(Allocate, orders),
    st.builds(Release, orders, st.just("cancelled")),
)
histories = st.lists(st.lists(requests_of_all_kinds, max_size=6), max_size=4)


@given(histories)
def test_batches_decide_what_one_by_one_decides(history: list[list[Request]]) -> None:
    """However requests are cut into batches, counts and reservations end as the reference has them;
    every ledger sums up, and `short` is exactly the gap.
    """
    warehouse = Warehouse()
    book = empty_book()
    moved: Counter[tuple[str, str]] = Counter()
    for batch in history:
        book = run(*batch, book=book)
        for request in batch:
            warehouse.apply(request)
        for move in book.moves:
            moved[move.sku_key, move.location] += move.on_hand_delta
        check_against(book, warehouse, moved)


def check_against(book: Book, warehouse: Warehouse, moved: Counter[tuple[str, str]]) -> None:
    assert set(book.skus) == warehouse.counted
    assert {r.order_id: r.status for r in book.reservations.values()} == warehouse.status
    promised: Counter[tuple[str, str]] = Counter()
    for reservation in book.reservations.values():
        if reservation.status not in ("reserved", "allocated"):
            continue
        places = reservation.locations or ["main"] * len(reservation.sku_keys)
        totals: Counter[str] = Counter()
        for key, quantity, place in zip(
            reservation.sku_keys, reservation.quantities, places, strict=True
        ):
            promised[key, place] += quantity
            totals[key] += quantity
        assert totals == Counter(warehouse.held[reservation.order_id])
    for sku in book.skus.values():
        assert rules.free_units(sku) == warehouse.available(sku.key)
        assert sku.availability == rules.availability_of(rules.free_units(sku), LOW)
        for shelf in sku.shelves:
            where = (sku.key, shelf.location)
            assert shelf.on_hand == warehouse.on_hand[where] == moved[where]
            assert shelf.reserved == promised[where]
            assert shelf.short == max(shelf.reserved - shelf.on_hand, 0)


@given(histories)
def test_reservations_alone_never_promise_more_than_there_is(history: list[list[Request]]) -> None:
    """With the counts taken first and nothing counted afterwards, no shelf is ever short."""
    flat = [request for batch in history for request in batch]
    book = run(*[request for request in flat if isinstance(request, Count)])
    book = run(*[request for request in flat if not isinstance(request, Count)], book=book)
    for sku in book.skus.values():
        assert all(0 <= shelf.reserved <= shelf.on_hand for shelf in sku.shelves)


@given(histories)
def test_a_batch_seen_again_changes_nothing(history: list[list[Request]]) -> None:
    """Repeats of orders' events and of a product's counts are known by status and version."""
    book = empty_book()
    for batch in history:
        told = [r for r in batch if not (isinstance(r, Count) and r.product is None)]
        told.sort(key=lambda r: not isinstance(r, Hold))  # in the log, an order is placed first
        book = run(*told, book=book)
        again = run(*[r for r in told if not changes_hands(told, r)], book=book)
        assert again.events == [] and again.moves == []
        assert rows_of(again) == rows_of(reopen(book))


def changes_hands(batch: Sequence[Request], request: Request) -> bool:
    """Whether two products counted a sku in one batch: then no version tells which is new."""
    return isinstance(request, Count) and any(
        isinstance(other, Count)
        and other.sku.upper() == request.sku.upper()
        and other.product != request.product
        for other in batch
    )


@given(histories)
def test_sequences_have_no_gaps(history: list[list[Request]]) -> None:
    """Per order and per sku, sequences are 1..n over all batches; marks are said on crossing."""
    book = empty_book()
    sequences: Counter[str] = Counter()
    marks: dict[str, Availability] = {}
    for batch in history:
        book = run(*batch, book=book)
        for event in book.events:
            sequences[event.subject] += 1
            assert event.sequence == sequences[event.subject]
            if isinstance(event, AvailabilityChanged):
                assert marks.get(event.subject) != event.availability
                marks[event.subject] = event.availability
    assert marks == {"sku:" + sku.key: sku.availability for sku in book.skus.values()}


@given(histories)
def test_only_the_changed_is_marked_for_saving(history: list[list[Request]]) -> None:
    """A shelf with the cheap statement only lost free units; only steps rewrite a reservation."""
    book = empty_book()
    for batch in history:
        book = run(*batch, book=book)
        for sku in book.skus.values():
            for shelf in sku.shelves:
                if shelf.taken_only:
                    assert shelf.on_hand == shelf.on_hand_before
                    assert shelf.reserved >= shelf.reserved_before
                    assert shelf.reserved == shelf.reserved_before or shelf.short == 0
        stepped = {e.subject for e in book.events if isinstance(e, StockAllocated | StockReleased)}
        changed = {r.order_id for r in book.reservations.values() if r.changed}
        assert changed == stepped


def announced(book: Book) -> list[type[Event]]:
    return [type(event) for event in book.events]


def test_all_lines_of_an_order_or_none() -> None:
    book = run(count("mug", 10), count("lamp", 1), hold("ord_1", ("mug", 2), ("lamp", 2)))
    assert book.events[2] == StockRefused(
        sequence=1, order_id="ord_1", short=(ShortLine(sku="LAMP", wanted=2, available=1),)
    )
    assert book.skus["MUG"].shelves[0].reserved == 0


def test_the_same_sku_in_several_lines_is_summed_without_letter_case() -> None:
    book = run(count("mug", 3), hold("ord_1", ("MUG", 2), ("mug", 2)), hold("ord_2", ("Mug", 3)))
    assert announced(book)[1:3] == [StockRefused, StockReserved]
    assert book.reservations["ord_2"].sku_keys == ["MUG"]


def test_a_small_order_after_a_refused_big_one_gets_what_is_free() -> None:
    book = run(count("mug", 5), hold("ord_1", ("mug", 6)), hold("ord_2", ("mug", 5)))
    assert [r.status for r in book.reservations.values()] == ["refused", "reserved"]


def test_an_unknown_sku_has_nothing() -> None:
    book = run(hold("ord_1", ("ghost", 1)))
    assert book.events == [
        StockRefused(
            sequence=1, order_id="ord_1", short=(ShortLine(sku="GHOST", wanted=1, available=0),)
        )
    ]


def test_an_order_is_served_by_priority_and_may_be_split() -> None:
    book = run(count("mug", 2), count("mug", 4, "south"), count("mug", 4, "north"))
    book = run(hold("ord_1", ("mug", 7)), book=book)
    reservation = book.reservations["ord_1"]
    assert reservation.locations == ["main", "north", "south"]
    assert reservation.quantities == [2, 4, 1]
    back = run(Release("ord_1", "cancelled"), book=book)
    assert [shelf.reserved for shelf in back.skus["MUG"].shelves] == [0, 0, 0]


def test_a_count_below_what_is_promised_is_believed() -> None:
    """Nobody orders meanwhile; what is given back covers the gap before it is free again."""
    book = run(count("mug", 10), hold("ord_1", ("mug", 4)), hold("ord_2", ("mug", 4)))
    book = run(count("mug", 5), hold("ord_3", ("mug", 1)), book=book)
    assert book.outcomes[0] == StockLevel("mug", 5, 8, 0, 3, book.outcomes[0].locations)  # type: ignore[union-attr]
    assert book.events[0] == StockCounted(
        sequence=3, sku="mug", location="main", on_hand=5, reserved=8, short=3
    )
    assert announced(book)[1:] == [StockRefused, AvailabilityChanged]
    book = run(Release("ord_1", "cancelled"), hold("ord_4", ("mug", 1)), book=book)
    assert announced(book) == [StockReleased, StockReserved]
    assert book.skus["MUG"].shelves[0].short == 0


def test_units_elsewhere_keep_what_a_short_location_promised() -> None:
    book = run(
        count("mug", 5), hold("ord_1", ("mug", 5)), count("mug", 0), count("mug", 6, "north")
    )
    assert rules.free_units(book.skus["MUG"]) == 1
    book = run(hold("ord_2", ("mug", 2)), hold("ord_3", ("mug", 1)), book=book)
    assert announced(book)[:2] == [StockRefused, StockReserved]
    assert book.reservations["ord_3"].locations == ["north"]


@pytest.mark.parametrize(
    ("free", "mark"),
    [(-3, "out_of_stock"), (0, "out_of_stock"), (1, "low"), (5, "low"), (6, "in_stock")],
)
def test_marks_of_availability(free: int, mark: str) -> None:
    assert rules.availability_of(free, LOW) == mark


def test_availability_is_said_only_on_crossing() -> None:
    book = run(count("mug", 20))
    assert announced(book) == [StockCounted, AvailabilityChanged]
    book = run(hold("ord_1", ("mug", 14)), book=book)
    assert announced(book) == [StockReserved]
    book = run(hold("ord_2", ("mug", 1)), book=book)
    assert book.events[1] == AvailabilityChanged(sequence=3, sku="mug", availability="low")


def test_a_count_that_expects_another_number_is_refused() -> None:
    book = run(count("mug", 3), count("mug", 9, expected=4), count("mug", 9, expected=3))
    assert book.outcomes[1] == QuantityChanged("There are 3 units on hand, not 4.", on_hand=3)
    assert isinstance(book.outcomes[2], StockLevel) and book.outcomes[2].on_hand == 9


def test_a_count_at_an_unknown_location_is_refused() -> None:
    book = run(count("mug", 3, "nowhere"))
    assert book.outcomes == [UnknownLocation("There is no location 'nowhere'.")]
    assert book.skus == {}


def test_a_count_that_changes_nothing_is_no_fact() -> None:
    book = run(count("mug", 3), count("MUG", 3))
    assert len(book.moves) == 1 and announced(book).count(StockCounted) == 1


def test_an_old_import_seen_again_does_not_undo_a_count() -> None:
    imported = Count("mug", "main", 100, "prd_1", product="prd_1", product_sequence=1)
    book = run(imported, count("mug", 50))
    book = run(imported, book=book)
    assert book.skus["MUG"].shelves[0].on_hand == 50 and book.events == []


def test_an_order_that_ended_before_it_was_seen_never_takes_units() -> None:
    book = run(count("mug", 3), Release("ord_1", "cancelled"))
    book = run(hold("ord_1", ("mug", 1)), Allocate("ord_1"), book=book)
    assert book.events == [] and book.skus["MUG"].shelves[0].reserved == 0


def test_the_life_of_a_reservation_in_one_batch() -> None:
    book = run(
        count("mug", 3), hold("ord_1", ("mug", 2)), Allocate("ord_1"), Release("ord_1", "cancelled")
    )
    assert announced(book)[1:4] == [StockReserved, StockAllocated, StockReleased]
    assert [event.sequence for event in book.events[1:4]] == [1, 2, 3]
    reservation = book.reservations["ord_1"]
    assert (reservation.new, reservation.status, reservation.version) == (True, "released", 3)
