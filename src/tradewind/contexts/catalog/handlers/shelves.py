"""Loading what a batch is decided on, and saving what it became."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from tradewind.contexts.catalog.events import ProductChanged, VariantChanged, sku_key
from tradewind.contexts.catalog.rules import history, products
from tradewind.contexts.catalog.rules.drafts import Draft
from tradewind.contexts.catalog.rules.products import Shelf
from tradewind.contexts.catalog.tables import (
    Attribute,
    AttributeRow,
    Availability,
    AvailabilityRow,
    ProductRow,
    VariantRow,
)
from tradewind.kernel.ids import new_id
from tradewind.platform.database.transaction import Transaction

LOCK = "catalog"
# Between the names of a list that travels as one text: no name may hold a control character.
SEPARATOR = "\x1f"
# Attributes are searched, but not without end: a tsvector may have 1 MB.
WORDS_LENGTH_MAX = 20_000

ENCODER = msgspec.json.Encoder()


class Loaded(Struct, frozen=True):
    """What a batch is decided on."""

    shelf: Shelf
    before: Mapping[str, ProductChanged]  # by external id
    marks: Mapping[str, str]  # by product id
    availability: Mapping[str, Availability]  # by sku key


def names_of(good: Iterable[Draft]) -> set[str]:
    """What drafts lock: their product, by its external id, and every sku they name."""
    names: set[str] = set()
    for draft in good:
        names.add(f"product:{draft.external_id}")
        names.update(f"sku:{sku_key(variant.sku)}" for variant in draft.variants)
    return names


# Served by the primary key.
AVAILABILITY = """
    SELECT sku_key, availability, sequence FROM catalog.availability
     WHERE sku_key = ANY($1::text[])
"""
# Served by products_external_id.
PRODUCTS = """
    SELECT product_id, external_id, title, description, category, attributes, version, archived,
           mark, options, media
      FROM catalog.products WHERE external_id = ANY($1::text[])
"""
# Served by the primary key and variants_by_product.
VARIANTS = """
    SELECT v.sku_key, v.product_id, v.sku, v.title, v.prices, v.attributes, v.archived, v.position,
           coalesce(a.availability, 'out_of_stock'), v.options, v.group_prices
      FROM catalog.variants v LEFT JOIN catalog.availability a ON a.sku_key = v.sku_key
     WHERE v.product_id = ANY($1::text[]) OR v.sku_key = ANY($2::text[])
"""


async def load_variants(
    tx: Transaction, product_ids: Sequence[str], sku_keys: Sequence[str]
) -> list[VariantRow]:
    """The variants of these products, and those of others that own one of these skus."""
    return await tx.fetch(VARIANTS, product_ids, sku_keys, into=VariantRow)


async def load(
    tx: Transaction,
    good: Sequence[Draft],
    external_ids: Sequence[str] = (),
    sku_keys: Sequence[str] = (),
) -> Loaded:
    """The products a batch is about, who owns the skus it names, and how available they are."""
    external_ids = sorted({*external_ids, *(draft.external_id for draft in good)})
    named = {sku_key(variant.sku) for draft in good for variant in draft.variants}
    keys = sorted({*sku_keys, *named})
    rows = await tx.fetch(PRODUCTS, external_ids, into=ProductRow)
    variants = await load_variants(tx, [row.product_id for row in rows], keys)
    by_product: dict[str, list[VariantRow]] = {}
    for variant in variants:
        by_product.setdefault(variant.product_id, []).append(variant)
    before = {
        row.external_id: products.restore(row, by_product.get(row.product_id, ())) for row in rows
    }
    availability = {variant.sku_key: variant.availability for variant in variants}
    unseen = [key for key in keys if key not in availability]
    if unseen:
        told = await tx.fetch(AVAILABILITY, unseen, into=AvailabilityRow)
        availability.update({row.sku_key: row.availability for row in told})
    return Loaded(
        shelf=Shelf(
            products=dict(before),
            owners={variant.sku_key: variant.product_id for variant in variants},
            defined=await load_attributes(tx) if good or sku_keys else {},
        ),
        before=before,
        marks={row.product_id: row.mark for row in rows},
        availability=availability,
    )


# The whole table: some dozens of rows.
ATTRIBUTES = """
    SELECT name, kind, unit, choices, required, categories, description
      FROM catalog.attributes ORDER BY name
