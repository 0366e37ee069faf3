"""Units that lie there: what a count found, and what came and went since."""

from tradewind.contexts.inventory.commands import ON_HAND_MAX
from tradewind.contexts.inventory.events import MovementKind, StockAdjusted, StockCounted, sku_key
from tradewind.contexts.inventory.problems import (
    ExternalIdTaken,
    QuantityChanged,
    StockWouldBeNegative,
    TooManyUnits,
    UnknownLocation,
)
from tradewind.contexts.inventory.rules.book import (
    Adjust,
    Book,
    Count,
    Move,
    Restock,
    Shelf,
    Sku,
    level_of,
    shelf_at,
)
from tradewind.contexts.inventory.tables import StockLevel
from tradewind.kernel.problems import Problem


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
    first = shelf is None
    sku, shelf = opened(book, sku, shelf, request)
    if first or on_hand != request.on_hand:
        put_on_hand(book, sku, shelf, request, kind="opening" if first else "count")
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
    move(book, sku, shelf, Move(sku.key, shelf.location, kind, delta, request.cause))
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


def move(book: Book, sku: Sku, shelf: Shelf, entry: Move) -> None:
    """Units come to a shelf or leave it, with their entry in the ledger; a fact is to follow."""
    book.moves.append(entry)
    shelf.on_hand += entry.on_hand_delta
    assert shelf.on_hand >= 0, "no more units leave than lie there"
    shelf.short = max(shelf.reserved - shelf.on_hand, 0)
    shelf.taken_only = False
    sku.sequence += 1
    sku.dirty = True


def adjust(book: Book, request: Adjust) -> StockLevel | Problem:
    """Take units in or out, also below what is promised: whoever saw it happen is believed.

    No more leave than lie there. What comes to a place where nothing ever lay opens its shelf.
    """
    assert request.quantity != 0, "nothing that came or went is no movement"
    if request.location not in book.locations:
        return UnknownLocation(f"There is no location {request.location!r}.")
    name = (request.cause, request.external_id or "")
    if request.external_id is not None and name in book.recorded:
        return ExternalIdTaken(f"{request.external_id!r} was recorded before, and counts once.")
    key = sku_key(request.sku)
    sku = book.skus.get(key)
    shelf = None if sku is None else shelf_at(sku, request.location)
    on_hand = 0 if shelf is None else shelf.on_hand
    if on_hand + request.quantity < 0:
        return StockWouldBeNegative(
            f"There are {on_hand} units on hand, and {-request.quantity} would leave.",
            on_hand=on_hand,
        )
    if on_hand + request.quantity > ON_HAND_MAX:
        return TooManyUnits(f"At most {ON_HAND_MAX:,} units are kept of one sku in one place.")
    sku, shelf = opened(book, sku, shelf, request)
    move(
        book,
        sku,
        shelf,
        Move(
            key,
            shelf.location,
            request.kind,
            request.quantity,
            request.cause,
            request.reason,
            request.movement_id,
            request.external_id,
            request.at,
        ),
    )
    announce_adjusted(
        book, sku, shelf, kind=request.kind, quantity=request.quantity, cause=request.cause
    )
    if request.external_id is not None:
        book.recorded.add(name)
    return level_of(sku)


def restock(book: Book, request: Restock) -> None:
    """Units that came back, and those of them that nobody will buy again."""
    place = request.location if request.location in book.locations else book.main
    adjust(book, Adjust(request.sku, place, "return", request.quantity, request.cause))
    if request.write_off:
        thrown = Adjust(request.sku, place, "write_off", -request.write_off, request.cause)
        adjust(book, thrown)


def announce_adjusted(
    book: Book, sku: Sku, shelf: Shelf, *, kind: MovementKind, quantity: int, cause: str
) -> None:
    """The fact of a movement, with what is there after it."""
    book.events.append(
        StockAdjusted(
            sequence=sku.sequence,
            sku=sku.sku,
            location=shelf.location,
            kind=kind,
            quantity=quantity,
            on_hand=shelf.on_hand,
            reserved=shelf.reserved,
            short=shelf.short,
            cause=cause,
        )
    )


def opened(
    book: Book, sku: Sku | None, shelf: Shelf | None, request: Count | Adjust
) -> tuple[Sku, Shelf]:
    """The sku and the shelf, made where there are none."""
    if sku is None:
        key = sku_key(request.sku)
        sku = book.skus[key] = Sku(key, request.sku, None, 0, None, 0, [], dirty=True, new=True)
    if shelf is None:
        # A new shelf serves last within this batch; the next one reads it in its place.
        shelf = Shelf(request.location, 0, 0, 0, 0, 0, new=True, taken_only=False)
        sku.shelves.append(shelf)
    return sku, shelf
