"""Units of orders, and counts that come with products: what events mean for the shelves."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from tradewind.contexts.catalog.events import ProductChanged
from tradewind.contexts.inventory import rules
from tradewind.contexts.inventory.commands import MAIN
from tradewind.contexts.inventory.events import sku_key
from tradewind.contexts.inventory.handlers import shelves
from tradewind.contexts.inventory.rules import HoldDue, Request
from tradewind.contexts.orders.events import (
    CreditNoteIssued,
    HoldAsked,
    OrderCancelled,
    OrderConfirmed,
    OrderFulfilled,
    OrderPlaced,
    OrderRejected,
    ReturnReceived,
)
from tradewind.kernel.messages import Decision
from tradewind.platform.database.transaction import Transaction

StockEvent = (
    OrderPlaced
    | OrderConfirmed
    | OrderRejected
    | OrderCancelled
    | OrderFulfilled
    | ReturnReceived
    | CreditNoteIssued
    | HoldAsked
    | HoldDue
    | ProductChanged
)
# Those that are about the units an order holds.
OF_RESERVATIONS = (OrderPlaced, OrderConfirmed, OrderRejected, OrderCancelled, OrderFulfilled)


async def keep_stock(tx: Transaction, events: Sequence[StockEvent]) -> Decision:
    """Hold, allocate and give back the units of orders; take counts that came with products.

    Repeats are harmless: a reservation's status says what was done, a sku's row which version of
    its product was counted.
    """
    keys = skus_of(events)
    if tx.anew:
        await tx.lock("stock", keys)
    carts = carts_of(events)
    holds = await shelves.read_holds(tx, carts) if carts else []
    keys.update(key for hold in holds for key in hold.sku_keys)
    requests = [request for event in events for request in requests_in(event, tx.now)]
    orders = orders_of(events) if tx.anew else known_orders_of(events)
    known = shelves.recall_shelves(tx, keys)
    book = rules.decide(
        await shelves.read(tx, requests, keys, orders, known, holds=holds), requests
    )
    if any(not shelves.is_written(book.skus[key]) for key in known):
        # Nothing will prove what is known of these: they refused somebody.
        tx.unrecall(shelves.SHELVES)
        book = rules.decide(await shelves.read(tx, requests, keys, orders, holds=holds), requests)
    shelves.save(tx, book)
    return Decision(events=book.events, timers=list(book.timers.values()))


def skus_of(events: Iterable[StockEvent]) -> set[str]:
    """Every sku the events may touch. A confirmation changes no count, so it touches none."""
    keys: set[str] = set()
    for event in events:
        match event:
            case OrderPlaced():
                keys.update(sku_key(line.sku) for line in event.lines)
            case OrderRejected() | OrderCancelled() | OrderFulfilled():
                keys.update(sku_key(sku) for sku in event.skus)
            case ReturnReceived():
                keys.update(sku_key(line.sku) for line in event.lines)
            case CreditNoteIssued():
                keys.update(sku_key(line.sku) for line in event.lines if line.sku and line.restock)
            case ProductChanged():
                keys.update(sku_key(v.sku) for v in event.variants if v.on_hand is not None)
            case HoldAsked():
                keys.update(sku_key(line.sku) for line in event.lines)
            case HoldDue():
                keys.update(event.skus)
            case OrderConfirmed():
                pass
    return keys


def carts_of(events: Iterable[StockEvent]) -> list[str]:
    """The carts whose units may be kept: those that ask, and those that are ordered now."""
    found: dict[str, None] = {}
    for event in events:
        if isinstance(event, OrderPlaced):
            if event.hold and event.cart_id is not None:
                found[event.cart_id] = None
        elif isinstance(event, HoldAsked | HoldDue):
            found[event.cart_id] = None
    return list(found)


def orders_of(events: Iterable[StockEvent]) -> list[str]:
    """Every order the events are about."""
    return list({e.order_id: None for e in events if isinstance(e, OF_RESERVATIONS)})


def known_orders_of(events: Iterable[StockEvent]) -> list[str]:
    """The orders that may have a reservation. One just placed has none: its insert would tell."""
    return orders_of(event for event in events if not isinstance(event, OrderPlaced))


def requests_in(event: StockEvent, now: datetime) -> list[Request]:
    """What an event means here."""
    match event:
        case OrderPlaced():
            lines = tuple((line.sku, line.quantity) for line in event.lines)
            order = rules.Hold(event.order_id, lines, event.payment)
            if event.hold and event.cart_id is not None:
                return [rules.EndHold(event.cart_id, event.hold, "ordered", now), order]
            return [order]
        case HoldAsked():
            lines = tuple((line.sku, line.quantity) for line in event.lines)
            return [rules.KeepUnits(event.cart_id, event.sequence, lines, event.until)]
        case HoldDue():
            return [rules.EndHold(event.cart_id, event.asked, "expired", now)]
        case OrderConfirmed():
            return [rules.Allocate(event.order_id)]
        case OrderRejected() | OrderCancelled():
            return [rules.Release(event.order_id, event.code)]
        case OrderFulfilled():
            return [rules.Ship(event.order_id)]
        case ReturnReceived():
            return [
                rules.Restock(
                    line.sku,
                    event.location,
                    line.restock + line.write_off,
                    line.write_off,
                    event.return_id,
                )
                for line in event.lines
            ]
        case CreditNoteIssued():
            return [
                rules.Adjust(line.sku, event.location or MAIN, "return", line.restock, event.number)
                for line in event.lines
                if line.sku and line.restock
            ]
        case ProductChanged():
            return [
                rules.Count(
                    variant.sku,
                    MAIN,
                    variant.on_hand,
                    event.product_id,
                    product=event.product_id,
                    product_sequence=event.sequence,
                )
                for variant in event.variants
                if variant.on_hand is not None
            ]
