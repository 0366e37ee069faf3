"""Documents: invoices and credit notes, their numbers without gaps, the tax they contain.

Prices are gross. A rate of 20 % means that a sixth of the price is tax; each document states its
share of it, and the shares of all refunds of an order add up to the share of what was refunded.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache

import msgspec
from msgspec import Struct

from tradewind.contexts.orders.events import (
    CreditedLine,
    CreditNoteIssued,
    DocumentEvent,
    InvoiceIssued,
)
from tradewind.contexts.orders.tables import DocumentRow
from tradewind.kernel.money import divide_half_even

ANYWHERE = "*"
WHOLE_BP = 10_000

Series = tuple[str, int]  # series, year


class TaxRates(Struct, frozen=True):
    """The tax that prices contain, by country, in hundredths of a percent."""

    by_country: Mapping[str, int]

    def of(self, country: str | None) -> int:
        """The rate where goods go to."""
        rates = self.by_country
        return rates.get(country or "", rates.get(ANYWHERE, 0))


@lru_cache(maxsize=16)
def tax_rates(text: str) -> TaxRates:
    """``"GB=20 DE=19 FR=5.5 *=0"`` as rates; the setting has been checked when it was read."""
    rates = {}
    for part in text.replace(",", " ").split():
        country, _, percent = part.partition("=")
        whole, _, fraction = percent.partition(".")
        rates[country] = int(whole) * 100 + int(fraction.ljust(2, "0")[:2] or "0")
    return TaxRates(rates)


def tax_in(gross_minor: int, rate_bp: int) -> int:
    """The tax that a gross amount contains, rounded half to even."""
    return divide_half_even(gross_minor * rate_bp, WHOLE_BP + rate_bp)


def tax_share(refunded_before_minor: int, amount_minor: int, rate_bp: int) -> int:
    """The tax in a further refund: all refunds together contain the tax of their sum."""
    after = tax_in(refunded_before_minor + amount_minor, rate_bp)
    return after - tax_in(refunded_before_minor, rate_bp)


class Draft(Struct, frozen=True, kw_only=True):
    """A document before it has a number. `source` is what it is about, once."""

    kind: str  # invoice, credit_note
    source: str
    order_id: str | None
    customer: str
    country: str | None
    currency: str
    total_minor: int
    tax_minor: int
    tax_rate_bp: int
    dated: date
    reason: str | None = None
    return_id: str | None = None
    credential: str | None = None
    external_id: str | None = None
    location: str | None = None
    lines: tuple[CreditedLine, ...] = ()


class Numbered(Struct, frozen=True):
    """Documents with their numbers, and where each series stands after them."""

    rows: Sequence[DocumentRow]
    events: Sequence[DocumentEvent]
    last: Mapping[Series, int]


def number_of(series: str, year: int, serial: int) -> str:
    """``INV-2026-000042``."""
    return f"{series}-{year}-{serial:06d}"


def number(
    drafts: Sequence[Draft], last: Mapping[Series, int], series_of: Mapping[str, str]
) -> Numbered:
    """Give each draft the next number of its kind's series and of the year it is dated in."""
    moved = dict(last)
    rows: list[DocumentRow] = []
    events: list[DocumentEvent] = []
    for draft in drafts:
        series = series_of[draft.kind], draft.dated.year
        serial = moved[series] = moved.get(series, 0) + 1
        rows.append(row_of(*series, serial, draft))
        events.append(announced(draft, number_of(*series, serial)))
    return Numbered(rows, events, moved)


def row_of(series: str, year: int, serial: int, draft: Draft) -> DocumentRow:
    """A document as it is stored."""
    return DocumentRow(
        series=series,
        year=year,
        serial=serial,
        kind=draft.kind,
        source=draft.source,
        order_id=draft.order_id,
        return_id=draft.return_id,
        credential=draft.credential,
        external_id=draft.external_id,
        customer=draft.customer,
        country=draft.country,
        currency=draft.currency,
        total_minor=draft.total_minor,
        tax_minor=draft.tax_minor,
        tax_rate_bp=draft.tax_rate_bp,
        reason=draft.reason,
        lines=msgspec.json.encode(draft.lines).decode() if draft.lines else None,
        dated=draft.dated,
    )


def announced(draft: Draft, name: str) -> DocumentEvent:
    """The fact that a document was issued."""
    if draft.kind == "invoice":
        return InvoiceIssued(
            sequence=1,
            number=name,
            order_id=draft.order_id,
            currency=draft.currency,
            total_minor=draft.total_minor,
            tax_minor=draft.tax_minor,
            dated=draft.dated,
        )
    alone = draft.order_id is None
    return CreditNoteIssued(
        sequence=1,
        number=name,
        order_id=draft.order_id,
        currency=draft.currency,
        total_minor=draft.total_minor,
        tax_minor=draft.tax_minor,
        dated=draft.dated,
        reason=draft.reason or "",
        refund_id=None if alone else draft.source,
        return_id=draft.return_id,
        credit_note_id=draft.source if alone else None,
        country=draft.country,
        location=draft.location,
        lines=draft.lines,
    )
