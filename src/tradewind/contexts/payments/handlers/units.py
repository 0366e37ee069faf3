"""The units of work of payments: what orders want, what the provider said, what is due."""

from collections.abc import Sequence

import msgspec

from tradewind.contexts.inventory.events import StockReserved
from tradewind.contexts.orders.events import (
    CreditNoteIssued,
    OrderCancelled,
    OrderConfirmed,
    OrderRejected,
    ReturnReceived,
)
from tradewind.contexts.payments import rules
from tradewind.contexts.payments.commands import RecordOutcomes, RefundPayment
from tradewind.contexts.payments.handlers.rows import (
    BY_PAYMENT,
    load,
    load_for_orders,
    recall,
    save,
)
from tradewind.contexts.payments.rules import Absent, Aim, Begin, Credit, Message, Repay
from tradewind.kernel.audit import Change
from tradewind.kernel.messages import NOTHING, Decision
from tradewind.kernel.terms import OF_ORDER, card_of
from tradewind.platform.database.transaction import Transaction

OrderEvent = (
    StockReserved
    | OrderConfirmed
    | OrderRejected
    | OrderCancelled
    | ReturnReceived
    | CreditNoteIssued
)

# Rejections of orders that inventory never held anything for.
NEVER_RESERVED = frozenset({"stock_is_short"})
# 256 operations are some 60 kB of rows, and at most three requests to the provider.
DUE_MAX = 256


async def follow_orders(tx: Transaction, events: Sequence[OrderEvent]) -> Decision:
    """Authorise what is reserved, capture what is confirmed, let go of what ended.

    Safe to repeat: an order has one payment, and what is wanted of it only moves forward.
    """
    messages = [message for event in events if (message := message_of(event)) is not None]
    if not messages:
        return NOTHING
    messages = await with_cards(tx, messages)
    book = await load_for_orders(tx, messages)
    rules.follow_orders(book, messages)
    return save(tx, book)


# Served by the unique key on order_id.
CARDS = "SELECT order_id || ' ' || token FROM payments.payments WHERE order_id = ANY($1::text[])"


async def with_cards(tx: Transaction, messages: list[Message]) -> list[Message]:
    """The same, with the card of another order in the place of what stands for it."""
    named = [m.terms.token for m in messages if isinstance(m, Begin)]
    wanted = [token.removeprefix(OF_ORDER) for token in named if token.startswith(OF_ORDER)]
    if not wanted:
        return messages
    found = dict(row.split(" ", 1) for row in await tx.fetch_values(CARDS, wanted))
    cards = {card_of(order_id): token for order_id, token in found.items()}
    return [
        Begin(msgspec.structs.replace(m.terms, token=cards.get(m.terms.token, m.terms.token)))
        if isinstance(m, Begin)
        else m
        for m in messages
    ]


async def record_outcomes(tx: Transaction, commands: Sequence[RecordOutcomes]) -> Decision:
    """Write down what the provider said, and start what follows from it.

    Safe to repeat: a decided operation is closed, and an outcome for a closed one changes nothing.
    """
    outcomes = [outcome for command in commands for outcome in command.outcomes]
    payment_ids = dict.fromkeys(outcome.payment_id for outcome in outcomes)
    known = recall(tx, payment_ids)
    unknown = [payment_id for payment_id in payment_ids if payment_id not in known]
    book = await load(tx, BY_PAYMENT, unknown, known.values())
    for outcome in outcomes:
        rules.record(book, outcome)
    return save(tx, book, outcomes=[None] * len(commands))


async def refund_payments(tx: Transaction, commands: Sequence[RefundPayment]) -> Decision:
    """Take refunds in hand; they are answered with the outcome of their operations.

    Safe to repeat: the caller's key commits with the refund.
    """
    book = await load(tx, BY_PAYMENT, (command.payment_id for command in commands))
    outcomes = [rules.request_refund(book, command) for command in commands]
    changes = {
        index: Change(
            command.refund_id,
            None,
            {
                "payment_id": command.payment_id,
                "amount_minor": command.amount_minor,
                "currency": command.currency,
            },
        )
        for index, command in enumerate(commands)
    }
    return msgspec.structs.replace(save(tx, book, outcomes=outcomes), changes=changes)


# The whole table is all that is under way: few rows.
DUE = "SELECT payment_id FROM payments.under_way WHERE due_at <= $1 ORDER BY due_at LIMIT $2"


async def take_up_due(tx: Transaction) -> Decision:
    """Take up operations whose wait is over, or whose process went away in the middle.

    Safe to repeat: a claim moves `due_at`, under the payment's version.
    """
    due = await tx.fetch_values(DUE, tx.now, DUE_MAX)
    if not due:
        return NOTHING
    book = await load(tx, BY_PAYMENT, due)
    for case in book.by_payment.values():
        rules.take_up(book, case)
    return save(tx, book)


def message_of(event: OrderEvent) -> Message | None:
    """What an event of another context means for the money; None: nothing."""
    if isinstance(event, StockReserved):
        return Begin(event.payment)
    if isinstance(event, OrderConfirmed):
        return Aim(order_id=event.order_id, payment_id=event.payment_id, wanted="captured")
    if isinstance(event, ReturnReceived):
        return repay_of(event)
    if isinstance(event, CreditNoteIssued):
        return credit_of(event)
    absent: Absent = "announce"
    if isinstance(event, OrderRejected):
        absent = "ignore" if event.code in NEVER_RESERVED else "remember"
    return Aim(
        order_id=event.order_id, payment_id=event.payment_id, wanted="nothing", absent=absent
    )


def repay_of(event: ReturnReceived) -> Repay | None:
    """What a return is worth."""
    if event.refund_minor == 0:
        return None
    return Repay(
        order_id=event.order_id,
        payment_id=event.payment_id,
        refund_id=event.refund_id,
        amount_minor=event.refund_minor,
        reason=event.return_id,
    )


def credit_of(event: CreditNoteIssued) -> Credit | None:
    """What is owed by a credit note; one for a refund tells of money that went back already."""
    if event.credit_note_id is None:
        return None
    return Credit(
        credit_note_id=event.credit_note_id,
        number=event.number,
        amount_minor=event.total_minor,
        currency=event.currency,
    )
