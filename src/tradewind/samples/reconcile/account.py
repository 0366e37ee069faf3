"""Where each source line went: its units and its value, to the last fraction of a penny, in one
place each. Pure.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from tradewind.kernel.money import format_e4
from tradewind.samples.history import (
    CURRENCY,
    Action,
    Cancel,
    Credit,
    Move,
    Part,
    Place,
    Plan,
    Return,
    Ship,
    moved,
)
from tradewind.samples.replay import Outcomes

LEFT_OUT = "left out: "
# The order of the table.
STARTS = ("ordered", "order refused", "cancelled", "returned", "credited", "stock", "not ")


class Row(Struct):
    """One place where source lines went."""

    place: str
    lines: int = 0
    units: int = 0
    value_e4: int = 0

    def add(self, part: Part) -> None:
        """Count a part of a source line."""
        self.lines += part.first
        self.units += part.units
        self.value_e4 += part.value_e4

    def add_row(self, row: "Row") -> None:
        """Count a whole row."""
        self.lines += row.lines
        self.units += row.units
        self.value_e4 += row.value_e4

    @property
    def value(self) -> str:
        """The value in pounds, exactly."""
        return exact(self.value_e4)

    def same_as(self, other: "Row") -> bool:
        """Whether two rows add up to the same."""
        mine, others = (self.lines, self.units, self.value_e4), other
        return mine == (others.lines, others.units, others.value_e4)


class Expected(Struct):
    """What the platform must report about the replay, if it did what it answered. In pence."""

    confirmed: int = 0
    refused: int = 0
    shipped: int = 0
    cancelled: int = 0
    returns: int = 0
    credits: int = 0
    ordered_minor: int = 0
    cancelled_minor: int = 0
    returned_minor: int = 0
    credited_minor: int = 0
    rounded_e4: int = 0  # exact less booked
    by_month_minor: Counter[str] = field(default_factory=Counter)  # orders that were confirmed
    by_country_minor: Counter[str] = field(default_factory=Counter)
    back_minor: Counter[str] = field(default_factory=Counter)  # by order: refunded or voided
    moved: Counter[str] = field(default_factory=Counter)  # by sku: units on hand since the opening


class Account(Struct, frozen=True):
    """Every place, what all of them add up to, and what the source does."""

    rows: tuple[Row, ...]
    accounted: Row
    source: Row
    astray: tuple[int, ...]  # lines whose units are not all in the places, or there too often

    @property
    def complete(self) -> bool:
        """Whether every line is accounted for, in whole units."""
        return self.accounted.same_as(self.source) and not self.astray


def account(plan: Plan, outcomes: Outcomes) -> Account:
    """Go through the plan and what became of it, and count each line where it went."""
    rows: dict[str, Row] = {}
    units: Counter[int] = Counter()
    for place, part in places(plan, outcomes):
        rows.setdefault(place, Row(place)).add(part)
        units[part.line.line_no] += part.units
    source, accounted = Row("source"), Row("accounted for")
    for line in plan.source:
        source.add(Part(line, line.quantity))
    for row in rows.values():
        accounted.add_row(row)
    return Account(
        rows=tuple(rows[name] for name in sorted(rows, key=row_order)),
        accounted=accounted,
        source=source,
        astray=tuple(n.line_no for n in plan.source if units[n.line_no] != n.quantity),
    )


def places(plan: Plan, outcomes: Outcomes) -> Iterator[tuple[str, Part]]:
    """Each part of a line with the words for where it went. What was not tried is missing."""
    for action in plan.actions:
        outcome = outcomes.of(action)
        if outcome is None:
            continue
        if isinstance(action, Place):
            where = "ordered" if outcome.done else f"order refused: {outcome.why_not}"
            yield from ((f"{where}, goods", part) for part in action.lines)
            yield from ((f"{where}, fees", part) for part in action.fees)
        else:
            where = done(action) if outcome.done else f"{undone(action)}: {outcome.why_not}"
            yield from ((where, part) for part in action.parts)
    for reason, parts in plan.left_out.items():
        yield from ((LEFT_OUT + reason, part) for part in parts)


def done(action: Action) -> str:
    """Where the lines of an action are that was done."""
    match action:
        case Cancel():
            return "cancelled before it shipped: stock and money back"
        case Return():
            return "returned and refunded: goods back on the shelf"
        case Credit():
            return "credited: a note without an order"
        case Move():
            return f"stock: {action.movement.replace('_', ' ')}"
        case _:
            return action.kind


def undone(action: Action) -> str:
    """Where the lines of an action are that was not."""
    words = {"cancel": "cancelled", "return": "returned", "credit": "credited", "move": "moved"}
    return f"not {words.get(action.kind, action.kind)}"


def row_order(place: str) -> tuple[int, str]:
    """What was ordered first, what was left out last."""
    start = next((i for i, s in enumerate(STARTS) if place.startswith(s)), len(STARTS))
    return start, place


def expect(plan: Plan, outcomes: Outcomes) -> Expected:
    """The figures that follow from the source and from the answers."""
    expected = Expected()
    orders: dict[str, Place] = {}
    for action in plan.actions:
        outcome = outcomes.of(action)
        if isinstance(action, Place):
            orders[action.name] = action
            expected.refused += bool(outcome and not outcome.done and outcome.id)
        if outcome is None or not outcome.done:
            continue
        booked_minor = book(expected, action, orders)
        exact_e4 = sum(part.value_e4 for part in action.parts)
        expected.rounded_e4 += exact_e4 - booked_minor * 100
        # Units leave the shelf when they are shipped, and come back to it.
        shipped = orders[action.order] if isinstance(action, Ship) else action
        if not isinstance(action, Place | Cancel):
            for sku, quantity in moved(shipped):
                expected.moved[sku] += quantity
    return expected


def book(expected: Expected, action: Action, orders: dict[str, Place]) -> int:
    """Count an action that was done; the pence that it booked, below zero where they went back."""
    match action:
        case Place():
            expected.confirmed += 1
            expected.ordered_minor += action.total_minor
            expected.by_month_minor[action.day[:7]] += action.total_minor
            expected.by_country_minor[action.country] += action.total_minor
            return action.total_minor
        case Cancel():
            whole = orders[action.order].total_minor
            expected.cancelled += 1
            expected.cancelled_minor += whole
            expected.back_minor[action.order] += whole
            return -whole
        case Return():
            expected.returns += 1
            expected.returned_minor += action.refund_minor
            expected.back_minor[action.order] += action.refund_minor
            return -action.refund_minor
        case Credit():
            expected.credits += 1
            expected.credited_minor += action.total_minor
            return -action.total_minor
        case Ship():
            expected.shipped += 1
    return 0


def exact(value_e4: int) -> str:
    """An amount in pounds with all its digits."""
    sign = "-" if value_e4 < 0 else ""
    return sign + format_e4(abs(value_e4), CURRENCY)


def grouped(values: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Sums by name."""
    sums: dict[str, int] = defaultdict(int)
    for name, value in values:
        sums[name] += value
    return dict(sums)