"""
decode_choices = msgspec.json.Decoder(tuple[str, ...]).decode


async def load_attributes(tx: Transaction) -> dict[str, Attribute]:
    """What attributes hold that are defined, by name."""
    return {
        row.name: Attribute(
            row.name,
            row.kind,
            row.unit,
            decode_choices(row.choices),
            row.required,
            tuple(row.categories),
            row.description,
        )
        for row in await tx.fetch(ATTRIBUTES, into=AttributeRow)
    }


def weighted(column: str, weight: str, dictionary: str = "english") -> str:
    """SQL for the words of a column. Slashes and underscores part words, here and in queries: the
    parser would take "Home/Lighting" for a file.
    """
    words = f"to_tsvector('pg_catalog.{dictionary}', translate({column}, '/_', '  '))"
    return f"setweight({words}, '{weight}')"


# The title stands there twice: stemmed, so that "lamps" finds "lamp", and as it is, so that
# "lighti" finds "lighting" while somebody types.
VECTOR = " || ".join(
    (
        weighted("u.title", "A"),
        weighted("u.skus", "A", "simple"),
        weighted("u.category", "B"),
        weighted("u.words", "C"),
        weighted("u.description", "D"),
        weighted("u.title", "D", "simple"),
    )
)
ARRAYS = """
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                  $7::bigint[], $8::boolean[], $9::text[], $10::text[], $11::text[], $12::text[],
                  $13::text[], $14::text[], $15::bigint[], $16::text[], $17::text[],
                  $18::timestamptz[])
        AS u(product_id, external_id, title, description, category, attributes,
             version, archived, mark, document, categories, skus, words, mark_before,
             version_before, options, media, redraw_at)
"""
ADD_PRODUCTS = f"""
    INSERT INTO catalog.products
           (product_id, external_id, title, description, category, attributes, version, archived,
            mark, document, categories, search, options, media, redraw_at, created_at, updated_at)
    SELECT u.product_id, u.external_id, u.title, u.description, nullif(u.category, ''),
           u.attributes::json, u.version, u.archived, u.mark, u.document,
           string_to_array(u.categories, E'\\x1f'), {VECTOR},
           u.options, u.media, u.redraw_at, $19::timestamptz, $19::timestamptz
    {ARRAYS}
"""
CHANGE_PRODUCTS = f"""
    UPDATE catalog.products p
       SET title = u.title, description = u.description, category = nullif(u.category, ''),
           attributes = u.attributes::json, version = u.version, archived = u.archived,
           mark = u.mark, document = u.document,
           categories = string_to_array(u.categories, E'\\x1f'), search = {VECTOR},
           options = u.options, media = u.media, redraw_at = u.redraw_at,
           updated_at = $19::timestamptz
    {ARRAYS}
     WHERE p.product_id = u.product_id AND p.version = u.version_before AND p.mark = u.mark_before
"""


def save(tx: Transaction, loaded: Loaded) -> None:
    """Queue what differs from what was loaded: each row once, however often it changed."""
    changed = [
        product
        for external_id, product in loaded.shelf.products.items()
        if product is not loaded.before.get(external_id)
    ]
    fresh = [product for product in changed if product.external_id not in loaded.before]
    known = [product for product in changed if product.external_id in loaded.before]
    for sql, group in ((ADD_PRODUCTS, fresh), (CHANGE_PRODUCTS, known)):
        if group:
            columns = zip(*(product_values(p, loaded, tx.now) for p in group), strict=True)
            tx.write(sql, *(list(column) for column in columns), tx.now, expect=len(group))
    save_variants(tx, loaded, changed)
    save_categories(tx, changed)
    save_declared(tx, loaded.shelf.events)
    save_history(tx, loaded)


SAVE_DECLARED = """
    INSERT INTO catalog.counts (sku_key, declared)
    SELECT u.sku_key, u.declared FROM unnest($1::text[], $2::bigint[]) AS u(sku_key, declared)
        ON CONFLICT (sku_key) DO UPDATE SET declared = excluded.declared
"""


def save_declared(tx: Transaction, events: Sequence[ProductChanged]) -> None:
    """Queue the units that were declared with products."""
    declared = {
        sku_key(variant.sku): variant.on_hand
        for event in events
        for variant in event.variants
        if variant.on_hand is not None
    }
    if declared:
        tx.write(SAVE_DECLARED, list(declared), list(declared.values()))


def product_values(product: ProductChanged, loaded: Loaded, now: datetime) -> tuple[object, ...]:
    """One product as the columns of `ARRAYS`."""
    before = loaded.before.get(product.external_id)
    live = [variant for variant in product.variants if not variant.archived]
    return (
        product.product_id,
        product.external_id,
        product.title,
        product.description,
        product.category or "",
        ENCODER.encode(product.attributes).decode(),
        product.version,
        product.archived,
        products.mark(product, loaded.availability, now),
        products.document(product, loaded.availability, now).decode(),
        SEPARATOR.join(products.ancestors(product.category)),
        " ".join(variant.sku for variant in live),
        words_of(product, live)[:WORDS_LENGTH_MAX],
        loaded.marks.get(product.product_id, ""),
        before.version if before else 0,
        ENCODER.encode(product.options).decode(),
        ENCODER.encode(product.media).decode(),
        None if product.archived else products.redraw_at(product, now),
    )


def words_of(product: ProductChanged, live: Sequence[VariantChanged]) -> str:
    """Titles, attributes and options of variants, attributes of the product: what searches look at
    third.
    """
    words: dict[str, None] = {}
    for variant in live:
        if variant.title != product.title:
            words[variant.title] = None
    for attributes in (product.attributes, *(variant.attributes for variant in live)):
        for value in attributes.values():
            if value is not None and not isinstance(value, bool):
                words[str(value)] = None
    for variant in live:
        words.update(dict.fromkeys(variant.options.values()))
    return " ".join(words)


VARIANT_ARRAYS = """
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                  $7::boolean[], $8::integer[], $9::text[], $10::text[])
        AS u(sku_key, product_id, sku, title, prices, attributes, archived, position, options,
             group_prices)
