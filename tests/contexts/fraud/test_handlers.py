"""Fraud's units of work on real PostgreSQL."""

from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import pytest

from tradewind.contexts.fraud import handlers, queries
from tradewind.contexts.fraud.commands import DecideReview
from tradewind.contexts.fraud.events import PaymentBlocked, PaymentCleared, PaymentHeld
from tradewind.contexts.fraud.problems import ReviewClosed, UnknownReview
from tradewind.contexts.fraud.tables import ReviewRow
from tradewind.contexts.orders.events import OrderRejected
from tradewind.contexts.payments.events import PaymentAuthorised
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Event
from tradewind.kernel.terms import PaymentTerms
from tradewind.testing.database import UnitRunner

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def authorised(**changes: object) -> PaymentAuthorised:
    terms = PaymentTerms(
        order_id=new_id("ord"),
        payment_id=new_id("pay"),
        amount_minor=10_00,
        currency="GBP",
        token="tok_ok",
        customer=new_id("prs"),
        contact=new_id("ctc"),
        guest=True,
        imported=False,
        shipping_country="GB",
        billing_country=None,
        placed_at=NOW,
    )
    terms = msgspec.structs.replace(terms, **changes)
    return PaymentAuthorised(
        sequence=1, order_id=terms.order_id, payment_id=terms.payment_id, terms=terms
    )


def suspicious() -> PaymentAuthorised:
    return authorised(token="tok_suspicious")


def rejected(order_id: str) -> OrderRejected:
    return OrderRejected(
        sequence=3,
        order_id=order_id,
        code="review_expired",
        payment_id=new_id("pay"),
        skus=("MUG",),
    )


async def score(unit: UnitRunner, *events: Event) -> list[Event]:
    decision = await unit.run("fraud", handlers.score_payments, events)
    return list(decision.events)


def verdict(order_id: str, verdict: str) -> DecideReview:
    return msgspec.convert(
        {
            "order_id": order_id,
            "verdict": verdict,
            "reason": "I called them.",
            "reviewer": "key_1",
        },
        DecideReview,
    )


async def decide(unit: UnitRunner, *commands: DecideReview) -> tuple[list[object], list[Event]]:
    decision = await unit.run("fraud", handlers.decide_reviews, commands, keyed=True)
    return list(decision.outcomes), list(decision.events)


async def read(unit: UnitRunner, order_id: str) -> ReviewRow | None:
    async with unit.reading("fraud") as snapshot:
        return await queries.review(snapshot, order_id)


async def test_a_harmless_payment_leaves_a_score_and_no_review(unit: UnitRunner) -> None:
    event = authorised()
    assert await score(unit, event) == [
        PaymentCleared(
            sequence=1, order_id=event.order_id, payment_id=event.payment_id, score=0, reasons=()
        )
    ]
    assert await read(unit, event.order_id) is None
    assert await score(unit, event) == []


async def test_a_payment_that_comes_after_the_end_of_its_order_waits_for_nobody(
    unit: UnitRunner,
) -> None:
    """Cancelled while its authorisation was under way: fraud hears of the end first."""
    event = suspicious()
    ended = msgspec.structs.replace(rejected(event.order_id), code="decide_expired")
    for _ in range(2):
        assert await score(unit, ended) == []
    await score(unit, event)
    row = await read(unit, event.order_id)
    assert row is not None and row.status == "closed"


async def test_a_held_order_is_released_once(unit: UnitRunner) -> None:
    event = suspicious()
    held, _ = await score(unit, event, authorised())
    assert isinstance(held, PaymentHeld)
    outcomes, events = await decide(unit, verdict(event.order_id, "released"))
    assert isinstance(outcomes[0], Answer) and outcomes[0].body.status == "released"
    assert isinstance(events[0], PaymentCleared) and events[0].sequence == 2
    outcomes, events = await decide(unit, verdict(event.order_id, "refused"))
    assert isinstance(outcomes[0], ReviewClosed) and events == []
    row = await read(unit, event.order_id)
    assert row is not None and (row.status, row.reviewer) == ("released", "key_1")


async def test_a_held_order_is_refused(unit: UnitRunner) -> None:
    one, two = suspicious(), suspicious()
    await score(unit, one, two)
    outcomes, events = await decide(
        unit, verdict(one.order_id, "refused"), verdict(two.order_id, "released")
    )
    assert [type(event) for event in events] == [PaymentBlocked, PaymentCleared]
    assert [isinstance(outcome, Answer) for outcome in outcomes] == [True, True]


async def test_the_end_of_an_order_closes_its_review(unit: UnitRunner) -> None:
    earlier, same = suspicious(), suspicious()
    await score(unit, earlier)
    events = await score(unit, rejected(earlier.order_id), same, rejected(same.order_id))
    assert [type(event) for event in events] == [PaymentHeld]
    for order_id in (earlier.order_id, same.order_id):
        row = await read(unit, order_id)
        assert row is not None and row.status == "closed" and row.ended_at is not None
        outcomes, _ = await decide(unit, verdict(order_id, "released"))
        assert isinstance(outcomes[0], ReviewClosed)
    assert await score(unit, rejected(earlier.order_id), rejected(new_id("ord"))) == []


async def test_a_decision_on_an_unknown_order_is_refused(unit: UnitRunner) -> None:
    outcomes, events = await decide(unit, verdict(new_id("ord"), "released"))
    assert outcomes == [UnknownReview()] and events == []


async def test_orders_of_a_contact_are_counted_over_batches(unit: UnitRunner) -> None:
    """Ten in an hour pass, in whatever batches; the eleventh is held, an hour later none is."""
    contact = new_id("ctc")
    times = [NOW + timedelta(minutes=n) for n in range(10)]
    calm = [authorised(contact=contact, placed_at=at) for at in times]
    assert {type(event) for event in await score(unit, *calm[:4])} == {PaymentCleared}
    assert {type(event) for event in await score(unit, *calm[4:])} == {PaymentCleared}
    (hot,) = await score(unit, authorised(contact=contact, placed_at=NOW + timedelta(minutes=59)))
    assert isinstance(hot, PaymentHeld) and hot.reasons == ("many_orders",)
    (cool,) = await score(unit, authorised(contact=contact, placed_at=NOW + timedelta(hours=2)))
    assert isinstance(cool, PaymentCleared)


async def test_reviews_are_listed_newest_first(unit: UnitRunner) -> None:
    events = [suspicious() for _ in range(3)]
    await score(unit, *events)
    newest = sorted((event.order_id for event in events), reverse=True)
    async with unit.reading("fraud") as snapshot:
        page = await queries.reviews(snapshot, status="held", before="ord_~", count_max=2)
        rest = await queries.reviews(snapshot, status="held", before=page[-1].order_id, count_max=1)
    assert [row.order_id for row in page + rest] == newest


@pytest.mark.parametrize(
    "set_clause",
    ["status = 'released', version = 2", "version = 3", "status = 'closed'"],
)
async def test_the_database_refuses_a_review_that_makes_no_sense(
    unit: UnitRunner, set_clause: str
) -> None:
    event = suspicious()
    await score(unit, event)
    with pytest.raises(asyncpg.CheckViolationError):
        await unit.sql(f"UPDATE fraud.reviews SET {set_clause} WHERE order_id = $1", event.order_id)
