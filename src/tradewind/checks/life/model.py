"""A state: the rows that the contexts keep about one order, and all that is on its way.

A `Life` is never changed; a step makes a new one. Rows inside are copied before a rule gets them.
What only counts or only grows (versions of rows, claims, moments) is brought back to one form by
`settled_down`, so that the number of different lives is finite.
"""

import copy
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from tradewind.contexts.fraud.tables import ReviewRow
from tradewind.contexts.inventory.rules import Reservation
from tradewind.contexts.orders.tables import LineRow, OrderRow
from tradewind.contexts.payments.rules import Policy
from tradewind.contexts.payments.tables import Operation, Payment, Refund
from tradewind.kernel.messages import Event
from tradewind.kernel.terms import PaymentTerms
from tradewind.simulator.behaviour import Authorisation

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DECIDE_WITHIN = timedelta(minutes=15)
REVIEW_WITHIN = timedelta(hours=48)
# After every pause and deadline of an authorisation, before it is given up for good.
LATE = NOW + timedelta(seconds=100)
# After all look-ups for an authorisation that was given up.
A_DAY_LATER = NOW + timedelta(hours=25)
# Two attempts show all that three do: a first, and a last.
POLICY = Policy(attempt_timeout_s=3.0, attempts_max=2, total_timeout_s=8.0)
DEADLINE = NOW + timedelta(seconds=POLICY.total_timeout_s)
TOTAL_MINOR = 1_000
CURRENCY = "GBP"
SKU = "MUG"
# Of the claims of an operation, only "the latest" and "an older one" differ.
LATEST_CLAIM = 9


class Call(Struct, frozen=True, order=True):
    """A call to the provider: under way in a process, or loose in the network without one."""

    key: str
    operation: str
    amount_minor: int
    look_up: bool = False
    latest: bool = True  # whether its claim is the operation's latest


class Told(Struct, frozen=True):
    """What was announced and answered so far; promises are about this as much as about rows."""

    sequences: tuple[tuple[str, int], ...] = ()  # by source: the last one
    reserved: int = 0
    allocated: int = 0
    released: int = 0
    confirmed: bool = False
    placed: str = ""  # what the request that placed the order was answered
    placed_times: int = 0
    cancel_asked: bool = False
    cancelled: str = ""
    refunds_asked: int = 0
    refunds_answered: int = 0


class Life(Struct, frozen=True):
    """One order in every context, what each consumer has yet to hear, and the provider's record."""

    number: int
    order: OrderRow
    inboxes: tuple[tuple[Event, ...], ...]  # one per stream, in the order of `STREAMS`
    read: OrderRow | None = None  # what a cancellation has read, and not written yet
    review_timer: bool = False
    reservation: Reservation | None = None
    payment: Payment | None = None
    operation: Operation | None = None  # what the payment has under way
    refunds: tuple[Refund, ...] = ()  # those that are not done
    ended: bool = False  # before a payment began
    ledger: tuple[tuple[str, int], ...] = ()  # balance by account
    scored: bool = False
    gone: bool = False  # it ended before a verdict
    review: ReviewRow | None = None
    decided: tuple[tuple[str, str], ...] = ()  # the provider's decisions by key
    effects: tuple[str, ...] = ()  # operations that took effect there
    held: Authorisation | None = None
    calls: frozenset[Call] = frozenset()
    loose: frozenset[Call] = frozenset()
    told: Told = Told()
    # Not part of what a life is: the events each consumer has handled on the way here.
    heard: tuple[tuple[Event, ...], ...] = ()


class Shelf(Struct, frozen=True, order=True):
    """The one sku: its row of inventory.stock, its mark, and how often it may yet be counted."""

    on_hand: int
    reserved: int = 0
    short: int = 0
    availability: str = "in_stock"
    counts_left: int = 0


def terms_of(number: int, token: str) -> PaymentTerms:
    """What the customer of order `number` agreed to pay."""
    return PaymentTerms(
        order_id=f"ord_{number}",
        payment_id=f"pay_{number}",
        amount_minor=TOTAL_MINOR,
        currency=CURRENCY,
        token=token,
        customer=f"prs_{number}",
        contact=f"ctc_{number}",
        guest=True,
        imported=False,
        shipping_country="GB",
        billing_country=None,
        placed_at=NOW,
    )


