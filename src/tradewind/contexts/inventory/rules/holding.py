"""Units kept for a cart until a time: taken, extended, taken over by its order, given back."""

from datetime import datetime, timedelta
from typing import ClassVar

from tradewind.contexts.inventory.events import (
    HoldEnded,
    InventoryHold,
    ShortLine,
    TakenUnits,
    UnitsHeld,
    sku_key,
)
from tradewind.contexts.inventory.rules.book import Book, EndHold, HeldUnits, KeepUnits
from tradewind.contexts.inventory.rules.reserving import free_units, give_back, take
from tradewind.kernel.messages import TimerSet

HOLD_TIMER = "hold"
# A request that comes later than this after the hold has ended is none that anybody waits for.
REMEMBERED_FOR = timedelta(days=1)


class HoldDue(InventoryHold, frozen=True, kw_only=True):
    """The time of a hold is over, or that of its memory. Internal: set as a timer."""

    type: ClassVar[str] = "inventory.hold_due.v1"

    asked: int
    skus: tuple[str, ...]  # whose units may come back


def keep_units(book: Book, request: KeepUnits) -> None:
    """Keep what the cart wants in place of what it had: of each sku as much as is free.

    An order needs all its lines or none; a cart is better off with what there is.
    """
    held = book.holds.get(request.cart_id)
    if held is not None and held.asked >= request.asked:
        return
    if held is None:
        held = HeldUnits(request.cart_id, request.asked, 0, "ended", request.until, [], [], [])
        held.new = True
        book.holds[request.cart_id] = held
    was_held = let_go(book, held)
    held.asked, held.changed = request.asked, True
    if not request.lines:
        remember(book, held, was_held, "dropped", request.until)
        return
    wanted: dict[str, int] = {}
    for name, quantity in request.lines:
        wanted[sku_key(name)] = wanted.get(sku_key(name), 0) + quantity
    short = []
    for key, quantity in wanted.items():
        free = free_units(book.skus.get(key))
        if free < quantity:
            short.append(ShortLine(sku=key, wanted=quantity, available=free))
        for shelf, part in take(book.skus[key], min(free, quantity)) if free else ():
            held.sku_keys.append(key)
            held.quantities.append(part)
            held.locations.append(shelf.location)
    held.status, held.expires_at = "held", request.until
    held.version += 1
    parts = zip(held.sku_keys, held.locations, held.quantities, strict=True)
    book.events.append(
        UnitsHeld(
            sequence=held.version,
            cart_id=held.cart_id,
            asked=held.asked,
            until=held.expires_at,
            taken=tuple(TakenUnits(sku=k, location=p, quantity=q) for k, p, q in parts),
            short=tuple(short),
        )
    )
    due(book, held, tuple(wanted))


def end_hold(book: Book, request: EndHold) -> None:
    """Give back what is kept for a cart; a request that is older than this takes nothing any more.

    One whose memory is over is forgotten.
    """
    held = book.holds.get(request.cart_id)
    if held is None:
        if request.reason == "expired":
            return
        held = HeldUnits(request.cart_id, request.asked, 0, "ended", request.at, [], [], [])
        held.new = True
        book.holds[request.cart_id] = held
    elif held.asked > request.asked:
        return
    elif held.status == "ended" and request.reason == "expired":
        held.gone = True
        return
    was_held = let_go(book, held)
    held.asked, held.changed = request.asked, True
    remember(book, held, was_held, request.reason, request.at)


def let_go(book: Book, held: HeldUnits) -> bool:
    """The units are free again; whether there was a hold."""
    was_held = held.status == "held"
    give_back(book, held.sku_keys, held.quantities, held.locations)
    held.sku_keys, held.quantities, held.locations = [], [], []
    held.status = "ended"
    return was_held


def remember(book: Book, held: HeldUnits, was_held: bool, reason: str, at: datetime) -> None:
    """Tell of the end, and keep the row for as long as an older request may come."""
    if was_held:
        held.version += 1
        book.events.append(
            HoldEnded(sequence=held.version, cart_id=held.cart_id, asked=held.asked, reason=reason)
        )
    held.expires_at = at + REMEMBERED_FOR
    due(book, held, ())


def due(book: Book, held: HeldUnits, skus: tuple[str, ...]) -> None:
    """Wake us when its time is over."""
    book.timers[held.cart_id] = TimerSet(
        name=HOLD_TIMER,
        key=held.cart_id,
        due_at=held.expires_at,
        event=HoldDue(sequence=held.asked, cart_id=held.cart_id, asked=held.asked, skus=skus),
    )
