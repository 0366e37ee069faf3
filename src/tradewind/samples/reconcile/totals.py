"""What an order book adds up to, and what a file of totals beside it says it must. Pure, but for
the file.

The figures are those of ``totals.json`` of the data set. They are taken from the lines as they
were accounted for; a figure that is not known here counts as one that differs.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from tradewind.kernel.money import divide_half_even, format_minor
from tradewind.samples.history import CURRENCY, SourceLine
from tradewind.samples.reconcile.account import exact, grouped

FILE = "totals.json"


class Check(Struct, frozen=True):
    """One figure as we know it and as somebody else reports it."""

    about: str
    expected: str
    found: str

    @property
    def equal(self) -> bool:
        """Whether they agree."""
        return self.expected == self.found


def read_totals(book: Path) -> dict[str, Any] | None:
    """The totals that lie beside an order book, if they do."""
    path = book.parent / FILE
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def compare_totals(totals: dict[str, Any], lines: Sequence[SourceLine]) -> list[Check]:
    """Every figure of the file beside ours."""
    checks = []
    for name, value in totals.items():
        if name in NAMES_OF_THE_PART:
            continue
        figure = FIGURES.get(name)
        found = "not known to this version" if figure is None else figure(lines, value)
        if isinstance(value, dict) and isinstance(found, dict):
            checks += [
                Check(f"{name}: {key}", text(value.get(key)), text(found.get(key)))
                for key in sorted({*value, *found})
            ]
        else:
            checks.append(Check(name, text(value), text(found)))
    return checks


def text(value: Any) -> str:
    """A figure as it is shown; numbers as JSON has them."""
    return value if isinstance(value, str) else json.dumps(value)


def is_cancellation(line: SourceLine) -> bool:
    """Of an invoice that starts with C."""
    return line.invoice.startswith("C")


def is_sale(line: SourceLine) -> bool:
    """What the set counts as sold: not cancelled, not adjusted, units at a price."""
    own = not line.invoice.startswith(("A", "C"))
    return own and line.quantity > 0 and line.unit_price_e4 > 0


def invoices(lines: Iterable[SourceLine]) -> int:
    """How many invoices there are."""
    return len({line.invoice for line in lines})


def amount(lines: Iterable[SourceLine], like: Any) -> str:
    """The exact sum of the lines, with as many digits as it is given with."""
    return digits(sum(line.value_e4 for line in lines), str(like))


def digits(value_e4: int, like: str) -> str:
    """An exact amount, written with the digits of another: 0.10 and 0.1 are the same."""
    found = exact(value_e4)
    wanted = len(like.partition(".")[2])
    whole, _, fraction = found.partition(".")
    fraction = fraction.rstrip("0").ljust(wanted, "0")
    return f"{whole}.{fraction}" if fraction else whole


def sums(lines: Iterable[SourceLine], name: Callable[[SourceLine], str], like: Any) -> Any:
    """Exact sums by a name, those that are asked for."""
    found = grouped((name(line), line.value_e4) for line in lines)
    return {key: digits(found.get(key, 0), str(value)) for key, value in like.items()}


def by_day(lines: Iterable[SourceLine]) -> str:
    """SHA-256 of "YYYY-MM-DD,amount" a line, the amounts rounded half to even."""
    days = grouped((line.day, line.value_e4) for line in lines)
    rows = [
        f"{day},{format_minor(divide_half_even(value, 100), CURRENCY)}"
        for day, value in sorted(days.items())
    ]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def top_units(lines: Iterable[SourceLine], like: Any) -> Any:
    """Units sold of the skus that are asked for, and of any that would belong to them."""
    sold: Counter[str] = Counter()
    for line in lines:
        if is_sale(line):
            sold[line.code.strip()] += line.quantity
    least = min(like.values(), default=0)
    return {sku: units for sku, units in sold.items() if sku in like or units > least}


def several(lines: Iterable[SourceLine], what: Callable[[SourceLine], str]) -> int:
    """How many invoices have more than one of something."""
    seen = {(line.invoice, what(line)) for line in lines}
    return sum(count > 1 for count in Counter(invoice for invoice, _ in seen).values())


def copies(lines: Iterable[SourceLine]) -> int:
    """Lines that are exact copies of another line."""
    seen = Counter(
        (s.invoice, s.code, s.description, s.quantity, s.when, s.unit_price_e4, s.customer)
        for s in lines
    )
    return sum(count - 1 for count in seen.values())


def count(lines: Iterable[SourceLine], true: Callable[[SourceLine], bool]) -> int:
    """How many lines something is true of."""
    return sum(map(true, lines))


def mean_lines(lines: Sequence[SourceLine], like: Any) -> float:
    """Lines of an invoice on average, with the digits it is given with."""
    return round(len(lines) / max(invoices(lines), 1), len(str(like).partition(".")[2]))


NAMES_OF_THE_PART = frozenset(("part",))
Figure = Callable[[Sequence[SourceLine], Any], Any]
FIGURES: dict[str, Figure] = {
    "from": lambda s, _: min(line.when for line in s),
    "to": lambda s, _: max(line.when for line in s),
    "lines": lambda s, _: len(s),
    "invoices": lambda s, _: invoices(s),
    "cancellation_lines": lambda s, _: count(s, is_cancellation),
    "cancellation_invoices": lambda s, _: invoices(filter(is_cancellation, s)),
    "adjust_bad_debt_lines": lambda s, _: count(s, lambda one: one.invoice.startswith("A")),
    "stock_codes": lambda s, _: len({line.code for line in s}),
    "customers": lambda s, _: len({line.customer for line in s} - {""}),
    "lines_without_customer": lambda s, _: count(s, lambda one: not one.customer),
    "invoices_without_customer": lambda s, _: invoices(x for x in s if not x.customer),
    "lines_without_description": lambda s, _: count(s, lambda one: not one.description),
    "countries": lambda s, _: len({line.country_name for line in s}),
    "negative_qty_not_cancellation": lambda s, _: count(
        s, lambda one: one.quantity < 0 and not is_cancellation(one)
    ),
    "zero_price_lines": lambda s, _: count(s, lambda one: one.unit_price_e4 == 0),
    "negative_price_lines": lambda s, _: count(s, lambda one: one.unit_price_e4 < 0),
    "exact_duplicate_lines": lambda s, _: copies(s),
    "units_net": lambda s, _: sum(line.quantity for line in s),
    "net_amount_gbp": amount,
    "gross_sales_gbp": lambda s, like: amount(filter(is_sale, s), like),
    "gross_sales_lines": lambda s, _: count(s, is_sale),
    "cancelled_gbp": lambda s, like: amount(filter(is_cancellation, s), like),
    "max_lines_in_one_invoice": lambda s, _: max(Counter(x.invoice for x in s).values()),
    "mean_lines_per_invoice": mean_lines,
    "invoices_with_more_than_one_timestamp": lambda s, _: several(s, lambda one: one.when),
    "invoices_with_more_than_one_customer": lambda s, _: several(s, lambda one: one.customer),
    "net_by_country_top10": lambda s, like: sums(s, lambda one: one.country_name, like),
    "net_by_month": lambda s, like: sums(s, lambda one: one.month, like),
    "net_by_day_sha256": lambda s, _: by_day(s),
    "top10_units_sold": top_units,
}
