"""Deciding: news about orders, folded one by one over copies of their rows."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from msgspec import Struct

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import CancelOrder
from tradewind.contexts.orders.events import (
    OrderCancelled,
    OrderConfirmed,
    OrderEvent,
    OrderHeld,
    OrderRejected,
)
from tradewind.contexts.orders.tables import LineRow, OrderRow, view
from tradewind.kernel.answers import Answer
from tradewind.kernel.messages import Event, TimerDropped, TimerSet
from tradewind.kernel.problems import Problem

ALIVE = frozenset({"placed", "held", "confirmed"})
# Of the payment of a dead order: nothing is held or kept any more.
MONEY_SETTLED = frozenset({"voided", "refunded", "declined", "failed"})
# The copy of a payment's status only moves forward: news that is heard again changes nothing.
MONEY_RANK = {
    "pending": 0,
    "authorised": 1,
    "captured": 2,
    "partially_refunded": 3,
    "failed": 4,  # what the provider held all the same may yet be voided
    "declined": 5,
    "voided": 5,
    "refunded": 5,
}
GONE_OUT = frozenset({"fulfilled", "partly_returned", "returned"})
REVIEW_TIMER = "review"


class ReviewDue(OrderEvent, frozen=True, kw_only=True):
    """The time for a person to look at a held order is over. Internal: set as a timer."""

    type: ClassVar[str] = "orders.review_due.v1"


class Paid(Struct, frozen=True):
    """The money of an order was taken."""

    order_id: str
    amount_minor: int


class Repaid(Struct, frozen=True):
    """Money of an order went back; `refunded_minor` is all that did so far."""

    order_id: str
    refund_id: str
    amount_minor: int
    refunded_minor: int
    reason: str | None = None  # of who asked for it


class NotRepaid(Struct, frozen=True):
    """The provider will not give this money back."""

    order_id: str
    refund_id: str
    reason: str


class Ruling(Struct):
    """What a batch of news does to the orders it concerns."""

    changed: dict[str, OrderRow]  # rows as they are now to be
    read: dict[str, OrderRow]  # and as they were read
    events: list[Event]
    answers: dict[str, Answer | Problem]
    timers: dict[str, TimerSet | TimerDropped]


class Desk:
    """Decides news about orders one by one, in the order of the log, on copies of their rows."""

    def __init__(
        self,
        rows: Iterable[OrderRow],
        lines: Mapping[str, Sequence[LineRow]],
        *,
        now: datetime,
        review_within: timedelta,
    ) -> None:
        self.rows = {row.order_id: row for row in rows}
        self.lines = lines
        self.now = now
        self.review_within = review_within
        self.ruling = Ruling(changed={}, read={}, events=[], answers={}, timers={})
        self.paid: list[Paid] = []  # the first time each is heard of
        self.repaid: list[Repaid] = []
        self.not_repaid: list[NotRepaid] = []

    def touch(self, row: OrderRow) -> None:
        """Remember that a row changes, and what it was before."""
        if row.order_id not in self.ruling.changed:
            self.ruling.read[row.order_id] = copy.copy(row)
            self.ruling.changed[row.order_id] = row

    def announce(self, row: OrderRow, event: type[OrderEvent], **fields: Any) -> None:
        """Move the order to its next version and tell."""
        row.version += 1
        self.ruling.events.append(event(order_id=row.order_id, sequence=row.version, **fields))

    def confirm(self, order_id: str) -> None:
        """Stock and money are secured and nothing speaks against it."""
        row = self.rows.get(order_id)
        if row is None or row.status not in ("placed", "held"):
            return
        self.touch(row)
        was_held = row.status == "held"
        row.status, row.payment_status = "confirmed", "authorised"
        row.decided_at = row.decided_at or self.now
        self.announce(
            row,
            OrderConfirmed,
            payment_id=row.payment_id,
            total_minor=row.total_minor,
            currency=row.currency,
            customer=row.customer,
            contact=None if row.imported else row.contact,
            confirmed_at=self.now,
        )
        if was_held:
            self.ruling.timers[order_id] = TimerDropped(name=REVIEW_TIMER, key=order_id)
        else:
            self.answer_placed(row)

    def hold(self, order_id: str, reasons: tuple[str, ...]) -> None:
        """A person has to look."""
        row = self.rows.get(order_id)
        if row is None or row.status != "placed":
            return
        self.touch(row)
        row.status, row.payment_status = "held", "authorised"
        row.decided_at = self.now
        row.review_before = self.now + self.review_within
        self.announce(row, OrderHeld, reasons=reasons, review_before=row.review_before)
        self.ruling.timers[order_id] = TimerSet(
            name=REVIEW_TIMER,
            key=order_id,
            due_at=row.review_before,
            event=ReviewDue(order_id=order_id, sequence=row.version),
        )
        self.answer_placed(row)

    def reject(
        self, order_id: str, code: str, *, payment_status: str | None = None, **members: Any
    ) -> None:
        """The order will not be."""
        row = self.rows.get(order_id)
        if row is None or row.status not in ("placed", "held"):
            return
        self.touch(row)
        was_held = row.status == "held"
        row.status, row.rejection_code = "rejected", code
        row.decided_at = row.decided_at or self.now
        if payment_status is not None:
            row.payment_status = payment_status
        self.announce(
            row, OrderRejected, code=code, payment_id=row.payment_id, skus=self.skus(order_id)
        )
        if was_held:
            self.ruling.timers[order_id] = TimerDropped(name=REVIEW_TIMER, key=order_id)
        else:
            self.ruling.answers[order_id] = problems.REFUSALS[code](order_id=order_id, **members)

    def cancel(self, order_id: str, code: str, reason: str) -> bool:
        """Call the order off; False if it is past that."""
        row = self.rows.get(order_id)
        if row is None or row.status not in ALIVE:
            return False
        self.touch(row)
        before, row.status = row.status, "cancelled"
        row.decided_at = row.decided_at or self.now
        self.announce(
            row,
            OrderCancelled,
            code=code,
            reason=reason,
            payment_id=row.payment_id,
            customer=row.customer,
            contact=None if row.imported else row.contact,
            total_minor=row.total_minor,
            currency=row.currency,
            skus=self.skus(order_id),
        )
        if before == "held":
            self.ruling.timers[order_id] = TimerDropped(name=REVIEW_TIMER, key=order_id)
        if before == "placed":
            self.ruling.answers[order_id] = problems.OrderWasCancelled(order_id=order_id)
        return True

    def expire_review(self, order_id: str) -> None:
        """Nobody looked in time."""
        row = self.rows.get(order_id)
        if row is not None and row.review_before is not None and self.now >= row.review_before:
            self.reject(order_id, "review_expired")

    def expire_decision(self, order_id: str) -> None:
        """The order was lost on its way to a decision."""
        row = self.rows.get(order_id)
        if row is not None and row.status == "placed" and self.now >= row.decide_before:
            self.reject(order_id, "decide_expired")

    def note_payment(self, order_id: str, status: str) -> bool:
        """Keep the copy of what became of the money; whether that is news."""
        row = self.rows.get(order_id)
        if row is None or MONEY_RANK[status] <= MONEY_RANK[row.payment_status]:
            return False
        self.touch(row)
        row.payment_status = status
        self.answer_cancelled(row)
        return True

    def note_released(self, order_id: str) -> None:
        """The stock is free again."""
        row = self.rows.get(order_id)
        if row is None or row.stock_released:
            return
        self.touch(row)
        row.stock_released = True
        self.answer_cancelled(row)

    def answer_placed(self, row: OrderRow) -> None:
        """Fix what the request that placed this order is told."""
        self.ruling.answers[row.order_id] = Answer(
            status=201,
            body=view(row, self.lines.get(row.order_id, ())),
            headers={"location": f"/v1/orders/{row.order_id}"},
        )

    def answer_cancelled(self, row: OrderRow) -> None:
        """Fix what the request that cancelled this order is told, once all is given back."""
        if row.status == "cancelled" and is_settled(row):
            self.ruling.answers[cancellation(row.order_id)] = Answer(
                status=200, body=view(row, self.lines.get(row.order_id, ()))
            )

    def skus(self, order_id: str) -> tuple[str, ...]:
        """The skus of an order, in capitals, each once."""
        return tuple(sorted({line.sku.upper() for line in self.lines.get(order_id, ())}))


def is_settled(row: OrderRow) -> bool:
    """Whether a dead order holds neither stock nor money."""
    return row.stock_released and row.payment_status in MONEY_SETTLED


def is_at_rest(row: OrderRow) -> bool:
    """Whether nothing more is expected of an order but that somebody calls it off."""
    if row.status == "confirmed":
        return row.payment_status == "captured"
    if row.status in ("rejected", "cancelled"):
        return is_settled(row)
    return row.status in GONE_OUT


def cancellation(order_id: str) -> str:
    """The resource under which the answer to a cancellation is kept."""
    return f"{order_id}.cancel"


def cancel(desk: Desk, command: CancelOrder) -> Problem | None:
    """Decide a cancellation; its answer follows when stock and money are given back."""
    row = desk.rows.get(command.order_id)
    if row is None:
        return problems.OrderNotFound()
    if desk.cancel(command.order_id, "cancelled", command.reason):
        return None
    return problems.OrderNotCancellable(
        f"The order is {row.status}.", order_id=row.order_id, order_status=row.status
    )
