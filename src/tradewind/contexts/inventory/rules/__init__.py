"""What happens to stock, decided in memory: rows and requests in, changes and facts out.

A batch is folded one request after the other, in the order of the log. Invariants, kept for every
order of requests and proven by properties in the tests:

* a reservation takes free units only, of all its skus or of none;
* ``short == max(reserved - on_hand, 0)`` at every location, and only a count or a movement
  can raise it: a release lowers it by what it gives back, a reservation leaves it alone. The
  database compares;
* a hold keeps free units only, of each sku as many as there are; its order takes them over in the
  same fold, so nobody comes between;
* a reservation ends once, and a request seen again changes nothing: the status tells.
"""

from tradewind.contexts.inventory.rules.book import (
    Adjust,
    Allocate,
    Book,
    Count,
    EndHold,
    HeldUnits,
    Hold,
    KeepUnits,
    Move,
    Release,
    Request,
    Reservation,
    Restock,
    Shelf,
    Ship,
    Sku,
    on_hand_by_place,
    open_book,
)
from tradewind.contexts.inventory.rules.deciding import availability_of, decide
from tradewind.contexts.inventory.rules.holding import HoldDue
from tradewind.contexts.inventory.rules.reserving import free_units

__all__ = [
    "Adjust",
    "Allocate",
    "Book",
    "Count",
    "EndHold",
    "HeldUnits",
    "Hold",
    "HoldDue",
    "KeepUnits",
    "Move",
    "Release",
    "Request",
    "Reservation",
    "Restock",
    "Shelf",
    "Ship",
    "Sku",
    "availability_of",
    "decide",
    "free_units",
    "on_hand_by_place",
    "open_book",
]
