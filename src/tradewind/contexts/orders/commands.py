"""What orders accepts."""

from datetime import datetime
from typing import ClassVar

from msgspec import Struct

from tradewind.contexts.orders.events import Fee
from tradewind.kernel.messages import Command


class WantedLine(Struct, frozen=True, kw_only=True):
    """What a customer wants; the price only where history is imported."""

    sku: str
    quantity: int
    unit_price_e4: int | None = None


class PlaceOrder(Command, frozen=True, kw_only=True):
    """Take a basket as an order. Ids are chosen before, so that a repeat meets the same order.

    Personal data is in the vault already: `customer` and `contact` are its tokens.
    """

    durable: ClassVar[bool] = False  # the decision is; a 202 before it flushes
    begins: ClassVar[bool] = True

    order_id: str
    payment_id: str
    credential: str | None  # of the caller, where it has one; `external_id` is unique within it
    external_id: str | None
    customer: str
    contact: str | None
    guest: bool
    currency: str
    lines: tuple[WantedLine, ...]
    fees: tuple[Fee, ...]
    shipping_country: str
    billing_country: str | None
    payment_token: str
    expected_total_minor: int | None
    channel: str
    imported: bool
    placed_at: datetime | None  # None: now

    @property
    def key(self) -> str:
        """Events that follow belong to the order."""
        return self.order_id


class CancelOrder(Command, frozen=True, kw_only=True):
    """Call an order off: its stock returns, its money is voided or given back."""

    order_id: str
    reason: str
    by: str  # the credential

    @property
    def key(self) -> str:
        """Events that follow belong to the order."""
        return self.order_id
