"""How a race is run: everybody at the line, one shot, and a book of what was seen."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import TypeVar

from msgspec import Struct

from tradewind.checks.concurrency.adapter import (
    Adapter,
    Answer,
    Capability,
    MoneyState,
    OrderState,
    StockState,
)

# Half of the starters leave within one turn of the loop, the rest a little later: some bugs need
# requests at the same instant, others need one to overtake the other.
LATE_STARTERS = 0.5
LATE_S_MAX = 0.03
READS_AT_ONCE = 32

Read = TypeVar("Read")


class Book:
    """What a round saw: the evidence, and the sentences that did not hold."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.took_s: list[float] = []
        self.states: list[str] = []
        self.violations: list[str] = []

    def answered(self, what: str, answers: Sequence[Answer]) -> None:
        """Note answers. An error or silence is a violation in every race."""
        for answer in answers:
            self.answers[f"{what} {answer.outcome} {answer.code}".rstrip()] += 1
            self.took_s.append(answer.took_s)
        for outcome, words in (("failed", "an error or nothing"), ("undecided", "no decision")):
            bad = [answer for answer in answers if answer.outcome == outcome]
            if bad:
                codes = ", ".join(sorted({answer.code for answer in bad}))
                self.violations.append(
                    f"{len(bad)} of {len(answers)} requests ({what}) got {words}: {codes}"
                )

    def state(self, sentence: str) -> None:
        """Note a final state."""
        self.states.append(sentence)

    def must(self, holds: bool, sentence: str) -> None:
        """A sentence about what went wrong, unless it did not."""
        if not holds:
            self.violations.append(sentence)

    def must_be(self, what: str, found: object, expected: object) -> None:
        """Something must have exactly this value."""
        self.must(found == expected, f"{what}: {found}, must be {expected}")

    def must_hold(self, sku: str, found: StockState, expected: StockState) -> None:
        """The final counts of a sku."""
        self.state(f"{sku}: {shown(found)}")
        self.must(
            found == expected, f"{sku} ends with {shown(found)}; it must be {shown(expected)}"
        )


class Race(Struct, frozen=True, kw_only=True):
    """A race: its name, the sentence that must hold, what it needs, and one round of it."""

    name: str
    holds: str
    needs: frozenset[Capability] = frozenset()
    round: Callable[["Track"], Awaitable[None]]


class Track(Struct, frozen=True, kw_only=True):
    """What a round gets: the platform, its dice, a prefix for all its names, a book."""

    adapter: Adapter
    dice: random.Random
    mark: str  # part of every sku, key and buyer of this round, and of no other
    book: Book

    async def product(self, name: str, *, units: int, price: str = "10.00") -> str:
        """A fresh product; its sku."""
        sku = f"{self.mark}-{name}"
        await self.adapter.create_product(sku, units=units, price=Decimal(price))
        return sku

    def buyer(self, name: object) -> str:
        """An e-mail address that nobody else has."""
        return f"{self.mark}-{name}@race.example"

    async def at_once(
        self, what: str, calls: Sequence[Callable[[], Awaitable[Answer]]]
    ) -> list[Answer]:
        """All calls, released together, in a drawn order; their answers in the order given."""
        await self.adapter.make_ready(len(calls))
        gate = asyncio.Event()
        order = self.dice.sample(range(len(calls)), len(calls))
        late = [
            self.dice.random() * LATE_S_MAX if self.dice.random() < LATE_STARTERS else 0.0
            for _ in calls
        ]

        async def start(number: int) -> Answer:
            await gate.wait()
            if late[number]:
                await asyncio.sleep(late[number])
            return await calls[number]()

        tasks = {number: asyncio.create_task(start(number)) for number in order}
        await asyncio.sleep(0)  # everybody is at the gate
        gate.set()
        await asyncio.gather(*tasks.values())
        answers = [tasks[number].result() for number in range(len(calls))]
        self.book.answered(what, answers)
        return answers

    async def orders(self, references: Sequence[str]) -> dict[str, OrderState]:
        """Orders at rest, by reference; each once. One that does not come to rest is noted."""
        found = await gathered(self.adapter.read_order, references)
        still = [reference for reference, order in found.items() if order.status == "open"]
        self.book.must(not still, f"{len(still)} orders do not come to rest: {still[:3]}")
        return found

    async def check_money(self, orders: dict[str, OrderState]) -> dict[str, MoneyState]:
        """Who got his goods paid once, nobody else paid; where the record can be read."""
        if "money" not in self.adapter.capabilities:
            return {}
        found = await gathered(self.adapter.read_money, list(orders))
        for reference, order in orders.items():
            for sentence in money_faults(order, found[reference]):
                self.book.must(False, f"order {reference} is {order.status}, but {sentence}")
        return found


def money_faults(order: OrderState, money: MoneyState) -> list[str]:
    """What is wrong with the money of an order that is at rest and was never refunded in part."""
    faults = []
    if order.status == "confirmed":
        if money.captured != (order.total,):
            faults.append(f"captured {spelt(money.captured)} for a total of {order.total}")
        if money.refunded:
            faults.append(f"{spelt(money.refunded)} was refunded")
    else:
        if money.taken != 0:
            faults.append(
                f"captured {spelt(money.captured)} and refunded {spelt(money.refunded)}: "
                f"{money.taken} is kept"
            )
        if len(money.captured) > 1 or len(money.refunded) > 1:
            faults.append(
                f"money moved more than once: captured {spelt(money.captured)}, "
                f"refunded {spelt(money.refunded)}"
            )
        if money.promised:
            faults.append(f"an authorisation of {spelt(money.authorised)} stands")
    return faults


async def gathered(
    read: Callable[[str], Awaitable[Read]], references: Sequence[str]
) -> dict[str, Read]:
    """Read about each reference, a few at once."""
    gate = asyncio.Semaphore(READS_AT_ONCE)

    async def one(reference: str) -> Read:
        async with gate:
            return await read(reference)

    names = list(dict.fromkeys(references))
    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


def with_outcome(answers: Sequence[Answer], outcome: str) -> list[Answer]:
    """The answers of one kind."""
    return [answer for answer in answers if answer.outcome == outcome]


def shown(stock: StockState) -> str:
    """Counts in words."""
    return f"{stock.on_hand} on hand, {stock.reserved} reserved, {stock.available} available"


def spelt(amounts: Sequence[Decimal]) -> str:
    """Amounts in words."""
    return " + ".join(map(str, amounts)) or "nothing"
