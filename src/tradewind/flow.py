"""The life of an order on one page: who hears what, and says what then.

The flow is choreography: no one conducts. Each row is one reaction of one context; together they
are the whole life of an order, its refusals and its compensations. A test holds the table against
what the contexts declare, another against what a running shop announces, and
``docs/concepts/order-life.md`` is drawn from it.
"""

from collections.abc import Iterator

from msgspec import Struct

from tradewind.contexts.catalog.events import ProductChanged
from tradewind.contexts.fraud.events import PaymentBlocked, PaymentCleared, PaymentHeld
from tradewind.contexts.identity.events import LetterAsked, SessionOpened
from tradewind.contexts.inventory.events import (
    AvailabilityChanged,
    HoldEnded,
    StockAdjusted,
    StockAllocated,
    StockCounted,
    StockFulfilled,
    StockRefused,
    StockReleased,
    StockReserved,
    UnitsHeld,
)
from tradewind.contexts.inventory.rules import HoldDue
from tradewind.contexts.notifications.events import MessageFailed, MessageSent
from tradewind.contexts.orders.events import (
    CartAbandoned,
    CreditNoteIssued,
    HoldAsked,
    InvoiceIssued,
    OrderCancelled,
    OrderConfirmed,
    OrderFulfilled,
    OrderHeld,
    OrderPlaced,
    OrderRejected,
    OrdersClaimed,
    ReturnApproved,
    ReturnExchanged,
    ReturnNotRefunded,
    ReturnReceived,
    ReturnRefunded,
    ReturnRejected,
    ReturnRequested,
)
from tradewind.contexts.orders.rules import ReviewDue
from tradewind.contexts.payments.events import (
    CaptureRefused,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentFailed,
    PaymentRefunded,
    PaymentVoided,
    RefundRefused,
)
from tradewind.kernel.messages import Event

Events = tuple[type[Event], ...]


class Asked(Struct, frozen=True):
    """What starts a reaction when it is no event: a request, or the time."""

    what: str


class Step(Struct, frozen=True, kw_only=True):
    """One reaction: `who` hears `hears` and announces one of `says`, or nothing.

    `within` names the clock that bounds it (a setting, in seconds); `otherwise` says what happens
    when it fails or the clock runs out. `keeps` says what changes when nothing is announced.
    """

    hears: type[Event] | Asked
    who: str  # context.consumer, or context.command
    says: Events = ()
    keeps: str = ""
    within: str = ""
    otherwise: str = ""


