"""From the lines of an old order book to a plan: what to place, what to give back, what to leave.

Every source line ends in exactly one place of the plan, in whole units, so that the plan always
adds up to its source: lines, units and value. The rules, line by line:

* invoices that start with C are cancellations, with A adjustments of bad debt;
* a negative quantity without a C is a write-off of stock, a price of zero no sale;
* carriage (POST, DOT, C2) becomes a fee of its order; other codes that are not goods stay out;
* codes differ in letter case only: 85123A and 85123a are one sku;
* equal lines of one invoice are both real and both kept;
* an invoice with two times was placed at the first of them;
* a customer nobody wrote down is a guest of that one invoice.

A cancellation does not name what it cancels. It is matched greedily to the latest earlier sales of
the same customer and code at the same price or more, so that no refund exceeds what was paid.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct

from tradewind.kernel.money import line_total_minor, parse_e4
from tradewind.samples.countries import COUNTRIES
from tradewind.samples.files import open_binary

CURRENCY = "GBP"
COLUMNS = frozenset(
    ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
)
CARRIAGE = {"POST": "postage", "DOT": "postage_dotcom", "C2": "carriage"}
NOT_GOODS = {
    "AMAZONFEE": "marketplace fee",
    "B": "bad debt",
    "BANK CHARGES": "bank charges",
    "CRUK": "donation",
    "D": "discount",
    "M": "manual adjustment",
    "S": "sample given away",
}
GIFT_VOUCHER = "GIFT_"

# Why a line stays out of the replay. The words are those of the reconciliation table.
OUTSIDE = "product outside the sample"
WRITE_OFF = "write-off of stock, not a sale"
NO_PRICE = "price 0: a gift, a replacement or an empty line"
CARRIAGE_ALONE = "carriage of an invoice without products of the sample"
BAD_DEBT = "adjustment of bad debt"
CANCELS_OUTSIDE = "cancels a product outside the sample"
CANCELS_NOT_GOODS = "cancels no goods (discount, fee, adjustment)"
CANCELS_NOBODY = "cancellation without a customer"
CANCELS_UNFOUND = "cancels a sale that is not in the data"


class HistoryError(Exception):
    """The file cannot be read as an order book; the text says which line and why."""


class SourceLine(Struct, frozen=True):
    """One line of the order book, as it stands there."""

    line_no: int
    invoice: str
    sku: str  # in capitals
    quantity: int
    at: datetime  # UTC
    unit_price_e4: int
    customer: str  # empty: unknown
    country: str  # ISO code


class Part(Struct, frozen=True):
    """Units of one source line; most lines are one part. Only the first part counts as the line."""

    line: SourceLine
    units: int  # with the sign of the line
    first: bool = True

    @property
    def value_e4(self) -> int:
        """Exactly units times unit price: nothing is rounded in the accounts of the source."""
        return self.units * self.line.unit_price_e4

    @property
    def total_minor(self) -> int:
        """The amount in pence as an order line or a refund has it: rounded half to even."""
        return line_total_minor(self.line.unit_price_e4, self.units, CURRENCY)


class Place(Struct, frozen=True):
    """Place one old invoice as an order."""

    invoice: str
    at: datetime
    customer_ref: str
    country: str
    lines: tuple[Part, ...]
    fees: tuple[Part, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """All source lines that the order stands for."""
        return self.lines + self.fees

    @property
    def total_minor(self) -> int:
        """What the order must cost: the sum of its rounded lines and fees."""
        return sum(part.total_minor for part in self.parts)


class GiveBack(Struct, frozen=True):
    """Give back what a cancellation takes from one earlier order: all of it, or an amount."""

    invoice: str  # of the cancellation
    order: str  # the invoice it is matched to
    at: datetime
    parts: tuple[Part, ...]
    whole: bool  # nothing of the order is left: it is cancelled, and its stock returns

    @property
    def amount_minor(self) -> int:
        """What the customer gets, as a positive amount."""
        return -sum(part.total_minor for part in self.parts)


Action = Place | GiveBack


class Plan(Struct, frozen=True):
    """What the replay does, in the order of time, and what it leaves out and why."""

    actions: tuple[Action, ...]
    left_out: dict[str, tuple[Part, ...]]
    source: tuple[SourceLine, ...]


def read_lines(path: Path) -> Iterator[SourceLine]:
    """The lines of a CSV file in the columns of "Online Retail", plain or gzipped.

    Raises `HistoryError` at the first line that cannot be read.
    """
    with open_binary(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        reader = csv.DictReader(text)
        missing = COLUMNS - set(reader.fieldnames or ())
        if missing:
            raise HistoryError(f"{path} has no column {', '.join(sorted(missing))}.")
        for number, row in enumerate(reader, start=1):
            try:
                yield source_line(number, row)
            except (ValueError, KeyError, TypeError) as error:
                raise HistoryError(f"{path}, line {number + 1}: {error}") from None


def source_line(number: int, row: dict[str, str]) -> SourceLine:
    """One row of the file. Raises `ValueError` where it cannot be what it should."""
    price_e4 = parse_e4(row["UnitPrice"])
    if price_e4 is None:
        raise ValueError(f"{row['UnitPrice']!r} is no price")
    country = COUNTRIES.get(row["Country"])
    if country is None:
        raise ValueError(f"{row['Country']!r} is no country we know")
    return SourceLine(
        line_no=int(row.get("line_no") or number),
        invoice=row["InvoiceNo"],
        sku=row["StockCode"].upper(),
        quantity=int(row["Quantity"]),
        at=british_time(row["InvoiceDate"]),
        unit_price_e4=price_e4,
        customer=row["CustomerID"],
        country=country,
    )


def british_time(text: str) -> datetime:
    """A local time of the shop, as UTC: an hour less from the last Sunday of March to October's."""
    local = datetime.fromisoformat(text).replace(tzinfo=UTC)
    summer = last_sunday(local.year, 3) <= local < last_sunday(local.year, 10)
    return local - timedelta(hours=1) if summer else local


