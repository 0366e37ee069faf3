"""Lines of an order book in the columns of "Online Retail", as they stand there."""

import csv
import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from tradewind.kernel.money import line_total_minor, parse_e4
from tradewind.samples.countries import COUNTRIES, NOWHERE
from tradewind.samples.files import open_binary

CURRENCY = "GBP"
COLUMNS = frozenset(
    ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
)
# An order ships at the last minute of its trading day: nothing of that day comes after it.
END_OF_DAY = "23:59:00"
# As long as a line of a credit note, a title or a reason may be.
WORDS_CHARACTERS_MAX = 200


class HistoryError(Exception):
    """The file cannot be read as an order book; the text says which line and why."""


class SourceLine(Struct, frozen=True, gc=False):
    """One line of the order book, as it stands there.

    `code` is as it is written, `sku` the same in capitals and without blanks around it: two letter
    cases of a code are one sku. `when` is the local time as it is written, `at` the same in UTC.
    """

    line_no: int
    invoice: str
    code: str
    sku: str
    description: str  # as it is written; empty: none
    quantity: int
    when: str
    at: datetime
    unit_price_e4: int
    customer: str  # empty: unknown
    country_name: str
    country: str  # ISO code; ZZ: unknown, or no country

    @property
    def day(self) -> str:
        """The trading day, local."""
        return self.when[:10]

    @property
    def month(self) -> str:
        """The month, local."""
        return self.when[:7]

    @property
    def value_e4(self) -> int:
        """Exactly quantity times unit price."""
        return self.quantity * self.unit_price_e4

    @property
    def words(self) -> str:
        """The description as one short line, without blanks around it and between its words."""
        printable = "".join(c if c.isprintable() else " " for c in self.description)
        return " ".join(printable.split())[:WORDS_CHARACTERS_MAX].rstrip()


class Part(Struct, frozen=True, gc=False):
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


def read_lines(path: Path) -> Iterator[SourceLine]:
    """The lines of a CSV file, plain or gzipped. Raises `HistoryError` at the first unreadable."""
    with open_binary(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        try:
            reader = csv.DictReader(text)
            missing = COLUMNS - set(reader.fieldnames or ())
            if missing:
                raise HistoryError(f"{path} has no column {', '.join(sorted(missing))}.")
            for number, row in enumerate(reader, start=1):
                try:
                    yield source_line(number, row)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise HistoryError(f"{path}, line {number + 1}: {error}") from None
        except (UnicodeDecodeError, csv.Error, EOFError, OSError) as error:
            raise HistoryError(f"{path} cannot be read: {error}") from None


def source_line(number: int, row: dict[str, str]) -> SourceLine:
    """One row of the file. Raises `ValueError` where it cannot be what it should."""
    price_e4 = parse_e4(row["UnitPrice"].strip())
    if price_e4 is None:
        raise ValueError(f"{row['UnitPrice']!r} is no price")
    invoice = row["InvoiceNo"].strip()
    if not invoice or not invoice.isascii() or not invoice.isprintable():
        raise ValueError(f"{row['InvoiceNo']!r} is no number of an invoice")
    again = sys.intern  # a few thousand texts come again and again
    code, country = row["StockCode"], row["Country"]
    return SourceLine(
        line_no=int(row.get("line_no") or number),
        invoice=again(invoice),
        code=again(code),
        sku=again(code.strip().upper()),
        description=again(row.get("Description") or ""),
        quantity=int(row["Quantity"]),
        when=again(row["InvoiceDate"]),
        at=british_time(row["InvoiceDate"]),
        unit_price_e4=price_e4,
        customer=again(row["CustomerID"].strip().removesuffix(".0")),
        country_name=again(country),
        country=COUNTRIES.get(country.strip(), NOWHERE),
    )


# The lines of one invoice have one time.
@lru_cache(maxsize=64)
def british_time(text: str) -> datetime:
    """A local time of the shop, as UTC: an hour less from the last Sunday of March to October's."""
    local = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return local - timedelta(hours=1) if is_summer(local) else local


def is_summer(local: datetime) -> bool:
    """Whether British clocks are an hour ahead, by what they show."""
    return last_sunday(local.year, 3) <= local < last_sunday(local.year, 10)


def local_month(wire: str) -> str:
    """The month of the shop of a time on the wire (UTC)."""
    at = datetime.fromisoformat(wire)
    later = at + timedelta(hours=1)
    return f"{later if is_summer(later) else at:%Y-%m}"


def last_sunday(year: int, month: int) -> datetime:
    """Two in the morning of the last Sunday of a month with 31 days: when British clocks change."""
    day = datetime(year, month, 31, 2, tzinfo=UTC)
    return day - timedelta(days=(day.weekday() + 1) % 7)


def end_of(day: str) -> datetime:
    """When the orders of a trading day ship."""
    return british_time(f"{day} {END_OF_DAY}")
