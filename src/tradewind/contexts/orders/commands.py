"""What orders accepts."""

from datetime import datetime
from typing import ClassVar

from msgspec import Struct

from tradewind.contexts.orders.events import CreditedLine, Fee
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


class FulfilOrder(Command, frozen=True, kw_only=True):
    """Everything of the order left the house. Outcome: an `Answer` with the order."""

    order_id: str
    carrier: str | None
    tracking: str | None
    at: datetime | None  # None: now
    by: str

    @property
    def key(self) -> str:
        """Events that follow belong to the order."""
        return self.order_id


class WantedReturn(Struct, frozen=True, kw_only=True):
    """Units of one line to give back; lines count from 1."""

    line: int
    quantity: int
    reason: str | None = None


class ArrivedLine(Struct, frozen=True, kw_only=True):
    """What arrived of one line. `refund_minor` None: its share of what was paid for the line."""

    line: int
    restock: int
    write_off: int
    refund_minor: int | None = None


class Arrival(Struct, frozen=True, kw_only=True):
    """A parcel that was opened."""

    lines: tuple[ArrivedLine, ...]
    fees_refund_minor: int
    refund_id: str
    location: str


class ReturnCommand(Command, frozen=True, kw_only=True):
    """Anything that is asked about a return. `order_id` is known from the return's row."""

    return_id: str
    order_id: str
    by: str

    @property
    def key(self) -> str:
        """Events that follow belong to the order."""
        return self.order_id


class RequestReturn(ReturnCommand, frozen=True, kw_only=True):
    """Ask to give units back. With `arrival`, staff approve and receive them in the same step.

    Outcome: an `Answer` (201), or `Pending` under the return's id until the money is back.
    """

    lines: tuple[WantedReturn, ...]
    reason: str
    credential: str | None
    external_id: str | None
    at: datetime | None
    arrival: Arrival | None


class ApproveReturn(ReturnCommand, frozen=True, kw_only=True):
    """Wait for the parcel. Outcome: an `Answer`."""


class RejectReturn(ReturnCommand, frozen=True, kw_only=True):
    """Do not take the units back. Outcome: an `Answer`."""

    reason: str


class ReceiveReturn(ReturnCommand, frozen=True, kw_only=True):
    """The parcel was opened. Outcome: `Pending` until the money is back, or an `Answer`."""

    arrival: Arrival


class ExchangeReturn(ReturnCommand, frozen=True, kw_only=True):
    """Let another order stand for what comes back; it is placed next, under this id.

    Outcome: the id under which it is to be placed: this one, or that of the first try where this
    request is a repeat of it.
    """

    exchange_order_id: str
    asked_as: str  # the same for the same request: credential and key


class IssueCreditNote(Command, frozen=True, kw_only=True):
    """Credit what no order here answers for. Outcome: an `Answer` (201) with the document."""

    credit_note_id: str
    currency: str
    customer: str
    country: str | None
    reason: str
    lines: tuple[CreditedLine, ...]
    credential: str
    external_id: str | None
    location: str
    at: datetime | None
