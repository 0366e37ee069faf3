"""Which sale a cancellation takes back: the source does not say, so the latest that fits is taken.

A line of a cancellation is matched greedily to the latest earlier sales of the same customer and
code at the same price or more, so that no refund exceeds what was paid.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from msgspec import Struct

from tradewind.samples.history.actions import Place, ReturnedLine
from tradewind.samples.history.source import Part, SourceLine


class Sold:
    """What of one sold line, or fee, has not been taken back yet."""

    __slots__ = ("left", "left_minor", "number", "order", "part")

    def __init__(self, order: Place, number: int, part: Part) -> None:
        self.order = order
        self.number = number  # of the line in its order, from 1; 0: a fee
        self.part = part
        self.left = part.units
        self.left_minor = part.total_minor


class Taken(Struct, frozen=True):
    """Units of a line of a cancellation, and the sale they take back."""

    part: Part  # below zero
    sold: Sold
    refund_minor: int


class Sales:
    """The sales so far that a cancellation may be about."""

    def __init__(self) -> None:
        self._by_customer: dict[tuple[str, str], list[Sold]] = defaultdict(list)
        self._by_order: dict[str, list[Sold]] = {}

    def add(self, order: Place) -> None:
        """Remember an order. Guests are not: nothing that comes later can name them."""
        sold = [Sold(order, number, part) for number, part in enumerate(order.lines, start=1)]
        sold += [Sold(order, 0, part) for part in order.fees]
        self._by_order[order.name] = sold
        for one in sold:
            if one.part.line.customer:
                self._by_customer[one.part.line.customer, one.part.line.sku].append(one)

    def take_back(self, line: SourceLine) -> tuple[list[Taken], Part | None]:
        """A line of a cancellation as what it takes from which sale, and the units without one."""
        wanted, first = -line.quantity, True
        taken: list[Taken] = []
        for sold in reversed(self._by_customer.get((line.customer, line.sku), ())):
            units = min(wanted, sold.left)
            if units <= 0 or sold.part.line.unit_price_e4 < line.unit_price_e4:
                continue
            part = Part(line, -units, first)
            refund_minor = min(-part.total_minor, sold.left_minor)
            taken.append(Taken(part, sold, refund_minor))
            sold.left -= units
            sold.left_minor -= refund_minor
            wanted, first = wanted - units, False
        return taken, Part(line, -wanted, first) if wanted else None

    def undo(self, taken: Iterable[Taken]) -> None:
        """What was taken back is not, after all."""
        for one in taken:
            one.sold.left -= one.part.units
            one.sold.left_minor += one.refund_minor

    def is_whole(self, order: str, taken: Iterable[Taken]) -> bool:
        """Whether this takes everything of an order back, at the price that was paid."""
        return not any(sold.left for sold in self._by_order[order]) and all(
            one.part.line.unit_price_e4 == one.sold.part.line.unit_price_e4 for one in taken
        )


def returned_lines(taken: Iterable[Taken]) -> Iterator[ReturnedLine]:
    """What comes back of each line of one order, in the order of its lines."""
    by_number: dict[int, list[Taken]] = defaultdict(list)
    for one in taken:
        if one.sold.number:
            by_number[one.sold.number].append(one)
    for number, of_line in sorted(by_number.items()):
        yield ReturnedLine(
            number,
            -sum(one.part.units for one in of_line),
            sum(one.refund_minor for one in of_line),
            tuple(one.part for one in of_line),
        )
