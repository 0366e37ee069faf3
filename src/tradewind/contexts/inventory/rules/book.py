"""What may be asked of stock, and the book that a batch is folded into."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct, field

from tradewind.contexts.inventory.events import Availability, MovementKind
from tradewind.contexts.inventory.tables import (
    HoldRow,
    HoldStatus,
    ReservationRow,
    ShelfRow,
    Status,
    StockLevel,
    level_over,
)
from tradewind.kernel.messages import Event, TimerSet
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


class Ship(Struct, frozen=True):
    """The order left the house: its units are no longer there, nor owed."""

    order_id: str


class Count(Struct, frozen=True):
    """So many units were found. Told by a product (with its version) or by a credential."""

    sku: str
    location: str
    on_hand: int
    cause: str
    expected: int | None = None
    product: str | None = None
    product_sequence: int = 0


class Adjust(Struct, frozen=True):
    """So many units came (above zero) or went, for a reason that is no count.

    `cause` is who or what led to it: a credential, a return. Under one cause an `external_id` is
    taken once: a repeat is refused and changes nothing.
    """

    sku: str
    location: str
    kind: MovementKind
    quantity: int
    cause: str
    reason: str | None = None
    movement_id: str | None = None
    external_id: str | None = None
    at: datetime | None = None  # None: now


class Restock(Struct, frozen=True):
    """Units came back: all of them come in, and `write_off` of them go to the bin.

    Where nobody knows the location, they are at the main one.
    """

    sku: str
    location: str
    quantity: int
    write_off: int
    cause: str


class KeepUnits(Struct, frozen=True):
    """Keep units for a cart until then; without lines, no more. `asked` numbers the requests."""

    cart_id: str
    asked: int
    lines: tuple[tuple[str, int], ...]
    until: datetime


class EndHold(Struct, frozen=True):
    """Nothing is to be kept for a cart any more, whatever was asked up to `asked`."""

    cart_id: str
    asked: int
    reason: str
    at: datetime


Request = Hold | Allocate | Release | Ship | Count | Adjust | Restock | KeepUnits | EndHold


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


class HeldUnits(Struct):
    """What is kept for one cart while a batch is folded."""

    cart_id: str
    asked: int
    version: int
    status: HoldStatus
    expires_at: datetime
    sku_keys: list[str]
    quantities: list[int]
    locations: list[str]
    asked_before: int = 0
    version_before: int = 0
    new: bool = False
    changed: bool = False
    gone: bool = False


class Move(Struct, frozen=True):
    """An entry of the ledger."""

    sku_key: str
    location: str
    kind: str  # "opening": the first count of a shelf; "count": a later one; or a `MovementKind`
    on_hand_delta: int
    cause: str
    reason: str | None = None
    movement_id: str | None = None
    external_id: str | None = None
    at: datetime | None = None  # None: now


class Book(Struct):
    """Everything a batch may touch: what was read before, what is true after the fold."""

    main: str
    low_stock_quantity: int
    skus: dict[str, Sku]
    reservations: dict[str, Reservation]
    locations: frozenset[str] = frozenset()
    recorded: set[tuple[str, str]] = field(default_factory=set)  # movements: cause, external id
    moves: list[Move] = field(default_factory=list)
    holds: dict[str, HeldUnits] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    timers: dict[str, TimerSet] = field(default_factory=dict)
    outcomes: list[StockLevel | Problem | None] = field(default_factory=list)


def open_book(
    shelves: Iterable[ShelfRow],
    reservations: Iterable[ReservationRow],
    *,
    main: str,
    low_stock_quantity: int,
    priorities: Mapping[str, int] | None = None,
    recorded: Iterable[tuple[str, str]] = (),
    holds: Iterable[HoldRow] = (),
) -> Book:
    """The rows as a book. `priorities` by location; may be left out where all lies in `main`.

    `recorded`: which of the named movements that are asked for are there already.
    """
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
        recorded=set(recorded),
        holds={
            row.cart_id: HeldUnits(
                row.cart_id,
                row.asked,
                row.version,
                row.status,
                row.expires_at,
                list(row.sku_keys),
                list(row.quantities),
                list(row.locations),
                row.asked,
                row.version,
            )
            for row in holds
        },
    )


def shelf_at(sku: Sku, location: str) -> Shelf | None:
    """The shelf of a sku at a location."""
    return next((shelf for shelf in sku.shelves if shelf.location == location), None)


def level_of(sku: Sku) -> StockLevel:
    """A sku as it is shown."""
    return level_over(sku.sku, ((s.location, s.on_hand, s.reserved, s.short) for s in sku.shelves))


def on_hand_by_place(book: Book) -> dict[tuple[str, str], int]:
    """What lies where, by sku key and location."""
    return {
        (sku.key, shelf.location): shelf.on_hand
        for sku in book.skus.values()
        for shelf in sku.shelves
    }
