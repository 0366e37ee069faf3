"""The judge, on histories by hand: it is content with good ones and names what spoils them."""

import dataclasses
import json
from collections.abc import Callable

import pytest

from tests.checks.oversell.stories import SECOND, Story
from tradewind.checks.oversell.checker import judge
from tradewind.checks.oversell.evidence import Shelf, most_on_hand


def shop() -> Story:
    """A day on which all went well: sold, refused, called off, paid back, replayed."""
    story = Story()
    story.counted("MUG", 5)
    story.bought("ord_1", "MUG", 3)
    story.refused("ord_2", "MUG", 3, free=2)
    story.cancelled("ord_1", "MUG", 3)
    story.bought("ord_3", "MUG", 5)
    story.refunded("ord_3", 500)
    story.counted("MUG", 9)
    first = next(a for a in story.history.asked if a.op == "place")
    again = dataclasses.replace(first, id=90, begin=story.now, end=story.now + SECOND)
    story.history.asked.append(again)
    lost = dataclasses.replace(first, id=91, status=None, text="", end=None)
    story.history.asked.append(lost)
    return story


def kinds(story: Story) -> set[str]:
    """What the judge calls that which it finds."""
    return {anomaly.kind for anomaly in judge(story.history, story.evidence)}


def test_a_good_day_has_no_anomaly() -> None:
    assert judge(shop().history, shop().evidence) == []


def another_answer(story: Story) -> None:
    asked = story.history.asked[-2]
    asked.text = asked.text.replace('"confirmed"', '"cancelled"')


def another_location(story: Story) -> None:
    story.history.asked[-2].headers = {"location": "/v1/orders/ord_9"}


def a_second_order_for_the_key(story: Story) -> None:
    story.bought("ord_4", "MUG", 1, key="key of ord_3")


def an_order_nobody_asked_for(story: Story) -> None:
    story.evidence.orders["ord_9"] = ("rejected", 1)


def an_order_is_lost(story: Story) -> None:
    del story.evidence.orders["ord_3"]


def another_end(story: Story) -> None:
    story.evidence.orders["ord_3"] = ("rejected", 5_000)


def a_refused_order_is_sent(story: Story) -> None:
    story.evidence.orders["ord_2"] = ("confirmed", 3_000)


def no_end(story: Story) -> None:
    story.asked("place", "/v1/orders", story.order_body("MUG", 1), key="k", status=202)


def still_placed(story: Story) -> None:
    story.evidence.orders["ord_3"] = ("placed", 5_000)


def one_unit_too_many(story: Story) -> None:
    story.bought("ord_4", "MUG", 5)


def too_little_on_the_shelf(story: Story) -> None:
    story.evidence.stock["MUG"] = (9, 4)


def refused_with_enough(story: Story) -> None:
    story.refused("ord_4", "MUG", 4, free=3)


def refused_before_it_was_asked(story: Story) -> None:
    story.refused("ord_4", "MUG", 5, free=4)
    at = story.evidence.log[-2]
    story.evidence.log[-2] = dataclasses.replace(at, at=at.at - 60 * SECOND)


def allocated_twice(story: Story) -> None:
    story.told("inventory", "stock_allocated", "ord_3")


def never_allocated(story: Story) -> None:
    story.evidence.log = [f for f in story.evidence.log if "allocated" not in f.type]


def captured_twice(story: Story) -> None:
    story.charged("ord_3", "capture", 5_000)


def never_captured(story: Story) -> None:
    story.evidence.charges = [c for c in story.evidence.charges if c["order_id"] != "ord_3"]


def captured_for_nobody(story: Story) -> None:
    story.charged("ord_9", "capture", 100)


def kept_after_cancelling(story: Story) -> None:
    story.evidence.charges = [
        c for c in story.evidence.charges if (c["order_id"], c["operation"]) != ("ord_1", "refund")
    ]


def returned_too_much(story: Story) -> None:
    story.charged("ord_3", "refund", 5_000)


def a_refund_nobody_made(story: Story) -> None:
    story.refunded("ord_3", 100)
    story.evidence.charges.pop()


def not_booked(story: Story) -> None:
    story.evidence.ledger.pop()


def an_account_of_nobody(story: Story) -> None:
    story.evidence.ledger.append(("ord_3", "receivable", "pocket", 100, "GBP"))


def told_again(story: Story) -> None:
    story.history.tail.append(story.history.tail[3])


def never_told(story: Story) -> None:
    del story.history.tail[-1]


def told_in_disorder(story: Story) -> None:
    tail = story.history.tail
    first = next(i for i, (s, u, _) in enumerate(tail) if (s[-6:], u) == ("orders", "ord_1"))
    tail.append(tail.pop(first))


def an_error(story: Story) -> None:
    story.asked("place", "/v1/orders", story.order_body("MUG", 1), key="k", status=500)


def declined_for_nothing(story: Story) -> None:
    answer = {"code": "payment_declined", "order_id": "ord_4"}
    body = story.order_body("MUG", 1)
    story.asked("place", "/v1/orders", body, key="k", status=402, answer=answer)
    story.told("orders", "order_placed", "ord_4", lines=body["lines"])
    story.evidence.orders["ord_4"] = ("rejected", 1_000)


def alive_and_not_cancellable(story: Story) -> None:
    answer = {"code": "order_not_cancellable"}
    path = "/v1/orders/ord_3/cancel"
    story.asked("cancel", path, {}, key="late", status=409, answer=answer)


def refund_refused_with_enough(story: Story) -> None:
    story.asked(
        "refund",
        "/v1/payments/pay_ord_3/refunds",
        {"amount": {"amount": "1.00", "currency": "GBP"}, "reason": "ord_3"},
        key="another",
        status=409,
        answer={"code": "refund_exceeds_capture"},
    )


