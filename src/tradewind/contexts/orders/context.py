"""What orders is made of."""

from operator import attrgetter
from pathlib import Path

from tradewind.contexts.catalog.events import ProductChanged
from tradewind.contexts.fraud.events import PaymentBlocked, PaymentCleared, PaymentHeld
from tradewind.contexts.inventory.events import StockRefused, StockReleased
from tradewind.contexts.orders import handlers, queries
from tradewind.contexts.orders.commands import (
    ApproveReturn,
    CancelOrder,
    ExchangeReturn,
    FulfilOrder,
    IssueCreditNote,
    PlaceOrder,
    ReceiveReturn,
    RejectReturn,
    RequestReturn,
)
from tradewind.contexts.orders.events import (
    CreditNoteIssued,
    InvoiceIssued,
    OrderCancelled,
    OrderConfirmed,
    OrderFulfilled,
    OrderHeld,
    OrderPlaced,
    OrderRejected,
    ReturnApproved,
    ReturnExchanged,
    ReturnNotRefunded,
    ReturnReceived,
    ReturnRefunded,
    ReturnRejected,
    ReturnRequested,
)
from tradewind.contexts.orders.routes import ROUTES
from tradewind.contexts.orders.rules import ReviewDue
from tradewind.contexts.payments.events import (
    CaptureRefused,
    PaymentCaptured,
    PaymentDeclined,
    PaymentFailed,
    PaymentRefunded,
    PaymentVoided,
    RefundRefused,
)
from tradewind.platform.context import Consumer, Context, Projection, Sweep

CONTEXT = Context(
    name="orders",
    topic="order-events",
    announces=(
        OrderPlaced,
        OrderConfirmed,
        OrderHeld,
        OrderRejected,
        OrderCancelled,
        OrderFulfilled,
        ReturnRequested,
        ReturnApproved,
        ReturnRejected,
        ReturnReceived,
        ReturnRefunded,
        ReturnNotRefunded,
        ReturnExchanged,
        InvoiceIssued,
        CreditNoteIssued,
    ),
    migrations=Path(__file__).parent / "migrations",
    routes=ROUTES,
    commands={
        PlaceOrder: handlers.place_orders,
        CancelOrder: handlers.cancel_orders,
        FulfilOrder: handlers.fulfil_orders,
        RequestReturn: handlers.decide_returns,
        ApproveReturn: handlers.decide_returns,
        RejectReturn: handlers.decide_returns,
        ReceiveReturn: handlers.decide_returns,
        ExchangeReturn: handlers.exchange_returns,
        IssueCreditNote: handlers.issue_credit_notes,
    },
    consumers=(
        Consumer(
            name="decisions",
            handler=handlers.decide_orders,
            events=(
                StockRefused,
                StockReleased,
                PaymentDeclined,
                PaymentFailed,
                PaymentCleared,
                PaymentHeld,
                PaymentBlocked,
                PaymentCaptured,
                CaptureRefused,
                PaymentVoided,
                PaymentRefunded,
                RefundRefused,
                ReviewDue,
            ),
            patient=(PaymentCaptured,),
        ),
        Consumer(name="offers", handler=handlers.copy_offers, events=(ProductChanged,)),
    ),
    projections=(
        Projection(
            table="orders.offers",
            consumer="offers",
            event=ProductChanged,
            column="product_id",
            whose=attrgetter("product_id"),
            key=("sku_key", "currency"),
            rows=handlers.offers_of,
        ),
    ),
    persons_in_use=queries.customers_in_use,
    sweeps=(Sweep(name="expiry", every_s=5.0, handler=handlers.expire_orders),),
)
