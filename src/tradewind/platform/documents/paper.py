"""What stands on a business document, whatever it is drawn as."""

from collections.abc import Mapping, Sequence

from msgspec import Struct


class PaperLine(Struct, frozen=True):
    """A line: texts as they are printed. An empty text leaves its column empty."""

    description: str
    sku: str
    quantity: str
    unit_price: str
    amount: str


class Paper(Struct, frozen=True, kw_only=True):
    """A document with one table. `totals` are printed in their order; ``Total`` stands out."""

    title: str
    number: str
    seller: Sequence[str]
    customer: Sequence[str]
    about: Mapping[str, str]
    lines: Sequence[PaperLine]
    totals: Mapping[str, str]
