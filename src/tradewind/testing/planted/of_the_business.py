"""Mistakes of the contexts: stock, orders, payments. Each stays in this process."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from tradewind import app
from tradewind.contexts.inventory import rules as stock_rules
from tradewind.contexts.inventory.handlers import shelves as inventory
from tradewind.contexts.inventory.rules import reserving
from tradewind.contexts.orders import handlers as orders
from tradewind.contexts.orders.tables import LineRow, OrderRow, view
from tradewind.contexts.payments.clients import SimulatedProvider
from tradewind.contexts.payments.handlers import rows as payments
from tradewind.kernel.answers import Answer, Pending
from tradewind.kernel.messages import NOTHING, Decision
from tradewind.platform.context import Context, Sweep
from tradewind.platform.database.transaction import Transaction
from tradewind.testing.planted.of_the_bus import swap

RACE_S = 0.1  # a bug that needs two at once need not wait for chance
RESERVED_S = 0.5
CACHED_S = 1.5


def spoil_context(name: str, **changes: Any) -> None:
    """Load a context with another declaration."""
    load = app.load_contexts

    def spoilt(names: Sequence[str] = app.CONTEXTS) -> list[Context]:
        return [
            msgspec.structs.replace(context, **changes) if context.name == name else context
            for context in load(names)
        ]

    swap(app, "load_contexts", spoilt)


TAKE_AND_FORGIVE = """
    UPDATE inventory.stock s
       SET reserved = s.reserved + t.quantity,
           short = greatest(s.reserved + t.quantity - s.on_hand, 0)
      FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
        AS t (sku_key, location, on_hand_before, reserved_before, sequence_before, quantity)
     WHERE s.sku_key = t.sku_key AND s.location = t.location
"""


def no_turns() -> None:
    """Neither a lock nor a comparison makes rivals on a shelf take turns; and the constraint that
    would still stand in the way is soothed.
    """
    lock, read = Transaction.lock, inventory.read

    async def unlocked(tx: Transaction, kind: str, names: Iterable[str]) -> None:
        if kind != "stock":
            await lock(tx, kind, names)

    async def slowly(*args: Any, **more: Any) -> Any:
        book = await read(*args, **more)
        await asyncio.sleep(RACE_S)
        return book

    swap(Transaction, "lock", unlocked)
    swap(inventory, "read", slowly)
    swap(inventory, "TAKE", TAKE_AND_FORGIVE)


OLD_RESERVATIONS = """
    SELECT order_id FROM inventory.reservations WHERE status = 'reserved' AND created_at < $1
"""
SKUS = "SELECT sku_key FROM inventory.skus"


def reservation_expires() -> None:
    """A reservation has a clock of its own, beside that of the order."""

    async def expire(tx: Transaction) -> Decision:
        old = await tx.fetch_values(OLD_RESERVATIONS, tx.now - timedelta(seconds=RESERVED_S))
        if not old:
            return NOTHING
        requests = [stock_rules.Release(order_id, "expired") for order_id in old]
        keys = set(await tx.fetch_values(SKUS))
        book = stock_rules.decide(await inventory.read(tx, requests, keys, old), requests)
        inventory.save(tx, book)
        return Decision(events=book.events)

    spoil_context("inventory", sweeps=(Sweep(name="expiry", every_s=0.2, handler=expire),))


def stale_stock() -> None:
    """What is free is remembered for a while where little was."""
    fresh = reserving.free_units
    seen: dict[str, tuple[float, int]] = {}

    def remembered(sku: Any) -> int:
        now = fresh(sku)
        if sku is None:
            return now
        at, before = seen.get(sku.key, (0.0, now))
        if time.monotonic() - at > CACHED_S:
            seen[sku.key] = (time.monotonic(), now)
            return now
        return min(before, now)

    swap(reserving, "free_units", remembered)


def units_not_given_back() -> None:
    """A cancellation is told, and the shelf is forgotten."""
    release = reserving.release

    def forgetful(book: Any, request: Any) -> None:
        if request.reason != "cancelled":
            release(book, request)
            return
        before = [(s, s.reserved, s.short) for k in book.skus.values() for s in k.shelves]
        release(book, request)
        for shelf, reserved, short in before:
            shelf.reserved, shelf.short = reserved, short

    swap(reserving, "release", forgetful)


def answer_early() -> None:
    """The answer is stored with the order, in the hope that it will be confirmed."""
    place = orders.place_orders

    async def hopefully(tx: Transaction, commands: Sequence[Any]) -> Decision:
        decision = await place(tx, commands)
        placed = {event.subject: event for event in decision.events}
        outcomes = [
            confirmed(command, placed[outcome.resource], tx)
            if isinstance(outcome, Pending)
            else outcome
            for command, outcome in zip(commands, decision.outcomes, strict=True)
        ]
        return msgspec.structs.replace(decision, outcomes=outcomes)

    spoil_commands("orders", {place: hopefully})


def spoil_commands(name: str, others: dict[Any, Any]) -> None:
    """Load a context with other handlers for its commands."""
    context = next(c for c in app.load_contexts() if c.name == name)
    commands = {kind: others.get(handler, handler) for kind, handler in context.commands.items()}
    assert commands != context.commands, "the handler is not there any more: plant the bug anew"
    spoil_context(name, commands=commands)


def confirmed(command: Any, event: Any, tx: Transaction) -> Answer:
    """What will probably be said about an order that was just placed."""
    known: dict[str, Any] = {
        "order_id": command.order_id, "version": 2, "status": "confirmed",
        "currency": event.currency, "subtotal_minor": event.subtotal_minor, "shipping_minor": 0,
        "tax_minor": 0, "discount_minor": 0, "fees_minor": 0, "total_minor": event.total_minor,
        "customer": command.customer, "contact": command.contact,
        "payment_id": command.payment_id, "payment_status": "authorised",
        "stock_released": False, "channel": event.channel, "imported": False,
        "external_id": None, "fees": "[]", "placed_at": event.placed_at, "decide_before": tx.now,
        "review_before": None, "decided_at": tx.now, "rejection_code": None,
    }  # fmt: skip
    row = OrderRow(**known)
    lines = [
        LineRow(event.order_id, n, each.sku, each.title, each.quantity, each.unit_price_e4,
                each.total_minor)
        for n, each in enumerate(event.lines, start=1)
    ]  # fmt: skip
    return Answer(
        status=201, body=view(row, lines), headers={"location": f"/v1/orders/{row.order_id}"}
    )


def new_provider_key() -> None:
    """Each attempt of a capture or a refund goes out under a key of its own."""
    submit = SimulatedProvider.submit

    async def anew(provider: SimulatedProvider, calls: Sequence[Any]) -> AsyncGenerator[list[Any]]:
        ours = {}
        sent = []
        for call in calls:
            key = call.key
            if call.operation in ("capture", "refund"):
                key = f"{call.key}:{call.claim}"
            ours[key] = call.key
            sent.append(msgspec.structs.replace(call, key=key))
        async for results in submit(provider, sent):
            yield [msgspec.structs.replace(r, key=ours.get(r.key, r.key)) for r in results]

    swap(SimulatedProvider, "submit", anew)


def repayment_not_booked() -> None:
    """Money that goes back leaves no posting."""
    insert = payments.insert_postings

    def without(tx: Transaction, rows: Sequence[Any], now: Any) -> None:
        kept = [row for row in rows if row.kind not in ("return", "repayment")]
        if kept:
            insert(tx, kept, now)

    swap(payments, "insert_postings", without)
