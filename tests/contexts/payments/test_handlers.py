"""Units of work of payments on real PostgreSQL, and the constraints behind them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from tradewind.contexts.inventory.events import StockReserved
from tradewind.contexts.orders.events import OrderCancelled, OrderConfirmed, OrderRejected
from tradewind.contexts.payments import queries
from tradewind.contexts.payments.commands import (
    Outcome,
    ProviderCall,
    ProviderOutcome,
    RecordOutcomes,
    RefundPayment,
)
from tradewind.contexts.payments.handlers import units as handlers
from tradewind.contexts.payments.problems import RefundExceedsCapture
from tradewind.kernel.answers import Answer, Pending
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Decision
from tradewind.kernel.terms import PaymentTerms
from tradewind.testing.database import UnitRunner

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def reserved(**changes: Any) -> StockReserved:
    """Stock is held for an order of 10.00."""
    terms = PaymentTerms(
        order_id=new_id("ord"),
        payment_id=new_id("pay"),
        amount_minor=1_000,
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
    return StockReserved(sequence=1, order_id=terms.order_id, payment=terms)


def confirmed(event: StockReserved) -> OrderConfirmed:
    return OrderConfirmed(
        sequence=2,
        order_id=event.order_id,
        payment_id=event.payment.payment_id,
        total_minor=event.payment.amount_minor,
        currency="GBP",
        customer="prs_1",
        contact=None,
        confirmed_at=NOW,
    )


def cancelled(event: StockReserved) -> OrderCancelled:
    return OrderCancelled(
        sequence=3,
        order_id=event.order_id,
        code="cancelled",
        reason="changed my mind",
        payment_id=event.payment.payment_id,
        customer="prs_1",
        contact=None,
        total_minor=event.payment.amount_minor,
        currency="GBP",
        skus=("MUG",),
    )


def rejected(event: StockReserved, code: str) -> OrderRejected:
    return OrderRejected(
        sequence=2,
        order_id=event.order_id,
        code=code,
        payment_id=event.payment.payment_id,
        skus=("MUG",),
    )


async def follow(unit: UnitRunner, *events: Any) -> Decision:
    decision: Decision = await unit.run("payments", handlers.follow_orders, events)
    return decision


async def answer(unit: UnitRunner, decision: Decision, outcome: Outcome = "succeeded") -> Decision:
    """The provider says the same to every call of a decision."""
    calls: list[ProviderCall] = list(decision.signals)
    outcomes = tuple(
        ProviderOutcome(payment_id=call.payment_id, key=call.key, claim=call.claim, outcome=outcome)
        for call in calls
    )
    command = RecordOutcomes(outcomes=outcomes)
    result: Decision = await unit.run("payments", handlers.record_outcomes, [command])
    return result


async def captured(unit: UnitRunner, *events: StockReserved) -> None:
    await answer(unit, await follow(unit, *events))
    decision = await answer(unit, await follow(unit, *map(confirmed, events)))
    assert [type(event).__name__ for event in decision.events] == ["PaymentCaptured"] * len(events)


async def row_of(unit: UnitRunner, event: StockReserved) -> Any:
    async with unit.reading("payments") as snapshot:
        return await queries.payment(snapshot, event.payment.payment_id)


def refund(event: StockReserved, amount_minor: int) -> RefundPayment:
    return RefundPayment(
        payment_id=event.payment.payment_id,
        refund_id=new_id("ref"),
        amount_minor=amount_minor,
        currency="GBP",
        reason="broken",
    )


async def test_a_batch_of_orders_from_reservation_to_capture(unit: UnitRunner) -> None:
    """One unit per stage for all; every row says where the money is."""
    events = [reserved() for _ in range(100)]
    decision = await follow(unit, *events)
    assert {call.key for call in decision.signals} == {
        f"{e.payment.payment_id}:authorise" for e in events
    }
    decision = await answer(unit, decision)
    assert [e.terms for e in decision.events] == [e.payment for e in events]  # type: ignore[attr-defined]
    await answer(unit, await follow(unit, *map(confirmed, events)))
    row = await row_of(unit, events[0])
    assert (row.status, row.captured_minor) == ("captured", 1_000)
    open_now = "SELECT count(*) FROM payments.under_way"
    assert (await unit.sql(open_now))[0][0] == 0


async def test_events_that_come_again_change_nothing(unit: UnitRunner) -> None:
    event = reserved()
    first = await follow(unit, event, event)
    again = await follow(unit, event)
    assert (len(first.signals), len(again.signals)) == (1, 0)
    await answer(unit, first)
    assert (await answer(unit, first)).events == []


async def test_outcomes_in_doubt_are_shown_as_unknown_and_retried(unit: UnitRunner) -> None:
    event = reserved()
    look_up = await answer(unit, await follow(unit, event), "no_answer")
    assert [call.look_up for call in look_up.signals] == [True]
    assert (await row_of(unit, event)).status == "unknown"
    again = await answer(unit, look_up, "not_found")
    assert [call.look_up for call in again.signals] == [False]
    await answer(unit, again)
    assert (await row_of(unit, event)).status == "authorised"


async def test_the_sweep_takes_up_what_a_dead_process_left(unit: UnitRunner) -> None:
    """Nothing while the claim runs; afterwards one look-up, once."""
    event = reserved()
    await follow(unit, event)
    mine = event.payment.payment_id

    async def sweep(tx: Any, _: Any) -> Decision:
        return await handlers.take_up_due(tx)

    early = await unit.run("payments", sweep, [])
    assert mine not in {call.payment_id for call in early.signals}
    clock = unit.workplace.clock
    now = clock.now
    clock.now = lambda: now() + timedelta(seconds=6)  # type: ignore[method-assign]
    try:
        found = await unit.run("payments", sweep, [])
        twice = await unit.run("payments", sweep, [])
    finally:
        clock.now = now  # type: ignore[method-assign]
    assert [c.look_up for c in found.signals if c.payment_id == mine] == [True]
    assert mine not in {call.payment_id for call in twice.signals}


async def test_orders_that_end_first_are_remembered(unit: UnitRunner) -> None:
    """In the same batch and in an earlier one; an order without stock leaves no row."""
    before, together, short = reserved(), reserved(), reserved()
    first = await follow(unit, cancelled(before), rejected(short, "stock_is_short"))
    second = await follow(unit, rejected(together, "decide_expired"), together, before)
    assert [type(e).__name__ for e in first.events] == ["PaymentVoided"]
    assert list(second.signals) == []
    kept = await unit.sql("SELECT order_id FROM payments.ended_orders")
    ids = {row[0] for row in kept}
    assert {before.order_id, together.order_id} <= ids
    assert short.order_id not in ids


async def test_a_cancelled_order_is_refunded_in_full(unit: UnitRunner) -> None:
    event = reserved()
    await captured(unit, event)
    decision = await answer(unit, await follow(unit, cancelled(event)))
    assert [type(e).__name__ for e in decision.events] == ["PaymentRefunded"]
    row = await row_of(unit, event)
    assert (row.status, row.refunded_minor) == ("refunded", 1_000)


async def test_refunds_in_one_batch_share_what_is_left(unit: UnitRunner) -> None:
    """Two of three fit; the second waits for the first, both are answered."""
    event = reserved()
    await captured(unit, event)
    commands = [refund(event, 600), refund(event, 600), refund(event, 400)]
    decision = await unit.run("payments", handlers.refund_payments, commands)
    kinds = [type(outcome) for outcome in decision.outcomes]
    assert kinds == [Pending, RefundExceedsCapture, Pending]
    first = await answer(unit, decision)
    second = await answer(unit, first)
    answers = {**first.answers, **second.answers}
    assert set(answers) == {commands[0].refund_id, commands[2].refund_id}
    assert all(isinstance(a, Answer) and a.status == 201 for a in answers.values())
    async with unit.reading("payments") as snapshot:
        rows = await queries.refunds(
            snapshot, event.payment.payment_id, before="ref_~", count_max=10
        )
    assert sorted((r.amount_minor, r.status) for r in rows) == [
        (400, "succeeded"),
        (600, "succeeded"),
    ]


async def test_the_ledger_balances(unit: UnitRunner) -> None:
    event = reserved(currency="SEK")
    await captured(unit, event)
    await answer(unit, await follow(unit, cancelled(event)))
    async with unit.reading("payments") as snapshot:
        rows = [row for row in await queries.balance(snapshot) if row.currency == "SEK"]
        postings = await queries.postings(snapshot, before=2**63 - 1, count_max=4)
    assert {row.account: row.debit_minor - row.credit_minor for row in rows} == {
        "receivable": 0,
        "provider:simulator": 0,
        "sales": -1_000,
        "refunds": 1_000,
    }
    assert {posting.order_id for posting in postings} == {event.order_id}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE payments.payments SET captured_minor = amount_minor + 1 WHERE payment_id = $1",
        "UPDATE payments.payments SET refunded_minor = 1001, status = 'refunded'"
        " WHERE payment_id = $1",
        "UPDATE payments.payments SET pending_refund_minor = 1001 WHERE payment_id = $1",
        "UPDATE payments.payments SET status = 'voided' WHERE payment_id = $1",
        "UPDATE payments.ledger SET amount_minor = 1 WHERE payment_id = $1",
        "DELETE FROM payments.ledger WHERE payment_id = $1",
        "UPDATE payments.operations SET status = 'refused' WHERE payment_id = $1",
    ],
)
async def test_the_database_refuses_what_must_not_be(unit: UnitRunner, statement: str) -> None:
    """Constraints are the last line, whatever code does."""
    event = reserved()
    await captured(unit, event)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await unit.sql(statement, event.payment.payment_id)


async def test_a_faster_unit_makes_the_slower_one_decide_again(unit: UnitRunner) -> None:
    """Between a unit's read and its write another one captured: the cancel then refunds."""
    event = reserved()
    await answer(unit, await follow(unit, event))
    rounds = 0

    async def late(tx: Any, messages: Any) -> Decision:
        nonlocal rounds
        rounds += 1
        decision = await handlers.follow_orders(tx, messages)
        if rounds == 1:
            await answer(unit, await follow(unit, confirmed(event)))
        return decision

    decision = await unit.run("payments", late, [cancelled(event)])
    assert rounds == 2
    assert [call.operation for call in decision.signals] == ["refund"]
