"""What happens to money: pure folds of messages over payments.

Invariants, whatever comes in whatever order, however often:

* A payment has at most one operation under way; its key is the same in every attempt.
* What the provider decided (succeeded, refused) counts whoever reports it, and once. An outcome
  without a decision counts only for the latest claim.
* Nobody calls the provider anew on a key in doubt before having looked the key up.
* Whenever nothing is under way, `next_step` starts what `wanted` still misses. `wanted` only moves
  authorised -> captured -> nothing, so a late success of a dead order is voided or refunded.

The rows given in are working copies of the unit and are changed in place.
"""

import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from tradewind.contexts.inventory.events import StockReserved
from tradewind.contexts.orders.events import OrderCancelled, OrderConfirmed, OrderRejected
from tradewind.contexts.payments import events as facts
from tradewind.contexts.payments.commands import (
    OperationName,
    ProviderCall,
    ProviderOutcome,
    RefundPayment,
)
from tradewind.contexts.payments.problems import (
    CurrencyMismatch,
    NothingCaptured,
    PaymentNotFound,
    ProviderRefusedRefund,
    RefundExceedsCapture,
)
from tradewind.contexts.payments.tables import (
    Operation,
    Payment,
    Refund,
    RefundView,
    Wanted,
)
from tradewind.kernel.answers import Answer, Pending
from tradewind.kernel.money import format_minor, wire
from tradewind.kernel.problems import Problem
from tradewind.kernel.terms import PaymentTerms

OrderMessage = StockReserved | OrderConfirmed | OrderRejected | OrderCancelled
