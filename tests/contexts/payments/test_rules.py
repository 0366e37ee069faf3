"""Payments by example: who is asked what, when, and what is announced."""

from itertools import pairwise
from typing import Any

import pytest

from tests.contexts.payments.world import POLICY, World, outcome_of, terms_of
from tradewind.contexts.payments.commands import ProviderCall
from tradewind.contexts.payments.problems import (
    NothingCaptured,
    PaymentNotFound,
    ProviderRefusedRefund,
    RefundExceedsCapture,
)
from tradewind.contexts.payments.rules import Aim, Begin
from tradewind.contexts.payments.tables import RefundView
from tradewind.kernel.answers import Answer, Pending


def aim(wanted: Any, *, absent: Any = "ignore") -> Aim:
    return Aim(order_id="ord_1", payment_id="pay_1", wanted=wanted, absent=absent)


def begun(**terms: Any) -> World:
    """A payment whose authorisation is on its way."""
    world = World()
    world.follow(Begin(terms_of(1, **terms)))
    return world


def captured(**terms: Any) -> World:
    """A payment whose money was taken."""
    world = begun(**terms)
    world.settle()
    world.follow(aim("captured"))
    world.settle()
    return world


def only_call(world: World) -> ProviderCall:
    """The one call that is to go out."""
    assert len(world.calls) == 1
    return world.calls.pop()


def test_a_confirmed_order_is_authorised_and_captured() -> None:
    world = captured()
    assert world.announced(1) == ["PaymentAuthorised", "PaymentCaptured"]
    assert sorted(world.operations) == ["pay_1:authorise", "pay_1:capture"]
    assert [(p.debit, p.credit, p.amount_minor) for p in world.ledger] == [
        ("receivable", "sales", 1_000),
        ("provider:simulator", "receivable", 1_000),
    ]


def test_authorised_carries_the_terms_unchanged() -> None:
    world = begun()
    world.settle()
    assert world.events[0].terms == terms_of(1)  # type: ignore[attr-defined]


def test_a_call_says_all_that_the_provider_needs() -> None:
    call = only_call(begun(token="tok_slow", amount_minor=1_250))
    assert call == ProviderCall(
        key="pay_1:authorise",
        claim=1,
        look_up=False,
        payment_id="pay_1",
        order_id="ord_1",
        operation="authorise",
        amount_minor=1_250,
        currency="GBP",
        token="tok_slow",
        reference="pay_1:authorise",
        wait_s=0.0,
        timeout_s=3.0,
    )


def test_a_declined_card_ends_the_payment() -> None:
    world = begun(token="tok_declined")
    world.settle()
    world.follow(aim("nothing"))
    assert world.announced(1) == ["PaymentDeclined"]
    assert world.calls == []
    assert world.payments["pay_1"].status == "declined"


def silent(world: World) -> list[tuple[float, ProviderCall]]:
    """A provider that never answers and never heard of the key, until nobody calls any more."""
    began, called = world.now, []
    while world.calls:
        call = world.calls.pop()
        world.later(call.wait_s)
        if not call.look_up:
            called.append(((world.now - began).total_seconds(), call))
            world.later(call.timeout_s)
        world.record(outcome_of(call, "not_found" if call.look_up else "no_answer"))
    return called


def test_a_silent_provider_is_asked_three_times_in_eight_seconds() -> None:
    """Always with the same key, each time after a look-up; then the order need not wait."""
    world = begun()
    began = world.now
    called = silent(world)
    assert [call.key for _, call in called] == ["pay_1:authorise"] * 3
    assert all(call.timeout_s <= POLICY.attempt_timeout_s for _, call in called)
    assert all(later - earlier > 3.0 for (earlier, _), (later, _) in pairwise(called))
    assert (world.now - began).total_seconds() == pytest.approx(8.0, abs=0.05)
    assert world.announced(1) == ["PaymentFailed"]
    assert world.events[0].reason == "timeout"  # type: ignore[attr-defined]


def test_a_key_in_doubt_is_looked_up_before_it_is_sent_again() -> None:
    """The money was taken and the answer lost: the look-up finds it, nothing is sent twice."""
    world = begun(token="tok_unknown")
    call = only_call(world)
    world.bank.decide(call)
    world.record(outcome_of(call, "no_answer"))
    look_up = only_call(world)
    assert look_up.look_up
    assert look_up.key == call.key
    assert world.operations[call.key].status == "unknown"
    world.record(world.bank.answer(look_up))
    assert world.announced(1) == ["PaymentAuthorised"]
    assert world.operations[call.key].attempt == 1


