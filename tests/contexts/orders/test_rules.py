"""What orders decides, without a database: by example, and over any order of any news."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tradewind.contexts.orders import problems, rules
from tradewind.contexts.orders.commands import CancelOrder, PlaceOrder, WantedLine
from tradewind.contexts.orders.events import (
    Fee,
    OrderCancelled,
    OrderConfirmed,
    OrderEvent,
    OrderHeld,
    OrderPlaced,
    OrderRejected,
)
from tradewind.contexts.orders.rules import Desk, Offers
from tradewind.contexts.orders.tables import LineRow, OfferRow, OrderRow
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import TimerDropped, TimerSet
from tradewind.kernel.problems import Problem

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OFFERS = Offers(
    [
        OfferRow("MUG", "GBP", "Mug", "A mug", 25_500),
        OfferRow("MUG", "EUR", "Mug", "A mug", 29_900),
        OfferRow("PIN", "GBP", "PIN", "A pin", 10),  # a tenth of a penny
    ]
)


def command(*lines: WantedLine, **more: object) -> PlaceOrder:
    """A basket."""
    fields: dict[str, object] = {
        "order_id": new_id("ord"),
        "payment_id": new_id("pay"),
        "credential": None,
        "external_id": None,
        "customer": new_id("prs"),
        "contact": None,
        "guest": True,
        "currency": "GBP",
        "lines": lines,
        "fees": (),
        "shipping_country": "GB",
        "billing_country": None,
        "payment_token": "tok_ok",
        "expected_total_minor": None,
        "channel": "web",
        "imported": False,
        "placed_at": None,
    }
    return PlaceOrder(**{**fields, **more})  # type: ignore[arg-type]


def wanted(sku: str, quantity: int, price_e4: int | None = None) -> WantedLine:
    """A line of a basket."""
    return WantedLine(sku=sku, quantity=quantity, unit_price_e4=price_e4)


def place(order: PlaceOrder) -> OrderPlaced | Problem:
    """Decide a basket."""
    return rules.place(order, OFFERS, external_taken=False, now=NOW)


def test_prices_come_from_the_offers() -> None:
    """Skus without letter case; each line is rounded, the total is their sum."""
    placed = place(
        command(wanted("mug", 2), wanted("pin", 5), fees=(Fee(code="post", amount_minor=95),))
    )
    assert isinstance(placed, OrderPlaced)
    assert [line.total_minor for line in placed.lines] == [510, 0]
    assert (placed.subtotal_minor, placed.fees_minor, placed.total_minor) == (510, 95, 605)
    assert placed.payment.amount_minor == 605
    assert placed.placed_at == NOW


def test_unknown_skus_are_pointed_at() -> None:
    """All of them at once."""
    refused = place(command(wanted("cup", 1), wanted("mug", 1), wanted("pin", 1), currency="EUR"))
    assert isinstance(refused, problems.UnknownSku)
    assert [error.pointer for error in refused.errors] == ["/lines/0/sku", "/lines/2/sku"]
    assert "is not sold in EUR" in refused.errors[1].message


def test_what_costs_nothing_or_too_much_is_refused() -> None:
    """There must be something to pay, and a number that fits."""
    assert isinstance(place(command(wanted("pin", 1))), problems.InvalidOrder)
    dear = wanted("mug", 1_000_000, 9_999_999_999_999_999)
    assert isinstance(place(command(dear)), problems.InvalidOrder)


def test_a_changed_price_is_shown() -> None:
    """Old and new."""
    refused = place(command(wanted("mug", 1), expected_total_minor=200))
    assert isinstance(refused, problems.PriceChanged)
    assert refused.members["total"] == {"amount": "2.55", "currency": "GBP"}
    assert isinstance(place(command(wanted("mug", 1), expected_total_minor=255)), OrderPlaced)


@given(
    st.lists(st.tuples(st.integers(1, 10_000), st.integers(0, 10**9)), min_size=1, max_size=20),
    st.lists(st.integers(0, 10**6), max_size=3),
)
def test_a_total_is_the_sum_of_what_is_shown(lines: list[tuple[int, int]], fees: list[int]) -> None:
    """No cent appears or vanishes between the lines and the total."""
    placed = place(
        command(
            *(wanted("mug", quantity, price) for quantity, price in lines),
            fees=tuple(Fee(code="f", amount_minor=fee) for fee in fees),
        )
    )
    if isinstance(placed, Problem):
        return
    assert placed.total_minor == sum(line.total_minor for line in placed.lines) + sum(fees)
    for line in placed.lines:
        exact = line.unit_price_e4 * line.quantity
        assert abs(line.total_minor * 100 - exact) * 2 <= 100


# -- deciding

ORDER = "ord_01jd8zq4m7e0srv2k3w9p5x6yt"


def order_row() -> OrderRow:
    """An order that was just placed."""
    return OrderRow(
        order_id=ORDER,
        version=1,
        status="placed",
        currency="GBP",
        subtotal_minor=510,
        shipping_minor=0,
        tax_minor=0,
        discount_minor=0,
        fees_minor=0,
        total_minor=510,
        customer="prs_x",
        contact=None,
        payment_id="pay_x",
        payment_status="pending",
        stock_released=False,
        channel="web",
        imported=False,
        external_id=None,
        fees="[]",
        placed_at=NOW,
        decide_before=NOW + timedelta(minutes=15),
        review_before=None,
        decided_at=None,
        rejection_code=None,
    )


LINES = {ORDER: [LineRow(ORDER, 1, "Mug", "A mug", 2, 25_500, 510)]}
Move = Callable[[Desk], object]
MOVES: dict[str, Move] = {
    "clear": lambda desk: desk.confirm(ORDER),
    "hold": lambda desk: desk.hold(ORDER, ("suspicious",)),
    "block": lambda desk: desk.reject(ORDER, "fraud_blocked"),
    "short": lambda desk: desk.reject(ORDER, "stock_is_short", payment_status="voided"),
    "decline": lambda desk: desk.reject(ORDER, "payment_declined", payment_status="declined"),
    "cancel": lambda desk: rules.cancel(desk, CancelOrder(order_id=ORDER, reason="no", by="key_1")),
    "capture_refused": lambda desk: desk.cancel(ORDER, "capture_failed", "refused"),
    "captured": lambda desk: desk.note_payment(ORDER, "captured"),
    "voided": lambda desk: desk.note_payment(ORDER, "voided"),
    "refunded": lambda desk: desk.note_payment(ORDER, "refunded"),
    "released": lambda desk: desk.note_released(ORDER),
    "review_due": lambda desk: desk.expire_review(ORDER),
    "decide_due": lambda desk: desk.expire_decision(ORDER),
}


def desk_at(row: OrderRow, now: datetime) -> Desk:
    """A desk with one order on it."""
    return Desk([row], LINES, now=now, review_within=timedelta(hours=48))


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(MOVES)), st.integers(0, 60), st.booleans()), max_size=25
    )
)
def test_any_news_in_any_order(moves: list[tuple[str, int, bool]]) -> None:
    """Repeated, late, contradictory: the order is decided once, its facts count 1, 2, 3, whoever
    placed it gets one answer, and a dead order stays dead.
    """
    row, now = order_row(), NOW
    told: list[OrderEvent] = []
    answers: list[Answer | Problem] = []
    timer_is_set = False
    desk = desk_at(row, now)
    for name, hours, new_unit in moves:
        if new_unit:
            now += timedelta(hours=hours)
            desk = desk_at(row, now)
        before = row.status
        count = len(desk.ruling.events), dict(desk.ruling.answers), dict(desk.ruling.timers)
        MOVES[name](desk)
        told += desk.ruling.events[count[0] :]  # type: ignore[arg-type]
        if ORDER in desk.ruling.answers and ORDER not in count[1]:
            answers.append(desk.ruling.answers[ORDER])
        timer = desk.ruling.timers.get(ORDER)
        if timer is not count[2].get(ORDER):
            assert timer_is_set == isinstance(timer, TimerDropped)
            timer_is_set = isinstance(timer, TimerSet)
        if before in ("rejected", "cancelled"):
            assert row.status == before, "the dead stay dead"
    assert [event.sequence for event in told] == list(range(2, row.version + 1))
    assert len(answers) == (0 if row.status == "placed" else 1)
    assert (row.status == "placed") == (row.decided_at is None)
    assert (row.status == "rejected") == (row.rejection_code is not None)
    assert (row.status == "held") == timer_is_set
    kinds = [type(event) for event in told]
    allowed: dict[type[OrderEvent], set[type[OrderEvent]]] = {
        OrderHeld: {OrderConfirmed, OrderRejected, OrderCancelled},
        OrderConfirmed: {OrderCancelled},
        OrderRejected: set(),
        OrderCancelled: set(),
    }
    for first, second in pairwise(kinds):
        assert second in allowed[first]


def test_a_cancellation_is_answered_when_all_is_given_back() -> None:
    """Stock and money, in either order."""
    for moves in (["released", "voided"], ["voided", "released"]):
        row = order_row()
        desk = desk_at(row, NOW)
        desk.confirm(ORDER)
        assert rules.cancel(desk, CancelOrder(order_id=ORDER, reason="no", by="key_1")) is None
        name = rules.cancellation(ORDER)
        MOVES[moves[0]](desk)
        assert name not in desk.ruling.answers
        MOVES[moves[1]](desk)
        answer = desk.ruling.answers[name]
        assert isinstance(answer, Answer) and answer.status == 200
        assert answer.body.status == "cancelled"


def test_reviews_and_decisions_expire_only_when_due() -> None:
    """Not a second before."""
    row = order_row()
    desk_at(row, row.decide_before - timedelta(seconds=1)).expire_decision(ORDER)
    assert row.status == "placed"
    desk_at(row, NOW).hold(ORDER, ())
    assert row.review_before is not None
    desk_at(row, row.review_before - timedelta(seconds=1)).expire_review(ORDER)
    assert row.status == "held"
    desk = desk_at(row, row.review_before)
    desk.expire_review(ORDER)
    assert (row.status, row.rejection_code) == ("rejected", "review_expired")
    assert ORDER not in desk.ruling.answers, "the answer was given when it was held"
