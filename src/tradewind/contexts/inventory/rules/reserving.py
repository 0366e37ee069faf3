"""Units of orders: held, owed, given back."""

from collections.abc import Sequence

from tradewind.contexts.inventory.events import (
    ShortLine,
    StockAllocated,
    StockFulfilled,
    StockRefused,
    StockReleased,
    StockReserved,
    TakenUnits,
    sku_key,
)
from tradewind.contexts.inventory.rules.book import (
    Allocate,
    Book,
    Hold,
    Move,
    Release,
    Reservation,
    Shelf,
    Ship,
    Sku,
    shelf_at,
)
from tradewind.contexts.inventory.rules.counting import announce_adjusted, move
from tradewind.contexts.inventory.tables import Status


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
    give_back(book, reservation.sku_keys, reservation.quantities, places)
    advance(reservation, "released")
    reservation.reason = request.reason
    book.events.append(
        StockReleased(
            sequence=reservation.version,
            order_id=reservation.order_id,
            reason=request.reason,
        )
    )


def give_back(
    book: Book, sku_keys: Sequence[str], quantities: Sequence[int], places: Sequence[str]
) -> None:
    """Units that were promised are free again."""
    for key, quantity, place in zip(sku_keys, quantities, places, strict=True):
        shelf = shelf_at(book.skus[key], place)
        assert shelf is not None, "a shelf that units were taken from is never removed"
        shelf.reserved -= quantity
        shelf.short -= min(shelf.short, quantity)
        shelf.taken_only = False


def ship(book: Book, request: Ship) -> None:
    """What was owed has left. An order that a count left short of units takes what lies there."""
    reservation = book.reservations.get(request.order_id)
    if reservation is None or reservation.status not in ("reserved", "allocated"):
        return
    places = reservation.locations or [book.main] * len(reservation.sku_keys)
    for key, quantity, place in zip(
        reservation.sku_keys, reservation.quantities, places, strict=True
    ):
        sku = book.skus[key]
        shelf = shelf_at(sku, place)
        assert shelf is not None, "a shelf that units were taken from is never removed"
        shelf.reserved -= quantity
        leave(book, sku, shelf, min(quantity, shelf.on_hand), request.order_id)
    advance(reservation, "fulfilled")
    book.events.append(StockFulfilled(sequence=reservation.version, order_id=reservation.order_id))


def leave(book: Book, sku: Sku, shelf: Shelf, quantity: int, order_id: str) -> None:
    """Units leave a shelf for good, with the fact that says so."""
    if quantity == 0:
        shelf.short = max(shelf.reserved - shelf.on_hand, 0)
        shelf.taken_only = False
        return
    move(book, sku, shelf, Move(sku.key, shelf.location, "fulfilment", -quantity, order_id))
    announce_adjusted(book, sku, shelf, kind="fulfilment", quantity=-quantity, cause=order_id)


def advance(reservation: Reservation, status: Status) -> None:
    """One step in the life of a reservation."""
    reservation.status = status
    reservation.version += 1
    reservation.changed = True
