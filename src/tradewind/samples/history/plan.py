"""From the lines of an old order book to a plan: what to place, give back, move, leave out.

Every source line ends in exactly one place of the plan, in whole units, so that the plan always
adds up to its source: lines, units and value. The rules, by the first letter of the invoice:

* C: a cancellation. Where a sale is found it is taken back: a whole order, before it ships at the
  end of its trading day, is called off; anything else is a return of what was shipped, together
  with fees that go back with goods of the same order. Where no sale is found, or only a fee
  is taken back, it is a credit note.
* anything else: a sale. Goods are lines of its order, at their price, which may be 0; an
  invoice of fees alone is an order without lines. An invoice that comes to nothing
  moves stock: its units are given away where a customer is named, found where none is. A negative
  quantity at price 0 writes units off. A negative amount (bad debt) is credited.

What none of this fits is left out, with the reason. An invoice with two times was written at the
first of them; equal lines of one invoice are both real; a customer nobody wrote down is a guest of
that one invoice.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from tradewind.samples.countries import COUNTRIES
from tradewind.samples.history.actions import (
    Action,
    Cancel,
    Credit,
    Move,
    Movement,
    Place,
    Plan,
    Return,
    Ship,
)
from tradewind.samples.history.codes import is_goods
from tradewind.samples.history.matching import Sales, Taken, returned_lines
from tradewind.samples.history.source import Part, SourceLine, end_of

# As many lines as an order, or a credit note, may have on the wire.
LINES_MAX = 1_000

# Why a line stays out of the replay. The words are those of the reconciliation table.
OUTSIDE = "product outside the sample"
NO_STOCK = "moves units of a fee, which has no stock"
NO_UNITS = "no units"
NO_AMOUNT = "less than a penny of a fee"
NO_SENSE = "neither a sale nor a credit: minus units at a minus price"
CANCELS_MORE = "cancels a minus: units come where they should go"

Rows = Sequence[SourceLine]


def make_plan(source: Iterable[SourceLine], *, skus: frozenset[str] | None = None) -> Plan:
    """What to do with the lines of an order book.

    `skus`: the goods that are on sale, in capitals, where that is not all that stands in it.
    """
    lines = tuple(source)
    invoices: dict[str, list[SourceLine]] = defaultdict(list)
    for line in lines:
        invoices[line.invoice].append(line)
    days: dict[str, list[Rows]] = defaultdict(list)
    for rows in sorted(invoices.values(), key=lambda rows: (head(rows).at, rows[0].line_no)):
        days[head(rows).day].append(rows)
    planner = Planner(skus)
    actions: list[Action] = []
    for day in sorted(days):
        actions += planner.trade(day, days[day])
    strange = {line.country_name for line in lines} - set(COUNTRIES)
    return Plan(
        actions=tuple(actions),
        left_out={reason: tuple(parts) for reason, parts in sorted(planner.left_out.items())},
        source=lines,
        days=tuple(dict.fromkeys(action.day for action in actions)),
        unknown_countries=tuple(sorted(strange)),
    )


def head(rows: Rows) -> SourceLine:
    """The line that says when an invoice was written."""
    return min(rows, key=lambda line: line.at)


class Planner:
    """Goes through the trading days; knows the sales so far."""

    def __init__(self, skus: frozenset[str] | None) -> None:
        self._skus = skus
        self.left_out: dict[str, list[Part]] = defaultdict(list)
        self._sales = Sales()
        # Of the day at hand:
        self._day = ""
        self._heads: dict[str, SourceLine] = {}  # by invoice: the line that says when
        self._placed: dict[str, Place] = {}
        self._moves: list[Move] = []
        self._taken: dict[str, dict[str, list[Taken]]] = {}  # by order, by cancellation
        self._credited: dict[str, list[Part]] = {}  # by invoice

    def trade(self, day: str, invoices: Iterable[Rows]) -> list[Action]:
        """Everything that is to be done for the invoices of one day, in the order of time."""
        self._day, self._heads = day, {}
        self._placed, self._moves, self._taken, self._credited = {}, [], {}, {}
        for rows in invoices:
            self._heads[rows[0].invoice] = head(rows)
            lines = [line for line in rows if self._is_on_sale(line)]
            if rows[0].invoice.startswith("C"):
                for line in lines:
                    self._take_back(line)
            elif lines:
                self._sell(lines)
        cancels = list(self._cancels())
        ships = self._ships({cancel.order for cancel in cancels})
        # What may end as a credit, or as units that were found, comes before those are counted.
        returns = list(self._returns())
        actions: list[Action] = [*self._placed.values(), *self._moves]
        actions += [*cancels, *ships, *returns, *self._credits()]
        return sorted(actions, key=lambda action: action.at)

    def _leave_out(self, reason: str, part: Part) -> None:
        self.left_out[reason].append(part)

    def _is_on_sale(self, line: SourceLine) -> bool:
        outside = self._skus is not None and is_goods(line.sku) and line.sku not in self._skus
        if outside:
            self._leave_out(OUTSIDE, Part(line, line.quantity))
        return not outside

    # -- sales

    def _sell(self, rows: Rows) -> None:
        """An invoice that is no cancellation."""
        sold: list[SourceLine] = []
        for line in rows:
            part = Part(line, line.quantity)
            if line.value_e4 < 0:
                self._credit(part)
            elif line.quantity > 0:
                sold.append(line)
            elif line.quantity == 0:
                self._leave_out(NO_UNITS, part)
            elif line.value_e4 > 0:
                self._leave_out(NO_SENSE, part)
            else:
                self._move(part, "write_off", line.quantity)
        if not sum(Part(line, line.quantity).total_minor for line in sold):
            for line in sold:
                part = Part(line, line.quantity)
                if line.customer:
                    self._move(part, "given_away", -line.quantity)
                else:
                    self._move(part, "found", line.quantity)
            return
        for order in orders(self._heads[rows[0].invoice], sold):
            self._sales.add(order)
            self._placed[order.name] = order

    def _move(self, part: Part, movement: Movement, quantity: int) -> None:
        line = part.line
        if not is_goods(line.sku):
            self._leave_out(NO_AMOUNT if line.value_e4 else NO_STOCK, part)
            return
        self._moves.append(
            Move(
                name=f"{line.invoice}/{line.line_no}",
                at=self._heads[line.invoice].at,
                day=self._day,
                part=part,
                movement=movement,
                quantity=quantity,
            )
        )

    # -- cancellations

    def _take_back(self, line: SourceLine) -> None:
        """A line of a cancellation."""
        if line.quantity >= 0 or line.unit_price_e4 < 0:
            reason = NO_UNITS if line.quantity == 0 else CANCELS_MORE
            self._leave_out(reason, Part(line, line.quantity))
            return
        taken, rest = self._sales.take_back(line)
        for one in taken:
            of_order = self._taken.setdefault(one.sold.order.name, {})
            of_order.setdefault(line.invoice, []).append(one)
        if rest is not None:
            self._credit(rest)

    def _credit(self, part: Part) -> None:
        if part.total_minor:
            self._credited.setdefault(part.line.invoice, []).append(part)
        elif is_goods(part.line.sku) and part.units < 0:
            self._move(part, "found", -part.units)
        else:
            self._leave_out(NO_AMOUNT, part)

    def _cancels(self) -> Iterator[Cancel]:
        """Orders of the day of which nothing is left. They do not ship."""
        for order in [order for order in self._placed if order in self._taken]:
            by_invoice = self._taken[order]
            taken = [one for parts in by_invoice.values() for one in parts]
            if self._sales.is_whole(order, taken):
                del self._taken[order]
                parts = tuple(one.part for one in taken)
                at = max(self._heads[invoice].at for invoice in by_invoice)
                yield Cancel(order=order, at=at, day=self._day, parts=parts)

    def _ships(self, cancelled: set[str]) -> Iterator[Ship]:
        """Every order of the day that was not called off."""
        for order in self._placed:
            if order not in cancelled:
                yield Ship(order=order, at=end_of(self._day), day=self._day)

    def _returns(self) -> Iterator[Return]:
        """What comes back of shipped orders; fees alone are credited instead."""
        for order, by_invoice in self._taken.items():
            for invoice, taken in by_invoice.items():
                lines = tuple(returned_lines(taken))
                if not lines:
                    self._sales.undo(taken)
                    for one in taken:
                        self._credit(one.part)
                    continue
                fees = [one for one in taken if not one.sold.number]
                written_at = self._heads[invoice].at
                at = end_of(self._day) if order in self._placed else written_at
                yield Return(
                    invoice=invoice,
                    order=order,
                    at=at,
                    day=self._day,
                    lines=lines,
                    fees=tuple(one.part for one in fees),
                    fees_refund_minor=sum(one.refund_minor for one in fees),
                )

    def _credits(self) -> Iterator[Credit]:
        """One note of an invoice, or as many as its lines need."""
        for invoice, parts in self._credited.items():
            written = self._heads[invoice]
            for number, some in enumerate(slices(parts), start=1):
                yield Credit(
                    name=invoice if number == 1 else f"{invoice}/{number}",
                    at=written.at,
                    day=self._day,
                    customer_ref=written.customer or f"guest-{invoice}",
                    country=written.country,
                    parts=tuple(some),
                )


def orders(written: SourceLine, rows: Rows) -> Iterator[Place]:
    """An invoice as an order, or as several where it has more lines than an order may have.

    `written`: its line that says when.
    """
    goods = [Part(line, line.quantity) for line in rows if is_goods(line.sku)]
    fees = tuple(Part(line, line.quantity) for line in rows if not is_goods(line.sku))
    for number, some in enumerate(slices(goods) if goods else [[]], start=1):
        yield Place(
            name=written.invoice if number == 1 else f"{written.invoice}/{number}",
            at=written.at,
            day=written.day,
            customer_ref=written.customer or f"guest-{written.invoice}",
            country=written.country,
            lines=tuple(some),
            fees=fees if number == 1 else (),
        )


def slices(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Parts by as many as one request takes."""
    rest = iter(parts)
    while some := list(islice(rest, LINES_MAX)):
        yield some