def last_sunday(year: int, month: int) -> datetime:
    """Two in the morning of the last Sunday of a month with 31 days: when British clocks change."""
    day = datetime(year, month, 31, 2, tzinfo=UTC)
    return day - timedelta(days=(day.weekday() + 1) % 7)


def make_plan(source: Iterable[SourceLine], *, skus: frozenset[str]) -> Plan:
    """What to do with the lines of an order book, given the products that are on sale."""
    lines = tuple(source)
    left_out: dict[str, list[Part]] = defaultdict(list)
    invoices: dict[str, list[SourceLine]] = defaultdict(list)
    for line in lines:
        reason = reason_left_out(line, skus)
        if reason:
            left_out[reason].append(Part(line, line.quantity))
        else:
            invoices[line.invoice].append(line)
    in_time = sorted(invoices.values(), key=lambda rows: (first_time(rows), rows[0].line_no))
    actions: list[Action] = []
    sales = Sales()
    for rows in in_time:
        if rows[0].invoice.startswith("C"):
            given_back, unfound = sales.give_back(rows)
            actions += given_back
            if unfound:
                left_out[CANCELS_UNFOUND] += unfound
        elif all(line.sku in CARRIAGE for line in rows):
            left_out[CARRIAGE_ALONE] += [Part(line, line.quantity) for line in rows]
        else:
            order = place(rows)
            sales.add(order)
            actions.append(order)
    return Plan(
        actions=tuple(actions),
        left_out={reason: tuple(parts) for reason, parts in sorted(left_out.items())},
        source=lines,
    )


def reason_left_out(line: SourceLine, skus: frozenset[str]) -> str | None:
    """Why this line can be no part of any order or cancellation, or None."""
    cancels = line.invoice.startswith("C")
    if line.invoice.startswith("A"):
        return BAD_DEBT
    if line.unit_price_e4 <= 0 and line.quantity > 0:
        return NO_PRICE
    if line.quantity < 0 and not cancels:
        return WRITE_OFF
    if line.sku in NOT_GOODS or line.sku.startswith(GIFT_VOUCHER):
        kind = NOT_GOODS.get(line.sku, "gift voucher")
        return CANCELS_NOT_GOODS if cancels else f"no goods: {kind}"
    if line.sku not in skus and line.sku not in CARRIAGE:
        return CANCELS_OUTSIDE if cancels else OUTSIDE
    if cancels and not line.customer:
        return CANCELS_NOBODY
    return None


def first_time(rows: list[SourceLine]) -> datetime:
    """When an invoice was written; a few have two times, a minute apart."""
    return min(line.at for line in rows)


def place(rows: list[SourceLine]) -> Place:
    """An invoice as an order."""
    first = rows[0]
    return Place(
        invoice=first.invoice,
        at=first_time(rows),
        customer_ref=first.customer or f"guest-{first.invoice}",
        country=first.country,
        lines=tuple(Part(line, line.quantity) for line in rows if line.sku not in CARRIAGE),
        fees=tuple(Part(line, line.quantity) for line in rows if line.sku in CARRIAGE),
    )


class Sold:
    """What of one sold line has not been given back yet."""

    __slots__ = ("left", "order", "unit_price_e4")

    def __init__(self, order: Place, part: Part) -> None:
        self.order = order
        self.unit_price_e4 = part.line.unit_price_e4
        self.left = part.units


class Sales:
    """The sales so far that a cancellation may be about."""

    def __init__(self) -> None:
        self._sold: dict[tuple[str, str], list[Sold]] = defaultdict(list)
        self._by_order: dict[str, list[Sold]] = {}

    def add(self, order: Place) -> None:
        """Remember an order. Guests are not: nothing that comes later can name them."""
        sold = [Sold(order, part) for part in order.parts]
        self._by_order[order.invoice] = sold
        for one, part in zip(sold, order.parts, strict=True):
            if part.line.customer:
                self._sold[part.line.customer, part.line.sku].append(one)

    def give_back(self, rows: list[SourceLine]) -> tuple[list[GiveBack], list[Part]]:
        """A cancellation as what it takes from which order, and the units no sale was found for."""
        taken: dict[str, list[Part]] = defaultdict(list)
        untouched: dict[str, bool] = {}
        unfound: list[Part] = []
        for line in rows:
            wanted, first = -line.quantity, True
            for sold in reversed(self._sold[line.customer, line.sku]):
                units = min(wanted, sold.left)
                if units <= 0 or sold.unit_price_e4 < line.unit_price_e4:
                    continue
                invoice = sold.order.invoice
                untouched.setdefault(invoice, self._is_whole(sold.order))
                taken[invoice].append(Part(line, -units, first))
                sold.left -= units
                wanted, first = wanted - units, False
            if wanted:
                unfound.append(Part(line, -wanted, first))
        at = first_time(rows)
        given_back = [
            GiveBack(
                invoice=rows[0].invoice,
                order=order,
                at=at,
                parts=tuple(parts),
                whole=untouched[order] and not any(sold.left for sold in self._by_order[order]),
            )
            for order, parts in taken.items()
        ]
        return given_back, unfound

    def _is_whole(self, order: Place) -> bool:
        return all(
            sold.left == part.units
            for sold, part in zip(self._by_order[order.invoice], order.parts, strict=True)
        )
