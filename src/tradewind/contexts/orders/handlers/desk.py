"""News about orders, cancelling, deadlines: the desk is opened, decided at, closed."""

import copy
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from tradewind.contexts.fraud.events import PaymentBlocked, PaymentCleared, PaymentHeld
from tradewind.contexts.inventory.events import StockRefused, StockReleased
from tradewind.contexts.orders import rules
from tradewind.contexts.orders.commands import CancelOrder
from tradewind.contexts.orders.rules import Desk, ReviewDue
from tradewind.contexts.orders.tables import (
    BASKET_COLUMNS,
    ORDER_COLUMNS,
    OrderWithLines,
)
from tradewind.contexts.payments.events import (
    CaptureRefused,
    PaymentCaptured,
    PaymentDeclined,
    PaymentFailed,
    PaymentRefunded,
    PaymentVoided,
)
from tradewind.kernel.answers import Pending
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Decision, Reconciled
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction

SWEPT_AT_ONCE_MAX = 500
ORDER = "orders.order"  # what `OrderWithLines` are remembered as

# Served by the primary keys of both.
ORDERS = f"""
    SELECT {ORDER_COLUMNS}, {BASKET_COLUMNS}
      FROM orders.orders o JOIN orders.baskets b USING (order_id)
     WHERE o.order_id = ANY($1::text[])
"""
# HOT: no indexed column changes.
UPDATE_ORDERS = """
    UPDATE orders.orders o
       SET version = u.version, status = u.status, payment_status = u.payment_status,
           stock_released = u.stock_released, review_before = u.review_before,
           decided_at = u.decided_at, rejection_code = u.rejection_code
      FROM unnest($1::text[], $2::int[], $3::int[], $4::text[], $5::text[], $6::bool[],
                  $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[], $11::bool[])
        AS u (order_id, version_before, version, status, payment_status, stock_released,
              review_before, decided_at, rejection_code, payment_status_before,
              stock_released_before)
     WHERE o.order_id = u.order_id AND o.version = u.version_before
       AND o.payment_status = u.payment_status_before
       AND o.stock_released = u.stock_released_before
"""


async def open_desk(tx: Transaction, order_ids: Sequence[str], *, recall: bool = False) -> Desk:
    """The desk with these orders and their lines on it; `recall`: those that are known as known."""
    known = tx.recall(ORDER, order_ids) if recall else {}
    rows = [copy.copy(row) for row in known.values()]
    unknown = [order_id for order_id in order_ids if order_id not in known]
    if unknown:
        rows += await tx.fetch(ORDERS, unknown, into=OrderWithLines)
    within = timedelta(seconds=tx.settings.review_within_s)
    return Desk(rows, {row.order_id: row.lines() for row in rows}, now=tx.now, review_within=within)


def close_desk(
    tx: Transaction,
    desk: Desk,
    *,
    outcomes: Sequence[Any] = (),
    causes: Mapping[str, str] | None = None,
) -> Decision:
    """Queue what the desk changed; `causes` by order, where no event led to it."""
    ruling = desk.ruling
    if ruling.changed:
        rows = list(ruling.changed.values())
        tx.write(
            UPDATE_ORDERS,
            [row.order_id for row in rows],
            [ruling.read[row.order_id].version for row in rows],
            [row.version for row in rows],
            [row.status for row in rows],
            [row.payment_status for row in rows],
            [row.stock_released for row in rows],
            [row.review_before for row in rows],
            [row.decided_at for row in rows],
            [row.rejection_code for row in rows],
            [ruling.read[row.order_id].payment_status for row in rows],
            [ruling.read[row.order_id].stock_released for row in rows],
            expect=len(rows),
        )
        tx.vouch(ORDER, ruling.changed)
        # One that is paid, or ended, is usually not looked at again.
        tx.remember(ORDER, {r.order_id: None if rules.is_at_rest(r) else r for r in rows})
    return Decision(
        events=ruling.events,
        answers=ruling.answers,
        timers=list(ruling.timers.values()),
        outcomes=outcomes,
        causes=causes or {},
    )


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
    | ReviewDue
)


async def decide_orders(tx: Transaction, news: Sequence[News]) -> Decision:
    """Fold what inventory, payments and fraud report into the orders. A repeat changes nothing."""
    desk = await open_desk(tx, list(dict.fromkeys(item.order_id for item in news)), recall=True)
    for item in news:
        fold(desk, item)
    return close_desk(tx, desk)


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
            desk.note_payment(order_id, "captured")
        case CaptureRefused():
            desk.cancel(order_id, "capture_failed", f"The capture was refused: {item.reason}.")
        case PaymentVoided():
            desk.note_payment(order_id, "voided")
        case PaymentRefunded():
            full = item.refunded_minor >= item.captured_minor
            desk.note_payment(order_id, "refunded" if full else "partially_refunded")
        case ReviewDue():
            desk.expire_review(order_id)


async def cancel_orders(tx: Transaction, commands: Sequence[CancelOrder]) -> Decision:
    """Call orders off. The answer follows when stock and money are given back."""
    desk = await open_desk(tx, list(dict.fromkeys(c.order_id for c in commands)))
    outcomes: list[Pending | Problem] = []
    for command in commands:
        refused = rules.cancel(desk, command)
        outcomes.append(refused or Pending(rules.cancellation(command.order_id)))
    causes = {command.order_id: f"request of {command.by}" for command in commands}
    return close_desk(tx, desk, outcomes=outcomes, causes=causes)


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
