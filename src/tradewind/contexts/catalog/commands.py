"""What catalog can be asked to do, and the bodies in which people ask it."""

from typing import Annotated

from msgspec import Meta, Struct

from tradewind.kernel.imports import Form, Heading, ImportProgress
from tradewind.kernel.messages import Command
from tradewind.kernel.texts import PROSE

VARIANTS_MAX = 100
PRICES_MAX = 50
ATTRIBUTES_MAX = 100
ON_HAND_MAX = 1_000_000_000
# What a reader of JSON in any language can hold exactly.
INTEGER_MAX = 2**53
FLOAT_MAX = 1e300

ProductTitle = Annotated[str, Meta(min_length=1, max_length=300)]
# Printable ASCII, no space at either end: what scanners, labels and addresses all carry.
Sku = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[!-~]([ -~]*[!-~])?$")]
ExternalId = Annotated[str, Meta(min_length=1, max_length=100)]
CategoryPath = Annotated[str, Meta(max_length=500)]
CategoryName = Annotated[str, Meta(max_length=100)]
AttributeName = Annotated[str, Meta(min_length=1, max_length=100)]
AttributeBody = (
    Annotated[str, Meta(max_length=1_000, extra={PROSE: True})]
    | Annotated[int, Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
    | Annotated[float, Meta(ge=-FLOAT_MAX, le=FLOAT_MAX)]
    | bool
    | None
)
Attributes = Annotated[dict[AttributeName, AttributeBody], Meta(max_length=ATTRIBUTES_MAX)]


class PriceBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one unit costs, with up to four decimals: ``{"amount": "12.75", "currency": "GBP"}``."""

    amount: Annotated[str, Meta(min_length=1, max_length=20)]
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$", max_length=3)]


class VariantBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that can be put into a basket."""

    sku: Sku
    title: Annotated[str, Meta(max_length=300)] | None = None  # default: the product's
    price: PriceBody | None = None
    prices: Annotated[list[PriceBody], Meta(max_length=PRICES_MAX)] = []  # one per currency
    attributes: Attributes = {}
    # Units at the default location; left out, the stock stays as it is.
    on_hand: Annotated[int, Meta(ge=0, le=ON_HAND_MAX)] | None = None
    archived: bool = False  # its sku stays with the product, and is not sold
    # Not looked at: they are here so that a product that was read can be sent back.
    availability: Annotated[str, Meta(max_length=20)] | None = None


class ProductBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole product. What is left out is taken away."""

    title: ProductTitle
    variants: Annotated[list[VariantBody], Meta(min_length=1, max_length=VARIANTS_MAX)]
    description: Annotated[str, Meta(max_length=20_000, extra={PROSE: True})] = ""
    # "Home/Lighting" or ["Home", "Lighting"].
    category: CategoryPath | Annotated[list[CategoryName], Meta(max_length=8)] | None = None
    attributes: Attributes = {}
    external_id: ExternalId | None = None  # needed in an import; elsewhere as in the address
    archived: bool = False  # off the shelf, with all its variants
    # Not looked at: they are here so that a product that was read can be sent back.
    id: Annotated[str, Meta(max_length=100)] | None = None
    version: Annotated[int, Meta(ge=0, le=INTEGER_MAX)] | None = None


class Precondition(Struct, frozen=True, kw_only=True):
    """What must be true of the stored product: If-Match and If-None-Match, read.

    A product that does not exist has version 0.
    """

    versions: tuple[int, ...] | None = None  # None: any
    must_exist: bool = False


class UpsertProduct(Command, frozen=True, kw_only=True):
    """Make the product with this external id be like the body. Outcome: an `Answer` (200, 201)."""

    product_id: str  # its id, should it be new
    external_id: str
    body: ProductBody
    precondition: Precondition = Precondition()


class ArchiveProduct(Command, frozen=True, kw_only=True):
    """Take a product and its variants off the shelf; an upsert brings it back. Outcome: 204."""

    external_id: str
    precondition: Precondition = Precondition()


SYNONYMS_MAX = 5_000
SynonymLine = Annotated[str, Meta(min_length=1, max_length=500)]


class SearchBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the shop is searched. What is left out is as it was in the beginning."""

    # Of the words of the shop, for their endings: "english", "german", ...; "none" keeps them.
    language: Annotated[str, Meta(min_length=1, max_length=40)] = "english"
    # Attributes that name the brand, the first that a product has counts; empty: the usual ones.
    brand: Annotated[list[AttributeName], Meta(max_length=20)] = []
    # "tv => television" works one way, "sofa, couch" both ways.
    synonyms: Annotated[list[SynonymLine], Meta(max_length=SYNONYMS_MAX)] = []


class SetSearch(Command, frozen=True, kw_only=True):
    """Search the shop in this way from now on. Outcome: an `Answer` (200)."""

    body: SearchBody


class BeginImport(Command, frozen=True, kw_only=True):
    """Open an import, or find the one with this id again. Outcome: `ImportProgress`."""

    import_id: str
    must_exist: bool = False
    dry_run: bool = False
    heading: Heading | None = None  # of a sheet


class ImportChunk(Command, frozen=True, kw_only=True):
    """Take some lines of an import; the first has number `first_line`.

    Lines up to the import's `lines_taken` were done before and are skipped, so a chunk may be sent
    twice. One unit of work takes as many lines as its row budget holds, at least one: the outcome,
    `ImportProgress`, says up to which line; send the rest again.
    """

    import_id: str
    first_line: int
    lines: tuple[bytes | None, ...]  # None: the line was longer than allowed and is not kept
    ends: tuple[int, ...] = ()  # where a record may be several lines: the last one of each
    form: Form = Form()


class FinishImport(Command, frozen=True, kw_only=True):
    """Every line was sent. Outcome: `ImportProgress`."""

    import_id: str


__all__ = [
    "ArchiveProduct",
    "AttributeBody",
    "Attributes",
    "BeginImport",
    "FinishImport",
    "ImportChunk",
    "ImportProgress",
    "Precondition",
    "PriceBody",
    "ProductBody",
    "UpsertProduct",
    "VariantBody",
]
