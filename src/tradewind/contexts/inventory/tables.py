"""The rows of inventory as its statements return them, and what it shows."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tradewind.contexts.inventory.events import Availability, MovementKind

Status = Literal["reserved", "refused", "allocated", "released", "fulfilled"]
HoldStatus = Literal["held", "ended"]


class ShelfRow(Struct, frozen=True):
    """One sku at one location, with what is known of the sku over all locations."""

    sku_key: str
    sku: str
    availability: Availability
    sequence: int
    product: str | None
    product_sequence: int
    location: str
    on_hand: int
    reserved: int
    short: int


class ReservationRow(Struct, frozen=True):
    """What one order holds: the arrays belong together. `locations` None: all from the main one."""

    order_id: str
    status: Status
    version: int
    sku_keys: list[str]
    quantities: list[int]
    locations: list[str] | None


class HoldRow(Struct, frozen=True):
    """What is kept for one cart: the arrays belong together."""

    cart_id: str
    asked: int
    version: int
    status: HoldStatus
    expires_at: datetime
    sku_keys: list[str]
    quantities: list[int]
    locations: list[str]


class LevelRow(Struct, frozen=True):
    """One sku at one location, as it is shown."""

    sku_key: str
    sku: str
    location: str
    on_hand: int
    reserved: int
    short: int


class ShelfLine(Struct, frozen=True):
    """The units of a sku at one location, as an export has them."""

    sku_key: str
    sku: str
    location: str
    on_hand: int


class LocationLevel(Struct, frozen=True):
    """The units of a sku at one location."""

    location: str
    on_hand: int
    reserved: int
    available: int
    short: int


class StockLevel(Struct, frozen=True):
    """The units of a sku over all locations.

    `available` may be sold; `short` are promised and not there, and as long as one location is
    short, as many units elsewhere are kept back for its promises.
    """

    sku: str
    on_hand: int
    reserved: int
    available: int
    short: int
    locations: tuple[LocationLevel, ...]


def level_over(sku: str, shelves: Iterable[tuple[str, int, int, int]]) -> StockLevel:
    """The level of a sku from its shelves: (location, on_hand, reserved, short) each."""
    places = tuple(
        LocationLevel(location, on_hand, reserved, max(on_hand - reserved, 0), short)
        for location, on_hand, reserved, short in shelves
    )
    on_hand = sum(place.on_hand for place in places)
    reserved = sum(place.reserved for place in places)
    short = sum(place.short for place in places)
    return StockLevel(sku, on_hand, reserved, max(on_hand - reserved, 0), short, places)


class Movement(Struct, frozen=True):
    """One entry of the ledger: units that came or went, and what caused it.

    `number` grows with time. An entry is never changed or taken back.
    """

    number: int
    location: str
    kind: str
    on_hand_delta: int
    cause: str
    at: datetime
    id: str | None  # of one that somebody told; a count has none
    reason: str | None
    external_id: str | None


class RecordedRow(Struct, frozen=True):
    """A movement that is there already, as whoever told it calls it."""

    cause: str
    external_id: str


class MovementMade(Struct, frozen=True):
    """A movement that was just recorded, and the sku's level after it."""

    id: str
    sku: str
    location: str
    kind: MovementKind
    quantity: int
    reason: str
    external_id: str | None
    at: datetime
    stock: StockLevel


class Location(Struct, frozen=True):
    """A place where units lie; the lowest priority is emptied first."""

    id: str
    code: str
    name: str
    priority: int


class StockPage(Struct, frozen=True):
    """Skus in the order of their capitals."""

    items: list[StockLevel]
    next: str | None


class MovementPage(Struct, frozen=True):
    """Movements of a sku, newest first."""

    items: list[Movement]
    next: str | None


class LocationList(Struct, frozen=True):
    """Every location, in the order they serve."""

    items: list[Location]
    next: None = None


class PageQuery(Struct, frozen=True):
    """Which part of a list."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: str | None = None
