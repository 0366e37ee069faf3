"""Searches: from an index in memory, or from the rows where there is none.

The index (`rules/index.py`) is made from the rows when the process starts and follows what the
process remembers of changes, so it is as fresh as that. The database gives the documents that
memory does not hold, and looks for the order of words in quotes.

Where there is no index some of the rows are searched (`queries/rows.py`). That ranks a little
differently, so a page goes on where its search began: its cursor tells.
"""

from collections.abc import Sequence

from msgspec import Struct

from tradewind.contexts.catalog.queries import indexing, rows
from tradewind.contexts.catalog.queries.indexing import Keeper, Reading
from tradewind.contexts.catalog.rules import asking, results
from tradewind.contexts.catalog.rules.asking import Asked
from tradewind.contexts.catalog.rules.index import SCORE_ONE, Found, Index
from tradewind.contexts.catalog.rules.results import Filters, Hit, Narrowed
from tradewind.contexts.catalog.rules.settings import searched
from tradewind.contexts.catalog.rules.words import Analyzer
from tradewind.contexts.catalog.tables import Drawn, FacetValue, FoundProduct, SearchRow
from tradewind.platform.cache.memory import Memory
from tradewind.platform.database.transaction import Snapshot

MICRO = 1_000_000
FACET_VALUES_MAX = 50
# Of so many that have all the words, the best are looked at for the order of words in quotes.
ORDERED_MAX = 5_000
SUGGESTED_WORDS_MAX = 50
SHORT = 2  # letters: of less than that everything would be suggested


class Wanted(Struct, frozen=True):
    """A search. `before`: key and id that the last page ended with."""

    text: str
    limit: int
    filters: Filters = Filters()
    names: Sequence[str] = ()  # of what is counted
    sort: str = "relevance"
    strict: bool = False
    before: tuple[int | str, str] | None = None
    indexed: bool | None = None  # where the last page came from; None: this is the first one


class Results(Struct, frozen=True):
    """What was found. `last`: where the page ends, if there is more; `indexed`: by the index."""

    products: list[FoundProduct]
    counted: dict[str, list[FacetValue]]
    last: tuple[int | str, str] | None
    indexed: bool
    total: int
    corrected: str
    exact: bool


class Suggested(Struct, frozen=True):
    """What somebody may mean who is still typing."""

    queries: list[str]
    categories: list[tuple[str, int]]
    products: list[FoundProduct]


# Served by the primary key.
DOCUMENTS = """
    SELECT p.product_id, p.document FROM catalog.products p
     WHERE p.product_id = ANY($1::text[]) AND NOT p.archived
"""
# Of these products those that have the words in their order. Served by the primary key.
IN_ORDER = """
    SELECT p.product_id FROM catalog.products p
     WHERE p.product_id = ANY($1::text[])
       AND p.search @@ phraseto_tsquery('pg_catalog.english', translate($2, '/_', '  '))
"""


async def find(memory: Memory | None, reading: Reading, wanted: Wanted) -> Results:
    """What a search finds, in the order that was asked for."""
    if memory is None:
        return await find_in_rows(reading, wanted)
    keeper = memory.companion(Keeper)
    found = await find_in_index(keeper, reading, wanted)
    if found is not None:
        return found
    async with keeper.in_rows:
        # Who waited for a turn may find that the index is there by now.
        found = await find_in_index(keeper, reading, wanted)
        return found or await find_in_rows(reading, wanted)


async def find_in_index(keeper: Keeper, reading: Reading, wanted: Wanted) -> Results | None:
    """What a search finds in the index; None where there is none, or the search began elsewhere."""
    if wanted.indexed is False:
        return None
    index = await keeper.fresh(reading, patient=wanted.indexed is True)
    return await find_in(keeper, index, reading, wanted) if index is not None else None


async def find_in_rows(reading: Reading, wanted: Wanted) -> Results:
    """What a search finds in some of the rows."""
    async with reading() as snapshot:
        settings = searched(await settings_of(snapshot))
        analyzer = Analyzer(settings.language)
        text, category = wanted.text, wanted.filters.category
        taken = await rows.take(snapshot, text, category, brands=settings.brands, analyzer=analyzer)
    narrowed = Narrowed(taken.index, taken.found, wanted.filters)
    page, last = page_of(narrowed, wanted)
    return Results(
        products=[shown(hit, taken.documents[hit.product_id]) for hit in page],
        counted=counts_of(narrowed, wanted.names),
        last=last,
        indexed=False,
        total=len(narrowed.found.places),
        corrected="",
        exact=taken.exact,
    )


