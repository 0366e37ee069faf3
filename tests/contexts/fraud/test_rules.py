"""What speaks against a payment, what is held, and how a review ends."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.contexts.fraud import rules
from tradewind.contexts.fraud.events import PaymentBlocked, PaymentCleared, PaymentHeld
from tradewind.contexts.fraud.problems import ReviewClosed, UnknownReview
from tradewind.contexts.fraud.rules import Authorised, DecideReviewRequest, Ended
from tradewind.contexts.fraud.tables import HistoryRow, Reason, ReviewRow, ReviewStatus
from tradewind.kernel.answers import Answer
from tradewind.kernel.terms import PaymentTerms

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HARMLESS = PaymentTerms(
    order_id="ord_1",
    payment_id="pay_1",
    amount_minor=10_00,
    currency="GBP",
    token="tok_ok",
    customer="prs_1",
    contact="ctc_1",
    guest=True,
    imported=False,
    shipping_country="GB",
    billing_country=None,
    placed_at=NOW,
)


def terms(**changes: object) -> PaymentTerms:
    return msgspec.structs.replace(HARMLESS, **changes)


def codes(payment: PaymentTerms, orders_an_hour: int = 1) -> list[str]:
    return [reason.code for reason in rules.reasons_for(payment, orders_an_hour)]


def judge(
    *requests: Authorised | Ended, held: tuple[str, ...] = (), before: int = 0
) -> rules.Verdicts:
    history = [
        HistoryRow(request.terms.order_id, before, False, False)
        for request in requests
        if isinstance(request, Authorised)
    ]
    return rules.judge(requests, history, held, now=NOW, review_within_s=60)


def test_a_harmless_payment_is_cleared_without_a_reason() -> None:
    assert judge(Authorised(HARMLESS)).events == [
        PaymentCleared(sequence=1, order_id="ord_1", payment_id="pay_1", score=0, reasons=())
    ]


@pytest.mark.parametrize(
    ("payment", "orders_an_hour", "code"),
    [
        (terms(token="tok_suspicious"), 1, "suspicious_card"),
        (terms(amount_minor=5_000_01), 1, "large_guest_order"),
        (terms(amount_minor=5_001, currency="JPY"), 1, "large_guest_order"),
        (terms(amount_minor=5_000_001, currency="KWD"), 1, "large_guest_order"),
        (HARMLESS, 11, "many_orders"),
        (terms(billing_country="FR"), 1, "country_mismatch"),
    ],
)
def test_each_rule_alone_holds(payment: PaymentTerms, orders_an_hour: int, code: str) -> None:
    assert codes(payment, orders_an_hour) == [code]
    score = rules.scored(payment, orders_an_hour)
    assert score.held and rules.HELD_FROM <= score.score <= 100 and score.reasons[0].text


@pytest.mark.parametrize(
    ("payment", "orders_an_hour"),
    [
        (terms(amount_minor=5_000_00), 1),
        (terms(amount_minor=5_000, currency="JPY"), 1),
        (terms(amount_minor=900_000_00, guest=False), 1),
        (HARMLESS, 10),
        (terms(billing_country="GB"), 1),
    ],
)
def test_up_to_the_limit_nothing_speaks_against_it(
    payment: PaymentTerms, orders_an_hour: int
) -> None:
    assert codes(payment, orders_an_hour) == []


def test_history_is_scored_and_never_held() -> None:
    payment = terms(imported=True, token="tok_suspicious", billing_country="FR")
    verdicts = judge(Authorised(payment))
    assert verdicts.scores[0].score == 100 and len(verdicts.scores[0].reasons) == 2
    assert verdicts.opened == {}
    assert isinstance(verdicts.events[0], PaymentCleared)


def test_a_held_payment_opens_a_review_with_a_deadline() -> None:
    verdicts = judge(Authorised(terms(token="tok_suspicious")))
    assert verdicts.events == [
        PaymentHeld(
            sequence=1,
            order_id="ord_1",
            payment_id="pay_1",
            score=80,
            reasons=("suspicious_card",),
        )
    ]
    assert verdicts.opened["ord_1"].review_before == NOW + timedelta(seconds=60)


def test_a_payment_is_scored_once() -> None:
    twice = judge(Authorised(HARMLESS), Authorised(HARMLESS))
    assert len(twice.events) == len(twice.scores) == 1
    known = [HistoryRow("ord_1", 0, True, False)]
    later = rules.judge([Authorised(HARMLESS)], known, [], now=NOW, review_within_s=60)
    assert later.events == [] and later.scores == []


@given(st.lists(st.integers(0, 7_200), min_size=1, max_size=25), st.randoms())
def test_the_eleventh_order_within_an_hour_is_held(seconds: list[int], random: object) -> None:
    """Counted by the time of placing, in whatever order a batch brings them."""
    batch = [
        terms(order_id=f"ord_{n:02}", placed_at=NOW + timedelta(seconds=second))
        for n, second in enumerate(seconds)
    ]
    placed = sorted(batch, key=lambda t: (t.placed_at, t.order_id))
    expected = set()
    for place, payment in enumerate(placed):
        window = [t for t in placed[:place] if payment.placed_at - t.placed_at < rules.HOUR]
        if len(window) + 1 > 10:
            expected.add(payment.order_id)
    random.shuffle(batch)  # type: ignore[attr-defined]
    verdicts = judge(*[Authorised(payment) for payment in batch])
    assert set(verdicts.opened) == expected


def test_orders_of_earlier_batches_count_too() -> None:
    assert not judge(Authorised(HARMLESS), before=9).scores[0].held
    assert judge(Authorised(HARMLESS), before=10).scores[0].held


def test_other_contacts_and_nobody_are_not_counted_together() -> None:
    strangers = [terms(order_id=f"ord_{n}", contact=f"ctc_{n}") for n in range(20)]
    nobody = [terms(order_id=f"ord_x{n}", contact=None) for n in range(20)]
    assert judge(*[Authorised(payment) for payment in strangers + nobody]).opened == {}


def test_an_order_that_ended_closes_its_review_once() -> None:
    verdicts = judge(Ended("ord_7"), Ended("ord_7"), Ended("ord_8"), held=("ord_7",))
    assert verdicts.closed == ["ord_7"] and verdicts.events == []


@pytest.mark.parametrize("ended_first", [True, False])
def test_an_order_that_ends_in_the_batch_of_its_score_waits_for_nobody(ended_first: bool) -> None:
    requests: list[Authorised | Ended] = [Authorised(terms(token="tok_suspicious")), Ended("ord_1")]
    if ended_first:
        requests.reverse()
    assert judge(*requests).opened["ord_1"].status == "closed"


def held_row(status: ReviewStatus = "held", review_before: datetime | None = None) -> ReviewRow:
    return ReviewRow(
        order_id="ord_1",
        payment_id="pay_1",
        status=status,
        version=1,
        score=80,
        reasons=msgspec.json.encode([Reason("suspicious_card", 80, "Why.")]).decode(),
        held_at=NOW,
        review_before=review_before or NOW + timedelta(seconds=1),
        ended_at=None,
        reviewer=None,
        note=None,
    )


def say(status: ReviewStatus, order_id: str = "ord_1") -> DecideReviewRequest:
    return DecideReviewRequest(order_id, status, "I called them.", "key_1")


@pytest.mark.parametrize(
    ("status", "kind"), [("released", PaymentCleared), ("refused", PaymentBlocked)]
)
def test_a_reviewer_decides_once(status: ReviewStatus, kind: type[PaymentCleared]) -> None:
    decisions = rules.review(
        {"ord_1": held_row()}, [say(status), say("released"), say("refused")], now=NOW
    )
    assert decisions.events == [
        kind(
            sequence=2,
            order_id="ord_1",
            payment_id="pay_1",
            score=80,
            reasons=("suspicious_card",),
        )
    ]
    first, *others = decisions.outcomes
    assert isinstance(first, Answer) and first.body.status == status
    assert others == [ReviewClosed(f"The review is {status}.", review=status)] * 2


def test_a_review_that_ran_out_is_closed() -> None:
    decisions = rules.review({"ord_1": held_row(review_before=NOW)}, [say("released")], now=NOW)
    assert decisions.outcomes == [ReviewClosed("The review is expired.", review="expired")]
    assert decisions.events == []


def test_an_order_that_was_never_held_has_no_review() -> None:
    assert rules.review({}, [say("released", "ord_9")], now=NOW).outcomes == [UnknownReview()]
