"""What payments announces. The subject is the order: an order has one payment, one sequence."""

from typing import ClassVar

from tradewind.kernel.messages import Event
from tradewind.kernel.terms import PaymentTerms


class PaymentEvent(Event, frozen=True, kw_only=True):
    """Anything that happened to the money of an order."""

    order_id: str
    payment_id: str

    @property
    def subject(self) -> str:
        """The order."""
        return self.order_id


class PaymentAuthorised(PaymentEvent, frozen=True, kw_only=True):
    """The money is held for us on the card; none has moved."""

    type: ClassVar[str] = "payments.payment_authorised.v1"

    terms: PaymentTerms


class PaymentDeclined(PaymentEvent, frozen=True, kw_only=True):
    """The provider says no to the card; `reason` is its code."""

    type: ClassVar[str] = "payments.payment_declined.v1"

    reason: str


class PaymentFailed(PaymentEvent, frozen=True, kw_only=True):
    """The provider could not say in time (`timeout`) or at all (`error`). What it may have held
    all the same is looked for and voided. `void_refused`: it would not let go; a person must look.
    """

    type: ClassVar[str] = "payments.payment_failed.v1"

    reason: str


class PaymentCaptured(PaymentEvent, frozen=True, kw_only=True):
    """The money moved from the card to us."""

    type: ClassVar[str] = "payments.payment_captured.v1"

    amount_minor: int
    currency: str


class CaptureRefused(PaymentEvent, frozen=True, kw_only=True):
    """The provider will not move the money it held. What it holds is voided."""

    type: ClassVar[str] = "payments.capture_refused.v1"

    amount_minor: int
    currency: str
    reason: str


class PaymentVoided(PaymentEvent, frozen=True, kw_only=True):
    """Nothing is held and nothing will be taken for this order, now or later."""

    type: ClassVar[str] = "payments.payment_voided.v1"


class PaymentRefunded(PaymentEvent, frozen=True, kw_only=True):
    """Money went back to the card. `refunded_minor` is all that went back so far.

    `reason` is that of who asked; None where the order's own course asked for it.
    """

    type: ClassVar[str] = "payments.payment_refunded.v1"

    refund_id: str
    amount_minor: int
    currency: str
    refunded_minor: int
    captured_minor: int
    reason: str | None = None


class RefundRefused(PaymentEvent, frozen=True, kw_only=True):
    """The provider will not give this money back; a person must find another way."""

    type: ClassVar[str] = "payments.refund_refused.v1"

    refund_id: str
    amount_minor: int
    currency: str
    reason: str
