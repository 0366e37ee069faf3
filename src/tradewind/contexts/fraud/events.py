"""What fraud announces, always about an order: the verdict on its payment.

`sequence` is 1 for the verdict of the rules, 2 for that of a reviewer after a hold. `reasons` are
codes; their points and texts are read at ``/v1/reviews``.
"""

from typing import ClassVar

from tradewind.kernel.messages import Event


class Verdict(Event, frozen=True, kw_only=True):
    """What all three facts say: whose payment, how suspicious (0 to 100), and why."""

    order_id: str
    payment_id: str
    score: int
    reasons: tuple[str, ...]

    @property
    def subject(self) -> str:
        """The order."""
        return self.order_id


class PaymentCleared(Verdict, frozen=True, kw_only=True):
    """The order may go on."""

    type: ClassVar[str] = "fraud.payment_cleared.v1"


class PaymentHeld(Verdict, frozen=True, kw_only=True):
    """A person must look at it first; the order has the clock for that."""

    type: ClassVar[str] = "fraud.payment_held.v1"


class PaymentBlocked(Verdict, frozen=True, kw_only=True):
    """A reviewer refused it: the order must end."""

    type: ClassVar[str] = "fraud.payment_blocked.v1"
