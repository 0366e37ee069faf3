"""What orders announces. The subject of each is the order id."""

from datetime import date, datetime
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


class OrderPlaced(OrderEvent, frozen=True, kw_only=True, omit_defaults=True):
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
    cart_id: str | None = None  # the cart that it was, if any
    account: str | None = None  # whose it is, where somebody was signed in
    hold: int = 0  # the last `HoldAsked` of that cart: the order takes those units over


class OrdersClaimed(Event, frozen=True, kw_only=True):
    """Orders that were placed as a guest belong to an account from now on. The only fact about
    this claim: nothing of the orders themselves has changed.
    """

    type: ClassVar[str] = "orders.orders_claimed.v1"

    claim_id: str
    account: str
    order_ids: tuple[str, ...]
    claimed_at: datetime

    @property
    def subject(self) -> str:
        """The claim."""
        return self.claim_id


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


class OrderFulfilled(OrderEvent, frozen=True, kw_only=True):
    """Everything of the order left the house. Who carries it, where that is known."""

    type: ClassVar[str] = "orders.order_fulfilled.v1"

    skus: tuple[str, ...]  # upper case
    carrier: str | None
    tracking: str | None
    fulfilled_at: datetime


class ReturnedLine(Struct, frozen=True, kw_only=True):
    """Units of one line that a customer wants to give back; lines count from 1."""

    line: int
    sku: str
    quantity: int
    reason: str | None = None


class ReceivedLine(Struct, frozen=True, kw_only=True):
    """What came back of one line: for the shelf, for the bin, and what the customer gets for it."""

    line: int
    sku: str
    restock: int
    write_off: int
    refund_minor: int


class ReturnEvent(OrderEvent, frozen=True, kw_only=True):
    """Anything that happened to a return; part of its order's sequence."""

    return_id: str


class ReturnRequested(ReturnEvent, frozen=True, kw_only=True):
    """A customer wants to give back units of a fulfilled order."""

    type: ClassVar[str] = "orders.return_requested.v1"

    lines: tuple[ReturnedLine, ...]
    reason: str


class ReturnApproved(ReturnEvent, frozen=True, kw_only=True):
    """The shop waits for the parcel."""

    type: ClassVar[str] = "orders.return_approved.v1"


class ReturnRejected(ReturnEvent, frozen=True, kw_only=True):
    """The shop will not take the units back; they may be asked for again."""

    type: ClassVar[str] = "orders.return_rejected.v1"

    reason: str


class ReturnReceived(ReturnEvent, frozen=True, kw_only=True):
    """The parcel was opened. Inventory takes back what is for the shelf, payments give the money
    back: `refund_minor` is the sum of the lines and of `fees_refund_minor`; 0: nothing is owed.
    """

    type: ClassVar[str] = "orders.return_received.v1"

    lines: tuple[ReceivedLine, ...]
    fees_refund_minor: int
    refund_minor: int
    currency: str
    refund_id: str
    payment_id: str
    location: str


class ReturnRefunded(ReturnEvent, frozen=True, kw_only=True):
    """The money for a return is back with the customer."""

    type: ClassVar[str] = "orders.return_refunded.v1"

    refund_id: str
    amount_minor: int
    currency: str


class ReturnNotRefunded(ReturnEvent, frozen=True, kw_only=True):
    """The provider will not give the money for a return back; a person must find another way."""

    type: ClassVar[str] = "orders.return_not_refunded.v1"

    refund_id: str
    reason: str


class ReturnExchanged(ReturnEvent, frozen=True, kw_only=True):
    """Other units go out in the place of those that come back: as an order of its own, paid with
    the same card.
    """

    type: ClassVar[str] = "orders.return_exchanged.v1"

    exchange_order_id: str


class DocumentEvent(Event, frozen=True, kw_only=True):
    """A document with a number was issued. Its subject is the number; it never changes."""

    number: str
    order_id: str | None
    currency: str
    total_minor: int  # gross
    tax_minor: int  # of it
    dated: date

    @property
    def subject(self) -> str:
        """The number."""
        return self.number


class InvoiceIssued(DocumentEvent, frozen=True, kw_only=True):
    """The money of an order was taken, and this is the receipt for it."""

    type: ClassVar[str] = "orders.invoice_issued.v1"


class CreditedLine(Struct, frozen=True, kw_only=True):
    """A line of a credit note that stands alone. `restock` units of `sku` go back on the shelf."""

    description: str
    sku: str | None
    quantity: int
    amount_minor: int
    restock: int = 0


class CreditNoteIssued(DocumentEvent, frozen=True, kw_only=True):
    """Something was credited: a refund, or - standing alone - what no order here answers for.

    One that stands alone has an id and `lines`; payments books it, inventory restocks it.
    """

    type: ClassVar[str] = "orders.credit_note_issued.v1"

    reason: str
    refund_id: str | None = None
    return_id: str | None = None
    credit_note_id: str | None = None
    country: str | None = None
    location: str | None = None
    lines: tuple[CreditedLine, ...] = ()


class AbandonedLine(Struct, frozen=True, kw_only=True):
    """A line of a cart that was left; the price is what the shopper saw last, if it was sold."""

    sku: str
    quantity: int
    unit_price_e4: int | None


class CartAbandoned(Event, frozen=True, kw_only=True):
    """Nobody touched a cart with something in it for `cart_abandoned_hours`; once per pause.

    `contact` is there where the shopper gave an address: somebody may remind them.
    """

    type: ClassVar[str] = "orders.cart_abandoned.v1"

    cart_id: str
    currency: str
    lines: tuple[AbandonedLine, ...]
    customer: str | None
    person: str | None
    contact: str | None
    touched_at: datetime

    @property
    def subject(self) -> str:
        """The cart."""
        return self.cart_id


class HoldLine(Struct, frozen=True, kw_only=True):
    """Units of a sku that a cart wants to have kept."""

    sku: str
    quantity: int


class HoldAsked(Event, frozen=True, kw_only=True):
    """A cart wants these units kept for it until then; without lines, no more."""

    type: ClassVar[str] = "orders.hold_asked.v1"

    cart_id: str
    lines: tuple[HoldLine, ...]
    until: datetime

    @property
    def subject(self) -> str:
        """The cart."""
        return self.cart_id
