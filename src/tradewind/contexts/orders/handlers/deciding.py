"""News about orders, cancelling, deadlines: each a unit of work at the desk."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from tradewind.contexts.fraud.events import PaymentBlocked, PaymentCleared, PaymentHeld
from tradewind.contexts.inventory.events import StockRefused, StockReleased
from tradewind.contexts.orders import rules
from tradewind.contexts.orders.commands import CancelOrder
from tradewind.contexts.orders.handlers.desk import Steps, close_desk, open_desk
from tradewind.contexts.orders.handlers.money import follow_money
from tradewind.contexts.orders.rules import Desk, ReviewDue
from tradewind.contexts.payments.events import (
    CaptureRefused,
    PaymentCaptured,
    PaymentDeclined,
    PaymentFailed,
    PaymentRefunded,
    PaymentVoided,
    RefundRefused,
)
from tradewind.kernel.answers import Pending
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Decision, Event, Reconciled
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction

SWEPT_AT_ONCE_MAX = 500

News = (
    StockRefused
    | StockReleased
    | PaymentDeclined
    | PaymentFailed
    | PaymentCleared
    | PaymentHeld
    | PaymentBlocked
    | PaymentCaptured
    | CaptureRefused
    | PaymentVoided
    | PaymentRefunded
    | RefundRefused
    | ReviewDue
)


async def decide_orders(tx: Transaction, news: Sequence[News]) -> Decision:
    """Fold what inventory, payments and fraud report into the orders. A repeat changes nothing."""
    desk = await open_desk(tx, list(dict.fromkeys(item.order_id for item in news)), recall=True)
    for item in news:
        fold(desk, item)
    issued: Sequence[Event] = ()
    if desk.paid or desk.repaid or desk.not_repaid:
        issued = await follow_money(tx, desk)
    return close_desk(tx, desk, issued=issued)


def fold(desk: Desk, item: News) -> None:
    """One piece of news."""
    order_id = item.order_id
    match item:
        case StockRefused():
            written = {line.sku.upper(): line.sku for line in desk.lines.get(order_id, ())}
            short = [
                {"sku": written.get(s.sku, s.sku), "wanted": s.wanted, "available": s.available}
                for s in item.short
            ]
            desk.reject(order_id, "stock_is_short", payment_status="voided", short=short)
            desk.note_released(order_id)  # nothing was taken, so nothing has to come back
        case StockReleased():
            desk.note_released(order_id)
        case PaymentDeclined():
            desk.reject(order_id, "payment_declined", payment_status="declined", reason=item.reason)
            desk.note_payment(order_id, "declined")
        case PaymentFailed():
            code = "payment_timeout" if item.reason == "timeout" else "payment_failed"
            desk.reject(order_id, code, payment_status="failed")
            desk.note_payment(order_id, "failed")
        case PaymentCleared():
            desk.confirm(order_id)
        case PaymentHeld():
            desk.hold(order_id, item.reasons)
        case PaymentBlocked():
            desk.reject(order_id, "fraud_blocked")
        case PaymentCaptured():
            if desk.note_payment(order_id, "captured"):
                desk.paid.append(rules.Paid(order_id, item.amount_minor))
        case CaptureRefused():
            desk.cancel(order_id, "capture_failed", f"The capture was refused: {item.reason}.")
        case PaymentVoided():
            desk.note_payment(order_id, "voided")
        case PaymentRefunded():
            full = item.refunded_minor >= item.captured_minor
            desk.note_payment(order_id, "refunded" if full else "partially_refunded")
            desk.repaid.append(
                rules.Repaid(
                    order_id, item.refund_id, item.amount_minor, item.refunded_minor, item.reason
                )
            )
        case RefundRefused():
            desk.not_repaid.append(rules.NotRepaid(order_id, item.refund_id, item.reason))
        case ReviewDue():
            desk.expire_review(order_id)


async def cancel_orders(tx: Transaction, commands: Sequence[CancelOrder]) -> Decision:
    """Call orders off. The answer follows when stock and money are given back."""
    desk = await open_desk(tx, list(dict.fromkeys(c.order_id for c in commands)))
    outcomes: list[Pending | Problem] = []
    steps = Steps(desk)
    for index, command in enumerate(commands):
        before = steps.standing(command.order_id)
        refused = rules.cancel(desk, command)
        outcomes.append(refused or Pending(rules.cancellation(command.order_id)))
        steps.took(index, command.order_id, command.order_id, before)
    causes = {command.order_id: f"request of {command.by}" for command in commands}
    return close_desk(tx, desk, outcomes=outcomes, causes=causes, changes=steps.changes)


# Served by the primary key: ids are in the order of time, so each order is looked at once.
OVERDUE = """
    SELECT order_id FROM orders.orders
     WHERE order_id > (SELECT order_id FROM orders.swept WHERE name = 'decide') AND order_id < $1
     ORDER BY order_id LIMIT $2
"""
SWEPT = "UPDATE orders.swept SET order_id = $1 WHERE name = 'decide' AND order_id < $1"


async def expire_orders(tx: Transaction) -> Decision:
    """Reject what was placed, got lost on its way and is past its deadline."""
    bound = id_bound(tx)
    order_ids = await tx.fetch_values(OVERDUE, bound, SWEPT_AT_ONCE_MAX)
    if not order_ids:
        return Decision()
    desk = await open_desk(tx, order_ids)
    for order_id in order_ids:
        desk.expire_decision(order_id)
    tx.write(SWEPT, order_ids[-1])
    decision = close_desk(tx, desk, causes=dict.fromkeys(order_ids, "deadline decide_before"))
    overdue = [
        Reconciled(case="overdue_order", id=order_id, order_id=order_id)
        for order_id in desk.ruling.changed
    ]
    return msgspec.structs.replace(decision, reconciled=overdue)


def id_bound(tx: Transaction) -> str:
    """An id that every order past its deadline sorts before."""
    before = tx.now - timedelta(seconds=tx.settings.decide_within_s + 1)
    return new_id("ord", at=before)
