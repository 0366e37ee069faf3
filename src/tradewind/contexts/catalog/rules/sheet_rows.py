"""Rows of a sheet: each says something about one variant, and about the product it belongs to.

What a row does not say stays as it is; nothing is taken away because another row is missing. So
the rows of a product may stand anywhere, and a sheet may be cut anywhere.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tradewind.contexts.catalog.commands import (
    VARIANTS_MAX,
    Attributes,
    MediumBody,
    OptionBody,
    PriceBody,
    ProductBody,
    VariantBody,
)
from tradewind.contexts.catalog.events import ProductChanged, VariantChanged, sku_key
from tradewind.contexts.catalog.rules.attributes import from_cell
from tradewind.contexts.catalog.tables import Attribute
from tradewind.kernel.money import wire_e4
from tradewind.kernel.sheets import BrokenRow

# Of a product, by the name of its field in a sheet.
OF_PRODUCT = ("title", "description", "category", "attributes", "archived", "options", "media")
# Of a variant: the name in a sheet, and in a body.
OF_VARIANT = {
    "sku": "sku",
    "variant_title": "title",
    "prices": "prices",
    "variant_attributes": "attributes",
    "on_hand": "on_hand",
    "variant_archived": "archived",
    "variant_options": "options",
}
FIELDS = ("external_id", *OF_PRODUCT, *OF_VARIANT, "price", "currency")
NAMED = ("attributes", "variant_attributes", "variant_options")
PATH_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
WORDS_FOR_TRUE = frozenset({"true", "yes", "1"})
WORDS_FOR_FALSE = frozenset({"false", "no", "0"})
COUNT = re.compile(r"\d{1,18}", re.ASCII)
AS_JSON = frozenset(
    {"prices", "attributes", "variant_attributes", "options", "variant_options", "media"}
)
AS_BOOLEAN = frozenset({"archived", "variant_archived"})


class BadCell(BrokenRow):
    """A cell that cannot be what its field wants; `field` says which."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__("invalid_product", message)
        self.field = field


class Row(Struct, frozen=True, kw_only=True):
    """What a row says, still unchecked: values by field of product and variant."""

    external_id: str
    product: dict[str, Any]
    variant: dict[str, Any]
    # Single attributes, where a column stands for one; they join those that are there.
    product_attributes: dict[str, Any] | UnsetType = UNSET
    variant_attributes: dict[str, Any] | UnsetType = UNSET
    chosen: dict[str, str] | UnsetType = UNSET  # an option of the variant, in a column of its own


def read_fields(said: Mapping[str, str]) -> Row:
    """The texts of a row as values. Raises `BadCell`."""
    values: dict[str, Any] = {}
    single: dict[str, dict[str, Any]] = {name: {} for name in NAMED}
    for field, cell in said.items():
        first, dot, name = field.partition(".")
        if dot:
            single[first][name] = cell
        else:
            values[field] = value_of(field, cell)
    sku = values.get("sku")
    if sku is None:
        raise BadCell("sku", "is required")
    variant = {OF_VARIANT[name]: values[name] for name in OF_VARIANT if name in values}
    if "price" in values:
        if "currency" not in values:
            raise BadCell("currency", "is required beside a price")
        variant["price"] = {"amount": values["price"], "currency": values["currency"]}
    return Row(
        external_id=values.get("external_id", sku),
        product={name: values[name] for name in OF_PRODUCT if name in values},
        variant=variant,
        product_attributes=single["attributes"] or UNSET,
        variant_attributes=single["variant_attributes"] or UNSET,
        chosen=single["variant_options"] or UNSET,
    )


def value_of(field: str, cell: str) -> Any:
    """A cell as what its field holds."""
    if field in AS_JSON:
        try:
            return msgspec.json.decode(cell)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise BadCell(field, f"is not JSON: {error}") from None
    if field in AS_BOOLEAN:
        word = cell.strip().lower()
        if word in WORDS_FOR_TRUE | WORDS_FOR_FALSE:
            return word in WORDS_FOR_TRUE
        raise BadCell(field, "must be true or false")
    if field == "on_hand":
        if COUNT.fullmatch(cell.strip()):
            return int(cell)
        raise BadCell(field, "must be a whole number, zero or more")
    if field in ("external_id", "sku", "price", "currency"):
        return cell.strip()
    return cell


