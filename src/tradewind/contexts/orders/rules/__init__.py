"""What orders decides. Pure: state and messages in, changes, events and answers out.

Invariants: an order has one clock and is decided once (`placed` is left once); a rejected,
cancelled or fulfilled order is never revived; prices come from the offers, never from the client,
except where history is imported; the total is the sum of rounded lines and fees.
"""

from tradewind.contexts.orders.rules.deciding import (
    ALIVE,
    Desk,
    NotRepaid,
    Paid,
    Repaid,
    ReviewDue,
    cancel,
    cancellation,
    is_at_rest,
)
from tradewind.contexts.orders.rules.placing import Offers, place

__all__ = [
    "ALIVE",
    "Desk",
    "NotRepaid",
    "Offers",
    "Paid",
    "Repaid",
    "ReviewDue",
    "cancel",
    "cancellation",
    "is_at_rest",
    "place",
]
