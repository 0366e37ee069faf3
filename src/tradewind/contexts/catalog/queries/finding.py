"""Searches from an index in memory.

Ranking in the database looks at every product that has the words: 200 to 400 ms where most of
20,000 do. The index (`rules/index.py`) is loaded when somebody first searches and follows what the
process remembers of changes, so it is as fresh as that. The database still reads what people type,
once for each word, and gives the documents that memory does not hold.

Where there is no index the rows are searched as they are: while it loads, for words in a certain
order, in a shop of more than `INDEXED_MAX` products, without a memory. That ranks a little
differently, so a page goes on where its search began: its cursor tells.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager

from msgspec import Struct

from tradewind.contexts.catalog.queries import products
from tradewind.contexts.catalog.queries.products import QUERY, Words
from tradewind.contexts.catalog.rules import wording
from tradewind.contexts.catalog.rules.index import STEP_MICRO, Hit, Index, Wording
from tradewind.contexts.catalog.tables import Drawn, FacetValue, FoundProduct
from tradewind.platform.cache.memory import PAUSE_AFTER_FAILURE_S, Depends, Memory, Trail
from tradewind.platform.database.transaction import Snapshot
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

Reading = Callable[[], AbstractAsyncContextManager[Snapshot]]

# 20,000 products take some 40 MB; beyond this a search engine is the better place.
INDEXED_MAX = 100_000
# Products that are read and indexed at a time: 4 ms in which nobody else is served.
CHUNK = 100
# How long a search waits for an index that is being made: 20,000 products take 3 s, in which as
# many searches of rows would take all there is. A page that goes on waits longer: its place means
# nothing elsewhere.
AWAITED_S = 5.0
# After more changes than this the index is made anew, which takes a third of the time a product.
FOLLOWED_MAX = 2_000
AWAITED_FOR_PLACE_S = 30.0
REORDERED_EVERY_S = 60.0
TREES_MAX = 10_000  # words and texts that were read, about 500 bytes each


class Wanted(Struct, frozen=True):
    """A search. `before`: score in millionths and id that the last page ended with."""

    words: Words
    category: str
    names: Sequence[str]  # of what is counted
    limit: int
    before: tuple[int, str] | None = None
    indexed: bool | None = None  # where the last page came from; None: this is the first one


class Results(Struct, frozen=True):
    """What was found. `last`: where the page ends, if there is more; `indexed`: by the index."""

    products: list[FoundProduct]
    counted: dict[str, list[FacetValue]]
    last: tuple[int, str] | None
    indexed: bool


async def find(memory: Memory | None, reading: Reading, wanted: Wanted) -> Results:
    """What a search finds, best first."""
    if memory is not None and wanted.indexed is not False:
        finder = memory.companion(Finder)
        found = await finder.find(reading, wanted)
        if found is not None:
            return found
    async with reading() as snapshot:
        rows = await products.search(
            snapshot,
            wanted.words,
            wanted.category,
            before=wanted.before,
            count_max=wanted.limit + 1,
        )
        counted = await products.facets(snapshot, wanted.words, wanted.category, wanted.names)
    page = rows[: wanted.limit]
    more = len(rows) > wanted.limit
    last = (page[-1].score_micro, page[-1].product_id) if more else None
    return Results(page, counted, last, indexed=False)


async def make_ready(memory: Memory, reading: Reading) -> None:
    """Load what searches need."""
    await memory.companion(Finder).begin(reading)


# Words as PostgreSQL reads them. It depends on nothing but the text.
READ = f"SELECT q.words::text FROM {QUERY} q"
READ_WORDS = """
    SELECT websearch_to_tsquery('pg_catalog.english', w.word)::text
      FROM unnest($1::text[]) WITH ORDINALITY w (word, place) ORDER BY w.place
