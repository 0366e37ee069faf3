"""The life of an order, explored: short here, whole by `tradewind check life` and `make verify`.

Then the same search on rules that were spoilt, one at a time: it must find each, and say how.
"""

import os
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tradewind.checks.life import steps
from tradewind.checks.life.explore import Found, Search, Setting
from tradewind.checks.life.terminal import sentences
from tradewind.contexts.fraud import handlers as fraud_handlers
from tradewind.contexts.fraud import rules as fraud
from tradewind.contexts.inventory.events import StockReleased
from tradewind.contexts.inventory.rules import reserving as inventory
from tradewind.contexts.orders import rules as orders
from tradewind.contexts.payments.events import PaymentAuthorised
from tradewind.contexts.payments.rules import operations, outcomes
from tradewind.contexts.payments.rules import steps as payments_steps

# `make verify` takes its time, once: a search has no seed, and the second would be the first.
LONG = os.environ.get("TRADEWIND_SIMULATION_SEED") == "1"

SHORT_SETTINGS = (
    Setting(counts_max=0, faults_max=1),
    Setting(counts_max=0, faults_max=0, repeats_max=20),
    Setting(counts_max=1, faults_max=0, topics=True),
    Setting(counts_max=0, faults_max=0, tokens=("tok_suspicious",)),
    Setting(counts_max=1, faults_max=0, tokens=("tok_ok", "tok_ok"), states_max=60_000),
)
LONG_SETTINGS = (
    Setting(counts_max=0, repeats_max=20),
    Setting(counts_max=1, faults_max=3),
    Setting(counts_max=1, faults_max=2, tokens=("tok_suspicious",)),
    Setting(counts_max=1, faults_max=2, tokens=("tok_suspicious",), topics=True),
    Setting(counts_max=0, faults_max=0, tokens=("tok_ok", "tok_ok"), states_max=1_500_000),
    Setting(counts_max=1, faults_max=1, tokens=("tok_ok", "tok_suspicious"), states_max=1_000_000),
)


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("setting", LONG_SETTINGS if LONG else SHORT_SETTINGS, ids=str)
def test_no_state_breaks_a_promise(setting: Setting) -> None:
    found = Search(setting).run()
    print("\n".join(sentences(found)))
    assert not found.broken, "\n".join(sentences(found))
    assert found.whole or found.states >= setting.states_max
    assert found.at_rest or not found.whole


def test_two_searches_of_one_setting_find_the_same() -> None:
    """Or a trace could not be walked again."""
    setting = Setting(faults_max=0, counts_max=0)
    first, second = Search(setting).run(), Search(setting).run()
    took_s = {"took_s": 0.0}
    assert msgspec.structs.replace(first, **took_s) == msgspec.structs.replace(second, **took_s)


def search(**changes: Any) -> Found:
    """A short search, whose end is a broken promise."""
    fields = {"counts_max": 0, "faults_max": 1, "states_max": 60_000, **changes}
    found = Search(Setting(**fields)).run()
    assert found.broken, "\n".join(sentences(found))
    assert found.trace
    return found


def test_a_release_without_a_reservation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was refused is released: the fact has no units behind it."""
    before = inventory.release

    def release(book: Any, request: Any) -> None:
        kept = book.reservations.get(request.order_id)
        before(book, request)
        if kept is not None and kept.status == "refused":
            inventory.advance(kept, "released")
            book.events.append(
                StockReleased(sequence=kept.version, order_id=kept.order_id, reason="spoilt")
            )

    monkeypatch.setattr(inventory, "release", release)
    found = search(on_hand=0)
    assert "never reserved" in found.broken


def test_one_unit_sold_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule sees one unit more than there is."""
    before = inventory.free_units

    def take(sku: Any, quantity: int) -> list[Any]:
        sku.shelves[0].reserved += quantity
        return [(sku.shelves[0], quantity)]

    monkeypatch.setattr(inventory, "free_units", lambda sku: before(sku) + 1)
    monkeypatch.setattr(inventory, "take", take)
    found = search(tokens=("tok_ok", "tok_ok"), faults_max=0)
    assert "never_oversold" in found.broken
    assert len(found.trace) == 2


def test_a_capture_before_the_confirmation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    before = payments_steps.next_step

    def next_step(book: Any, case: Any) -> None:
        if case.open is None and case.payment.status == "authorised":
            operations.start(book, case, "capture", case.payment.amount_minor)
            return
        before(book, case)

    monkeypatch.setattr(outcomes, "next_step", next_step)
    assert "never confirmed" in search().broken


def test_a_second_charge_after_an_unknown_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key for an attempt whose answer was lost."""
    before = outcomes.again

    def again(book: Any, case: Any, operation: Any, *, reason: str) -> None:
        operation.key += "_again"
        before(book, case, operation, reason=reason)

    monkeypatch.setattr(outcomes, "again", again)
    found = search(faults_max=2)
    assert "authorise twice" in found.broken


def test_an_order_that_comes_back_to_life_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    before = orders.Desk.confirm

    def confirm(desk: Any, order_id: str) -> None:
        row = desk.rows[order_id]
        if row.status == "cancelled":
            row.status = "held"
        before(desk, order_id)

    monkeypatch.setattr(orders.Desk, "confirm", confirm)
    assert search(faults_max=0).broken


def test_money_that_stays_blocked_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An authorisation that was given up and succeeded after all must be let go."""
    monkeypatch.setattr(outcomes, "next_step", lambda book, case: None)
    assert search().broken


def test_a_late_payment_of_a_dead_order_asks_no_reviewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was: fraud forgot the orders that ended before their payment was authorised."""
    forget: Callable[[Any], Any] = lambda event: (  # noqa: E731
        fraud.Authorised(event.terms)
        if isinstance(event, PaymentAuthorised)
        else fraud.Ended(event.order_id)
    )
    monkeypatch.setattr(fraud_handlers, "request_of", forget)
    found = search(tokens=("tok_suspicious",), faults_max=0)
    assert "a reviewer is asked" in found.broken


def test_a_note_lost_to_a_cancellation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was: the version alone does not tell that the copy of the payment has changed."""
    monkeypatch.setattr(steps, "is_fresh", lambda read, row: read.version == row.version)
    found = search()
    assert any("a cancellation reads it" in words for words in found.trace)