def test_a_late_success_is_found_and_voided() -> None:
    """The customer was told no; what the provider holds all the same is let go, and only that."""
    world = begun()
    silent(world)
    first = ProviderCall(**{**called_again(world), "look_up": False})
    world.bank.decide(first)  # it had been on its way all the time
    world.settle()
    assert world.announced(1) == ["PaymentFailed", "PaymentVoided"]
    assert world.bank.held["pay_1:authorise"].voided
    assert world.payments["pay_1"].status == "voided"


def called_again(world: World) -> dict[str, Any]:
    """The fields of the look-up that the sweep starts when it is due."""
    world.later(10.0)
    world.sweep()
    call = only_call(world)
    world.record(outcome_of(call, "not_found"))
    return {name: getattr(call, name) for name in call.__struct_fields__}


def test_an_authorisation_that_never_was_is_looked_for_a_day_and_then_closed() -> None:
    world = begun()
    began = world.now
    silent(world)
    look_ups = 0
    while world.operations["pay_1:authorise"].status == "unknown":
        world.now = max(world.now, world.operations["pay_1:authorise"].due_at)
        world.sweep()
        world.record(outcome_of(only_call(world), "not_found"))
        look_ups += 1
    assert 24 <= (world.now - began).total_seconds() / 3_600 <= 26
    assert 20 <= look_ups <= 60
    assert world.announced(1) == ["PaymentFailed"]


def test_three_errors_end_it_with_error() -> None:
    world = begun()
    for _ in range(POLICY.attempts_max):
        world.record(outcome_of(only_call(world), "failed"))
    assert world.announced(1) == ["PaymentFailed"]
    assert world.events[0].reason == "error"  # type: ignore[attr-defined]


def test_a_provider_that_cannot_be_reached_is_tried_for_eight_seconds() -> None:
    """What was never sent costs no attempt: a restart of the provider goes by unnoticed."""
    world = begun()
    began = world.now
    for _ in range(6):
        call = only_call(world)
        world.later(call.wait_s)
        world.record(outcome_of(call, "unreached"))
    assert world.operations["pay_1:authorise"].attempt == 1
    assert (world.now - began).total_seconds() < 3
    world.settle()
    assert world.announced(1) == ["PaymentAuthorised"]


def test_it_fails_with_timeout_when_the_provider_stays_away() -> None:
    world = begun()
    began = world.now
    while world.calls:
        call = world.calls.pop()
        world.later(call.wait_s)
        world.record(outcome_of(call, "unreached"))
    assert world.announced(1) == ["PaymentFailed"]
    assert 7 <= (world.now - began).total_seconds() <= 8


def test_a_refused_capture_voids_what_is_held() -> None:
    world = captured(token="tok_capture_declined")
    assert world.announced(1) == ["PaymentAuthorised", "CaptureRefused", "PaymentVoided"]
    assert world.ledger == []


def test_a_cancel_during_capture_waits_for_its_outcome_and_refunds() -> None:
    world = begun()
    world.settle()
    world.follow(aim("captured"))
    capture = only_call(world)
    world.follow(aim("nothing"))
    assert world.calls == [], "one operation at a time"
    world.record(world.bank.answer(capture))
    refund = only_call(world)
    assert (refund.operation, refund.amount_minor) == ("refund", 1_000)
    world.record(world.bank.answer(refund))
    assert world.announced(1) == ["PaymentAuthorised", "PaymentCaptured", "PaymentRefunded"]
    assert world.payments["pay_1"].status == "refunded"


def test_a_cancel_before_capture_voids() -> None:
    world = begun()
    world.settle()
    world.follow(aim("nothing"))
    world.settle()
    assert world.announced(1) == ["PaymentAuthorised", "PaymentVoided"]


def test_a_cancel_during_authorisation_is_not_told_that_it_worked() -> None:
    """The order is dead: nobody may score or confirm it any more."""
    world = begun()
    world.follow(aim("nothing"))
    world.settle()
    assert world.announced(1) == ["PaymentVoided"]
    assert world.bank.held["pay_1:authorise"].voided


def test_a_confirmation_that_is_repeated_after_the_cancel_changes_nothing() -> None:
    world = captured()
    world.follow(aim("nothing"))
    world.settle()
    before = world.announced(1)
    world.follow(aim("captured"))
    world.settle()
    assert world.announced(1) == before
    assert world.payments["pay_1"].wanted == "nothing"


@pytest.mark.parametrize(
    ("absent", "announced"), [("announce", ["PaymentVoided"]), ("remember", [])]
)
def test_an_order_that_ended_first_never_begins(absent: Any, announced: list[str]) -> None:
    world = World()
    world.follow(aim("nothing", absent=absent), aim("nothing", absent=absent))
    world.follow(Begin(terms_of(1)))
    assert world.calls == []
    assert world.payments == {}
    assert world.announced(1) == announced


def test_an_order_without_stock_leaves_no_trace() -> None:
    world = World()
    world.follow(aim("nothing"))
    assert world.ended == set()


