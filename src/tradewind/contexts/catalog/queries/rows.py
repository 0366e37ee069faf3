"""Searches of the rows, where no index is: while it loads, without a memory, in a very large shop.

Ranking everything that has a word is too much where most products have it. So some are taken: the
newest that have the words in their titles, and the newest that have them anywhere; these are
ranked, filtered, counted and sorted. Where there may be more it is said: such counts are of a part.
"""

from collections.abc import Sequence

from msgspec import Struct

from tradewind.contexts.catalog.queries.products import WORDS, Words, words_of
from tradewind.contexts.catalog.rules import entries
from tradewind.contexts.catalog.rules.entries import Ware
from tradewind.contexts.catalog.rules.index import SCORE_ONE, Found, Index
from tradewind.contexts.catalog.rules.words import Analyzer
from tradewind.platform.database.transaction import Snapshot

# A product costs some 30 microseconds to count, and as many to fetch.
TAKEN_MAX = 500
EXACT_SKU = 1024.0
# Served by the primary key, read backwards where most products have the words, and by
# products_by_search where few have.
TAKEN = f"""
    WITH w AS MATERIALIZED (
      SELECT {WORDS} AS words),
    titles AS (
      SELECT p.product_id FROM catalog.products p
       WHERE NOT p.archived AND p.search @@ (SELECT words FROM w)
         AND ts_filter(p.search, '{{a}}') @@ (SELECT words FROM w)
         AND ($5 = '' OR p.categories @> ARRAY[$5::text])
       ORDER BY p.product_id DESC LIMIT $6),
    anywhere AS (
      SELECT p.product_id FROM catalog.products p
       WHERE NOT p.archived AND p.search @@ (SELECT words FROM w)
         AND ($5 = '' OR p.categories @> ARRAY[$5::text])
       ORDER BY p.product_id DESC LIMIT $6),
    owner AS (
      SELECT v.product_id FROM catalog.variants v WHERE v.sku_key = $4 AND NOT v.archived)
    SELECT p.product_id, p.title, p.external_id, p.category, p.attributes::text, p.document,
           ts_rank_cd('{{0.05, 0.2, 0.4, 1.0}}', p.search, (SELECT words FROM w), 1)::float8
             + CASE WHEN p.product_id = (SELECT o.product_id FROM owner o) THEN {EXACT_SKU}
                    ELSE 0 END
      FROM catalog.products p
     WHERE p.product_id IN (SELECT product_id FROM titles UNION SELECT product_id FROM anywhere
                            UNION SELECT product_id FROM owner)
       AND NOT p.archived AND ($5 = '' OR p.categories @> ARRAY[$5::text])
     ORDER BY p.product_id
"""
# Served by the primary key, and by products_by_category.
NEWEST = """
    SELECT p.product_id, p.title, p.external_id, p.category, p.attributes::text, p.document, 0.0
      FROM catalog.products p
     WHERE NOT p.archived AND ($1 = '' OR p.categories @> ARRAY[$1::text])
     ORDER BY p.product_id DESC LIMIT $2
"""


class TakenRow(Struct, frozen=True):
    """A product that may be shown, and how well it fits."""

    product_id: str
    title: str
    external_id: str
    category: str | None
    attributes: str
    document: str
    score: float


class Taken(Struct, frozen=True):
    """Products in a small index of their own. `exact`: there are no others."""

    index: Index
    found: Found
    documents: dict[str, str]
    exact: bool


async def take(
    snapshot: Snapshot, text: str, category: str, *, brands: Sequence[str], analyzer: Analyzer
) -> Taken:
    """The products that a search is about, or some of them."""
    words: Words = words_of(text)
    if words.is_empty:
        rows = await snapshot.fetch(NEWEST, category, TAKEN_MAX, into=TakenRow)
    else:
        args = (words.whole, words.head, words.prefix, words.sku_key, category, TAKEN_MAX)
        rows = await snapshot.fetch(TAKEN, *args, into=TakenRow)
    index = Index(analyzer)
    for row in sorted(rows, key=lambda row: row.product_id):
        ware = Ware(
            id=row.product_id,
            title=row.title,
            category=row.category,
            attributes=entries.attributes_in(row.attributes),
            variants=entries.variants_in(row.document),
        )
        index.put(entries.bare_entry(ware, brands))
    scores = {row.product_id: int(row.score * SCORE_ONE) for row in rows}
    found = index.everything()
    for place in found.places.tolist():
        found.scores[place] = scores[index.rows.id(place)]
    documents = {row.product_id: row.document for row in rows}
    return Taken(index, found, documents, exact=len(rows) < TAKEN_MAX)
