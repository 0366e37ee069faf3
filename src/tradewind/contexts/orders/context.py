"""What orders is made of."""

from operator import attrgetter
from pathlib import Path

from tradewind.contexts.catalog.events import ProductChanged
from tradewind.contexts.fraud.events import PaymentBlocked, PaymentCleared, PaymentHeld
from tradewind.contexts.identity.events import SessionOpened
from tradewind.contexts.inventory.events import StockRefused, StockReleased, UnitsHeld
from tradewind.contexts.orders import clients, handlers
from tradewind.contexts.orders.commands import (
    ApproveReturn,
    CancelOrder,
    ChangeCart,
    CheckOutCart,
    ClaimOrders,
    ExchangeReturn,
    FulfilOrder,
    IssueCreditNote,
    MergeCarts,
    OpenCart,
    PersonsDiscarded,
    PersonsForgotten,
    PlaceOrder,
    ReceiveReturn,
    RejectReturn,
    RequestReturn,
)
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
from tradewind.contexts.orders.queries import carts as cart_queries
from tradewind.contexts.orders.queries import personal
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
from tradewind.platform.vault.personal import Personal

CONTEXT = Context(
    name="orders",
    topic="order-events",
    announces=(
        OrderPlaced,
        OrderConfirmed,
        OrderHeld,
        OrderRejected,
        OrdersClaimed,
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
        CartAbandoned,
        HoldAsked,
    ),
    migrations=Path(__file__).parent / "migrations",
    routes=ROUTES,
    commands={
        PlaceOrder: handlers.place_orders,
        ClaimOrders: handlers.claim_orders,
        CancelOrder: handlers.cancel_orders,
        FulfilOrder: handlers.fulfil_orders,
        RequestReturn: handlers.decide_returns,
        ApproveReturn: handlers.decide_returns,
        RejectReturn: handlers.decide_returns,
        ReceiveReturn: handlers.decide_returns,
        ExchangeReturn: handlers.exchange_returns,
        IssueCreditNote: handlers.issue_credit_notes,
        OpenCart: handlers.open_carts,
        ChangeCart: handlers.change_carts,
        MergeCarts: handlers.merge_carts,
        CheckOutCart: handlers.check_out_carts,
        PersonsForgotten: handlers.note_forgotten,
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
        Consumer(name="holds", handler=handlers.note_holds, events=(UnitsHeld,)),
        Consumer(name="sign_ins", handler=handlers.merge_at_sign_in, events=(SessionOpened,)),
        Consumer(name="offers", handler=handlers.copy_offers, events=(ProductChanged,)),
    ),
    projections=(
        Projection(
            table="orders.offers",
            consumer="offers",
            event=ProductChanged,
            column="product_id",
            whose=attrgetter("product_id"),
            key=("sku_key", "currency", "customer_group", "list_id", "from_ms"),
            rows=handlers.offers_of,
        ),
    ),
    clients={PersonsDiscarded: clients.forget_persons},
    persons_in_use=cart_queries.persons_in_use,
    personal=Personal(
        person_of_order=personal.person_of_order,
        belongings=personal.belongings,
        export=personal.export,
        open_matters=personal.open_matters,
        on_papers=personal.on_papers,
    ),
    sweeps=(
        Sweep(name="expiry", every_s=5.0, handler=handlers.expire_orders),
        Sweep(name="carts", every_s=30.0, handler=handlers.look_at_carts),
        Sweep(name="discarded", every_s=5.0, handler=handlers.find_discarded),
    ),
)
