"""Rows of catalog's tables and shapes of its answers, column by column, field by field."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from tradewind.contexts.catalog.events import AttributeValue, Option
from tradewind.kernel.money import Amount

Availability = Literal["in_stock", "low", "out_of_stock"]
# What is shown until inventory has said anything.
UNKNOWN_AVAILABILITY: Availability = "out_of_stock"


class ProductRow(Struct, frozen=True):
    """A row of catalog.products, without what is derived from it."""

    product_id: str
    external_id: str
    title: str
    description: str
    category: str | None
    attributes: str  # JSON, keys sorted
    version: int
    archived: bool
    mark: str  # the availability of its variants, in short; with the version it is the ETag
    options: str = "[]"  # JSON
    media: str = "[]"  # JSON


class VariantRow(Struct, frozen=True):
    """A row of catalog.variants, with the availability of its sku."""

    sku_key: str
    product_id: str
    sku: str
    title: str
    prices: str  # JSON
    attributes: str  # JSON, keys sorted
    archived: bool
    position: int
    availability: Availability
    options: str = "{}"  # JSON
    group_prices: str = "[]"  # JSON


class Drawn(Struct, frozen=True):
    """What shoppers see of a product, as it was encoded."""

    product_id: str
    document: str


class AvailabilityRow(Struct, frozen=True):
    """A row of catalog.availability: what inventory last said about a sku."""

    sku_key: str
    availability: Availability
    sequence: int


class CountRow(Struct, frozen=True):
    """A row of catalog.counts: what was last said and found of a sku at the default location."""

    sku_key: str
    declared: int | None  # with a product; None: nothing yet
    counted: int | None  # as inventory says


class Page(Struct, frozen=True):
    """One product, ready to be sent, and what its ETag is made of."""

    product_id: str
    document: str
    version: int
    mark: str


class ListedProduct(Struct, frozen=True):
    """One product of a list, ready to be sent."""

    product_id: str
    document: str


class FoundProduct(Struct, frozen=True):
    """One product of a search result; the score in millionths."""

    product_id: str
    score_micro: int
    document: str


class FacetValue(Struct, frozen=True):
    """How many of the products found have this value."""

    value: str
    count: int


class Variant(Struct, frozen=True, kw_only=True):
    """One thing that can be put into a basket, as shoppers see it."""

    sku: str
    title: str
    price: Amount
    prices: tuple[Amount, ...] | UnsetType = UNSET  # where there is more than one
    attributes: dict[str, AttributeValue] = {}
    availability: Availability = UNKNOWN_AVAILABILITY
    options: dict[str, str] | UnsetType = UNSET  # what it is of each option of the product


class ShownMedium(Struct, frozen=True, kw_only=True):
    """A picture or paper, and where it is."""

    id: str
    url: str
    alt: str


class Product(Struct, frozen=True, kw_only=True):
    """A product as shoppers see it: without archived variants."""

    id: str
    external_id: str
    title: str
    description: str
    category: str | None
    attributes: dict[str, AttributeValue]
    version: int
    variants: tuple[Variant, ...]
    options: tuple[Option, ...] | UnsetType = UNSET  # what its variants differ in
    media: tuple[ShownMedium, ...] | UnsetType = UNSET


class ProductHit(Product, frozen=True, kw_only=True):
    """A product found, and how well it fits: compare scores of one search only."""

    score: float


class ProductList(Struct, frozen=True, kw_only=True):
    """One page of products, newest first."""

    items: list[Product]
    next: str | None


class SearchResult(Struct, frozen=True, kw_only=True):
    """One page of what was found, best first; facets count everything found.

    `total` counts it, too. `did_you_mean` is what was looked for in place of words that hardly any
    product has. `exact` is false where counts are of a part: see the docs on search.
    """

    items: list[ProductHit]
    facets: dict[str, list[FacetValue]]
    next: str | None
    total: int
    did_you_mean: str | None
    exact: bool


class PageOfRaw(Struct, frozen=True, kw_only=True):
    """A `ProductList` whose items are encoded already."""

    items: list[Raw]
    next: str | None


class SearchOfRaw(Struct, frozen=True, kw_only=True):
    """A `SearchResult` whose items are encoded already."""

    items: list[Raw]
    facets: dict[str, list[FacetValue]]
    next: str | None
    total: int
    did_you_mean: str | None
    exact: bool


class Category(Struct, frozen=True):
    """A place in the tree of categories; `parent` is the path of the one above, None at the top."""

    path: str
    parent: str | None
    id: str
    name: str
    position: int
    description: str


class CategoryBranch(Category, frozen=True):
    """A category; where the tree was asked for with those below it, in their order."""

    children: tuple["CategoryBranch", ...] | UnsetType = UNSET


class MoveRow(Struct, frozen=True):
    """A row of catalog.moved_categories."""

    from_path: str
    to_path: str
    by: str


class Attribute(Struct, frozen=True):
    """What an attribute holds, as it is shown."""

    name: str
    kind: str
    unit: str | None
    choices: tuple[str, ...]
    required: bool
    categories: tuple[str, ...]
    description: str


class AttributeRow(Struct, frozen=True):
    """A row of catalog.attributes."""

    name: str
    kind: str
    unit: str | None
    choices: str  # JSON
    required: bool
    categories: Sequence[str]
    description: str


class AttributeList(Struct, frozen=True, kw_only=True):
    """All attributes that are defined, or those of a category."""

    items: list[Attribute]
    next: None = None


class PriceList(Struct, frozen=True):
    """A list of prices for a group of customers."""

    id: str
    name: str
    customer_group: str
    currency: str
    valid_from: datetime | None
    valid_until: datetime | None
    archived: bool
    version: int


class PriceLists(Struct, frozen=True, kw_only=True):
    """All price lists."""

    items: list[PriceList]
    next: None = None


class ListPriceRow(Struct, frozen=True):
    """A row of catalog.list_prices."""

    list_id: str
    sku_key: str
    amount_e4: int
    removed: bool
    list_version: int


class ListPrice(Struct, frozen=True):
    """What a sku costs on a list, as an import or a PUT takes it."""

    sku: str
    amount: str


class ListPrices(Struct, frozen=True, kw_only=True):
    """One page of the prices of a list, in the order of the skus."""

    items: list[ListPrice]
    next: str | None


class ChangeRow(Struct, frozen=True):
    """A row of catalog.history."""

    version: int
    at: datetime
    by: str
    changes: str  # JSON


class FieldChanged(Struct, frozen=True):
    """One field that changed; a new thing has `"after": "created"`."""

    field: str
    before: Any = None
    after: Any = None


class ProductChange(Struct, frozen=True):
    """One change of a product: who said so and when, and which fields are not as they were."""

    version: int
    at: datetime
    by: str
    changes: list[FieldChanged]


class History(Struct, frozen=True, kw_only=True):
    """The last hundred changes of a product, newest first."""

    items: list[ProductChange]
    next: None = None


class Media(Struct, frozen=True, kw_only=True):
    """The media of a product, in their order."""

    items: list[ShownMedium]
    next: None = None


class CategoryList(Struct, frozen=True, kw_only=True):
    """One page of categories, parents before children."""

    items: list[CategoryBranch]
    next: str | None


class SearchRow(Struct, frozen=True):
    """The row of catalog.search_settings: how the shop is searched."""

    language: str = "english"
    brand: Sequence[str] = ()
    synonyms: Sequence[str] = ()


class SearchSettings(Struct, frozen=True, kw_only=True):
    """How the shop is searched."""

    language: str
    brand: list[str]
    synonyms: list[str]


class SuggestedCategory(Struct, frozen=True):
    """A category that what is typed may lead to."""

    path: str
    count: int  # products in it and below it


class Suggestions(Struct, frozen=True, kw_only=True):
    """What somebody may mean who is still typing."""

    queries: list[str]
    categories: list[SuggestedCategory]
    products: list[Product]


class SuggestionsOfRaw(Struct, frozen=True, kw_only=True):
    """`Suggestions` whose products are encoded already."""

    queries: list[str]
    categories: list[SuggestedCategory]
    products: list[Raw]


Limit = Annotated[int, Meta(ge=1, le=100)]
SearchText = Annotated[str, Meta(max_length=200)]
CategoryPath = Annotated[str, Meta(max_length=500)]
FilterName = Annotated[str, Meta(min_length=1, max_length=100)]
FilterValues = Annotated[list[Annotated[str, Meta(max_length=1_000)]], Meta(max_length=50)]


class ProductQuery(Struct, frozen=True, kw_only=True):
    """Which products to list."""

    limit: Limit = 20
    cursor: str | None = None
    category: CategoryPath = ""  # it and everything below it
    q: SearchText = ""
    group: Annotated[str, Meta(max_length=40)] | None = None  # whose prices; default: the caller's


class SearchQuery(Struct, frozen=True, kw_only=True):
    """What to look for."""

    q: SearchText = ""
    limit: Limit = 20
    cursor: str | None = None
    category: CategoryPath = ""
    # What to count, by names parted by commas: "category", "categories" (each with all below it),
    # "brand", "price", "availability", or any attribute.
    facets: Annotated[str, Meta(max_length=500)] = "category"
    # filter[NAME]=VALUE, as facets give them: filter[colour]=red, filter[price]=10..25. A name that
    # is given twice means either value.
    filter: dict[FilterName, FilterValues] = {}
    sort: Literal["relevance", "price", "-price", "newest", "title"] = "relevance"
    currency: Annotated[str, Meta(pattern="^([A-Z]{3})?$")] = ""  # of prices
    # "all": only products that have all the words, also where hardly any has.
    match: Literal["auto", "all"] = "auto"
    group: Annotated[str, Meta(max_length=40)] | None = None  # whose prices; default: the caller's


class SuggestQuery(Struct, frozen=True, kw_only=True):
    """What was typed so far."""

    q: SearchText = ""
    limit: Annotated[int, Meta(ge=1, le=20)] = 5
    group: Annotated[str, Meta(max_length=40)] | None = None  # whose prices; default: the caller's


class CategoryQuery(Struct, frozen=True, kw_only=True):
    """Which categories to list."""

    limit: Limit = 100
    cursor: str | None = None
    tree: bool = False  # all of them, each with those below it


class PageQuery(Struct, frozen=True, kw_only=True):
    """Which part of a list."""

    limit: Limit = 100
    cursor: str | None = None


class GroupQuery(Struct, frozen=True, kw_only=True):
    """For whom."""

    group: Annotated[str, Meta(max_length=40)] | None = None  # whose prices; default: the caller's


class AttributeQuery(Struct, frozen=True, kw_only=True):
    """Which attributes to list."""

    category: CategoryPath | None = None  # those that count there
