"""What orders announces. The subject of each is the order id."""

from datetime import datetime
from typing import ClassVar

from msgspec import Struct

from tradewind.kernel.messages import Event
from tradewind.kernel.terms import PaymentTerms


class OrderLine(Struct, frozen=True, kw_only=True):
    """One line, priced when the order was placed."""

    sku: str
    quantity: int
    unit_price_e4: int
    total_minor: int
    title: str


class Fee(Struct, frozen=True, kw_only=True):
    """A charge that is no product: postage of an imported order, a gift box."""

    code: str
    amount_minor: int


class OrderEvent(Event, frozen=True, kw_only=True):
    """Anything that happened to an order, told by orders."""

    order_id: str

    @property
    def subject(self) -> str:
        """The order."""
        return self.order_id


class OrderPlaced(OrderEvent, frozen=True, kw_only=True):
    """A customer committed to buy; stock and money are not yet secured."""

    type: ClassVar[str] = "orders.order_placed.v1"

    lines: tuple[OrderLine, ...]
    currency: str
    subtotal_minor: int
    shipping_minor: int
    tax_minor: int
    discount_minor: int
    fees_minor: int
    total_minor: int
    channel: str
    payment: PaymentTerms
    placed_at: datetime


class OrderConfirmed(OrderEvent, frozen=True, kw_only=True):
    """Stock is held, money is authorised, fraud has no objection: the shop will deliver."""

    type: ClassVar[str] = "orders.order_confirmed.v1"

    payment_id: str
    total_minor: int
    currency: str
    customer: str
    contact: str | None
    confirmed_at: datetime


class OrderHeld(OrderEvent, frozen=True, kw_only=True):
    """A person must look at the order before `review_before`; after that it is rejected."""

    type: ClassVar[str] = "orders.order_held.v1"

    reasons: tuple[str, ...]
    review_before: datetime


class OrderRejected(OrderEvent, frozen=True, kw_only=True):
    """The order will not be: its stock is released, its money never taken."""

    type: ClassVar[str] = "orders.order_rejected.v1"

    code: str
    payment_id: str
    skus: tuple[str, ...]  # upper case: whose stock may have to be released


class OrderCancelled(OrderEvent, frozen=True, kw_only=True):
    """The order was called off after it was placed: stock returns, money is voided or refunded."""

    type: ClassVar[str] = "orders.order_cancelled.v1"

    code: str  # "cancelled" by the customer or staff, "capture_failed" by the provider
    reason: str
    payment_id: str
    customer: str
    contact: str | None
    total_minor: int
    currency: str
    skus: tuple[str, ...]
