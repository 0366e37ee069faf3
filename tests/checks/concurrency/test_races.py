"""Every race holds for a shop that is right, and is violated by the bug that it is there for."""

import asyncio
import time
from decimal import Decimal

import pytest

from tests.checks.concurrency.memory_shop import EVERYTHING, MemoryShop
from tradewind.checks.concurrency import run
from tradewind.checks.concurrency.adapter import MoneyState, OrderState
from tradewind.checks.concurrency.races import RACES
from tradewind.checks.concurrency.races.start import Race, Track, money_faults
from tradewind.checks.concurrency.run import Outcome, Report, run_all
from tradewind.checks.concurrency.terminal import evidence, verdict

NAMES = [race.name for race in RACES]
# A bug, the race that must find it, and a word of the sentence that says so.
FAULTS = (
    ("oversells", "last-unit", "oversold"),
    ("keeps one back", "last-unit", "refused for nothing"),
    ("never comes to rest", "last-unit", "come to rest"),
    ("oversells", "crossed-baskets", "oversold"),
    ("deadlocks", "crossed-baskets", "500 deadlock"),
    ("keeps lines of refused orders", "small-after-big", "refused for nothing"),
    ("forgets promises", "stock-set-against-orders", "reserved"),
    ("overwrites counts", "stock-set-against-orders", "on hand"),
    ("completes baskets twice", "double-completion", "orders made of one basket: "),
    ("ignores keys", "twins-in-flight", "answered differently"),
    ("looks keys up first", "twins-in-flight", "orders in the end"),
    ("charges twins", "twins-in-flight", "captured 10.00 + 10.00"),
    ("answers twins differently", "twins-in-flight", "answered differently"),
    ("takes impostors", "twins-in-flight", "another basket was taken"),
    ("looks keys up first", "mixed-twins", "baskets that were taken under one key: 2"),
    ("takes impostors", "mixed-twins", "baskets that were taken under one key: 2"),
    ("shares keys among strangers", "strangers-with-the-same-key", "was shown the order"),
    ("checks carts out twice", "double-checkout", "orders made of one cart: "),
    ("loses changes", "change-during-checkout", "units of an order whose change was done: 1"),
    ("sells what is gone", "discard-against-checkout", "what became of a cart: ['done', 'done']"),
    ("cancels twice", "double-cancel", "moved more than once"),
    ("restocks twice", "double-cancel", "reserved"),
    ("captures cancelled orders", "cancel-against-capture", "is kept"),
    ("refunds too much", "parallel-partial-refunds", "more given back than was taken"),
    ("loses refunds", "parallel-partial-refunds", "refunded by the provider"),
    ("refunds all on cancel", "refunds-against-cancel", "kept of the customer's money: -"),
)


def race(name: str) -> Race:
    return next(race for race in RACES if race.name == name)


async def report_of(shop: MemoryShop, *races: Race, seed: int = 1, rounds: int = 2) -> Report:
    return await run_all(shop, seed=seed, rounds=rounds, races=races)


@pytest.mark.parametrize("name", NAMES)
async def test_a_right_shop_wins_every_race(name: str) -> None:
    report = await report_of(MemoryShop(), race(name), rounds=3)
    (outcome,) = report.outcomes
    assert (outcome.verdict, outcome.violations) == ("holds", [])
    assert report.holds
    assert outcome.rounds == 3
    assert outcome.requests == sum(outcome.answers.values()) > 0


@pytest.mark.parametrize(("fault", "name", "words"), FAULTS)
async def test_a_race_catches_its_bug(fault: str, name: str, words: str) -> None:
    report = await report_of(MemoryShop(fault), race(name))
    (outcome,) = report.outcomes
    assert outcome.verdict == "violated"
    assert not report.holds
    sentences = [text for violation in outcome.violations for text in violation.sentences]
    assert any(words in text for text in sentences), sentences
    assert all(violation.answers for violation in outcome.violations)