def merged(
    existing: ProductChanged | None, row: Row, defined: Mapping[str, Attribute]
) -> tuple[ProductBody, int]:
    """The product as it is once the row is taken, and which variant the row is about.

    Raises `BadCell`, or `msgspec.ValidationError` for a value of a wrong shape.
    """
    document: dict[str, Any] = {}
    variants: list[Any] = []
    if existing is not None:
        kept = body_of(existing)
        document = {name: getattr(kept, name) for name in OF_PRODUCT}
        variants = list(kept.variants)
    if not isinstance(row.product_attributes, UnsetType):
        single = typed(row.product_attributes, defined)
        document["attributes"] = {**document.get("attributes", {}), **single}
    document.update(row.product)
    if not isinstance(row.chosen, UnsetType):
        document["options"] = with_choice(document.get("options", []), row.chosen)
    if "title" not in document:
        raise BadCell("title", "is required: there is no such product yet")
    key = sku_key(row.variant["sku"])
    at = next((i for i, v in enumerate(variants) if sku_key(v.sku) == key), len(variants))
    if at == len(variants):
        variants.append(None)
    try:
        variants[at] = merged_variant(variants[at], row, defined)
    except msgspec.ValidationError as error:
        pointer, message = pointed(str(error))
        field = field_of(f"/variants/{at}{pointer or ''}", at)
        raise BadCell(field or "sku", message) from None
    if sum(not v.archived for v in variants) > VARIANTS_MAX:
        raise BadCell("sku", f"is one too many: a product may have {VARIANTS_MAX} variants")
    attributes = msgspec.convert(document.pop("attributes", {}), Attributes)
    document = msgspec.to_builtins(document)
    rest = msgspec.convert({**document, "variants": [{"sku": row.variant["sku"]}]}, ProductBody)
    body = msgspec.structs.replace(rest, attributes=attributes, variants=variants)
    return body, at


def with_choice(options: list[Any], chosen: Mapping[str, str]) -> list[Any]:
    """The options of a product with what a variant is among them."""
    known = {each["title"]: list(each["values"]) for each in msgspec.to_builtins(options)}
    for title, value in chosen.items():
        values = known.setdefault(title, [])
        if value not in values:
            values.append(value)
    return [{"title": title, "values": values} for title, values in known.items()]


def typed(single: Mapping[str, Any], defined: Mapping[str, Attribute]) -> dict[str, Any]:
    """Attributes from cells of their own, as they are defined."""
    return {name: from_cell(defined.get(name), cell) for name, cell in single.items()}


def merged_variant(
    before: VariantBody | None, row: Row, defined: Mapping[str, Attribute]
) -> VariantBody:
    """The variant as it is once the row is taken."""
    said = dict(row.variant)
    single = row.variant_attributes
    if not isinstance(single, UnsetType):
        known = before.attributes if before else {}
        said["attributes"] = {**known, **said.get("attributes", {}), **typed(single, defined)}
    if not isinstance(row.chosen, UnsetType):
        known_options = before.options if before else {}
        said["options"] = {**known_options, **said.get("options", {}), **row.chosen}
    if before is None:
        return msgspec.convert(said, VariantBody)
    if "price" in said and "prices" not in said:
        # A price in one currency says nothing about the others, nor about those with dates.
        price = said.pop("price")
        prices = msgspec.to_builtins(before.prices)
        same = [p for p in prices if p["currency"] == price["currency"] and not p["valid_from"]]
        said["prices"] = [{**p, **price} if p in same else p for p in prices]
        if not same:
            said["prices"].append(price)
    wanted = msgspec.convert(said, VariantBody)
    changes = {name: getattr(wanted, name) for name in said}
    if "price" in said or "prices" in said:
        changes = {"price": wanted.price, "prices": wanted.prices, **changes}
    return msgspec.structs.replace(before, **changes)


def body_of(product: ProductChanged) -> ProductBody:
    """A stored product as somebody could have sent it."""
    return ProductBody(
        title=product.title,
        description=product.description,
        category=product.category,
        attributes=product.attributes,
        external_id=product.external_id,
        archived=product.archived,
        options=[OptionBody(title=o.title, values=list(o.values)) for o in product.options],
        media=[MediumBody(id=m.id, alt=m.alt) for m in product.media],
        variants=[variant_body(variant, product.title) for variant in product.variants],
    )


