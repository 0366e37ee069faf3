"""What can happen next: a message is handled, the provider answers or does not, time or people act.

A step is told as a sentence; the sentences from the first state to a broken promise are the trace.
A step that costs is a fault: something that a healthy day does not bring. A step that is `due`
happens sooner or later by itself; where none is left, the life is at rest.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import NamedTuple

from tradewind.checks.life.bank import decisions
from tradewind.checks.life.model import (
    A_DAY_LATER,
    LATE,
    LATEST_CLAIM,
    NOW,
    Call,
    Life,
    changed,
    settled_down,
)
from tradewind.checks.life.units import Units
from tradewind.contexts.orders.rules import ALIVE, ReviewDue
from tradewind.contexts.orders.tables import OrderRow
from tradewind.contexts.payments.commands import Outcome, ProviderOutcome

# Calls of one operation on their way at once: the latest, and one that was thought to be dead.
CALLS_MAX = 2
MOMENTS = ((NOW, ""), (LATE, ", late"))


class Step(NamedTuple):
    """One thing that can happen, told in words, and how the life after it is made."""

    words: str
    make: Callable[[], Life]
    cost: int = 0
    due: bool = True


def steps_of(units: Units, life: Life) -> Iterator[Step]:
    """All that can happen to one order without a look at the shelf."""
    yield from messages(units, life)
    yield from deadlines(units, life)
    yield from people(units, life)
    yield from sweeps(units, life)
    for call in sorted(life.calls):
        yield from answers(units, life, call)
        yield from silence(units, life, call)
    for call in sorted(life.loose):
        gone = changed(life, loose=life.loose - {call})
        for decision, after in decisions(gone, call):
            words = f"a lost request to {call.operation} arrives: {decision}"
            yield Step(words, partial(settled_down, after), due=False)


def messages(units: Units, life: Life) -> Iterator[Step]:
    """Consumers other than inventory hear their next event, or all that they have yet to hear."""
    for place, (consumer, _) in enumerate(units.streams):
        inbox = life.inboxes[place]
        if consumer == "inventory" or not inbox:
            continue
        for count in {1, len(inbox)}:
            taken, events = units.take(life, place, count)
            words = f"{consumer} hears {names(events)}"
            yield Step(words, partial(units.hear, taken, consumer, events))


def deadlines(units: Units, life: Life) -> Iterator[Step]:
    """The clocks of the order."""
    if life.order.status == "placed":
        yield Step("the deadline to decide is over", partial(units.expire, life))
    if life.review_timer:
        due = ReviewDue(order_id=life.order.order_id, sequence=life.order.version)
        rung = changed(life, review_timer=False)
        yield Step("the time to look at it is over", partial(units.announce, rung, "orders", [due]))


def people(units: Units, life: Life) -> Iterator[Step]:
    """The customer calls off or wants money back; a reviewer decides."""
    if life.read is not None:
        # As the guard in `UPDATE_ORDERS` of orders compares; else the unit decides again.
        fresh = is_fresh(life.read, life.order)
        words = "the cancellation is written" if fresh else "the cancellation is decided again"
        read = life.read if fresh else life.order
        yield Step(words, partial(units.cancel, changed(life, read=None), read))
    elif life.order.status in ALIVE:
        yield Step("it is cancelled", partial(units.cancel, life, life.order), due=False)
        reading = partial(changed, life, read=life.order)
        yield Step("a cancellation reads it", reading, cost=1, due=False)
    if life.review is not None and life.review.status == "held" and not overdue(life):
        for verdict in ("released", "refused"):
            decided = partial(units.review, life, verdict)
            yield Step(f"the reviewer says: {verdict}", decided, due=False)
    payment = life.payment
    if payment is not None and payment.captured_minor and life.told.refunds_asked == 0:
        for amount_minor in (payment.amount_minor, payment.amount_minor // 2):
            asked = partial(units.refund, life, amount_minor)
            yield Step(f"{amount_minor} is asked back", asked, due=False)


def is_fresh(read: OrderRow, row: OrderRow) -> bool:
    """Whether an order still is as it was read: what its table compares before it writes."""
    before = (read.version, read.payment_status, read.stock_released)
    return before == (row.version, row.payment_status, row.stock_released)


def overdue(life: Life) -> bool:
    """Whether the time for a review has run out: it was set, and is not any more."""
    return life.order.review_before is not None and not life.review_timer


def sweeps(units: Units, life: Life) -> Iterator[Step]:
    """The sweep finds an operation whose wait is over, or whose process is gone or stuck."""
    operation = life.operation
    if operation is None:
        return
    taken_up = partial(units.take_up, life)
    if not (operation.claimed and any(call.latest for call in life.calls)):
        yield Step(f"the sweep takes up to {operation.operation}", taken_up)
    elif len(life.calls) < CALLS_MAX:
        words = f"a process is stuck, another takes up to {operation.operation}"
        yield Step(words, taken_up, cost=1, due=False)


def answers(units: Units, life: Life, call: Call) -> Iterator[Step]:
    """The provider says what it did, or that it knows of nothing."""
    gone = changed(life, calls=life.calls - {call})
    if not call.look_up:
        for decision, after in decisions(gone, call):
            words = f"the provider is asked to {call.operation}: {decision}"
            yield Step(words, partial(units.record, after, verdict_on(life, call, decision), NOW))
        return
    known = dict(life.decided).get(call.key)
    if known is not None:
        words = f"the look-up of {call.operation} finds: {known}"
        yield Step(words, partial(units.record, gone, verdict_on(life, call, known), NOW))
        return
    for now, when in moments(gone):
        outcome = outcome_of(life, call, "not_found")
        words = f"the look-up of {call.operation} finds nothing{when}"
        yield Step(words, partial(units.record, gone, outcome, now))


def moments(life: Life) -> Iterator[tuple[datetime, str]]:
    """When an answer without a decision may come in; after a day only if nothing is on its way."""
    yield from MOMENTS
    payment = life.payment
    if payment is not None and payment.status == "failed" and not life.calls | life.loose:
        yield A_DAY_LATER, ", for a day"


def silence(units: Units, life: Life, call: Call) -> Iterator[Step]:
    """Nothing comes back, and nobody knows how far it got: the request may yet arrive, or never."""
    gone = loose = changed(life, calls=life.calls - {call})
    what = f"the look-up of {call.operation}" if call.look_up else f"the {call.operation}"
    fates: list[tuple[Outcome, str, Life]] = [
        ("unreached", f"the provider cannot be reached for {what}", gone)
    ]
    if not call.look_up:
        request = Call(call.key, call.operation, call.amount_minor, latest=False)
        loose = changed(gone, loose=gone.loose | {request})
        fates.append(("failed", f"the provider fails over {what}", gone))
    fates.append(("no_answer", f"nothing comes back of {what}", loose))
    yield Step(f"the process dies over {what}", partial(settled_down, loose), 1, False)
    for outcome, words, after in fates:
        for now, when in MOMENTS:
            come = outcome_of(life, call, outcome)
            yield Step(words + when, partial(units.record, after, come, now), 1, False)


def verdict_on(life: Life, call: Call, decision: str) -> ProviderOutcome:
    """A decision of the provider as it is handed in."""
    if decision == "succeeded":
        return outcome_of(life, call, "succeeded")
    return outcome_of(life, call, "refused", decision)


def outcome_of(life: Life, call: Call, outcome: Outcome, reason: str = "") -> ProviderOutcome:
    """What came of a call."""
    return ProviderOutcome(
        payment_id=life.order.payment_id,
        key=call.key,
        claim=LATEST_CLAIM if call.latest else LATEST_CLAIM - 1,
        outcome=outcome,
        reason=reason,
    )


def names(events: tuple[object, ...]) -> str:
    """Events as they are called."""
    return ", ".join(type(event).__name__ for event in events)
