"""Reads of the model: the tree, attributes, price lists, prices of groups, history."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from tradewind.contexts.catalog.events import GroupPrice, sku_key
from tradewind.contexts.catalog.rules.attributes import applies
from tradewind.contexts.catalog.rules.products import began, counts_at
from tradewind.contexts.catalog.tables import (
    Attribute,
    AttributeRow,
    Category,
    CategoryBranch,
    ChangeRow,
    FieldChanged,
    ListPrice,
    PriceList,
    ProductChange,
)
from tradewind.kernel.money import format_e4, wire_e4
from tradewind.platform.database.transaction import Snapshot

decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode
decode_choices = msgspec.json.Decoder(tuple[str, ...]).decode
decode_changes = msgspec.json.Decoder(list[FieldChanged]).decode
decode_group_prices = msgspec.json.Decoder(tuple[GroupPrice, ...]).decode

# Served by categories_category_id.
CATEGORY = """
    SELECT path, parent, category_id, name, position, description
      FROM catalog.categories WHERE category_id = $1
"""
TREE = """
    SELECT path, parent, category_id, name, position, description
      FROM catalog.categories ORDER BY position, name, path
"""
MOVING = "SELECT EXISTS (SELECT FROM catalog.moved_categories)"


async def category(snapshot: Snapshot, category_id: str) -> Category | None:
    """One category."""
    return await snapshot.fetch_one(CATEGORY, category_id, into=Category)


async def tree(snapshot: Snapshot) -> list[CategoryBranch]:
    """All categories, each with those below it."""
    below: dict[str | None, list[Category]] = {}
    for row in await snapshot.fetch(TREE, into=Category):
        below.setdefault(row.parent, []).append(row)
    return branches(below, None)


def branches(
    below: Mapping[str | None, Sequence[Category]], parent: str | None
) -> list[CategoryBranch]:
    """What stands below a path."""
    return [
        CategoryBranch(**msgspec.structs.asdict(row), children=tuple(branches(below, row.path)))
        for row in below.get(parent, ())
    ]


# The whole table: some dozens of rows.
ATTRIBUTES = """
    SELECT name, kind, unit, choices, required, categories, description
      FROM catalog.attributes ORDER BY name
"""


async def attributes(snapshot: Snapshot, place: str | None) -> list[Attribute]:
    """The attributes that are defined; those that count in a category, where one is given."""
    found = [
        Attribute(
            row.name,
            row.kind,
            row.unit,
            decode_choices(row.choices),
            row.required,
            tuple(row.categories),
            row.description,
        )
        for row in await snapshot.fetch(ATTRIBUTES, into=AttributeRow)
    ]
    return found if place is None else [each for each in found if applies(each, place)]


# The whole table: some dozens of rows.
LISTS = """
    SELECT list_id, name, customer_group, currency, valid_from, valid_until, archived, version
      FROM catalog.price_lists WHERE NOT archived ORDER BY list_id
"""
LIST = """
    SELECT list_id, name, customer_group, currency, valid_from, valid_until, archived, version
      FROM catalog.price_lists WHERE list_id = $1 AND NOT archived
"""
# Served by the primary keys of both.
LIST_PRICES = """
    SELECT v.sku, p.amount_e4
      FROM catalog.list_prices p JOIN catalog.variants v ON v.sku_key = p.sku_key
     WHERE p.list_id = $1 AND p.sku_key > $2 AND NOT p.removed ORDER BY p.sku_key LIMIT $3
"""


class PricedSku(Struct, frozen=True):
    """What a sku costs on a list."""

    sku: str
    amount_e4: int


async def price_lists(snapshot: Snapshot) -> list[PriceList]:
    """All lists that count, or will."""
    return await snapshot.fetch(LISTS, into=PriceList)


async def price_list(snapshot: Snapshot, list_id: str) -> PriceList | None:
    """One list."""
    return await snapshot.fetch_one(LIST, list_id, into=PriceList)


async def list_prices(
    snapshot: Snapshot, owner: PriceList, *, after: str, count_max: int
) -> list[ListPrice]:
    """Prices of a list, in the order of the skus."""
    rows = await snapshot.fetch(LIST_PRICES, owner.id, after, count_max, into=PricedSku)
    return [ListPrice(row.sku, format_e4(row.amount_e4, owner.currency)) for row in rows]


# Served by variants_by_product.
GROUP_PRICES = """
    SELECT sku_key, group_prices FROM catalog.variants
     WHERE product_id = ANY($1::text[]) AND group_prices <> '[]'
"""


class GroupPricesRow(Struct, frozen=True):
    """The prices of groups for a variant."""

    sku_key: str
    group_prices: str


async def for_group(snapshot: Snapshot, documents: Mapping[str, str], group: str) -> dict[str, str]:
    """Products as a group is shown them, by id: with its prices where it has some."""
    rows = await snapshot.fetch(GROUP_PRICES, list(documents), into=GroupPricesRow)
    prices = {row.sku_key: decode_group_prices(row.group_prices) for row in rows}
    if not prices:
        return dict(documents)
    shown = {}
    for product_id, text in documents.items():
        document = decode(text)
        for variant in document["variants"]:
            of_group: dict[str, GroupPrice] = {}
            for price in prices.get(sku_key(variant["sku"]), ()):
                if price.group == group and counts_at(price, snapshot.now):
                    known = of_group.get(price.currency)
                    if known is None or rank(price) > rank(known):
                        of_group[price.currency] = price
            if of_group:
                overlay(variant, of_group)
        shown[product_id] = encode(document).decode()
    return shown


def rank(price: GroupPrice) -> tuple[float, int]:
    """Of prices that count at the same time the one that began last counts, then the lowest."""
    since = began(price)
    return (since.timestamp() if since.year > 1 else 0.0), -price.amount_e4


def overlay(variant: dict[str, object], of_group: Mapping[str, GroupPrice]) -> None:
    """Show a variant at the prices of a group: of a currency that it had, in its place."""
    prices = variant.get("prices") or [variant["price"]]
    assert isinstance(prices, list)
    shown = []
    for price in prices:
        found = of_group.get(price["currency"])
        shown.append(wire_e4(found.amount_e4, found.currency) if found else price)
    known = {price["currency"] for price in prices}
    shown += [wire_e4(p.amount_e4, p.currency) for c, p in of_group.items() if c not in known]
    variant["price"] = shown[0]
    if len(shown) > 1:
        variant["prices"] = shown


# Served by the primary key, read backwards.
HISTORY = """
    SELECT version, at, by, changes FROM catalog.history
     WHERE product_id = $1 ORDER BY version DESC LIMIT $2
"""
# Served by the primary key and products_external_id.
ID = """
    SELECT product_id FROM catalog.products WHERE product_id = $1
    UNION ALL
    SELECT product_id FROM catalog.products WHERE external_id = $1 LIMIT 1
"""
HISTORY_MAX = 100


async def product_id(snapshot: Snapshot, name: str) -> str | None:
    """The id of a product, archived or not, by its id or its external id."""
    found: str | None = await snapshot.fetch_value(ID, name)
    return found


async def history(snapshot: Snapshot, name: str) -> list[ProductChange]:
    """What changed of a product, newest first."""
    rows = await snapshot.fetch(HISTORY, name, HISTORY_MAX, into=ChangeRow)
    return [ProductChange(row.version, row.at, row.by, decode_changes(row.changes)) for row in rows]


async def is_moving(snapshot: Snapshot) -> bool:
    """Whether products are still on their way to where their category is."""
    return bool(await snapshot.fetch_value(MOVING))
