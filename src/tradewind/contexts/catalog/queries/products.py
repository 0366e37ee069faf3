"""Reads of the catalog. A product is one row with its answer prepared; nothing is counted or
skipped: pages go on from the last key.

Whatever people type is data here: `websearch_to_tsquery` refuses nothing, and a prefix is made of
letters and digits only.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

from tradewind.contexts.catalog.events import sku_key
from tradewind.contexts.catalog.tables import (
    Category,
    ListedProduct,
    Page,
)
from tradewind.platform.cache.memory import Change, Seen
from tradewind.platform.database.transaction import Snapshot

# Greater than any id: "z" sorts behind every letter of their alphabet.
BEHIND_ALL_IDS = "~"
# What somebody is in the middle of typing: a word of two letters or more, after a space.
UNFINISHED_WORD = re.compile(r"(?:^|.*\s)([^\W_]{2,40})", re.DOTALL)
PARTING = str.maketrans("/_", "  ")


class Words(Struct, frozen=True):
    """A search as the database takes it: all words, those before the last, and its beginning."""

    whole: str
    head: str
    prefix: str  # empty: the last word counts as it stands
    sku_key: str

    @property
    def is_empty(self) -> bool:
        """Whether nothing is looked for."""
        return not self.whole


def words_of(text: str) -> Words:
    """What was typed into a search field, as words."""
    # Control characters and lone surrogates could not be sent to the database.
    text = text.replace("\x00", " ").encode("utf-8", "replace").decode().strip()
    parted = text.translate(PARTING).strip()
    found = UNFINISHED_WORD.fullmatch(parted) if '"' not in parted else None
    if found is None:
        return Words(parted, parted, "", sku_key(text))
    return Words(parted, parted[: found.start(1)], found[1].lower() + ":*", sku_key(text))


# What changed

HERE = "SELECT pg_current_snapshot()::text"
# Served by products_by_touched: whatever was committed since the snapshot $1, in any order. Numbers
# that this server has not given yet come from another one, by a copy of its rows.
CHANGED = """
    SELECT c.product_id, NOT pg_visible_in_snapshot(c.reworded, $1::text::pg_snapshot)
      FROM catalog.products c
     WHERE c.touched >= pg_snapshot_xmin($1::text::pg_snapshot)
       AND c.touched < pg_snapshot_xmax(pg_current_snapshot())
       AND NOT pg_visible_in_snapshot(c.touched, $1::text::pg_snapshot)
    UNION ALL
    SELECT 'search', true FROM catalog.search_settings s
     WHERE NOT pg_visible_in_snapshot(s.touched, $1::text::pg_snapshot)
"""
# Under which settings of the search are a change like that of a product.
SEARCH_SETTINGS = "search"
# One statement, so one snapshot.
CHANGES = f"""
    SELECT pg_current_snapshot()::text, array_agg(s.product_id), array_agg(s.reworded)
      FROM ({CHANGED}) s (product_id, reworded)
"""


class ChangedRow(Struct, frozen=True):
    """A place, and the products that changed since another one."""

    place: str
    product_ids: Sequence[str] | None
    reworded: Sequence[bool] | None


async def changes(snapshot: Snapshot, since: str | None) -> Seen:
    """Which products are not as they were at the place `since`; it and this place are opaque."""
    if since is None:
        return Seen(await snapshot.fetch_value(HERE))
    row = await snapshot.fetch_one(CHANGES, since, into=ChangedRow)
    assert row is not None, "an aggregate is always a row"
    pairs = zip(row.product_ids or (), row.reworded or (), strict=True)
    return Seen(row.place, [Change(product_id, deep) for product_id, deep in pairs])


# One product

# Served by the primary key.
PRODUCT = """
    SELECT product_id, document, version, mark FROM catalog.products
     WHERE product_id = $1 AND NOT archived
"""
# Served by the primary keys of both.
PRODUCT_OF_SKU = """
    SELECT p.product_id, p.document, p.version, p.mark
      FROM catalog.variants v JOIN catalog.products p ON p.product_id = v.product_id
     WHERE v.sku_key = $1 AND NOT v.archived AND NOT p.archived
