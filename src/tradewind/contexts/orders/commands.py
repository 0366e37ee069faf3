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
    cart_id: str | None = None  # the cart that it was
    hold: int = 0  # what that cart asked for last; 0: nothing is kept for it
    customer_group: str = ""  # whose prices count; "": those for everybody
    account: str | None = None  # of whoever is signed in: it is their order

    @property
    def key(self) -> str:
        """Events that follow belong to the order."""
        return self.order_id


class ClaimOrders(Command, frozen=True, kw_only=True):
    """Let orders that were placed as a guest belong to the account that has their address.

    The outcome is the ids of those that were claimed, newest first.
    """

    claim_id: str
    account: str
    contact: str  # of the verified address


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


class Shopper(Struct, frozen=True, kw_only=True):
    """What a cart knows of who it is for: tokens of the vault, and countries."""

    person: str | None = None
    contact: str | None = None
    shipping_country: str | None = None
    billing_country: str | None = None


class OpenCart(Command, frozen=True, kw_only=True):
    """Begin a cart. The answer is a `CartView`."""

    cart_id: str
    credential: str | None  # an API key's; a guest's is None
    customer: str | None
    currency: str
    lines: tuple[WantedLine, ...]
    shopper: Shopper
    customer_group: str = ""  # whose prices count; "": those for everybody


class PutIn(Struct, frozen=True):
    """Units of a sku; they join the line that the sku has already."""

    sku: str
    quantity: int


class SetQuantity(Struct, frozen=True):
    """A line with another quantity; None takes it out."""

    line: int
    quantity: int | None


class SetDetails(Struct, frozen=True, kw_only=True):
    """Who the cart is for and how it is delivered. `person_before`: what the change was made of."""

    person_before: str | None = None
    shopper: Shopper | None = None  # None: as it is
    shipping_option: str | None = None  # None: as it is
    customer: str | None = None  # None: as it is


class Show(Struct, frozen=True):
    """The shopper was shown these prices: line and unit price, None where it is not sold."""

    prices: tuple[tuple[int, int | None], ...]


class Discard(Struct, frozen=True):
    """The cart is not wanted any more."""


CartChange = PutIn | SetQuantity | SetDetails | Show | Discard


class ChangeCart(Command, frozen=True, kw_only=True):
    """Change a cart. The answer is a `CartView`, or nothing where it is gone."""

    cart_id: str
    change_id: str  # the same where the command runs again after a lost connection
    versions: tuple[str, ...] | None  # of If-Match; None: whatever it is
    change: CartChange


class MergeCarts(Command, frozen=True, kw_only=True):
    """Put the lines of a guest's cart into another, and end it. The answer is a `CartView`."""

    cart_id: str
    guest_id: str
    versions: tuple[str, ...] | None


class CheckOutCart(Command, frozen=True, kw_only=True):
    """Place a cart as an order: all or nothing, and at most one living order of each cart."""

    durable: ClassVar[bool] = False  # as of `PlaceOrder`
    begins: ClassVar[bool] = True

    cart_id: str
    versions: tuple[str, ...] | None
    order_id: str
    payment_id: str
    credential: str | None  # an API key's; the holder of a cart token has None
    payment_token: str
    expected_total_minor: int | None
    expected_currency: str | None
    details: SetDetails

    @property
    def key(self) -> str:
        """Events that follow belong to the order."""
        return self.order_id


class PersonsForgotten(Command, frozen=True, kw_only=True):
    """Records that carts discarded are destroyed, or were found in use by an order."""

    persons: tuple[str, ...]


class PersonsDiscarded(Struct, frozen=True):
    """Signal: these records are not a cart's any more."""

    persons: tuple[str, ...]