def the_key_of_another(story: Story) -> None:
    story.asked(
        "place",
        "/v1/orders",
        story.order_body("CUP", 1),
        key="key of ord_3",
        status=409,
        answer={"code": "stock_is_short", "order_id": "ord_3"},
    )


def a_condition_that_does_not_hold(story: Story) -> None:
    body = {"on_hand": 100, "expected_quantity": 77}
    story.asked("count", "/v1/stock/CUP", body, status=200)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (another_answer, "replay differs"),
        (another_location, "replay differs"),
        (a_second_order_for_the_key, "order placed twice"),
        (an_order_nobody_asked_for, "order placed twice"),
        (an_order_is_lost, "acknowledged order is gone"),
        (another_end, "order is not as told"),
        (a_refused_order_is_sent, "order is not as told"),
        (no_end, "never answered"),
        (still_placed, "order never decided"),
        (one_unit_too_many, "oversold"),
        (too_little_on_the_shelf, "stock is not its history"),
        (refused_with_enough, "refused without reason"),
        (refused_before_it_was_asked, "refused without reason"),
        (allocated_twice, "not allocated once"),
        (never_allocated, "not allocated once"),
        (captured_twice, "charged twice"),
        (never_captured, "not charged once"),
        (captured_for_nobody, "charged for no order"),
        (kept_after_cancelling, "money kept"),
        (returned_too_much, "refunded too much"),
        (a_refund_nobody_made, "refund is not as told"),
        (not_booked, "ledger is not the provider's"),
        (an_account_of_nobody, "ledger is not zero"),
        (told_again, "told twice"),
        (never_told, "feed has a gap"),
        (told_in_disorder, "feed has a gap"),
        (an_error, "unexpected answer"),
        (declined_for_nothing, "refused without reason"),
        (alive_and_not_cancellable, "refused without reason"),
        (refund_refused_with_enough, "refused without reason"),
        (the_key_of_another, "key taken twice"),
        (a_condition_that_does_not_hold, "condition ignored"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_spoils_it_is_named(spoil: Callable[[Story], None], kind: str) -> None:
    story = shop()
    spoil(story)
    assert kind in kinds(story)


def test_clients_alone_see_that_too_much_was_sold() -> None:
    """Where the log was forged to fit, the answers still tell."""
    story = shop()
    story.bought("ord_4", "MUG", 5)
    reserved = [f for f in story.evidence.log if (f.subject, f.sequence) == ("ord_4", 1)]
    forged = dataclasses.replace(reserved[0], data={"lines": [{"sku": "MUG", "quantity": 0}]})
    story.evidence.log[story.evidence.log.index(reserved[0])] = forged
    found = [a for a in judge(story.history, story.evidence) if a.kind == "oversold"]
    assert [a.about for a in found] == ["ord_4"]
    assert "at most 9 there" in found[0].detail


def test_a_doubtful_card_may_be_refused_and_a_good_one_only_in_trouble() -> None:
    def refused(token: str, *, trouble: bool) -> set[str]:
        story = shop()
        if trouble:
            story.disturbed()
        body = story.order_body("MUG", 1, token)
        answer = {"code": "payment_timeout", "order_id": "ord_4"}
        story.asked("place", "/v1/orders", body, key="k", status=402, answer=answer)
        story.told("orders", "order_placed", "ord_4", lines=body["lines"])
        story.evidence.orders["ord_4"] = ("rejected", 1_000)
        return kinds(story)

    assert refused("tok_timeout", trouble=False) == set()
    assert refused("tok_ok", trouble=True) == set()
    assert refused("tok_ok", trouble=False) == {"refused without reason"}


def test_an_unanswered_count_may_be_in_force_at_any_time() -> None:
    """Nobody knows when it arrives, so nothing is called oversold because of it."""
    assert most_on_hand([(5, 0, 1), (9, 2, 3)], 4, 5) == 9
    assert most_on_hand([(9, 0, 1), (5, 2, 3)], 4, 5) == 5
    assert most_on_hand([(9, 0, 1), (5, 2, 6)], 4, 5) == 9
    assert most_on_hand([(9, 0, 2**62), (5, 2, 3)], 4, 5) == 9


def test_a_key_used_for_something_else_must_be_refused() -> None:
    story = shop()
    answer = json.loads('{"code": "idempotency_key_reused"}')
    body = story.order_body("CUP", 1)
    story.asked("place", "/v1/orders", body, key="key of ord_3", status=422, answer=answer)
    assert kinds(story) == set()


def test_units_given_back_in_the_same_moment_may_stand_behind_in_the_log() -> None:
    """Two units of work that overlap; a count, or a return that came later, excuses nothing."""

    def last_unit_twice(*, returned_after_s: float) -> list[tuple[str, str]]:
        shelf = Shelf()
        shelf.count(1, 1)
        shelf.hold(2, SECOND, 1, "ord_1")
        shelf.hold(3, 2 * SECOND, 1, "ord_2")
        shelf.give_back(4, 2 * SECOND + int(returned_after_s * SECOND), 1)
        shelf.count(5, 9)
        return shelf.overdrawn

    assert last_unit_twice(returned_after_s=0.1) == []
    assert last_unit_twice(returned_after_s=0.5) == [("ord_2", "1 held, 0 free")]


def test_a_refusal_may_speak_of_any_moment_since_the_order_was_placed() -> None:
    shelf = Shelf()
    for place, on_hand in enumerate((5, 0, 7, 2)):
        shelf.count(place, on_hand)
    assert shelf.free_since(0) == [5, 0, 7, 2]
    assert shelf.free_since(2) == [7, 2]
    assert shelf.free_since(9) == [2]
    assert Shelf().free_since(3) == [0]