"""


async def product(snapshot: Snapshot, product_id: str) -> Page | None:
    """A product on the shelf, by its id."""
    return await snapshot.fetch_one(PRODUCT, product_id, into=Page)


async def product_of_sku(snapshot: Snapshot, sku: str) -> Page | None:
    """The product on the shelf that has this sku; letter case does not matter."""
    return await snapshot.fetch_one(PRODUCT_OF_SKU, sku_key(sku), into=Page)


# Lists, newest first

# Served by the primary key, read backwards.
LISTED = """
    SELECT p.product_id, p.document FROM catalog.products p
     WHERE NOT p.archived AND p.product_id < $1
     ORDER BY p.product_id DESC LIMIT $2
"""
# A category with few below it: the newest of each, by products_by_category_newest, and of those
# the newest ("0" follows "/"). With many below it they are much of the shop: from the newest
# product on, by the primary key. Only one of the two parts runs.
BELOW_MAX = 50
BELOW_READ = BELOW_MAX + 1
LISTED_IN_CATEGORY = f"""
    WITH below AS MATERIALIZED (
      SELECT c.path FROM catalog.categories c
       WHERE c.path = $3 OR (c.path > $3 || '/' AND c.path < $3 || '0') LIMIT {BELOW_READ})
    SELECT p.product_id, p.document
      FROM ((SELECT newest.product_id
               FROM below CROSS JOIN LATERAL (
                    SELECT s.product_id FROM catalog.products s
                     WHERE NOT s.archived AND s.category = below.path AND s.product_id < $1
                     ORDER BY s.product_id DESC LIMIT $2) newest
              WHERE (SELECT count(*) FROM below) <= {BELOW_MAX}
              ORDER BY newest.product_id DESC LIMIT $2)
            UNION ALL
            (SELECT s.product_id FROM catalog.products s
              WHERE (SELECT count(*) FROM below) > {BELOW_MAX}
                AND NOT s.archived AND s.product_id < $1 AND s.categories @> ARRAY[$3::text]
              ORDER BY s.product_id DESC LIMIT $2)) best
      JOIN catalog.products p USING (product_id)
     ORDER BY p.product_id DESC
"""
# The fields of `Words`, in their order. "lamp shad" is both words, or "lamp" and what begins with
# "shad".
READ_AS = """
            websearch_to_tsquery('pg_catalog.english', $1)
            || CASE WHEN $3 = '' THEN ''::tsquery
                    ELSE websearch_to_tsquery('pg_catalog.english', $2)
                         && to_tsquery('pg_catalog.simple', $3) END"""
QUERY = f"(SELECT {READ_AS} AS words)"
# Where rows are looked for it is a value: in FROM it would be parsed again for every product found.
WORDS = f"(SELECT {READ_AS})"
# Whose sku the whole text is. It depends on no row, so it is looked up once.
OWNER = """(SELECT v.product_id FROM catalog.variants v
                             WHERE v.sku_key = $4 AND NOT v.archived)"""
# Products on the shelf with these words, or with this very sku, in this category or anywhere.
FOUND = f"""
    NOT p.archived
    AND (p.search @@ {WORDS}
         OR p.product_id = {OWNER})
    AND ($5 = '' OR p.categories @> ARRAY[$5::text])
"""
# Served by products_by_search.
LISTED_WITH_WORDS = f"""
    SELECT p.product_id, p.document FROM catalog.products p
     WHERE {FOUND} AND p.product_id < $6
     ORDER BY p.product_id DESC LIMIT $7
"""


async def list_products(
    snapshot: Snapshot, words: Words, category: str, *, before: str | None, count_max: int
) -> list[ListedProduct]:
    """Products on the shelf, newest first, from behind the id `before`."""
    before = before or BEHIND_ALL_IDS
    if not words.is_empty:
        args = (words.whole, words.head, words.prefix, words.sku_key, category, before, count_max)
        return await snapshot.fetch(LISTED_WITH_WORDS, *args, into=ListedProduct)
    if category:
        args_in = (before, count_max, category)
        return await snapshot.fetch(LISTED_IN_CATEGORY, *args_in, into=ListedProduct)
    return await snapshot.fetch(LISTED, before, count_max, into=ListedProduct)


# Categories

# Served by the primary key: "Home" stands before "Home/Lighting".
CATEGORIES = """
    SELECT path, parent, category_id, name, position, description
      FROM catalog.categories WHERE path > $1 ORDER BY path LIMIT $2
"""


async def categories(snapshot: Snapshot, *, after: str, count_max: int) -> list[Category]:
    """Categories in the order of their paths, from behind `after`."""
    return await snapshot.fetch(CATEGORIES, after, count_max, into=Category)
