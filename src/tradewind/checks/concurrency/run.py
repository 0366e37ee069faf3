"""Runs the races round by round, and says which of their sentences hold."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from tradewind.checks.concurrency.adapter import Adapter
from tradewind.checks.concurrency.races import RACES
from tradewind.checks.concurrency.races.start import Book, Race, Track

ROUNDS = 3
# A round takes a second or two; one that hangs must end with a verdict, too.
ROUND_TIMEOUT_S = 180
STATES_KEPT = 6

Verdict = Literal["holds", "violated", "not_applicable"]


class Violation(Struct, frozen=True):
    """What went wrong in a round, with what was seen there."""

    round: int
    sentences: Sequence[str]
    answers: dict[str, int]
    states: Sequence[str]


class Outcome(Struct, frozen=True, kw_only=True):
    """What a race came to."""

    race: str
    holds: str  # the sentence
    verdict: Verdict
    lacks: Sequence[str] = ()  # capabilities of the adapter, where it is not applicable
    rounds: int = 0
    requests: int = 0
    answers: dict[str, int] = {}
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    took_s: float = 0.0
    violations: Sequence[Violation] = ()


class Report(Struct, frozen=True, kw_only=True):
    """The verdict on a platform. The same seed draws the same races."""

    platform: str
    seed: int
    rounds: int
    outcomes: Sequence[Outcome]

    @property
    def holds(self) -> bool:
        """Whether something was raced and nothing was violated."""
        verdicts = {outcome.verdict for outcome in self.outcomes}
        return "violated" not in verdicts and "holds" in verdicts


async def run_all(
    adapter: Adapter,
    *,
    seed: int,
    rounds: int = ROUNDS,
    races: Sequence[Race] = RACES,
    told: Callable[[Outcome], None] = lambda _: None,
) -> Report:
    """Every race, one after the other; `told` hears of each. Raises `AdapterBroken`."""
    # Names of another run of the same seed are taken already.
    run = f"{random.SystemRandom().getrandbits(32):08x}"
    outcomes = []
    for race in races:
        outcome = await run_race(adapter, race, seed=seed, rounds=rounds, run=run)
        outcomes.append(outcome)
        told(outcome)
    return Report(platform=adapter.name, seed=seed, rounds=rounds, outcomes=outcomes)


async def run_race(adapter: Adapter, race: Race, *, seed: int, rounds: int, run: str) -> Outcome:
    """All rounds of one race."""
    lacks = sorted(race.needs - adapter.capabilities)
    if lacks:
        return Outcome(race=race.name, holds=race.holds, verdict="not_applicable", lacks=lacks)
    began = time.monotonic()
    answers: Counter[str] = Counter()
    took_s: list[float] = []
    violations = []
    for number in range(1, rounds + 1):
        book = await run_round(adapter, race, seed=seed, number=number, run=run)
        answers += book.answers
        took_s += book.took_s
        if book.violations:
            kept = book.states[:STATES_KEPT]
            violations.append(Violation(number, book.violations, dict(book.answers), kept))
    took_s.sort()
    return Outcome(
        race=race.name,
        holds=race.holds,
        verdict="violated" if violations else "holds",
        rounds=rounds,
        requests=len(took_s),
        answers=dict(answers.most_common()),
        p50_ms=share_ms(took_s, 0.50),
        p99_ms=share_ms(took_s, 0.99),
        took_s=time.monotonic() - began,
        violations=violations,
    )


async def run_round(adapter: Adapter, race: Race, *, seed: int, number: int, run: str) -> Book:
    """One round. Its dice depend on seed, race and number only."""
    book = Book()
    track = Track(
        adapter=adapter,
        dice=random.Random(f"{seed}:{race.name}:{number}"),
        mark=f"{race.name}-{run}-{number}",
        book=book,
    )
    try:
        async with asyncio.timeout(ROUND_TIMEOUT_S):
            await race.round(track)
    except TimeoutError:
        book.must(False, f"the round did not end within {ROUND_TIMEOUT_S} s")
    return book


def share_ms(took_s: Sequence[float], share: float) -> float:
    """The time within which this share of requests was answered; `took_s` is sorted."""
    if not took_s:
        return 0.0
    return round(took_s[min(len(took_s) - 1, int(share * len(took_s)))] * 1_000, 1)
