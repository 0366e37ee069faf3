"""What orders decides. Pure: state and messages in, changes, events and answers out.

Invariants: an order has one clock and is decided once (`placed` is left once); a rejected,
cancelled or fulfilled order is never revived; prices come from the offers, never from the client,
except where history is imported; the total is the sum of rounded lines and fees.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from msgspec import Struct

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import CancelOrder, PlaceOrder
from tradewind.contexts.orders.events import (
    OrderCancelled,
    OrderConfirmed,
    OrderEvent,
    OrderHeld,
    OrderLine,
    OrderPlaced,
    OrderRejected,
)
from tradewind.contexts.orders.tables import LineRow, OfferRow, OrderRow, view
from tradewind.kernel.answers import Answer
from tradewind.kernel.messages import Event, TimerDropped, TimerSet
from tradewind.kernel.money import AMOUNT_MINOR_MAX, format_minor, line_total_minor
from tradewind.kernel.problems import FieldError, Problem
from tradewind.kernel.terms import PaymentTerms

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
REVIEW_TIMER = "review"


class ReviewDue(OrderEvent, frozen=True, kw_only=True):
    """The time for a person to look at a held order is over. Internal: set as a timer."""

    type: ClassVar[str] = "orders.review_due.v1"


# -- placing


class Offers:
    """What is for sale, by sku without letter case and currency."""

    def __init__(self, rows: Iterable[OfferRow]) -> None:
        self._by_key = {(row.sku_key, row.currency): row for row in rows}
        self._skus = {sku for sku, _ in self._by_key}

    def find(self, sku: str, currency: str) -> OfferRow | None:
        """The offer, or None."""
        return self._by_key.get((sku.upper(), currency))

    def sells(self, sku: str) -> bool:
        """Whether the sku is sold in any currency."""
        return sku.upper() in self._skus


def place(
    command: PlaceOrder, offers: Offers, *, external_taken: bool, now: datetime
) -> OrderPlaced | Problem:
    """Accept a basket at the prices of this moment, or say what is wrong with it."""
    if external_taken:
        return problems.ExternalIdTaken(
            f"You have placed an order with external_id {command.external_id!r} before.",
            external_id=command.external_id,
        )
    lines: list[OrderLine] = []
    errors: list[FieldError] = []
    for index, wanted in enumerate(command.lines):
        offer = offers.find(wanted.sku, command.currency)
        if offer is None:
            elsewhere = offers.sells(wanted.sku)
            message = f"is not sold in {command.currency}" if elsewhere else "is not sold here"
            errors.append(FieldError(f"/lines/{index}/sku", f"{wanted.sku!r} {message}"))
            continue
        price = offer.unit_price_e4 if wanted.unit_price_e4 is None else wanted.unit_price_e4
        lines.append(
            OrderLine(
                sku=offer.sku,
                quantity=wanted.quantity,
                unit_price_e4=price,
                total_minor=line_total_minor(price, wanted.quantity, command.currency),
                title=offer.title,
            )
        )
    if errors:
        return problems.UnknownSku("Remove or replace these lines.", errors=tuple(errors))
    subtotal = sum(line.total_minor for line in lines)
    fees = sum(fee.amount_minor for fee in command.fees)
    total = subtotal + fees
    refused = refuse_total(command, total)
    if refused is not None:
        return refused
    placed_at = command.placed_at or now
    return OrderPlaced(
        sequence=1,
        order_id=command.order_id,
        lines=tuple(lines),
        currency=command.currency,
        subtotal_minor=subtotal,
        shipping_minor=0,
        tax_minor=0,
        discount_minor=0,
        fees_minor=fees,
        total_minor=total,
        channel=command.channel,
        payment=PaymentTerms(
            order_id=command.order_id,
            payment_id=command.payment_id,
            amount_minor=total,
            currency=command.currency,
            token=command.payment_token,
            customer=command.customer,
            contact=command.contact,
            guest=command.guest,
            imported=command.imported,
            shipping_country=command.shipping_country,
            billing_country=command.billing_country,
            placed_at=placed_at,
        ),
        placed_at=placed_at,
    )


def refuse_total(command: PlaceOrder, total_minor: int) -> Problem | None:
    """Why an order may not cost this much, if so."""
    if total_minor <= 0:
        return problems.InvalidOrder(
            "The order costs nothing; there is nothing to pay.",
            errors=(FieldError("/lines", "the total must be more than zero"),),
        )
    if total_minor > AMOUNT_MINOR_MAX:
        return problems.InvalidOrder(
            "The order is larger than any we can take.",
            errors=(FieldError("/lines", "the total is too large"),),
        )
    expected = command.expected_total_minor
    if expected is not None and expected != total_minor:
        return problems.PriceChanged(
            "Show the new total, and place the order again with it and a new Idempotency-Key.",
            expected_total=amount(expected, command.currency),
            total=amount(total_minor, command.currency),
        )
    return None


def amount(amount_minor: int, currency: str) -> dict[str, str]:
    """Money as a member of a problem."""
    return {"amount": format_minor(amount_minor, currency), "currency": currency}


# -- deciding


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

    def note_payment(self, order_id: str, status: str) -> None:
        """Keep the copy of what became of the money."""
        row = self.rows.get(order_id)
        if row is None or MONEY_RANK[status] <= MONEY_RANK[row.payment_status]:
            return
        self.touch(row)
        row.payment_status = status
        self.answer_cancelled(row)

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
    return row.status in ("rejected", "cancelled") and is_settled(row)


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