def test_a_free_order_is_captured_and_given_back_without_postings() -> None:
    world = captured(amount_minor=0)
    world.follow(aim("nothing"))
    world.settle()
    assert world.announced(1) == ["PaymentAuthorised", "PaymentCaptured", "PaymentRefunded"]
    assert world.ledger == []


def test_refunds_in_parts_until_nothing_is_left() -> None:
    world = captured()
    assert world.refund("pay_1", "ref_1", 400) == Pending("ref_1")
    assert world.refund("pay_1", "ref_2", 600) == Pending("ref_2"), "taken in hand, not yet sent"
    over = world.refund("pay_1", "ref_3", 1)
    assert isinstance(over, RefundExceedsCapture)
    assert over.members["refundable"] == {"amount": "0.00", "currency": "GBP"}
    world.record(world.bank.answer(only_call(world)))
    statuses = [world.payments["pay_1"].status]
    world.settle()
    statuses.append(world.payments["pay_1"].status)
    assert statuses == ["partially_refunded", "refunded"]
    (answer,) = world.answers["ref_1"]
    assert isinstance(answer, Answer)
    assert answer.status == 201
    view = answer.body
    assert isinstance(view, RefundView)
    assert (view.id, view.amount.amount, view.status) == ("ref_1", "4.00", "succeeded")


def test_a_refused_refund_is_answered_and_frees_the_amount() -> None:
    world = captured(token="tok_refund_declined")
    world.refund("pay_1", "ref_1", 1_000)
    world.settle()
    (answer,) = world.answers["ref_1"]
    assert isinstance(answer, ProviderRefusedRefund)
    assert world.announced(1)[-1] == "RefundRefused"
    assert world.refund("pay_1", "ref_2", 1_000) == Pending("ref_2")


def test_a_refund_of_an_ended_order_that_is_refused_halts_for_a_person() -> None:
    """It is not tried for ever by itself; somebody may still ask for it."""
    world = captured(token="tok_refund_declined")
    world.follow(aim("nothing"))
    world.settle()
    assert world.payments["pay_1"].halted == "refund refused: refund_declined"
    assert world.answers == {}
    assert world.refund("pay_1", "ref_9", 1_000) == Pending("ref_9")


def test_nothing_captured_nothing_refunded() -> None:
    world = begun()
    world.settle()
    assert isinstance(world.refund("pay_1", "ref_1", 1), NothingCaptured)
    assert isinstance(world.refund("pay_2", "ref_1", 1), PaymentNotFound)


def test_a_claim_that_ran_out_is_looked_up_first() -> None:
    """Its process died between commit and answer: it may have got anywhere."""
    world = begun()
    lost = only_call(world)
    world.sweep()
    assert world.calls == [], "somebody is at it"
    world.later(4.6)
    world.sweep()
    look_up = only_call(world)
    assert (look_up.look_up, look_up.key) == (True, lost.key)
    world.record(outcome_of(look_up, "not_found"))
    again = only_call(world)
    assert (again.look_up, again.key) == (False, lost.key)
    assert again.timeout_s > 2.5, "a dying process does not cost the customer's time"


def test_an_undecided_outcome_of_an_earlier_claim_changes_nothing() -> None:
    world = begun()
    lost = only_call(world)
    world.later(4.6)
    world.sweep()
    only_call(world)
    for outcome in ("no_answer", "failed", "unreached", "not_found"):
        world.record(outcome_of(lost, outcome))
        assert world.calls == []


def test_a_decision_counts_whoever_reports_it_and_once() -> None:
    world = begun()
    lost = only_call(world)
    world.later(4.6)
    world.sweep()
    late = world.bank.answer(lost)
    world.record(late, late)
    world.record(late)
    assert world.announced(1) == ["PaymentAuthorised"]


def test_an_outcome_is_of_its_own_operation() -> None:
    """The authorisation's success, told again while the capture is out, captures nothing."""
    world = begun()
    authorised = world.bank.answer(only_call(world))
    world.record(authorised)
    world.follow(aim("captured"))
    world.record(authorised)
    assert world.announced(1) == ["PaymentAuthorised"]
    assert world.payments["pay_1"].captured_minor == 0


def test_pauses_grow_and_are_left_to_the_sweep() -> None:
    """A provider that is away for an hour is asked some dozens of times, not thousands."""
    world = begun()
    world.settle()
    world.follow(aim("captured"))
    began, times = world.now, 0
    while (world.now - began).total_seconds() < 3_600:
        if not world.calls:
            world.now = max(world.now, world.operations["pay_1:capture"].due_at)
            world.sweep()
        call = only_call(world)
        world.later(call.wait_s)
        world.record(outcome_of(call, "unreached"))
        times += 1
    assert 40 <= times <= 120
    world.settle()
    assert world.announced(1)[-1] == "PaymentCaptured"
