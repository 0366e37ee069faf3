"""Payments, as data."""

from pathlib import Path

from tradewind.contexts.inventory.events import StockReserved
from tradewind.contexts.orders.events import (
    CreditNoteIssued,
    OrderCancelled,
    OrderConfirmed,
    OrderRejected,
    ReturnReceived,
)
from tradewind.contexts.payments import clients, queries, routes
from tradewind.contexts.payments.commands import ProviderCall, RecordOutcomes, RefundPayment
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
from tradewind.contexts.payments.handlers import units
from tradewind.platform.context import Consumer, Context, Sweep
from tradewind.platform.vault.personal import Personal

CONTEXT = Context(
    name="payments",
    topic="payment-events",
    announces=(
        PaymentAuthorised,
        PaymentDeclined,
        PaymentFailed,
        PaymentCaptured,
        CaptureRefused,
        PaymentVoided,
        PaymentRefunded,
        RefundRefused,
    ),
    migrations=Path(__file__).parent / "migrations",
    routes=(*routes.ROUTES, routes.charges_route(clients.read_charges)),
    commands={
        RecordOutcomes: units.record_outcomes,
        RefundPayment: units.refund_payments,
    },
    consumers=(
        Consumer(
            name="payments",
            handler=units.follow_orders,
            events=(
                StockReserved,
                OrderConfirmed,
                OrderRejected,
                OrderCancelled,
                ReturnReceived,
                CreditNoteIssued,
            ),
            patient=(OrderConfirmed,),
        ),
    ),
    sweeps=(Sweep(name="due operations", every_s=1, handler=units.take_up_due),),
    clients={ProviderCall: clients.send},
    warm_up=clients.warm_up,
    personal=Personal(export=queries.export),
)
