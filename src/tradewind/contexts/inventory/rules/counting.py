"""Units that lie there: what a count found."""

from tradewind.contexts.inventory.events import StockCounted, sku_key
from tradewind.contexts.inventory.problems import QuantityChanged, UnknownLocation
from tradewind.contexts.inventory.rules.book import (
    Book,
    Count,
    Move,
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
