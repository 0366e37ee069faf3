"""Codes as products, and how many units there must have been when the history began."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from tradewind.kernel.money import format_e4
from tradewind.samples.history.actions import Cancel, Credit, Move, Place, Plan, Return
from tradewind.samples.history.codes import is_goods
from tradewind.samples.history.source import CURRENCY, SourceLine

# What comes back on a trading day is counted on for the orders of the day after the next. The
# replay keeps to it: it begins no day before the last but one is done.
DAYS_APART = 2


class Ware:
    """What the lines of one code say about it."""

    __slots__ = ("prices", "titles")

    def __init__(self) -> None:
        # How often, and where last: of two that are as usual, the newer counts.
        self.titles: dict[str, tuple[int, int]] = {}
        self.prices: dict[int, tuple[int, int]] = {}


def usual(seen: Mapping[Any, tuple[int, int]]) -> Any:
    """What was seen most often; of two, the newer. None where nothing was."""
    return max(seen, key=lambda one: seen[one], default=None)


def wares(lines: Iterable[SourceLine]) -> dict[str, Ware]:
    """The goods of an order book, by sku."""
    found: dict[str, Ware] = defaultdict(Ware)
    for place, line in enumerate(lines):
        if not is_goods(line.sku):
            continue
        ware = found[line.sku]
        if title := line.words:
            ware.titles[title] = (ware.titles.get(title, (0, 0))[0] + 1, place)
        if line.unit_price_e4 > 0:
            price = line.unit_price_e4
            ware.prices[price] = (ware.prices.get(price, (0, 0))[0] + 1, place)
    return dict(sorted(found.items()))


def products(plan: Plan) -> Iterator[bytes]:
    """The products of an order book with their opening stock, as POST /v1/imports/products takes
    them: one JSON object a line.

    Title: the most usual description that is not empty, without blanks around it. Price: the most
    usual one above zero. Of two that are as usual, the newer. A code that never had one is called
    by its code, and costs nothing.
    """
    opening = opening_stock(plan)
    for sku, ware in wares(plan.source).items():
        price = {"amount": format_e4(usual(ware.prices) or 0, CURRENCY), "currency": CURRENCY}
        variant = {"sku": sku, "price": price, "on_hand": opening.get(sku, 0)}
        product = {"external_id": sku, "title": usual(ware.titles) or sku, "variants": [variant]}
        yield msgspec.json.encode(product) + b"\n"


def opening_stock(plan: Plan) -> dict[str, int]:
    """As many units of each sku as make the whole history possible, and not one more.

    That is the highest sum, over time, of what had gone by then (ordered, written off, given away)
    less what had come back `DAYS_APART` trading days before (called off, returned, found).
    """
    gone: Counter[str] = Counter()
    highest: dict[str, int] = {}
    number = {day: index for index, day in enumerate(plan.days)}
    coming: dict[int, Counter[str]] = defaultdict(Counter)
    today = 0
    for action in plan.actions:
        while today < number[action.day]:
            today += 1
            gone.subtract(coming.pop(today, Counter()))
        for sku, units in moved(action):
            if units > 0:
                coming[number[action.day] + DAYS_APART][sku] += units
            else:
                gone[sku] -= units
                highest[sku] = max(highest.get(sku, 0), gone[sku])
    return highest


def moved(action: Any) -> Iterator[tuple[str, int]]:
    """Which units an action takes from what is free (below zero), and which it brings back."""
    match action:
        case Place():
            for part in action.lines:
                yield part.line.sku, -part.units
        case Cancel() | Credit():
            for part in action.parts:
                if is_goods(part.line.sku) and part.units < 0:
                    yield part.line.sku, -part.units
        case Return():
            for line in action.lines:
                yield line.parts[0].line.sku, line.units
        case Move():
            yield action.part.line.sku, action.quantity