"""
ADD_VARIANTS = f"""
    INSERT INTO catalog.variants
           (sku_key, product_id, sku, title, prices, attributes, archived, position, options,
            group_prices)
    SELECT u.sku_key, u.product_id, u.sku, u.title, u.prices::json, u.attributes::json,
           u.archived, u.position, u.options, u.group_prices
    {VARIANT_ARRAYS}
"""
CHANGE_VARIANTS = f"""
    UPDATE catalog.variants v
       SET sku = u.sku, title = u.title, prices = u.prices::json,
           attributes = u.attributes::json, archived = u.archived, position = u.position,
           options = u.options, group_prices = u.group_prices
    {VARIANT_ARRAYS}
     WHERE v.sku_key = u.sku_key AND v.product_id = u.product_id
"""


def save_variants(tx: Transaction, loaded: Loaded, changed: Sequence[ProductChanged]) -> None:
    """Queue the variants of changed products that are new or differ."""
    fresh: list[tuple[object, ...]] = []
    known: list[tuple[object, ...]] = []
    for product in changed:
        before = loaded.before.get(product.external_id)
        rows_before = variant_rows(before) if before else {}
        for key, row in variant_rows(product).items():
            if key not in rows_before:
                fresh.append(row)
            elif row != rows_before[key]:
                known.append(row)
    for sql, rows in ((ADD_VARIANTS, fresh), (CHANGE_VARIANTS, known)):
        if rows:
            columns = zip(*rows, strict=True)
            tx.write(sql, *(list(column) for column in columns), expect=len(rows))


def variant_rows(product: ProductChanged) -> dict[str, tuple[object, ...]]:
    """The variants of a product as the columns of `VARIANT_ARRAYS`, by sku key."""
    return {
        sku_key(variant.sku): (
            sku_key(variant.sku),
            product.product_id,
            variant.sku,
            variant.title,
            ENCODER.encode(variant.prices).decode(),
            ENCODER.encode(variant.attributes).decode(),
            variant.archived,
            position,
            ENCODER.encode(variant.options).decode(),
            ENCODER.encode(variant.group_prices).decode(),
        )
        for position, variant in enumerate(product.variants)
    }


# Sorted, so that two units that bring the same categories wait for each other in one order.
ADD_CATEGORIES = """
    INSERT INTO catalog.categories (path, parent, category_id, name)
    SELECT u.path, nullif(u.parent, ''), u.category_id, u.name
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
        AS u(path, parent, category_id, name)
     ORDER BY u.path COLLATE "C"
        ON CONFLICT (path) DO NOTHING
"""


def save_categories(tx: Transaction, changed: Sequence[ProductChanged]) -> None:
    """Queue the categories that changed products stand in. None is ever taken away."""
    paths = sorted({path for product in changed for path in products.ancestors(product.category)})
    if paths:
        tx.write(
            ADD_CATEGORIES,
            paths,
            [path.rpartition("/")[0] for path in paths],
            [new_id("cat") for _ in paths],
            [path.rpartition("/")[2] for path in paths],
        )


# A change that is told of twice (an event sent again after a crash) stands there once.
ADD_HISTORY = """
    INSERT INTO catalog.history (product_id, version, at, by, changes)
    SELECT u.product_id, u.version, $5::timestamptz, u.by, u.changes
      FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[])
        AS u(product_id, version, by, changes)
"""
# Served by the primary key. Each change takes the one a hundred before it away.
FORGET_HISTORY = """
    DELETE FROM catalog.history h
     USING unnest($1::text[], $2::bigint[]) AS u(product_id, version)
     WHERE h.product_id = u.product_id AND h.version <= u.version
"""


def save_history(tx: Transaction, loaded: Loaded) -> None:
    """Queue what changed of each product, and forget what is long ago."""
    trail = loaded.shelf.trail
    if not trail:
        return
    tx.write(
        ADD_HISTORY,
        [after.product_id for _, after, _ in trail],
        [after.version for _, after, _ in trail],
        [by for _, _, by in trail],
        [ENCODER.encode(history.changes(before, after)).decode() for before, after, _ in trail],
        tx.now,
    )
    old = [after for _, after, _ in trail if after.version > history.KEPT_MAX]
    if old:
        tx.write(
            FORGET_HISTORY,
            [after.product_id for after in old],
            [after.version - history.KEPT_MAX for after in old],
        )
