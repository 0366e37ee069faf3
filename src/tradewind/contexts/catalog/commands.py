"""What catalog can be asked to do, and the bodies in which people ask it."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from tradewind.contexts.catalog.events import Medium
from tradewind.kernel.imports import Form, Heading, ImportProgress
from tradewind.kernel.messages import Command
from tradewind.kernel.texts import PROSE

VARIANTS_MAX = 100
# With those that are archived: their skus stay theirs, and exports tell them.
VARIANTS_EVER_MAX = 1_000
PRICES_MAX = 50
ATTRIBUTES_MAX = 100
OPTIONS_MAX = 5
MEDIA_MAX = 50
MEDIUM_EXAMPLE = "7f83b165" * 8 + ".png"
# One unit of work writes a thousand rows at most.
LIST_PRICES_MAX = 500
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
OptionTitle = Annotated[str, Meta(min_length=1, max_length=100)]
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
    # A price that counts for some time only; beside it stands one without dates.
    valid_from: Annotated[datetime, Meta(tz=True)] | None = None
    valid_until: Annotated[datetime, Meta(tz=True)] | None = None


class OptionBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What variants differ in: ``{"title": "Size", "values": ["S", "M"]}``."""

    title: OptionTitle
    values: Annotated[list[OptionTitle], Meta(min_length=1, max_length=VARIANTS_MAX)]


class MediumBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A medium that was uploaded, and what it shows, for who does not see it."""

    id: Annotated[str, Meta(pattern="^[0-9a-f]{64}\\.[a-z0-9]{3,4}$", examples=[MEDIUM_EXAMPLE])]
    alt: Annotated[str, Meta(max_length=500)] = ""
    # Not looked at: they are here so that a product that was read can be sent back.
    url: Annotated[str, Meta(max_length=200)] | None = None


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
    # One value of each option of the product: {"Size": "M"}.
    options: Annotated[dict[OptionTitle, OptionTitle], Meta(max_length=OPTIONS_MAX)] = {}
    # Not looked at: they are here so that a product that was read can be sent back.
    availability: Annotated[str, Meta(max_length=20)] | None = None


class ProductBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole product. What is left out is taken away."""

    title: ProductTitle
    variants: Annotated[list[VariantBody], Meta(min_length=1, max_length=VARIANTS_EVER_MAX)]
    description: Annotated[str, Meta(max_length=20_000, extra={PROSE: True})] = ""
    # "Home/Lighting" or ["Home", "Lighting"].
    category: CategoryPath | Annotated[list[CategoryName], Meta(max_length=8)] | None = None
    attributes: Attributes = {}
    external_id: ExternalId | None = None  # needed in an import; elsewhere as in the address
    archived: bool = False  # off the shelf, with all its variants
    options: Annotated[list[OptionBody], Meta(max_length=OPTIONS_MAX)] = []
    # In the order in which they are shown; left out, they stay as they are.
    media: Annotated[list[MediumBody], Meta(max_length=MEDIA_MAX)] | None = None
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
    by: str = ""  # whose credential


class ArchiveProduct(Command, frozen=True, kw_only=True):
    """Take a product and its variants off the shelf; an upsert brings it back. Outcome: 204."""

    external_id: str
    precondition: Precondition = Precondition()
    by: str = ""


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

    recorded: ClassVar[bool] = False  # the import is, where it begins and where it ends

    import_id: str
    first_line: int
    lines: tuple[bytes | None, ...]  # None: the line was longer than allowed and is not kept
    ends: tuple[int, ...] = ()  # where a record may be several lines: the last one of each
    form: Form = Form()


class FinishImport(Command, frozen=True, kw_only=True):
    """Every line was sent. Outcome: `ImportProgress`."""

    import_id: str


CategoryId = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,79}$")]


class CategoryBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place in the tree. `parent`: id or path of another; without one it is at the top."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    parent: CategoryPath | None = None
    position: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    description: Annotated[str, Meta(max_length=5_000, extra={PROSE: True})] = ""


class CategoryPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall be different of a category; `"parent": null` moves it to the top."""

    name: Annotated[str, Meta(min_length=1, max_length=100)] | UnsetType = UNSET
    parent: CategoryPath | UnsetType | None = UNSET
    position: Annotated[int, Meta(ge=0, le=1_000_000)] | UnsetType = UNSET
    description: Annotated[str, Meta(max_length=5_000, extra={PROSE: True})] | UnsetType = UNSET


class KeepCategory(Command, frozen=True, kw_only=True):
    """Make a category, or rename, move or describe it. Outcome: an `Answer` (200, 201)."""

    category_id: str
    wanted: CategoryBody | CategoryPatch
    by: str = ""


class RemoveCategory(Command, frozen=True, kw_only=True):
    """Take a category away that nothing stands in. Outcome: 204."""

    category_id: str


class FollowCategories(Command, frozen=True, kw_only=True):
    """Let some products follow their category. Outcome: whether there may be more."""

    recorded: ClassVar[bool] = False  # what they follow is


class AttributeDefinition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an attribute holds. `categories`: where it is defined, and below; none: anywhere."""

    kind: Literal["text", "number", "boolean", "choice", "date"]
    unit: Annotated[str, Meta(min_length=1, max_length=20)] | None = None  # of a number
    choices: Annotated[list[OptionTitle], Meta(max_length=500)] = []
    required: bool = False
    categories: Annotated[list[CategoryPath], Meta(max_length=100)] = []
    description: Annotated[str, Meta(max_length=1_000)] = ""
    name: AttributeName | None = None  # not looked at: so that what was read can be sent back


class DefineAttribute(Command, frozen=True, kw_only=True):
    """Say what an attribute holds. Outcome: an `Answer` (200, 201)."""

    name: str
    body: AttributeDefinition


class DropAttribute(Command, frozen=True, kw_only=True):
    """Let an attribute hold anything again. Outcome: 204."""

    name: str


CustomerGroup = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$")]


class ListPriceBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a sku costs on a list; no amount takes it from the list."""

    sku: Sku
    amount: Annotated[str, Meta(min_length=1, max_length=20)] | None


class PriceListBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A list of prices for a group of customers. With `prices` it holds those and no others."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    customer_group: CustomerGroup
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$", max_length=3)]
    valid_from: Annotated[datetime, Meta(tz=True)] | None = None
    valid_until: Annotated[datetime, Meta(tz=True)] | None = None
    prices: Annotated[list[ListPriceBody], Meta(max_length=LIST_PRICES_MAX)] | None = None
    id: Annotated[str, Meta(max_length=100)] | None = None  # not looked at
    version: int | None = None  # not looked at


class ListPricesBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices of a list that are new, other, or to go; the others stay."""

    prices: Annotated[list[ListPriceBody], Meta(min_length=1, max_length=LIST_PRICES_MAX)]


class KeepPriceList(Command, frozen=True, kw_only=True):
    """Make a price list, or change it. Outcome: an `Answer` (200, 201)."""

    list_id: str
    body: PriceListBody


class SetListPrices(Command, frozen=True, kw_only=True):
    """Change some prices of a list. Outcome: an `Answer`."""

    list_id: str
    prices: tuple[ListPriceBody, ...]


class RemovePriceList(Command, frozen=True, kw_only=True):
    """Let the prices of a list count no more. Outcome: 204."""

    list_id: str


class ApplyPrices(Command, frozen=True, kw_only=True):
    """Make some prices of lists part of their products. Outcome: whether there may be more."""

    recorded: ClassVar[bool] = False  # the list is
    by: str = ""


class ArrangeMedia(Command, frozen=True, kw_only=True):
    """Show these media of a product, in this order. Outcome: an `Answer`."""

    product_id: str
    media: tuple[Medium, ...]
    added: bool = False  # behind those that are there, rather than in their place
    by: str = ""


__all__ = [
    "ApplyPrices",
    "ArchiveProduct",
    "ArrangeMedia",
    "AttributeBody",
    "AttributeDefinition",
    "Attributes",
    "BeginImport",
    "CategoryBody",
    "CategoryPatch",
    "DefineAttribute",
    "DropAttribute",
    "FinishImport",
    "FollowCategories",
    "ImportChunk",
    "ImportProgress",
    "KeepCategory",
    "KeepPriceList",
    "ListPriceBody",
    "ListPricesBody",
    "MediumBody",
    "OptionBody",
    "Precondition",
    "PriceBody",
    "PriceListBody",
    "ProductBody",
    "RemoveCategory",
    "RemovePriceList",
    "SetListPrices",
    "UpsertProduct",
    "VariantBody",
]
