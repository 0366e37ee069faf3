"""What people send, checked: a body becomes a draft, or everything that is wrong with it."""

import re
from collections.abc import Mapping
from datetime import datetime

import msgspec
from msgspec import Struct

from tradewind.contexts.catalog.commands import (
    VARIANTS_MAX,
    PriceBody,
    ProductBody,
    VariantBody,
)
from tradewind.contexts.catalog.events import (
    AttributeValue,
    Medium,
    Option,
    Price,
    VariantChanged,
    category_path,
    sku_key,
)
from tradewind.contexts.catalog.problems import InvalidProduct
from tradewind.kernel.instants import in_utc
from tradewind.kernel.money import CURRENCY, parse_e4
from tradewind.kernel.problems import FieldError
from tradewind.kernel.texts import refused_character, why_refused

EXTERNAL_ID_LENGTH_MAX = 100
CATEGORY_LENGTH_MAX = 500
CATEGORY_NAME_LENGTH_MAX = 100
CATEGORY_DEPTH_MAX = 8
# A billion of the major unit: a line of a million of them still fits into a bigint.
PRICE_E4_MAX = 10**13
# Every error costs the answer about 100 bytes; a body can hold thousands.
ERRORS_TOLD_MAX = 50
# A dot-segment never reaches us: clients and proxies resolve it away in an address.
DOTS = re.compile(r"\.{1,2}")
ADDRESS_OF_SKU = "sku:"  # /v1/products/sku:MUG is another address


class Draft(Struct, frozen=True, kw_only=True):
    """A product as somebody wants it, checked."""

    external_id: str
    title: str
    description: str
    category: str | None
    attributes: dict[str, AttributeValue]
    variants: tuple[VariantChanged, ...]
    archived: bool = False
    options: tuple[Option, ...] = ()
    media: tuple[Medium, ...] | None = None  # None: as they are


def check(external_id: str, body: ProductBody) -> Draft | InvalidProduct:
    """The body as a draft, or everything that is wrong with it."""
    errors: list[FieldError] = []
    check_external_id(external_id, body, errors)
    check_text("/title", body.title, errors)
    if not body.title.strip():
        errors.append(FieldError("/title", "must hold more than spaces"))
    check_text("/description", body.description, errors, prose=True)
    category = check_category(body.category, errors)
    attributes = check_attributes("/attributes", body.attributes, errors)
    variants: list[VariantChanged] = []
    seen: dict[str, int] = {}
    for index, variant in enumerate(body.variants):
        first = seen.setdefault(sku_key(variant.sku), index)
        if first != index:
            message = f"repeats /variants/{first}/sku; skus are compared without letter case"
            errors.append(FieldError(f"/variants/{index}/sku", message))
        checked = check_variant(f"/variants/{index}", variant, body.title, errors)
        if body.archived and not checked.archived:
            checked = msgspec.structs.replace(checked, archived=True)
        variants.append(checked)
    if sum(not variant.archived for variant in body.variants) > VARIANTS_MAX:
        message = f"may have {VARIANTS_MAX} that are not archived"
        errors.append(FieldError("/variants", message))
    options = check_options(body, errors)
    media = check_media(body, errors)
    if not body.archived and all(variant.archived for variant in body.variants):
        errors.append(FieldError("/variants", "must have one that is not archived"))
    if errors:
        told = tuple(errors[:ERRORS_TOLD_MAX])
        return InvalidProduct(f"{told[0].pointer}: {told[0].message}", errors=told)
    return Draft(
        external_id=external_id,
        title=body.title,
        description=body.description,
        category=category,
        attributes=attributes,
        variants=tuple(variants),
        archived=body.archived,
        options=options,
        media=media,
    )


def check_external_id(external_id: str, body: ProductBody, errors: list[FieldError]) -> None:
    """Short, printable, without a space at either end, and the same wherever it stands."""
    good = (
        1 <= len(external_id) <= EXTERNAL_ID_LENGTH_MAX
        and external_id.isprintable()
        and external_id == external_id.strip()
        and DOTS.fullmatch(external_id) is None
        and not external_id.startswith(ADDRESS_OF_SKU)
    )
    if not good:
        message = (
            f"must be 1 to {EXTERNAL_ID_LENGTH_MAX} printable characters, "
            "without a space at either end, and neither '.', '..' nor begin with 'sku:'"
        )
        errors.append(FieldError("/external_id", message))
    if body.external_id not in (None, external_id):
        errors.append(FieldError("/external_id", "differs from the one in the address"))


def check_text(pointer: str, text: str, errors: list[FieldError], *, prose: bool = False) -> None:
    """No control characters; line ends and tabs in prose only."""
    character = refused_character(text, prose=prose)
    if character is not None:
        errors.append(FieldError(pointer, why_refused(character)))


def check_category(category: str | list[str] | None, errors: list[FieldError]) -> str | None:
    """A category as its path; None and the empty path are no category."""
    if category is None:
        return None
    if isinstance(category, list) and any("/" in name for name in category):
        errors.append(FieldError("/category", "must not have '/' in a name of a list"))
        return None
    path = category_path(category)
    names = path.split("/")
    check_text("/category", path, errors)
    if len(names) > CATEGORY_DEPTH_MAX or len(path) > CATEGORY_LENGTH_MAX:
        message = (
            f"must be at most {CATEGORY_DEPTH_MAX} levels deep "
            f"and {CATEGORY_LENGTH_MAX} characters long"
        )
        errors.append(FieldError("/category", message))
    if any(len(name) > CATEGORY_NAME_LENGTH_MAX for name in names):
        message = f"must have names of at most {CATEGORY_NAME_LENGTH_MAX} characters"
        errors.append(FieldError("/category", message))
    return path or None