FLOW: tuple[Step, ...] = (
    # -- on the way to a decision
    Step(
        hears=Asked("POST /v1/orders"),
        who="orders.place",
        says=(OrderPlaced,),
        otherwise="422 or 409: nothing is left behind",
    ),
    Step(
        hears=OrderPlaced,
        who="inventory.stock",
        says=(StockReserved, StockRefused, HoldEnded, AvailabilityChanged),
        within="decide_within_s",
        otherwise="the order is rejected (decide_expired), its stock released",
    ),
    Step(
        hears=StockReserved,
        who="payments.payments",
        says=(PaymentAuthorised, PaymentDeclined, PaymentFailed, PaymentVoided),
        within="authorise_total_timeout_s",
        otherwise="PaymentFailed (timeout); a late success is voided",
    ),
    Step(
        hears=PaymentAuthorised,
        who="fraud.scores",
        says=(PaymentCleared, PaymentHeld),
    ),
    Step(hears=PaymentCleared, who="orders.decisions", says=(OrderConfirmed,)),
    # -- refusals
    Step(hears=StockRefused, who="orders.decisions", says=(OrderRejected,)),
    Step(hears=PaymentDeclined, who="orders.decisions", says=(OrderRejected,)),
    Step(hears=PaymentFailed, who="orders.decisions", says=(OrderRejected,)),
    Step(hears=PaymentBlocked, who="orders.decisions", says=(OrderRejected,)),
    Step(
        hears=Asked("every 5 s: orders past decide_before"),
        who="orders.expiry",
        says=(OrderRejected,),
    ),
    # -- a person looks
    Step(
        hears=PaymentHeld,
        who="orders.decisions",
        says=(OrderHeld,),
        within="review_within_s",
        otherwise="ReviewDue: the order is rejected (review_expired)",
    ),
    Step(
        hears=Asked("POST /v1/reviews/{order_id}/release | refuse"),
        who="fraud.review",
        says=(PaymentCleared, PaymentBlocked),
    ),
    Step(hears=ReviewDue, who="orders.decisions", says=(OrderRejected,)),
    # -- after yes
    Step(
        hears=OrderConfirmed,
        who="payments.payments",
        says=(PaymentCaptured, CaptureRefused),
        otherwise="a lost reply is asked for by key until it is known",
    ),
    Step(hears=OrderConfirmed, who="inventory.stock", says=(StockAllocated,)),
    Step(hears=OrderConfirmed, who="notifications.messages", says=(MessageSent, MessageFailed)),
    Step(
        hears=PaymentCaptured,
        who="orders.decisions",
        says=(InvoiceIssued,),
        keeps="the copy of the payment's status",
    ),
    Step(
        hears=Asked("POST /v1/orders/{order_id}/fulfil"),
        who="orders.fulfil",
        says=(OrderFulfilled,),
        otherwise="409 order_not_fulfillable",
    ),
    Step(
        hears=OrderFulfilled,
        who="inventory.stock",
        says=(StockFulfilled, StockAdjusted, AvailabilityChanged),
    ),
    # -- what comes back
    Step(
        hears=Asked("POST /v1/orders/{order_id}/returns"),
        who="orders.request_return",
        says=(ReturnRequested, ReturnApproved, ReturnReceived),
        otherwise="409 order_not_returnable or return_exceeds_order",
    ),
    Step(
        hears=Asked("POST /v1/returns/{return_id}/approve"),
        who="orders.approve_return",
        says=(ReturnApproved,),
    ),
    Step(
        hears=Asked("POST /v1/returns/{return_id}/reject"),
        who="orders.reject_return",
        says=(ReturnRejected,),
    ),
    Step(
        hears=Asked("POST /v1/returns/{return_id}/receive"),
        who="orders.receive_return",
        says=(ReturnReceived,),
        otherwise="409 refund_exceeds_line",
    ),
    Step(
        hears=ReturnReceived,
        who="inventory.stock",
        says=(StockAdjusted, AvailabilityChanged),
    ),
    Step(
        hears=ReturnReceived,
        who="payments.payments",
        says=(PaymentRefunded, RefundRefused),
        otherwise="ReturnNotRefunded: a person must find another way",
    ),
    Step(
        hears=Asked("POST /v1/returns/{return_id}/exchange"),
        who="orders.exchange_return",
        says=(ReturnExchanged,),
        otherwise="409 return_exchanged; what goes out is an order of its own",
    ),
    Step(
        hears=Asked("POST /v1/credit-notes"),
        who="orders.issue_credit_note",
        says=(CreditNoteIssued,),
    ),
    Step(
        hears=CreditNoteIssued,
        who="inventory.stock",
        says=(StockAdjusted, AvailabilityChanged),
    ),
    Step(hears=CreditNoteIssued, who="payments.payments", keeps="the ledger: what is owed"),
    # -- compensation
    Step(
        hears=Asked("POST /v1/orders/{order_id}/cancel"),
        who="orders.cancel",
        says=(OrderCancelled,),
        otherwise="409 order_not_cancellable",
    ),
    Step(hears=CaptureRefused, who="orders.decisions", says=(OrderCancelled,)),
    Step(
        hears=OrderRejected,
        who="inventory.stock",
        says=(StockReleased, AvailabilityChanged),
    ),
    Step(hears=OrderRejected, who="payments.payments", says=(PaymentVoided,)),
    Step(hears=OrderRejected, who="fraud.scores", keeps="the review is closed"),
    Step(
        hears=OrderCancelled,
        who="inventory.stock",
        says=(StockReleased, AvailabilityChanged),
    ),
    Step(
        hears=OrderCancelled,
        who="payments.payments",
        says=(PaymentVoided, PaymentRefunded, RefundRefused),
        otherwise="an operation in flight is waited for, then undone",
    ),
    Step(hears=OrderCancelled, who="notifications.messages", says=(MessageSent, MessageFailed)),
    Step(hears=OrderCancelled, who="fraud.scores", keeps="the review is closed"),
    Step(hears=StockReleased, who="orders.decisions", keeps="whether a cancellation is settled"),
    Step(hears=PaymentVoided, who="orders.decisions", keeps="whether a cancellation is settled"),
    Step(
        hears=PaymentRefunded,
        who="orders.decisions",
        says=(CreditNoteIssued, ReturnRefunded),
        keeps="whether a cancellation is settled",
    ),
    Step(hears=RefundRefused, who="orders.decisions", says=(ReturnNotRefunded,)),
    # -- carts
    Step(
        hears=Asked("POST /v1/carts/{cart_id}/checkout"),
        who="orders.check_out",
        says=(OrderPlaced,),
        otherwise="422 or 409: the cart is open again",
    ),
    Step(
        hears=Asked("POST /v1/carts, and every change of a cart"),
        who="orders.change",
        says=(HoldAsked,),
        within="cart_hold_minutes",
        otherwise="HoldDue: the units are free again",
    ),
    Step(
        hears=HoldAsked,
        who="inventory.stock",
        says=(UnitsHeld, HoldEnded, AvailabilityChanged),
    ),
    Step(hears=HoldDue, who="inventory.stock", says=(HoldEnded, AvailabilityChanged)),
    Step(hears=UnitsHeld, who="orders.holds", keeps="whether the units of a cart are kept"),
    Step(
        hears=Asked("every 30 s: carts that nobody touches"),
        who="orders.carts",
        says=(CartAbandoned,),
        within="cart_abandoned_hours",
        otherwise="after cart_expires_days the cart ends",
    ),
    # -- accounts
    Step(
        hears=Asked("POST /v1/me/orders/claim"),
        who="orders.claim",
        says=(OrdersClaimed,),
    ),
    Step(
        hears=SessionOpened,
        who="orders.sign_ins",
        says=(HoldAsked,),
        keeps="the guest's cart joins that of the account",
    ),
    Step(hears=LetterAsked, who="notifications.letters", says=(MessageSent, MessageFailed)),
    # -- what the shop sells
    Step(hears=ProductChanged, who="orders.offers", keeps="the copy of prices and titles"),
    Step(
        hears=ProductChanged,
        who="inventory.stock",
        says=(StockCounted, AvailabilityChanged),
    ),
    Step(
        hears=Asked("POST /v1/stock/{sku}/movements"),
        who="inventory.adjust",
        says=(StockAdjusted, AvailabilityChanged),
        otherwise="409 stock_would_be_negative",
    ),
    Step(hears=AvailabilityChanged, who="catalog.availability", keeps="the mark of a variant"),
    Step(hears=StockCounted, who="catalog.availability", keeps="the count an import compares with"),
    Step(
        hears=StockAdjusted, who="catalog.availability", keeps="the count an import compares with"
    ),
)