async def find_in(keeper: Keeper, index: Index, reading: Reading, wanted: Wanted) -> Results:
    """What a search finds in the index."""
    asked = index.understood(keeper.asked(wanted.text))
    found = index.everything() if asked.is_empty and not asked.key else None
    if found is None:
        found = index.find(asked, strict=wanted.strict)
        if any(clause.phrases for clause in asked.clauses):
            found = await in_order(index, reading, asked, found)
    narrowed = Narrowed(index, found, wanted.filters)
    page, last = page_of(narrowed, wanted)
    counted, total = counts_of(narrowed, wanted.names), len(narrowed.found.places)
    return Results(
        products=await documents(keeper, reading, page),
        counted=counted,
        last=last,
        indexed=True,
        total=total,
        corrected=asked.corrected,
        exact=True,
    )


async def in_order(index: Index, reading: Reading, asked: Asked, found: Found) -> Found:
    """What has the words in quotes in their order, of the clauses in which there are some."""
    kept: dict[str, None] = {}
    for clause in asked.clauses:
        part = index.find(asked._replace(clauses=(clause,), key=""))
        best = part.scores.argsort()[::-1][:ORDERED_MAX]
        ids = [index.rows.id(place) for place in part.places[best].tolist()]
        for phrase in clause.phrases:
            async with reading() as snapshot:
                ids = await snapshot.fetch_values(IN_ORDER, ids, phrase)
        kept.update(dict.fromkeys(ids))
    chosen = [number for number, place in enumerate(found.places) if index.rows.id(place) in kept]
    return Found(found.places[chosen], found.scores[chosen])


def page_of(narrowed: Narrowed, wanted: Wanted) -> tuple[list[Hit], tuple[int | str, str] | None]:
    """A page, and where it ends if there is more."""
    hits = results.page(narrowed, wanted.sort, before=wanted.before, count_max=wanted.limit + 1)
    page = hits[: wanted.limit]
    more = len(hits) > wanted.limit
    return page, (page[-1].key, page[-1].product_id) if more else None


def counts_of(narrowed: Narrowed, names: Sequence[str]) -> dict[str, list[FacetValue]]:
    """What was asked to be counted."""
    return {
        name: [FacetValue(*pair) for pair in narrowed.count(name, FACET_VALUES_MAX)]
        for name in names
    }


def shown(hit: Hit, document: str) -> FoundProduct:
    """A product of a page."""
    return FoundProduct(hit.product_id, hit.score * MICRO // SCORE_ONE, document)


async def documents(keeper: Keeper, reading: Reading, hits: Sequence[Hit]) -> list[FoundProduct]:
    """What shoppers see of the products found. One that was archived meanwhile is left out."""
    memory = keeper.memory
    known = {hit.product_id: memory.peek(("document", hit.product_id)) for hit in hits}
    missing = [product_id for product_id, document in known.items() if document is None]
    if missing:
        mark = memory.mark()
        async with reading() as snapshot:
            drawn = await snapshot.fetch(DOCUMENTS, missing, into=Drawn)
        known.update({row.product_id: row.document for row in drawn})
        keeper.keep(((row.product_id, row.document) for row in drawn), mark=mark)
    return [shown(hit, document) for hit in hits if (document := known[hit.product_id]) is not None]


async def suggest(memory: Memory | None, reading: Reading, text: str, limit: int) -> Suggested:
    """What somebody may mean who has typed this so far."""
    nothing = Suggested([], [], [])
    if memory is None or len(text.strip()) < SHORT:
        return nothing
    keeper = memory.companion(Keeper)
    index = await keeper.fresh(reading, patient=False)
    if index is None:
        return nothing
    asked = index.understood(asking.begun(keeper.asked(text)))
    found = index.find(asked, strict=True)
    hits = results.page(
        Narrowed(index, found, Filters()), "relevance", before=None, count_max=limit
    )
    return Suggested(
        queries=results.completions(index, asked, found, limit),
        categories=results.categories_like(index, asked, limit),
        products=await documents(keeper, reading, hits),
    )


def is_range(text: str) -> bool:
    """Whether this is a range of prices, as filters take it."""
    return results.range_of(text) is not None


async def make_ready(memory: Memory, reading: Reading) -> None:
    """Load what searches need."""
    await memory.companion(Keeper).fresh(reading, patient=True)


async def settings_of(snapshot: Snapshot) -> SearchRow:
    """How the shop is searched."""
    found = await snapshot.fetch_one(indexing.SETTINGS, into=SearchRow)
    return found or SearchRow()


__all__ = ["Filters", "Wanted", "find", "is_range", "make_ready", "settings_of", "suggest"]
