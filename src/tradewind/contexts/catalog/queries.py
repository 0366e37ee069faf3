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
    FacetValue,
    FoundProduct,
    ImportRow,
    LineError,
    ListedProduct,
    Page,
)
from tradewind.platform.database.transaction import Snapshot

# Greater than any id: "z" sorts behind every letter of their alphabet.
BEHIND_ALL_IDS = "~"
# More than any score: an exact sku counts a thousand, ranks stay below one hundred (in millionths).
ABOVE_ALL_SCORES = 2**62
EXACT_SKU_MICRO = 1_000_000_000
FACET_VALUES_MAX = 50
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


# One product

# Served by the primary key.
PRODUCT = """
    SELECT document, version, mark FROM catalog.products WHERE product_id = $1 AND NOT archived
"""
# Served by the primary keys of both.
PRODUCT_OF_SKU = """
    SELECT p.document, p.version, p.mark
      FROM catalog.variants v JOIN catalog.products p ON p.product_id = v.product_id
     WHERE v.sku_key = $1 AND NOT v.archived AND NOT p.archived
"""


async def product(snapshot: Snapshot, product_id: str) -> Page | None:
    """A product on the shelf, by its id."""
    return await snapshot.fetch_one(PRODUCT, product_id, into=Page)


async def product_of_sku(snapshot: Snapshot, sku: str) -> Page | None:
    """The product on the shelf that has this sku; letter case does not matter."""
    return await snapshot.fetch_one(PRODUCT_OF_SKU, sku_key(sku), into=Page)


# Conditions, each with its parameters in fixed places. They are composed into one statement per
# shape of question, so that the plan of one shape never serves another.
QUERY = """
    (SELECT websearch_to_tsquery('pg_catalog.english', $1) || CASE WHEN $3 = '' THEN ''::tsquery
            ELSE websearch_to_tsquery('pg_catalog.english', $2)
                 && to_tsquery('pg_catalog.simple', $3) END AS query)
"""
MATCHES = """
    (p.search @@ q.query
     OR p.product_id = (SELECT v.product_id FROM catalog.variants v
                         WHERE v.sku_key = $4 AND NOT v.archived))
"""
# Title and sku, category, attributes, description; given in the order D, C, B, A. Longer texts
# count a little less (1); the millionths make scores whole numbers, which pages can go on from.
SCORE = f"""
    ((ts_rank_cd('{{0.05, 0.2, 0.4, 1.0}}', p.search, q.query, 1) * 1000000)::bigint
     + CASE WHEN EXISTS (SELECT FROM catalog.variants v
                          WHERE v.sku_key = $4 AND v.product_id = p.product_id
                            AND NOT v.archived)
            THEN {EXACT_SKU_MICRO} ELSE 0 END)
"""


def source(words: Words, category: str, *, first: int) -> tuple[str, str, list[object]]:
    """FROM, WHERE and parameters for products on the shelf with these words in this category.

    The words take $1 to $4, where there are any; `first` is the next free number otherwise.
    """
    tables, conditions, values = "catalog.products p", ["NOT p.archived"], []
    if not words.is_empty:
        tables += f", {QUERY} q"
        conditions.append(MATCHES)
        values = [words.whole, words.head, words.prefix, words.sku_key]
    if category:
        conditions.append(f"p.categories @> ARRAY[${first + len(values)}::text]")
        values.append(category)
    return tables, " AND ".join(conditions), values