def mermaid() -> str:
    """The order's life as a Mermaid flow chart: events as boxes, reactions as labelled arrows."""
    lines = ["flowchart TD"]
    lines += sorted({f"  {name_of(step.hears)}" for step in FLOW if is_life(step)})
    for step in FLOW:
        if not is_life(step):
            continue
        for said in step.says:
            if said.type.startswith("inventory.availability"):
                continue
            lines.append(f"  {key_of(step.hears)} -->|{step.who}| {said.__name__}")
    return "\n".join(lines) + "\n"


def is_life(step: Step) -> bool:
    """Whether a step is about an order, not about what the shop sells."""
    if isinstance(step.hears, Asked):
        return StockAdjusted not in step.says and OrdersClaimed not in step.says
    return not step.hears.type.startswith(("catalog.", "inventory.avail", "identity."))


def key_of(hears: type[Event] | Asked) -> str:
    """The node of a cause in the chart."""
    if isinstance(hears, Asked):
        return "ask_" + "".join(c if c.isalnum() else "_" for c in hears.what)
    return hears.__name__


def name_of(hears: type[Event] | Asked) -> str:
    """The node of a cause with its label."""
    if isinstance(hears, Asked):
        return f'{key_of(hears)}(["{hears.what}"])'
    return f'{key_of(hears)}["{hears.__name__}"]'


def table() -> Iterator[tuple[str, str, str, str, str]]:
    """The rows as text, for the docs: hears, who, says, within, otherwise."""
    for step in FLOW:
        hears = step.hears.what if isinstance(step.hears, Asked) else step.hears.__name__
        says = " \\| ".join(event.__name__ for event in step.says) or f"({step.keeps})"
        within = f"`{step.within}`" if step.within else ""
        yield hears, step.who, says, within, step.otherwise