def variant_body(variant: VariantChanged, product_title: str) -> VariantBody:
    """A stored variant as somebody could have sent it: without a title of its own, it has that of
    the product, also of one that gets another title now.
    """
    return VariantBody(
        sku=variant.sku,
        title=None if variant.title == product_title else variant.title,
        prices=[
            PriceBody(
                amount=wire_e4(price.amount_e4, price.currency).amount,
                currency=price.currency,
                valid_from=price.valid_from,
                valid_until=price.valid_until,
            )
            for price in variant.prices
        ],
        options=variant.options,
        attributes=variant.attributes,
        archived=variant.archived,
    )


def pointed(message: str) -> tuple[str | None, str]:
    """The JSON pointer in a decoder's message, and the rest of it."""
    text, _, path = message.partition(" - at `$")
    steps = [name or index for name, index in PATH_STEP.findall(path.rstrip("`"))]
    return "".join("/" + step for step in steps) or None, text


def field_of(pointer: str, at: int) -> str | None:
    """The field of a sheet that a pointer into a merged body is about; `at`: the row's variant."""
    inner = pointer.removeprefix(f"/variants/{at}/")
    if inner != pointer:
        name, _, rest = inner.partition("/")
        if name in ("price", "prices"):
            return "currency" if rest.endswith("currency") else name
        return next((field for field, own in OF_VARIANT.items() if own == name), None)
    name = pointer.strip("/").partition("/")[0]
    return name if name in (*OF_PRODUCT, "external_id") else None


SHEET_COLUMNS = (
    "external_id",
    "title",
    "description",
    "category",
    "attributes",
    "archived",
    "options",
    "media",
    "sku",
    "variant_title",
    "price",
    "currency",
    "prices",
    "variant_attributes",
    "variant_options",
    "variant_archived",
)


def exported(product: ProductChanged) -> dict[str, Any]:
    """A product as a line of an import: what is not said is as if it had been left out."""
    document: dict[str, Any] = {"external_id": product.external_id, "title": product.title}
    if product.description:
        document["description"] = product.description
    if product.category:
        document["category"] = product.category
    if product.attributes:
        document["attributes"] = product.attributes
    if product.archived:
        document["archived"] = True
    if product.options:
        document["options"] = product.options
    if product.media:
        document["media"] = product.media
    document["variants"] = [exported_variant(variant) for variant in product.variants]
    return document


def exported_variant(variant: VariantChanged) -> dict[str, Any]:
    """A variant within a line of an import."""
    first, *others = exported_prices(variant)
    document: dict[str, Any] = {"sku": variant.sku, "title": variant.title, "price": first}
    if others:
        document["prices"] = others
    if variant.attributes:
        document["attributes"] = variant.attributes
    if variant.options:
        document["options"] = variant.options
    if variant.archived:
        document["archived"] = True
    return document


def exported_prices(variant: VariantChanged) -> list[dict[str, Any]]:
    """The prices of a variant, the one that is shown first."""
    found: list[dict[str, Any]] = []
    for price in variant.prices:
        amount = wire_e4(price.amount_e4, price.currency).amount
        dates = {"valid_from": price.valid_from, "valid_until": price.valid_until}
        told = {name: instant for name, instant in dates.items() if instant is not None}
        found.append({"amount": amount, "currency": price.currency, **told})
    return found


def sheet_rows(product: ProductChanged) -> list[list[Any]]:
    """A product as rows of a sheet: what is about all of it stands in the first."""
    found: list[list[Any]] = []
    for variant in product.variants:
        first, *others = exported_prices(variant)
        whole = [
            product.title,
            product.description,
            product.category,
            as_json(product.attributes),
            word(product.archived),
            as_json(product.options),
            as_json(product.media),
        ]
        found.append(
            [
                product.external_id,
                *(whole if not found else [None] * len(whole)),
                variant.sku,
                variant.title,
                first["amount"],
                first["currency"],
                as_json(others),
                as_json(variant.attributes),
                as_json(variant.options),
                word(variant.archived),
            ]
        )
    return found


def as_json(value: Any) -> str | None:
    """A cell that holds JSON; an empty one says the same as nothing."""
    return msgspec.json.encode(value).decode() if value else None


def word(value: bool) -> str:
    """A truth value in a cell."""
    return "true" if value else "false"
