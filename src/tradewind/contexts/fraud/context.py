"""Fraud, as data."""

from pathlib import Path

from tradewind.contexts.fraud import handlers, queries, routes
from tradewind.contexts.fraud.commands import DecideReview
from tradewind.contexts.fraud.events import PaymentBlocked, PaymentCleared, PaymentHeld
from tradewind.contexts.orders.events import OrderCancelled, OrderRejected
from tradewind.contexts.payments.events import PaymentAuthorised
from tradewind.platform.context import Consumer, Context
from tradewind.platform.vault.personal import Personal

CONTEXT = Context(
    name="fraud",
    topic="fraud-events",
    announces=(PaymentCleared, PaymentHeld, PaymentBlocked),
    migrations=Path(__file__).parent / "migrations",
    routes=routes.ROUTES,
    commands={DecideReview: handlers.decide_reviews},
    consumers=(
        Consumer(
            name="scores",
            handler=handlers.score_payments,
            events=(PaymentAuthorised, OrderRejected, OrderCancelled),
        ),
    ),
    personal=Personal(export=queries.export),
)