def check_attributes(
    pointer: str, attributes: Mapping[str, AttributeValue], errors: list[FieldError]
) -> dict[str, AttributeValue]:
    """The attributes in the order of their names, so that equal ones are equal to the byte."""
    for name, value in attributes.items():
        check_text(pointer, name, errors)
        if isinstance(value, str):
            place = name.replace("~", "~0").replace("/", "~1")
            check_text(f"{pointer}/{place}", value, errors, prose=True)
    return dict(sorted(attributes.items()))


def check_variant(
    pointer: str, body: VariantBody, product_title: str, errors: list[FieldError]
) -> VariantChanged:
    """One variant; without a title of its own it has the product's."""
    title = body.title or ""
    check_text(f"{pointer}/sku", body.sku, errors)
    check_text(f"{pointer}/title", title, errors)
    return VariantChanged(
        sku=body.sku,
        title=title if title.strip() else product_title,
        prices=check_prices(pointer, body, errors),
        archived=body.archived,
        attributes=check_attributes(f"{pointer}/attributes", body.attributes, errors),
        on_hand=body.on_hand,
        options=dict(body.options),
    )


def check_prices(pointer: str, body: VariantBody, errors: list[FieldError]) -> tuple[Price, ...]:
    """`price` first, then `prices`: of each currency and beginning one, and one without dates."""
    wanted: list[tuple[str, PriceBody]] = []
    if body.price is not None:
        wanted.append((f"{pointer}/price", body.price))
    wanted += [(f"{pointer}/prices/{i}", amount) for i, amount in enumerate(body.prices)]
    if not wanted:
        errors.append(FieldError(f"{pointer}/price", "is required"))
    prices: dict[tuple[str, datetime | None], Price] = {}
    for place, amount in wanted:
        value = parse_e4(amount.amount)
        begins, ends = in_seconds(amount.valid_from), in_seconds(amount.valid_until)
        if CURRENCY.fullmatch(amount.currency) is None:
            message = "must be three capital letters (ISO 4217)"
            errors.append(FieldError(f"{place}/currency", message))
        elif value is None or not 0 <= value <= PRICE_E4_MAX:
            message = "must be a decimal text from 0 to 1000000000 with at most 4 decimals"
            errors.append(FieldError(f"{place}/amount", message))
        elif ends is not None and begins is None:
            errors.append(FieldError(f"{place}/valid_from", "is required beside valid_until"))
        elif ends is not None and begins is not None and ends <= begins:
            errors.append(FieldError(f"{place}/valid_until", "must be after valid_from"))
        else:
            price = Price(
                currency=amount.currency,
                amount_e4=value,
                valid_from=begins,
                valid_until=ends,
            )
            if prices.setdefault((amount.currency, price.valid_from), price) != price:
                errors.append(FieldError(place, f"is a second price in {amount.currency}"))
    found = sorted(prices.values(), key=lambda price: price.valid_from is not None)
    if found and found[0].valid_from is not None:
        message = "must have a price without dates: what it costs when no other one counts"
        errors.append(FieldError(f"{pointer}/price", message))
    return tuple(found)


def in_seconds(instant: datetime | None) -> datetime | None:
    """An instant as it is kept and compared: whole seconds, UTC."""
    return None if instant is None else in_utc(instant).replace(microsecond=0)


def check_options(body: ProductBody, errors: list[FieldError]) -> tuple[Option, ...]:
    """Every variant on the shelf is one value of each option, and no two are the same."""
    options = tuple(Option(title=o.title, values=tuple(o.values)) for o in body.options)
    values = {option.title: frozenset(option.values) for option in options}
    for index, option in enumerate(options):
        place = f"/options/{index}"
        for text in (option.title, *option.values):
            check_text(place, text, errors)
        if len(values) < len(options) or len(values[option.title]) < len(option.values):
            errors.append(FieldError(place, "must have a title and values that differ"))
    seen: dict[tuple[str, ...], int] = {}
    for index, variant in enumerate(body.variants):
        place = f"/variants/{index}/options"
        for title, value in variant.options.items():
            if value not in values.get(title, ()):
                errors.append(FieldError(place, f"{title}: {value} is no option of the product"))
        if variant.archived or body.archived or not options:
            continue
        if missing := [title for title in values if title not in variant.options]:
            errors.append(FieldError(place, f"must say which {missing[0]} it is"))
            continue
        chosen = tuple(variant.options[title] for title in values)
        if (first := seen.setdefault(chosen, index)) != index:
            errors.append(FieldError(place, f"are those of /variants/{first}"))
    return options


def check_media(body: ProductBody, errors: list[FieldError]) -> tuple[Medium, ...] | None:
    """Each medium once."""
    if body.media is None:
        return None
    for index, medium in enumerate(body.media):
        check_text(f"/media/{index}/alt", medium.alt, errors)
    if len({medium.id for medium in body.media}) < len(body.media):
        errors.append(FieldError("/media", "must name each medium once"))
    return tuple(Medium(id=medium.id, alt=medium.alt) for medium in body.media)
