"""The search: breadth first, every state once, each with the shortest way that leads to it.

Lives are numbered as they are met, and a state is a tuple of their numbers and the shelf: what was
seen is known exactly, not by a hash. What can happen to a life by itself is found out once.

Two orders meet at the shelf only; whatever else happens to one of them commutes with whatever
happens to the other. So not every interleaving is walked, but one of each kind: what happens to an
order by itself happens right before inventory hears of it again, or after all else. And of two
orders that are alike, the first is the one that inventory hears of first.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from tradewind.checks.life.model import NOW, SKU, Life, Shelf, key_of, order_row, terms_of
from tradewind.checks.life.promises import broken_always, broken_at_rest, broken_shelf
from tradewind.checks.life.steps import names, steps_of
from tradewind.checks.life.units import Broken, Units
from tradewind.contexts.inventory import handlers as inventory_handlers
from tradewind.contexts.inventory import rules as inventory
from tradewind.contexts.inventory.commands import MAIN
from tradewind.contexts.orders.events import OrderLine, OrderPlaced
from tradewind.kernel.messages import Event

LEVELS = (0, 1, 2)
NOBODY = -1
OwnStep = tuple[str, int, int, bool]  # in words, the life after, cost, due
AtShelf = tuple[str, int, int]  # in words, the life after, the shelf after


class Setting(Struct, frozen=True, kw_only=True):
    """What is explored. `tokens`: a card per order. `faults_max` None: as many as there can be."""

    tokens: tuple[str, ...] = ("tok_ok",)
    on_hand: int = 1
    counts_max: int = 1
    faults_max: int | None = None
    topics: bool = False
    states_max: int = 5_000_000
    repeats_max: int = 1  # of what a consumer heard last, how much it is told again

    def __str__(self) -> str:
        faults = "any number of" if self.faults_max is None else f"at most {self.faults_max}"
        return (
            f"{len(self.tokens)} order{'s' * (len(self.tokens) > 1)} ({', '.join(self.tokens)}), "
            f"{self.on_hand} on hand, {self.counts_max} counts, {faults} faults, "
            + ("a topic per context" if self.topics else "one log")
        )


class State(NamedTuple):
    """Lives and the shelf by number, and the faults that may still happen (-1: any)."""

    lives: tuple[int, ...]
    shelf: int
    faults_left: int
    moving: int = NOBODY  # whose steps come next, until inventory hears of that order


class Found(Struct, frozen=True, kw_only=True):
    """What a search came to. `broken` and its `trace`: the first promise that does not hold."""

    setting: Setting
    states: int
    lives: int
    steps: int
    at_rest: int
    depth: int
    took_s: float
    whole: bool  # every state within the setting was visited
    broken: str = ""
    trace: tuple[str, ...] = ()


class BrokenAt(Exception):
    """A promise does not hold after a step."""

    def __init__(self, words: str, promise: object) -> None:
        super().__init__(words, promise)
        self.words = words
        self.promise = str(promise) or repr(promise)


class Search:
    """One search; `run` it once."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.units = Units(topics=setting.topics)
        self.lives: list[Life] = []
        self.shelves: list[Shelf] = []
        self.shelf_numbers: dict[Shelf, int] = {}
        self.numbers: dict[tuple[Any, ...], int] = {}
        self.own_steps: dict[tuple[int, bool], list[OwnStep]] = {}
        self.resting: dict[int, bool] = {}
        self.at_shelf: dict[tuple[int, int], list[AtShelf]] = {}
        self.came_from: dict[State, tuple[State, str] | None] = {}
        self.steps = self.at_rest = 0
        self.stream = next(n for n, (who, _) in enumerate(self.units.streams) if who == "inventory")

    def waiting(self, life: Life) -> tuple[Event, ...]:
        """What inventory has yet to hear about an order."""
        return life.inboxes[self.stream]

    def run(self) -> Found:
        """Visit every state, or find the nearest one in which a promise is broken."""
        began_at = time.monotonic()
        first = self.first()
        self.came_from[first] = None
        ahead = deque([(first, 0)])
        state, depth, broken = first, 0, ""
        trace: list[str] = []
        try:
            while ahead and len(self.came_from) < self.setting.states_max:
                state, depth = ahead.popleft()
                self.look_at(state)
                for after, words in self.after(state):
                    self.steps += 1
                    if after not in self.came_from:
                        self.came_from[after] = (state, words)
                        ahead.append((after, depth + 1))
        except BrokenAt as found:
            broken, trace = found.promise, [*self.way_to(state), found.words]
        return Found(
            setting=self.setting,
            states=len(self.came_from),
            lives=len(self.lives),
            steps=self.steps,
            at_rest=self.at_rest,
            depth=depth,
            took_s=time.monotonic() - began_at,
            whole=not ahead and not broken,
            broken=broken,
            trace=tuple(trace),
        )

    # -- promises

    def look_at(self, state: State) -> None:
        """Hold the promises of rest against a state in which nothing is under way."""
        resting = [self.rests(number) for number in state.lives]
        self.at_rest += all(resting)

    def rests(self, number: int) -> bool:
        """Whether nothing is under way about an order; then its promises are looked at, once."""
        known = self.resting.get(number)
        if known is None:
            life = self.lives[number]
            due = any(due for *_, due in self.steps_by_itself(number, False))
            known = self.resting[number] = not (due or self.waiting(life))
            for promise in broken_at_rest(life) if known else ():
                raise BrokenAt(f"order {life.number} is at rest", promise)
        return known

    def number_of(self, life: Life) -> int:
        """The number of a life: that of the same life, where it was met before.

        Of a new one, every promise is looked at. Raises `Broken`.
        """
        key = key_of(life)
        number = self.numbers.get(key)
        if number is None:
            for promise in broken_always(life):
                raise Broken(promise)
            self.hear_again(life, key)
            number = self.numbers[key] = len(self.lives)
            self.lives.append(life)
        return number

    def hear_again(self, life: Life, key: tuple[Any, ...]) -> None:
        """What a consumer has heard changes nothing when it is heard again. Raises `Broken`."""
        for (consumer, _), heard in zip(self.units.streams, life.heard, strict=False):
            for event in dict.fromkeys(heard[-self.setting.repeats_max :]):
                if consumer == "inventory":
                    kept = life.reservation
                    living = kept is not None and kept.status in ("reserved", "allocated")
                    shelf = Shelf(on_hand=2, reserved=int(living))
                    requests = inventory_handlers.requests_in(event, NOW)  # type: ignore[arg-type]
                    after, shelf_after = self.units.keep([life], shelf, requests)
                    again, same = after[0], shelf_after.reserved == shelf.reserved
                else:
                    again, same = self.units.hear(life, consumer, [event]), True
                if not same or key_of(again) != key:
                    raise Broken(f"{consumer} hears {names((event,))} again, and it has an effect")

    def way_to(self, state: State) -> list[str]:
        """The shortest way to a state, a sentence for each step."""
        words: list[str] = []
        came = self.came_from[state]
        while came is not None:
            state, step = came
            words.append(step)
            came = self.came_from[state]
        return words[::-1]

    # -- states

    def first(self) -> State:
        """Every order placed, nothing heard yet."""
        numbers = [self.number_of(self.placed(n, t)) for n, t in enumerate(self.setting.tokens, 1)]
        shelf = Shelf(self.setting.on_hand, counts_left=self.setting.counts_max)
        faults = -1 if self.setting.faults_max is None else self.setting.faults_max
        return State(tuple(numbers), self.number_of_shelf(shelf), faults)

    def placed(self, number: int, token: str) -> Life:
        """An order as it was just placed."""
        terms = terms_of(number, token)
        line = OrderLine(
            sku=SKU,
            quantity=1,
            unit_price_e4=terms.amount_minor * 100,
            total_minor=terms.amount_minor,
            title="Mug",
        )
        event = OrderPlaced(
            sequence=1,
            order_id=terms.order_id,
            lines=(line,),
            currency=terms.currency,
            subtotal_minor=terms.amount_minor,
            shipping_minor=0,
            tax_minor=0,
            discount_minor=0,
            fees_minor=0,
            total_minor=terms.amount_minor,
            channel="web",
            payment=terms,
            placed_at=terms.placed_at,
        )
        inboxes = tuple(() for _ in self.units.streams)
        life = Life(number=number, order=order_row(number), inboxes=inboxes)
        return self.units.announce(life, "orders", [event])

    def number_of_shelf(self, shelf: Shelf) -> int:
        """The number of a shelf."""
        number = self.shelf_numbers.setdefault(shelf, len(self.shelves))
        if number == len(self.shelves):
            self.shelves.append(shelf)
        return number

    def after(self, state: State) -> Iterator[tuple[State, str]]:
        """Every state that one step leads to. Raises `BrokenAt`."""
        for place in self.movable(state):
            number = state.lives[place]
            for words, after, cost, _ in self.steps_by_itself(number, state.faults_left != 0):
                lives = (*state.lives[:place], after, *state.lives[place + 1 :])
                left = state.faults_left - cost if state.faults_left > 0 else state.faults_left
                moving = place if len(lives) > 1 else NOBODY
                yield State(lives, state.shelf, left, moving), words
        yield from self.at_the_shelf(state)

    def unheard(self, number: int) -> bool:
        """Whether inventory has not heard of an order yet."""
        return self.lives[number].reservation is None

    def movable(self, state: State) -> Sequence[int]:
        """Which orders the next step may be about."""
        if state.moving != NOBODY:
            return (state.moving,)
        if len(set(self.setting.tokens)) == 1 and self.unheard(state.lives[0]):
            return (0,)
        return range(len(state.lives))

    def told_of(self, number: int, words: str) -> str:
        """A step, and whose."""
        return f"order {self.lives[number].number}: {words}"

    def steps_by_itself(self, number: int, faults: bool) -> list[OwnStep]:
        """What can happen to a life without the shelf, with or without faults."""
        healthy = self.found_out(number, False)
        return healthy + self.found_out(number, True) if faults else healthy

    def found_out(self, number: int, faulty: bool) -> list[OwnStep]:
        """The steps of a life that are faults, or those that are not; found out once."""
        steps = self.own_steps.get((number, faulty))
        if steps is None:
            steps = []
            for step in steps_of(self.units, self.lives[number]):
                if bool(step.cost) != faulty:
                    continue
                try:
                    after = self.number_of(step.make())
                except (Broken, AssertionError) as broken:
                    raise BrokenAt(self.told_of(number, step.words), broken) from broken
                if after != number:
                    steps.append((self.told_of(number, step.words), after, step.cost, step.due))
            self.own_steps[number, faulty] = steps
        return steps

    def at_the_shelf(self, state: State) -> Iterator[tuple[State, str]]:
        """Inventory hears about an order; somebody counts."""
        for place in self.movable(state):
            for words, number, shelf in self.heard_at(state.lives[place], state.shelf):
                lives = (*state.lives[:place], number, *state.lives[place + 1 :])
                yield self.looked_at(State(lives, shelf, state.faults_left), words), words
        if state.moving == NOBODY:
            for words, _, shelf in self.counted_at(state.shelf):
                after = State(state.lives, shelf, state.faults_left)
                yield self.looked_at(after, words), words

    def looked_at(self, state: State, words: str) -> State:
        """A state after a unit of inventory, if no unit is promised twice. Raises `BrokenAt`."""
        lives = [self.lives[number] for number in state.lives]
        for promise in broken_shelf(self.shelves[state.shelf], lives):
            raise BrokenAt(words, promise)
        return state

    def heard_at(self, number: int, shelf: int) -> list[AtShelf]:
        """What becomes of a life and the shelf when inventory hears of the order; found out once:
        a unit about one order touches no other.
        """
        found = self.at_shelf.get((number, shelf))
        if found is None:
            found = self.at_shelf[number, shelf] = []
            waiting = len(self.waiting(self.lives[number]))
            for count in {1, waiting} if waiting else ():
                taken, events = self.units.take(self.lives[number], self.stream, count)
                requests = [r for e in events for r in inventory_handlers.requests_in(e, NOW)]  # type: ignore[arg-type]
                words = self.told_of(number, f"inventory hears {names(events)}")
                found.append(self.kept([taken], shelf, requests, words))
        return found

    def counted_at(self, shelf: int) -> list[AtShelf]:
        """What becomes of the shelf when somebody counts."""
        found = self.at_shelf.get((NOBODY, shelf))
        if found is None:
            found = self.at_shelf[NOBODY, shelf] = []
            for level in LEVELS if self.shelves[shelf].counts_left else ():
                request = inventory.Count(SKU, MAIN, level, "cred_3")
                found.append(self.kept([], shelf, [request], f"{level} are counted"))
        return found

    def kept(
        self, lives: Sequence[Life], shelf: int, requests: Sequence[inventory.Request], words: str
    ) -> AtShelf:
        """One unit of inventory."""
        try:
            after, shelf_after = self.units.keep(lives, self.shelves[shelf], requests)
            numbers = [self.number_of(life) for life in after]
        except (Broken, AssertionError) as broken:
            raise BrokenAt(words, broken) from broken
        return words, numbers[0] if numbers else NOBODY, self.number_of_shelf(shelf_after)
