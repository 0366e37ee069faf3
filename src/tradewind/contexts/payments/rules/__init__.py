"""What happens to money: pure folds of messages over payments.

Invariants, whatever comes in whatever order, however often:

* A payment has at most one operation under way; its key is the same in every attempt.
* What the provider decided (succeeded, refused) counts whoever reports it, and once. An outcome
  without a decision counts only for the latest claim.
* A key in doubt is looked up before it is sent again, and no other key is ever used in its place.
* Whenever nothing is under way, `next_step` starts what `wanted` still misses. `wanted` only moves
  authorised -> captured -> nothing, so a late success of a dead order is voided or refunded.

The rows given in are the unit's own copies and are changed in place; `Book` says which.
"""

from tradewind.contexts.payments.rules.book import (
    Absent,
    Aim,
    Begin,
    Book,
    Case,
    Credit,
    Message,
    Policy,
    Posting,
    Repay,
)
from tradewind.contexts.payments.rules.operations import take_up
from tradewind.contexts.payments.rules.outcomes import PROVIDER, record
from tradewind.contexts.payments.rules.steps import follow_orders, request_refund

__all__ = [
    "PROVIDER",
    "Absent",
    "Aim",
    "Begin",
    "Book",
    "Case",
    "Credit",
    "Message",
    "Policy",
    "Posting",
    "Repay",
    "follow_orders",
    "record",
    "request_refund",
    "take_up",
]
