"""What happens to stock, decided in memory: rows and requests in, changes and facts out.

A batch is folded one request after the other, in the order of the log. Invariants, kept for every
order of requests and proven by properties in the tests:

* a reservation takes free units only, of all its skus or of none;
* ``short == max(reserved - on_hand, 0)`` at every location, and only a count can raise it: a
  release lowers it by what it gives back, a reservation leaves it alone. The database compares;
* a reservation ends once, and a request seen again changes nothing: the status tells.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from tradewind.contexts.inventory.events import (
    Availability,
    AvailabilityChanged,
    ShortLine,
    StockAllocated,
    StockCounted,
    StockRefused,
    StockReleased,
    StockReserved,
    TakenUnits,
    sku_key,
)
from tradewind.contexts.inventory.problems import (
    QuantityChanged,
    UnknownLocation,
)
from tradewind.contexts.inventory.tables import (
    ReservationRow,
    ShelfRow,
    Status,
    StockLevel,
    level_over,
)
from tradewind.kernel.messages import Event
from tradewind.kernel.problems import Problem
from tradewind.kernel.terms import PaymentTerms


class Hold(Struct, frozen=True):
    """Hold what an order wants. `lines` are (sku, quantity); a sku may stand in several."""

    order_id: str
    lines: tuple[tuple[str, int], ...]
    payment: PaymentTerms


class Allocate(Struct, frozen=True):
    """The order is confirmed: what was held for it is owed to it."""

    order_id: str


class Release(Struct, frozen=True):
    """The order ended: give back whatever it has."""

    order_id: str
    reason: str


class Count(Struct, frozen=True):
    """So many units were found. Told by a product (with its version) or by a credential."""

    sku: str
    location: str
    on_hand: int
    cause: str
    expected: int | None = None
    product: str | None = None
    product_sequence: int = 0


Request = Hold | Allocate | Release | Count


class Shelf(Struct):
    """One sku at one location while a batch is folded, and what was done to it so far."""

    location: str
    on_hand: int
    reserved: int
    short: int
    on_hand_before: int
    reserved_before: int
    new: bool = False
    taken_only: bool = True  # nothing but reservations touched it: the cheap statement will do


class Sku(Struct):
    """One sku over its locations, in the order they serve, while a batch is folded."""

    key: str
    sku: str
    availability: Availability | None  # None: never announced
    sequence: int
    product: str | None
    product_sequence: int
    shelves: list[Shelf]
    sequence_before: int = 0
    product_sequence_before: int = 0
    dirty: bool = False  # its own row must be written
    new: bool = False


class Reservation(Struct):
    """What one order holds while a batch is folded; `version_before` 0 and new: to be inserted."""

    order_id: str
    status: Status
    version: int
    sku_keys: list[str]
    quantities: list[int]
    locations: list[str] | None
    new: bool = False
    changed: bool = False
    reason: str | None = None


class Move(Struct, frozen=True):
    """An entry of the ledger."""

    sku_key: str
    location: str
    kind: str  # "opening": the first count of a shelf; "count": a later one
    on_hand_delta: int
    cause: str


class Book(Struct):
    """Everything a batch may touch: what was read before, what is true after the fold."""

    main: str
    low_stock_quantity: int
    skus: dict[str, Sku]
    reservations: dict[str, Reservation]
    locations: frozenset[str] = frozenset()
    moves: list[Move] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    outcomes: list[StockLevel | Problem | None] = field(default_factory=list)


def open_book(
    shelves: Iterable[ShelfRow],
    reservations: Iterable[ReservationRow],
    *,
    main: str,
    low_stock_quantity: int,
    priorities: Mapping[str, int] | None = None,
) -> Book:
    """The rows as a book. `priorities` by location; may be left out where all lies in `main`."""
    skus: dict[str, Sku] = {}
    for row in shelves:
        sku = skus.get(row.sku_key)
        if sku is None:
            sku = skus[row.sku_key] = Sku(
                row.sku_key,
                row.sku,
                row.availability,
                row.sequence,
                row.product,
                row.product_sequence,
                [],
                row.sequence,
                row.product_sequence,
            )
        sku.shelves.append(
            Shelf(row.location, row.on_hand, row.reserved, row.short, row.on_hand, row.reserved)
        )
    known = priorities or {main: 0}
    for sku in skus.values():
        if len(sku.shelves) > 1:
            sku.shelves.sort(key=lambda shelf: (known[shelf.location], shelf.location))
    return Book(
        main=main,
        low_stock_quantity=low_stock_quantity,
        skus=skus,
        reservations={
            row.order_id: Reservation(
                row.order_id,
                row.status,
                row.version,
                row.sku_keys,
                row.quantities,
                row.locations,
            )
            for row in reservations
        },
        locations=frozenset(known),
    )


def decide(book: Book, requests: Sequence[Request]) -> Book:
    """Fold the requests into the book, each seeing what those before it did; returns the book.

    Marks of availability are compared once, at the end: a sku that was sold out and filled up again
    within one batch crossed nothing.
    """
    for request in requests:
        outcome: StockLevel | Problem | None = None
        match request:
            case Hold():
                hold(book, request)
            case Allocate():
                allocate(book, request)
            case Release():
                release(book, request)
            case Count():
                outcome = count(book, request)
        book.outcomes.append(outcome)
    announce_availability(book)
    return book


def hold(book: Book, request: Hold) -> None:
    """Hold all the order wants, or nothing. An order that is known already changes nothing."""
    if request.order_id in book.reservations:
        return
    wanted: dict[str, int] = {}
    for name, quantity in request.lines:
        key = sku_key(name)
        wanted[key] = wanted.get(key, 0) + quantity
    short = tuple(
        ShortLine(sku=key, wanted=quantity, available=free)
        for key, quantity in wanted.items()
        if quantity > (free := free_units(book.skus.get(key)))
    )
    reservation = Reservation(request.order_id, "refused", 1, [], [], None, new=True)
    book.reservations[request.order_id] = reservation
    if short:
        book.events.append(StockRefused(sequence=1, order_id=request.order_id, short=short))
        return
    places: list[str] = []
    for key, quantity in wanted.items():
        for shelf, part in take(book.skus[key], quantity):
            reservation.sku_keys.append(key)
            reservation.quantities.append(part)
            places.append(shelf.location)
    reservation.status = "reserved"
    taken: tuple[TakenUnits, ...] = ()
    if any(place != book.main for place in places):
        reservation.locations = places
        taken = tuple(
            TakenUnits(sku=key, location=place, quantity=part)
            for key, place, part in zip(
                reservation.sku_keys, places, reservation.quantities, strict=True
            )
        )
    book.events.append(
        StockReserved(sequence=1, order_id=request.order_id, payment=request.payment, taken=taken)
    )


def free_units(sku: Sku | None) -> int:
    """How many units may be promised: units elsewhere first keep what a short location promised."""
    if sku is None:
        return 0
    free = 0
    for shelf in sku.shelves:
        free += shelf.on_hand - shelf.reserved
    return max(free, 0)


def take(sku: Sku, quantity: int) -> list[tuple[Shelf, int]]:
    """Promise units that are known to be free, from the shelves in their order."""
    parts: list[tuple[Shelf, int]] = []
    for shelf in sku.shelves:
        part = min(quantity, shelf.on_hand - shelf.reserved)
        if part > 0:
            shelf.reserved += part
            quantity -= part
            parts.append((shelf, part))
            if quantity == 0:
                break
    assert quantity == 0, "only free units are taken"
    return parts


def allocate(book: Book, request: Allocate) -> None:
    """From held to owed. Neither count changes."""
    reservation = book.reservations.get(request.order_id)
    if reservation is None or reservation.status != "reserved":
        return
    advance(reservation, "allocated")
    book.events.append(StockAllocated(sequence=reservation.version, order_id=reservation.order_id))


def release(book: Book, request: Release) -> None:
    """Give back what the order has, held or owed.

    An order that is not known yet is marked as ended, so that it can never take units afterwards.
    """
    reservation = book.reservations.get(request.order_id)
    if reservation is None:
        book.reservations[request.order_id] = Reservation(
            request.order_id, "released", 0, [], [], None, new=True, reason=request.reason
        )
        return
    if reservation.status not in ("reserved", "allocated"):
        return
    places = reservation.locations or [book.main] * len(reservation.sku_keys)
    for key, quantity, place in zip(
        reservation.sku_keys, reservation.quantities, places, strict=True
    ):
        shelf = shelf_at(book.skus[key], place)
        assert shelf is not None, "a shelf that units were taken from is never removed"
        shelf.reserved -= quantity
        shelf.short -= min(shelf.short, quantity)
        shelf.taken_only = False
    advance(reservation, "released")
    reservation.reason = request.reason
    book.events.append(
        StockReleased(
            sequence=reservation.version,
            order_id=reservation.order_id,
            reason=request.reason,
        )
    )


def advance(reservation: Reservation, status: Status) -> None:
    """One step in the life of a reservation."""
    reservation.status = status
    reservation.version += 1
    reservation.changed = True


def shelf_at(sku: Sku, location: str) -> Shelf | None:
    """The shelf of a sku at a location."""
    return next((shelf for shelf in sku.shelves if shelf.location == location), None)


def count(book: Book, request: Count) -> StockLevel | Problem | None:
    """Believe a count, even one below what is promised. A count that changes nothing is no fact.

    A product that was applied already says nothing new: an old import seen again must not undo a
    later count.
    """
    if request.location not in book.locations:
        return UnknownLocation(f"There is no location {request.location!r}.")
    key = sku_key(request.sku)
    sku = book.skus.get(key)
    if request.product is not None and sku is not None and repeats(sku, request):
        return None
    shelf = None if sku is None else shelf_at(sku, request.location)
    on_hand = 0 if shelf is None else shelf.on_hand
    if request.expected is not None and request.expected != on_hand:
        return QuantityChanged(
            f"There are {on_hand} units on hand, not {request.expected}.", on_hand=on_hand
        )
    if sku is None:
        sku = book.skus[key] = Sku(key, request.sku, None, 0, None, 0, [], dirty=True, new=True)
    if shelf is None:
        # A new shelf serves last within this batch; the next one reads it in its place.
        shelf = Shelf(request.location, 0, 0, 0, 0, 0, new=True, taken_only=False)
        sku.shelves.append(shelf)
        put_on_hand(book, sku, shelf, request, kind="opening")
    elif on_hand != request.on_hand:
        put_on_hand(book, sku, shelf, request, kind="count")
    if request.product is not None:
        sku.product, sku.product_sequence = request.product, request.product_sequence
        sku.dirty = True
    return level_of(sku)


def repeats(sku: Sku, request: Count) -> bool:
    """Whether this version of the product, or a later one, was counted in already."""
    return sku.product == request.product and sku.product_sequence >= request.product_sequence


def put_on_hand(book: Book, sku: Sku, shelf: Shelf, request: Count, *, kind: str) -> None:
    """Set a shelf to what was found, with its entry in the ledger and its fact."""
    delta = request.on_hand - shelf.on_hand
    book.moves.append(Move(sku.key, shelf.location, kind, delta, request.cause))
    shelf.on_hand = request.on_hand
    shelf.short = max(shelf.reserved - shelf.on_hand, 0)
    shelf.taken_only = False
    sku.sequence += 1
    sku.dirty = True
    book.events.append(
        StockCounted(
            sequence=sku.sequence,
            sku=sku.sku,
            location=shelf.location,
            on_hand=shelf.on_hand,
            reserved=shelf.reserved,
            short=shelf.short,
        )
    )


def availability_of(free: int, low_stock_quantity: int) -> Availability:
    """The mark that so many free units give."""
    if free <= 0:
        return "out_of_stock"
    return "low" if free <= low_stock_quantity else "in_stock"


def announce_availability(book: Book) -> None:
    """Say which skus crossed a mark. The first mark of a sku is always said."""
    for sku in book.skus.values():
        mark = availability_of(free_units(sku), book.low_stock_quantity)
        if mark != sku.availability:
            sku.availability = mark
            sku.sequence += 1
            sku.dirty = True
            book.events.append(
                AvailabilityChanged(sequence=sku.sequence, sku=sku.sku, availability=mark)
            )


def level_of(sku: Sku) -> StockLevel:
    """A sku as it is shown."""
    return level_over(sku.sku, ((s.location, s.on_hand, s.reserved, s.short) for s in sku.shelves))