def line_of(number: int) -> LineRow:
    """The one line of an order: one unit of the one sku."""
    return LineRow(f"ord_{number}", 1, SKU, "Mug", 1, TOTAL_MINOR * 100, TOTAL_MINOR)


def order_row(number: int) -> OrderRow:
    """An order as it was just placed."""
    return OrderRow(
        order_id=f"ord_{number}",
        version=1,
        status="placed",
        currency=CURRENCY,
        subtotal_minor=TOTAL_MINOR,
        shipping_minor=0,
        tax_minor=0,
        discount_minor=0,
        fees_minor=0,
        total_minor=TOTAL_MINOR,
        customer=f"prs_{number}",
        contact=f"ctc_{number}",
        payment_id=f"pay_{number}",
        payment_status="pending",
        stock_released=False,
        channel="web",
        imported=False,
        external_id=None,
        fees="[]",
        placed_at=NOW,
        decide_before=NOW + DECIDE_WITHIN,
        review_before=None,
        decided_at=None,
        rejection_code=None,
    )


def changed(life: Life, **fields: Any) -> Life:
    """The life with other fields."""
    return msgspec.structs.replace(life, **fields)


def settled_down(life: Life) -> Life:
    """The same life in its one form; see the docstring of the module."""
    payment, operation = life.payment, life.operation
    if payment is None:
        return life
    fields: dict[str, Any] = {}
    if payment.version != 1:
        fields["payment"] = payment = copy.copy(payment)
        payment.version = 1
    if operation is not None:
        fields["operation"] = settled_operation(operation, payment)
    key = None if operation is None else operation.key
    if any(call.key != key for call in life.calls):
        # Nobody waits for them any more, and they can have no effect either.
        decided = dict(life.decided)
        gone = {c for c in life.calls if c.key != key and (c.look_up or c.key in decided)}
        fields["calls"] = life.calls - gone
    if life.loose:
        decided = dict(life.decided)
        fields["loose"] = frozenset(call for call in life.loose if call.key not in decided)
    return changed(life, **fields) if fields else life


def settled_operation(operation: Operation, payment: Payment) -> Operation:
    """An operation without what only counts or tells the time."""
    operation = copy.copy(operation)
    operation.claim = LATEST_CLAIM
    operation.due_at = operation.requested_at = NOW
    if operation.deadline_at is not None:
        operation.deadline_at = DEADLINE
    if operation.operation != "authorise":
        operation.attempt = 1
    elif payment.status != "pending":
        operation.attempt = POLICY.attempts_max
    return operation


def key_of(life: Life) -> tuple[Any, ...]:
    """What two lives must have in common to be the same."""
    review = life.review
    return (
        life.number,
        order_key(life.order),
        life.inboxes,
        None if life.read is None else order_key(life.read),
        life.review_timer,
        None if life.reservation is None else (life.reservation.status, life.reservation.version),
        None if life.payment is None else msgspec.structs.astuple(life.payment),
        None if life.operation is None else msgspec.structs.astuple(life.operation),
        tuple(msgspec.structs.astuple(refund) for refund in life.refunds),
        life.ended,
        life.ledger,
        life.scored,
        life.gone,
        None if review is None else (review.status, review.version),
        life.decided,
        life.effects,
        None if life.held is None else msgspec.structs.astuple(life.held),
        life.calls,
        life.loose,
        life.told,
    )


def order_key(row: OrderRow) -> tuple[Any, ...]:
    """What changes of an order's row."""
    return (
        row.version,
        row.status,
        row.payment_status,
        row.stock_released,
        row.review_before is not None,
        row.rejection_code,
    )


def add_to(balances: tuple[tuple[str, int], ...], more: Iterable[tuple[str, int]]) -> Any:
    """Balances after postings."""
    sums = dict(balances)
    for account, amount_minor in more:
        sums[account] = sums.get(account, 0) + amount_minor
    return tuple(sorted(sums.items()))
