"""What becomes of a product, and what shoppers see of it.

The state of a product is its newest `ProductChanged` without the declarations of stock: what a copy
elsewhere can know and what is decided on here are the same thing. A batch is folded over a `Shelf`,
so two requests about one product see each other, in their order.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from tradewind.contexts.catalog.commands import MEDIA_MAX, Precondition
from tradewind.contexts.catalog.events import (
    AttributeValue,
    GroupPrice,
    Medium,
    Option,
    Price,
    ProductChanged,
    VariantChanged,
    sku_key,
)
from tradewind.contexts.catalog.problems import (
    InvalidProduct,
    ProductNotFound,
    SkuTaken,
    VersionMismatch,
)
from tradewind.contexts.catalog.rules import attributes
from tradewind.contexts.catalog.rules.drafts import ERRORS_TOLD_MAX, Draft
from tradewind.contexts.catalog.tables import (
    UNKNOWN_AVAILABILITY,
    Attribute,
    Availability,
    Media,
    Product,
    ProductRow,
    ShownMedium,
    Variant,
    VariantRow,
)
from tradewind.kernel.audit import Change
from tradewind.kernel.money import wire_e4
from tradewind.kernel.problems import FieldError, Problem

# Archived variants stay for ever and travel in each event: 500 of them are about 100 kB.
VARIANTS_EVER_MAX = 500
AVAILABILITY_LETTER = {"in_stock": b"i", "low": b"l", "out_of_stock": b"o"}
ANY_VERSION = Precondition()
ALWAYS = datetime(1, 1, 1, tzinfo=UTC)

ATTRIBUTES_DECODER = msgspec.json.Decoder(dict[str, AttributeValue])
OPTIONS_DECODER = msgspec.json.Decoder(tuple[Option, ...])
MEDIA_DECODER = msgspec.json.Decoder(tuple[Medium, ...])
CHOSEN_DECODER = msgspec.json.Decoder(dict[str, str])
GROUP_PRICES_DECODER = msgspec.json.Decoder(tuple[GroupPrice, ...])
PRICES_DECODER = msgspec.json.Decoder(tuple[Price, ...])
ENCODER = msgspec.json.Encoder()


class Shelf(Struct, kw_only=True):
    """The products a batch is about, as they are while it is folded."""

    products: dict[str, ProductChanged]  # by external id
    owners: dict[str, str]  # product id by sku key
    events: list[ProductChanged] = []
    # Each change: what was, what is, who said so; in the order of the events.
    trail: list[tuple[ProductChanged | None, ProductChanged, str]] = []
    by: str = ""  # whoever is being heard
    defined: Mapping[str, Attribute] = {}  # attributes, by name


def upsert(
    shelf: Shelf, draft: Draft, product_id: str, precondition: Precondition = ANY_VERSION
) -> ProductChanged | Problem:
    """Put a draft on the shelf; returns the product as it is then.

    Announces it where it changed, and where a draft declares stock: the same count said twice is
    said twice. An unchanged product keeps its version and is not announced.
    """
    existing = shelf.products.get(draft.external_id)
    refused = refuse_version(existing, precondition)
    if refused is not None:
        return refused
    if existing is not None:
        product_id = existing.product_id
    for index, variant in enumerate(draft.variants):
        owner = shelf.owners.get(sku_key(variant.sku), product_id)
        if owner != product_id:
            return SkuTaken(
                f"Sku {variant.sku} belongs to product {owner}, archived or not.",
                errors=(FieldError(f"/variants/{index}/sku", f"Belongs to product {owner}."),),
                sku=variant.sku,
                product_id=owner,
            )
    wrong = attributes.wrong_with(shelf.defined, draft)
    if wrong:
        told = f"{wrong[0].pointer}: {wrong[0].message}"
        return InvalidProduct(told, errors=tuple(wrong[:ERRORS_TOLD_MAX]))
    variants = draft.variants + left_out(existing, draft)
    if any(variant.archived for variant in draft.variants):
        variants = tuple(sorted(variants, key=attrgetter("archived")))
    if len(variants) > VARIANTS_EVER_MAX:
        return InvalidProduct(
            f"A product may have {VARIANTS_EVER_MAX} variants in its life; with the archived ones "
            f"this one would have {len(variants)}."
        )
    version = existing.version + 1 if existing else 1
    changed = ProductChanged(
        sequence=version,
        product_id=product_id,
        external_id=draft.external_id,
        title=draft.title,
        description=draft.description,
        category=draft.category,
        attributes=draft.attributes,
        version=version,
        archived=draft.archived,
        variants=with_group_prices(existing, variants),
        options=draft.options,
        media=media_of(existing, draft),
    )
    return put(shelf, existing, changed)


def with_group_prices(
    existing: ProductChanged | None, variants: tuple[VariantChanged, ...]
) -> tuple[VariantChanged, ...]:
    """The variants with the prices of groups that they had: those come from price lists."""
    if existing is None:
        return variants
    known = {sku_key(v.sku): v.group_prices for v in existing.variants if v.group_prices}
    if not known:
        return variants
    return tuple(
        msgspec.structs.replace(v, group_prices=known.get(sku_key(v.sku), ())) for v in variants
    )


def media_of(existing: ProductChanged | None, draft: Draft) -> tuple[Medium, ...]:
    """The media of a product: those of the draft, or as they were."""
    if draft.media is not None:
        return draft.media
    return existing.media if existing else ()


def archive(
    shelf: Shelf, external_id: str, precondition: Precondition = ANY_VERSION
) -> ProductChanged | Problem:
    """Take a product and all its variants off the shelf. Doing it twice changes nothing."""
    existing = shelf.products.get(external_id)
    if existing is None:
        return ProductNotFound(f"No product has the external id {external_id!r}.")
    refused = refuse_version(existing, precondition)
    if refused is not None:
        return refused
    changed = msgspec.structs.replace(
        existing,
        sequence=existing.version + 1,
        version=existing.version + 1,
        archived=True,
        variants=tuple(msgspec.structs.replace(v, archived=True) for v in existing.variants),
    )
    return put(shelf, existing, changed)


def arrange(
    shelf: Shelf, existing: ProductChanged, media: tuple[Medium, ...], *, added: bool
) -> ProductChanged | Problem:
    """Show these media of a product, or these behind the others; each once."""
    if added:
        new = {medium.id: medium for medium in media}
        kept = tuple(new.pop(medium.id, medium) for medium in existing.media)
        media = kept + tuple(new.values())
    ids = {medium.id for medium in media}
    if len(media) > MEDIA_MAX or len(ids) < len(media):
        return InvalidProduct(f"A product has at most {MEDIA_MAX} media, each of them once.")
    version = existing.version + 1
    changed = msgspec.structs.replace(existing, media=media, version=version, sequence=version)
    return put(shelf, existing, changed)


def media(product: ProductChanged) -> Media:
    """The media of a product as they are shown."""
    return Media(
        items=[ShownMedium(id=m.id, url=f"/v1/media/{m.id}", alt=m.alt) for m in product.media]
    )


def refuse_version(
    existing: ProductChanged | None, precondition: Precondition
) -> VersionMismatch | None:
    """Whether the product is in a version that the caller did not ask for."""
    version = existing.version if existing else 0
    wanted = precondition.versions
    if (wanted is None or version in wanted) and (version > 0 or not precondition.must_exist):
        return None
    state = f"is in version {version}" if version else "does not exist"
    return VersionMismatch(f"The product {state}.", version=version)


def left_out(existing: ProductChanged | None, draft: Draft) -> tuple[VariantChanged, ...]:
    """The variants that a draft no longer names: archived, in the order they had."""
    if existing is None:
        return ()
    named = {sku_key(variant.sku) for variant in draft.variants}
    return tuple(
        msgspec.structs.replace(variant, archived=True)
        for variant in existing.variants
        if sku_key(variant.sku) not in named
    )


def put(shelf: Shelf, existing: ProductChanged | None, changed: ProductChanged) -> ProductChanged:
    """Let the shelf hold `changed` and announce it, unless nothing is new in it."""
    state = without_stock(changed)
    if existing is not None:
        same = msgspec.structs.replace(state, sequence=existing.sequence, version=existing.version)
        # Compared as text: to Python, 1 and true are equal.
        if state is changed and ENCODER.encode(same) == ENCODER.encode(existing):
            return existing
    shelf.products[changed.external_id] = state
    for variant in state.variants:
        shelf.owners[sku_key(variant.sku)] = state.product_id
    shelf.events.append(changed)
    shelf.trail.append((existing, state, shelf.by))
    return state


def without_stock(changed: ProductChanged) -> ProductChanged:
    """The state that an event leaves: declarations of stock are not part of it."""
    if all(variant.on_hand is None for variant in changed.variants):
        return changed
    return msgspec.structs.replace(
        changed,
        variants=tuple(msgspec.structs.replace(v, on_hand=None) for v in changed.variants),
    )


def restore(row: ProductRow, variants: Iterable[VariantRow]) -> ProductChanged:
    """The state of a product from its rows."""
    return ProductChanged(
        sequence=row.version,
        product_id=row.product_id,
        external_id=row.external_id,
        title=row.title,
        description=row.description,
        category=row.category,
        attributes=ATTRIBUTES_DECODER.decode(row.attributes),
        version=row.version,
        archived=row.archived,
        options=OPTIONS_DECODER.decode(row.options),
        media=MEDIA_DECODER.decode(row.media),
        variants=tuple(
            VariantChanged(
                sku=v.sku,
                title=v.title,
                prices=PRICES_DECODER.decode(v.prices),
                archived=v.archived,
                attributes=ATTRIBUTES_DECODER.decode(v.attributes),
                options=CHOSEN_DECODER.decode(v.options) if v.options != "{}" else {},
                group_prices=GROUP_PRICES_DECODER.decode(v.group_prices)
                if v.group_prices != "[]"
                else (),
            )
            for v in sorted(variants, key=lambda v: v.position)
        ),
    )


def document(
    product: ProductChanged, availability: Mapping[str, Availability], now: datetime
) -> bytes:
    """The product as shoppers see it at a moment, encoded. Availability by sku key."""
    variants: list[Variant] = []
    for v in product.variants:
        if v.archived:
            continue
        prices = tuple(wire_e4(price.amount_e4, price.currency) for price in prices_at(v, now))
        variants.append(
            Variant(
                sku=v.sku,
                title=v.title,
                price=prices[0],
                prices=prices if len(prices) > 1 else msgspec.UNSET,
                attributes=v.attributes,
                availability=availability.get(sku_key(v.sku), UNKNOWN_AVAILABILITY),
                options=v.options or msgspec.UNSET,
            )
        )
    return ENCODER.encode(
        Product(
            id=product.product_id,
            external_id=product.external_id,
            title=product.title,
            description=product.description,
            category=product.category,
            attributes=product.attributes,
            version=product.version,
            variants=tuple(variants),
            options=product.options or msgspec.UNSET,
            media=tuple(media(product).items) or msgspec.UNSET,
        )
    )


def prices_at(variant: VariantChanged, now: datetime) -> tuple[Price, ...]:
    """What a variant costs everybody at a moment: one price per currency, in their order."""
    prices = variant.prices
    if all(price.valid_from is None for price in prices):
        return prices
    found: dict[str, Price] = {}
    for price in prices:
        known = found.get(price.currency)
        if counts_at(price, now) and (known is None or began(price) > began(known)):
            found[price.currency] = price
    return tuple(found.values())


def counts_at(price: Price, now: datetime) -> bool:
    """Whether a price counts at a moment."""
    if price.valid_from is not None and now < price.valid_from:
        return False
    return price.valid_until is None or now < price.valid_until


def began(price: Price) -> datetime:
    """Since when a price counts: the later one counts more."""
    return price.valid_from or ALWAYS


def redraw_at(product: ProductChanged, now: datetime) -> datetime | None:
    """When what shoppers see changes by the clock alone; None: never."""
    instants = [
        instant
        for variant in product.variants
        if not variant.archived
        for price in variant.prices
        for instant in (price.valid_from, price.valid_until)
        if instant is not None and instant > now
    ]
    return min(instants) if instants else None


def mark(product: ProductChanged, availability: Mapping[str, Availability], now: datetime) -> str:
    """What availability and the clock add to the ETag. Equal where shoppers see the same."""
    live = [variant for variant in product.variants if not variant.archived]
    letters = b"".join(
        AVAILABILITY_LETTER[availability.get(sku_key(v.sku), UNKNOWN_AVAILABILITY)] for v in live
    )
    if any(price.valid_from is not None for v in live for price in v.prices):
        letters += ENCODER.encode([prices_at(variant, now) for variant in live])
    return hashlib.blake2b(letters, digest_size=6).hexdigest()


def ancestors(category: str | None) -> list[str]:
    """A category and all above it, from the top: ``Home``, ``Home/Lighting``."""
    names = category.split("/") if category else []
    return ["/".join(names[: depth + 1]) for depth in range(len(names))]


def recorded(was: ProductChanged | None, now: ProductChanged) -> Change:
    """What the record holds of a changed product: versions, and the prices that differ."""
    before = {} if was is None else prices_of(was)
    after = prices_of(now)
    differing = sorted(sku for sku in {*before, *after} if before.get(sku) != after.get(sku))
    return Change(
        now.product_id,
        None if was is None else side(was, before, differing),
        side(now, after, differing),
    )


def prices_of(product: ProductChanged) -> dict[str, list[str]]:
    """The prices of a product's variants that are sold, by sku, as short texts."""
    return {
        variant.sku: sorted(
            f"{price.currency} {price.amount_e4}e-4"
            + (f" from {price.valid_from.isoformat()}" if price.valid_from else "")
            + (f" until {price.valid_until.isoformat()}" if price.valid_until else "")
            for price in variant.prices
        )
        for variant in product.variants
        if not variant.archived
    }


def side(
    product: ProductChanged, prices: Mapping[str, list[str]], skus: Sequence[str]
) -> dict[str, Any]:
    """One side of a change."""
    return {
        "version": product.version,
        "archived": product.archived,
        "prices": {sku: prices[sku] for sku in skus if sku in prices},
    }