"""
# Served by the primary key, in its order, and by variants_by_product.
WORDINGS = """
    SELECT p.product_id, p.archived, p.category, p.categories,
           ARRAY(SELECT v.sku_key FROM catalog.variants v
                  WHERE v.product_id = p.product_id AND NOT v.archived),
           ARRAY(SELECT a.key FROM json_each_text(p.attributes) a),
           ARRAY(SELECT a.value FROM json_each_text(p.attributes) a),
           ARRAY(SELECT w.lexeme || ' ' || array_to_string(w.weights, '')
                   FROM unnest(p.search) w),
           p.document
      FROM catalog.products p
"""
NEXT_WORDINGS = f"""
    {WORDINGS} WHERE p.product_id > $1 AND NOT p.archived ORDER BY p.product_id LIMIT $2
"""
THESE_WORDINGS = f"{WORDINGS} WHERE p.product_id = ANY($1::text[]) ORDER BY p.product_id"
# Served by the primary key.
DOCUMENTS = """
    SELECT p.product_id, p.document FROM catalog.products p
     WHERE p.product_id = ANY($1::text[]) AND NOT p.archived
"""


class Drafted(Wording, frozen=True):
    """What a product is found by, and what is shown of it."""

    document: str

    @property
    def wording(self) -> Wording:
        """Without the document: the index keeps it."""
        return Wording(*(getattr(self, name) for name in Wording.__struct_fields__))


class Finder:
    """The index of this process, and how it keeps up."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._index: Index | None = None
        self._trail = Trail()
        self._too_large = False
        self._loaded_at = self._began_at = 0.0
        self._loading: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._trees: dict[str | Words, wording.Tree | None] = {}

    async def begin(self, reading: Reading) -> None:
        """Make the index before anybody asks."""
        await self._fresh_index(reading, patient=True)

    async def find(self, reading: Reading, wanted: Wanted) -> Results | None:
        """What a search finds; None where the rows must be asked."""
        index = await self._fresh_index(reading, patient=wanted.indexed is True)
        if index is None:
            return None
        if wanted.words.is_empty:
            found = index.shelf(wanted.category)
        else:
            try:
                tree = await self._tree(reading, wanted.words)
            except wording.NotPlain:
                return None
            found = index.find(tree, wanted.words.sku_key, wanted.category)
        score, product_id = wanted.before or (products.ABOVE_ALL_SCORES, products.BEHIND_ALL_IDS)
        place = score // STEP_MICRO, product_id
        hits = index.page(found, before=place, count_max=wanted.limit + 1)
        page = hits[: wanted.limit]
        more = len(hits) > wanted.limit
        last = (page[-1].level * STEP_MICRO, page[-1].product_id) if more else None
        counted = {
            name: [
                FacetValue(*pair) for pair in index.count(found, name, products.FACET_VALUES_MAX)
            ]
            for name in wanted.names
        }
        return Results(await self._documents(reading, page), counted, last, indexed=True)

    async def _fresh_index(self, reading: Reading, *, patient: bool) -> Index | None:
        """The index as it now is; None where there is none, yet or at all."""
        if not await self._memory.fresh():
            if patient:  # the look failed; there is another one after a pause
                await asyncio.sleep(2 * PAUSE_AFTER_FAILURE_S)
            if not patient or not await self._memory.fresh():
                return None
        if self._trail.broken or len(self._trail.keys) > FOLLOWED_MAX:
            self._index = None
        patience_s = AWAITED_FOR_PLACE_S if patient else AWAITED_S
        if self._index is None or self._wants_order():
            if self._loading is None and not self._too_large:
                self._began_at = time.monotonic()
                self._loading = asyncio.create_task(self._load(reading))
            if self._index is None:
                await self._await(self._loading, patience_s)
        if self._trail.keys and self._following is None and self._index is not None:
            self._began_at = time.monotonic()
            self._following = asyncio.create_task(self._follow_up(reading))
        await self._await(self._following, patience_s)
        return None if self._following is not None else self._index

    async def _await(self, task: asyncio.Task[None] | None, patience_s: float) -> None:
        """Give what is under way some time since it began."""
        left_s = self._began_at + patience_s - time.monotonic()
        if task is not None and left_s > 0:
            await asyncio.wait({task}, timeout=left_s)

    def _wants_order(self) -> bool:
        index = self._index
        if index is None or not index.wants_order:
            return False
        return time.monotonic() - self._loaded_at > REORDERED_EVERY_S

    async def _load(self, reading: Reading) -> None:
        """Make the index from the rows."""
        trail, index, after = self._memory.follow(), Index(), ""
        try:
            while True:
                mark = self._memory.mark()
                async with reading() as snapshot:
                    rows = await snapshot.fetch(NEXT_WORDINGS, after, CHUNK, into=Drafted)
                index.fill(row.wording for row in rows)
                self._keep(((row.product_id, row.document) for row in rows), mark=mark)
                if len(index) > INDEXED_MAX:
                    self._too_large = True
                    return
                if len(rows) < CHUNK:
                    break
                after = rows[-1].product_id
            for _ in index.settle():
                await asyncio.sleep(0)
            if not trail.broken:
                self._index, self._trail, trail = index, trail, self._trail
                self._loaded_at = time.monotonic()
        except Exception as fault:
            logger.warning("search.not_loaded", fault=repr(fault)[:300])
        finally:
            self._memory.unfollow(trail)
            self._loading = None

    async def _follow_up(self, reading: Reading) -> None:
        """Index anew what has changed."""
        trail, index = self._trail, self._index
        try:
            while trail.keys and index is not None:
                keys = sorted(trail.keys)[:CHUNK]
                trail.keys.difference_update(keys)  # first: one may change again meanwhile
                async with reading() as snapshot:
                    rows = await snapshot.fetch(THESE_WORDINGS, keys, into=Drafted)
                for row in rows:
                    index.put(row.wording)
        except Exception as fault:
            logger.warning("search.not_followed", fault=repr(fault)[:300])
            trail.broken = True
        finally:
            self._following = None

    async def _tree(self, reading: Reading, words: Words) -> wording.Tree | None:
        """What was typed, as a tree. Raises `NotPlain`."""
        plain = wording.plain_words(words.whole)
        if plain is None:
            if words not in self._trees:
                async with reading() as snapshot:
                    args = words.whole, words.head, words.prefix
                    text = await snapshot.fetch_value(READ, *args)
                tree = wording.read(text)
                self._remember(words, tree)
                return tree
            return self._trees[words]
        known = {word: self._trees[word] for word in plain if word in self._trees}
        unread = [word for word in plain if word not in known]
        if unread:
            async with reading() as snapshot:
                rows = await snapshot.fetch_values(READ_WORDS, unread)
            for word, text in zip(unread, rows, strict=True):
                known[word] = wording.read(text)
                self._remember(word, known[word])
        return wording.unfinished([known[word] for word in plain], words.prefix.removesuffix(":*"))

    def _remember(self, text: str | Words, tree: wording.Tree | None) -> None:
        """Whatever is forgotten is read once more."""
        if len(self._trees) >= TREES_MAX:
            self._trees.clear()
        self._trees[text] = tree

    async def _documents(self, reading: Reading, hits: Sequence[Hit]) -> list[FoundProduct]:
        """What shoppers see of the products found. One that was archived meanwhile is left out."""
        memory = self._memory
        known = {hit.product_id: memory.peek(("document", hit.product_id)) for hit in hits}
        missing = [product_id for product_id, document in known.items() if document is None]
        if missing:
            mark = memory.mark()
            async with reading() as snapshot:
                rows = await snapshot.fetch(DOCUMENTS, missing, into=Drawn)
            known.update({row.product_id: row.document for row in rows})
            self._keep(((row.product_id, row.document) for row in rows), mark=mark)
        return [
            FoundProduct(hit.product_id, hit.level * STEP_MICRO, document)
            for hit in hits
            if (document := known[hit.product_id]) is not None
        ]

    def _keep(self, documents: Iterable[tuple[str, str]], *, mark: int) -> None:
        """Remember documents, read after the mark."""
        for product_id, document in documents:
            depends = Depends(keys=frozenset((product_id,)))
            self._memory.keep(("document", product_id), document, len(document), depends, mark=mark)
