"""Notifications, as data."""

from pathlib import Path

from tradewind.contexts.identity.events import LetterAsked
from tradewind.contexts.notifications import clients, handlers, queries, routes
from tradewind.contexts.notifications.commands import (
    ClaimMessages,
    MessagesAreDue,
    RecordAttempts,
)
from tradewind.contexts.notifications.events import MessageFailed, MessageSent
from tradewind.contexts.orders.events import OrderCancelled, OrderConfirmed
from tradewind.platform.context import Consumer, Context, Sweep
from tradewind.platform.vault.personal import Personal

CONTEXT = Context(
    name="notifications",
    topic="notification-events",
    announces=(MessageSent, MessageFailed),
    migrations=Path(__file__).parent / "migrations",
    routes=routes.ROUTES,
    commands={
        ClaimMessages: handlers.claim_messages,
        RecordAttempts: handlers.record_attempts,
    },
    consumers=(
        Consumer(
            name="messages",
            handler=handlers.write_messages,
            events=(OrderConfirmed, OrderCancelled),
            patient=(OrderConfirmed, OrderCancelled),
        ),
        Consumer(name="letters", handler=handlers.write_letters, events=(LetterAsked,)),
    ),
    sweeps=(Sweep(name="due messages", every_s=5, handler=handlers.find_due_messages),),
    clients={MessagesAreDue: clients.send},
    personal=Personal(export=queries.export),
)
