"""A batch of requests, folded one after the other."""

from collections.abc import Sequence

from tradewind.contexts.inventory.events import Availability, AvailabilityChanged
from tradewind.contexts.inventory.rules import counting, holding, reserving
from tradewind.contexts.inventory.rules.book import (
    Adjust,
    Allocate,
    Book,
    Count,
    EndHold,
    Hold,
    KeepUnits,
    Release,
    Request,
    Restock,
    Ship,
)
from tradewind.contexts.inventory.rules.reserving import free_units
from tradewind.contexts.inventory.tables import StockLevel
from tradewind.kernel.problems import Problem


def decide(book: Book, requests: Sequence[Request]) -> Book:
    """Fold the requests into the book, each seeing what those before it did; returns the book.

    Marks of availability are compared once, at the end: a sku that was sold out and filled up again
    within one batch crossed nothing.
    """
    for request in requests:
        outcome: StockLevel | Problem | None = None
        match request:
            case Hold():
                reserving.hold(book, request)
            case Allocate():
                reserving.allocate(book, request)
            case Release():
                reserving.release(book, request)
            case Ship():
                reserving.ship(book, request)
            case Count():
                outcome = counting.count(book, request)
            case KeepUnits():
                holding.keep_units(book, request)
            case EndHold():
                holding.end_hold(book, request)
            case Adjust():
                outcome = counting.adjust(book, request)
            case Restock():
                counting.restock(book, request)
        book.outcomes.append(outcome)
    announce_availability(book)
    return book


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