def test_every_race_has_a_bug_that_it_catches() -> None:
    assert {name for _, name, _ in FAULTS} == set(NAMES)


@pytest.mark.parametrize("capability", sorted(EVERYTHING))
async def test_what_an_adapter_lacks_is_named_and_not_held_against_it(capability: str) -> None:
    lacking = MemoryShop(capabilities=EVERYTHING - {capability})
    report = await report_of(lacking, *RACES, rounds=1)
    assert report.holds
    left_out = {o.race for o in report.outcomes if o.verdict == "not_applicable"}
    assert left_out == {one.name for one in RACES if capability in one.needs}
    for outcome in report.outcomes:
        if outcome.race in left_out:
            assert evidence(outcome) == [
                f"{outcome.race}: not applicable, the adapter lacks {capability}."
            ]
    if capability != "money":
        assert left_out


async def test_nothing_raced_is_nothing_proved() -> None:
    shop = MemoryShop(capabilities=frozenset())
    report = await report_of(shop, race("double-cancel"))
    assert not report.holds
    assert "0 races hold, 0 violated, 1 not applicable" in verdict(report)


async def test_the_same_seed_draws_the_same_race() -> None:
    async def drawn(seed: int) -> list[int]:
        numbers = []

        async def draw(track: Track) -> None:
            numbers.append(track.dice.randrange(10**9))

        one = Race(name="drawn", holds="It is drawn.", round=draw)
        await report_of(MemoryShop(), one, seed=seed, rounds=3)
        return numbers

    assert await drawn(1) == await drawn(1) != await drawn(2)
    assert len(set(await drawn(1))) == 3


async def test_a_round_that_hangs_is_violated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "ROUND_TIMEOUT_S", 0.05)

    async def hang(track: Track) -> None:
        await asyncio.Event().wait()

    began = time.monotonic()
    one = Race(name="hangs", holds="It ends.", round=hang)
    report = await report_of(MemoryShop(), one, rounds=1)
    assert report.outcomes[0].verdict == "violated"
    assert time.monotonic() - began < 30


def test_evidence_tells_what_was_answered_and_what_is_left() -> None:
    violation = run.Violation(2, ["one too many"], {"order done 201": 3}, ["mug: 0 on hand"])
    outcome = Outcome(race="last-unit", holds="x", verdict="violated", violations=[violation])
    assert evidence(outcome) == [
        "VIOLATED: last-unit, round 2: one too many",
        "    answers: 3 x order done 201",
        "    state: mug: 0 on hand",
    ]


def money(**amounts: str) -> MoneyState:
    return MoneyState(**{name: tuple(map(Decimal, a.split())) for name, a in amounts.items()})


@pytest.mark.parametrize(
    ("status", "moved", "right"),
    [
        ("confirmed", money(authorised="10", captured="10"), True),
        ("confirmed", money(authorised="10"), False),
        ("confirmed", money(authorised="10 10", captured="10 10"), False),
        ("confirmed", money(authorised="10", captured="9"), False),
        ("confirmed", money(authorised="10", captured="10", refunded="10"), False),
        ("cancelled", money(authorised="10", captured="10", refunded="10"), True),
        ("cancelled", money(authorised="10", captured="10", refunded="4 6"), False),
        ("cancelled", money(authorised="10", voided="10"), True),
        ("cancelled", money(authorised="10"), False),
        ("cancelled", money(), True),
        ("cancelled", money(authorised="10", captured="10", refunded="10 10"), False),
        ("rejected", money(), True),
        ("rejected", money(authorised="10"), False),
        ("rejected", money(authorised="10", captured="10"), False),
    ],
)
def test_money_follows_the_order(status: str, moved: MoneyState, right: bool) -> None:
    order = OrderState(status, Decimal(10), {})  # type: ignore[arg-type]
    assert (money_faults(order, moved) == []) is right
