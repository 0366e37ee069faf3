"""The index of a process: how it is made from the rows, and how it keeps up with them."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager

from msgspec import Struct

from tradewind.contexts.catalog.queries.products import SEARCH_SETTINGS
from tradewind.contexts.catalog.rules import asking, entries
from tradewind.contexts.catalog.rules.asking import Asked
from tradewind.contexts.catalog.rules.entries import Ware
from tradewind.contexts.catalog.rules.index import Index
from tradewind.contexts.catalog.rules.settings import Searched, searched
from tradewind.contexts.catalog.rules.words import Analyzer
from tradewind.contexts.catalog.tables import SearchRow
from tradewind.platform.cache.memory import PAUSE_AFTER_FAILURE_S, Depends, Memory, Trail
from tradewind.platform.database.transaction import Snapshot
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

Reading = Callable[[], AbstractAsyncContextManager[Snapshot]]

# Products that are read at a time, and that are indexed before others are served: some 3 ms.
CHUNK = 200
AT_ONCE = 8
# While others search the rows, each for 10 to 30 ms, an index that took such small steps would not
# be ready before they go home: so many then, some 20 ms.
AT_ONCE_IN_HASTE = 64
# Searches of the rows at a time: more would only make each other, and the index, late.
IN_ROWS_MAX = 2
# Before it is packed an index takes four times as much, so it is packed now and then.
PACKED_EVERY = 20_000
# How long a search waits for an index that is being made or mended; then the rows are asked. A page
# that goes on waits longer: its place means nothing elsewhere.
AWAITED_S = 5.0
AWAITED_FOR_PLACE_S = 30.0
# After more changes than this part of the shop the index is made anew.
FOLLOWED_SHARE = 0.5
FOLLOWED_MIN = 2_000
ASKED_MAX = 5_000  # texts that were read, about a kilobyte each

# Served by the primary key, in its order.
WARES = """
    SELECT p.product_id, p.archived, p.external_id, p.title, p.description, p.category,
           p.attributes::text, p.document, hashtextextended(p.document, 0)
      FROM catalog.products p
"""
NEXT_WARES = f"""
    {WARES} WHERE p.product_id > $1 AND NOT p.archived ORDER BY p.product_id LIMIT $2
"""
THESE_WARES = f"{WARES} WHERE p.product_id = ANY($1::text[]) ORDER BY p.product_id"
# Served by the primary key, in its order.
NEXT_PRINTS = """
    SELECT p.product_id, hashtextextended(p.document, 0) FROM catalog.products p
     WHERE p.product_id > $1 AND NOT p.archived ORDER BY p.product_id LIMIT $2
"""
PRINTS_AT_ONCE = 2_000
SETTINGS = "SELECT s.language, s.brand, s.synonyms FROM catalog.search_settings s"


class WareRow(Struct, frozen=True):
    """A product as it is indexed and shown."""

    product_id: str
    archived: bool
    external_id: str
    title: str
    description: str
    category: str | None
    attributes: str
    document: str
    print: int

    @property
    def ware(self) -> Ware:
        """What is looked at of it."""
        return Ware(
            id=self.product_id,
            external_id=self.external_id,
            title=self.title,
            description=self.description,
            category=self.category,
            attributes=entries.attributes_in(self.attributes),
            variants=entries.variants_in(self.document),
            print=self.print,
        )


class Print(Struct, frozen=True):
    """What tells whether a product is as it was."""

    product_id: str
    print: int


class Keeper:
    """The index of this process, and how it keeps up."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.settings: Searched = searched(SearchRow())
        self.in_rows = asyncio.Semaphore(IN_ROWS_MAX)  # a turn to search the rows
        self._index: Index | None = None
        self._former: Index | None = None  # one that could not follow any more
        self._trail = Trail()
        self._too_large = False
        self._began_at = 0.0
        self._loading: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._asked: dict[str, Asked] = {}

    def asked(self, text: str) -> Asked:
        """What was typed; read once."""
        assert self._index is not None, "who asks has an index"
        known = self._asked.get(text)
        if known is None:
            if len(self._asked) >= ASKED_MAX:
                self._asked.clear()
            known = asking.read(text, self._index.analyzer, self.settings.synonyms)
            self._asked[text] = known
        return known

    async def fresh(self, reading: Reading, *, patient: bool) -> Index | None:
        """The index as it now is; None where there is none, yet or at all."""
        if not await self.memory.fresh():
            if patient:  # the look failed; there is another one after a pause
                await asyncio.sleep(2 * PAUSE_AFTER_FAILURE_S)
            if not patient or not await self.memory.fresh():
                return None
        patience_s = AWAITED_FOR_PLACE_S if patient else AWAITED_S
        await self._loaded(reading, patience_s)
        if self._trail.keys and self._following is None and self._index is not None:
            self._began_at = time.monotonic()
            self._following = asyncio.create_task(self._follow_up(reading))
        await self._await(self._following, patience_s)
        if self._trail.broken:  # it could not be followed
            await self._loaded(reading, patience_s)
        return None if self._following is not None else self._index

    async def _loaded(self, reading: Reading, patience_s: float) -> None:
        """Make the index where there is none, or one that cannot follow any more."""
        if self._index is not None and (self._trail.broken or self._too_much_to_follow()):
            self._index, self._former = None, self._index
        if self._index is None:
            if self._loading is None and not self._too_large:
                self._began_at = time.monotonic()
                self._loading = asyncio.create_task(self._load(reading))
            await self._await(self._loading, patience_s)

    def keep(self, documents: Iterable[tuple[str, str]], *, mark: int) -> None:
        """Remember documents, read after the mark."""
        for product_id, document in documents:
            depends = Depends(keys=frozenset((product_id,)))
            self.memory.keep(("document", product_id), document, len(document), depends, mark=mark)

    def _too_much_to_follow(self) -> bool:
        index = self._index
        if index is None:
            return False
        return len(self._trail.keys) > max(FOLLOWED_MIN, FOLLOWED_SHARE * len(index))

    async def _await(self, task: asyncio.Task[None] | None, patience_s: float) -> None:
        """Give what is under way some time since it began."""
        left_s = self._began_at + patience_s - time.monotonic()
        if task is not None and left_s > 0:
            await asyncio.wait({task}, timeout=left_s)

    async def _load(self, reading: Reading) -> None:
        """Make the index from the rows, or mend the one that there was."""
        trail, former, self._former = self.memory.follow(wide=True), self._former, None
        began = time.monotonic()
        try:
            settings = await self._settings(reading)
            if former is not None and self._is_of(former, settings):
                index = await self._mended(former, reading, settings)
            else:
                index = await self._made(reading, settings)
            if trail.broken:
                self._former = index
            elif not self._is_too_large(index):
                self._take(index, settings)
                self._trail, trail = trail, self._trail
                took_s = round(time.monotonic() - began, 2)
                logger.info(
                    "search.loaded", products=len(index), bytes=index.size_bytes, took_s=took_s
                )
        except Exception as fault:
            logger.warning("search.not_loaded", fault=repr(fault)[:300])
        finally:
            self.memory.unfollow(trail)
            self._loading = None

    async def _made(self, reading: Reading, settings: Searched) -> Index:
        """An index of all rows; of some where it would be too large."""
        index, after = Index(Analyzer(settings.language)), ""
        while True:
            mark = self.memory.mark()
            async with reading() as snapshot:
                rows = await snapshot.fetch(NEXT_WARES, after, CHUNK, into=WareRow)
            self.keep(((row.product_id, row.document) for row in rows), mark=mark)
            await self._put(index, rows, settings)
            if len(rows) < CHUNK:
                break
            after = rows[-1].product_id
            if index.recent > max(PACKED_EVERY, len(index) // 4):
                index = await asyncio.to_thread(index.packed)
                if self._is_too_large(index):
                    return index
        index = await asyncio.to_thread(index.packed)
        index.analyzer.forget()
        return index

    async def _mended(self, index: Index, reading: Reading, settings: Searched) -> Index:
        """An index that was, with what differs now: a connection that was lost costs a look at
        each row, not reading each anew.
        """
        prints: dict[str, int] = {}
        after = ""
        while True:
            async with reading() as snapshot:
                some = await snapshot.fetch(NEXT_PRINTS, after, PRINTS_AT_ONCE, into=Print)
            prints.update((one.product_id, one.print) for one in some)
            if len(some) < PRINTS_AT_ONCE:
                break
            after = some[-1].product_id
        differing = sorted(index.differing(prints))
        if len(differing) > max(FOLLOWED_MIN, FOLLOWED_SHARE * len(index)):
            return await self._made(reading, settings)
        for first in range(0, len(differing), CHUNK):
            keys = differing[first : first + CHUNK]
            async with reading() as snapshot:
                rows = await snapshot.fetch(THESE_WARES, keys, into=WareRow)
            await self._put(index, rows, settings)
            for gone in set(keys) - {row.product_id for row in rows}:
                index.remove(gone)
        return await asyncio.to_thread(index.packed) if index.wants_packing else index

    def _is_of(self, index: Index, settings: Searched) -> bool:
        """Whether an index was made under these settings."""
        made = self.settings
        return (index.analyzer.language, made.brands) == (settings.language, settings.brands)

    def _take(self, index: Index, settings: Searched) -> None:
        self._index, self.settings = index, settings
        self._asked.clear()

    def _is_too_large(self, index: Index) -> bool:
        """Whether it takes more than it may; said once, it stays so until the process ends."""
        self._too_large = index.size_bytes > self.memory.companions_bytes_max
        if self._too_large:
            logger.warning("search.too_large", products=len(index), bytes=index.size_bytes)
        return self._too_large

    async def _settings(self, reading: Reading) -> Searched:
        async with reading() as snapshot:
            row = await snapshot.fetch_one(SETTINGS, into=SearchRow)
        return searched(row or SearchRow())

    async def _put(self, index: Index, rows: Sequence[WareRow], settings: Searched) -> None:
        """Index products, and let others go on now and then."""
        done = 0
        for row in rows:
            if row.archived:
                index.remove(row.product_id)
            else:
                index.put(entries.entry_of(row.ware, index.analyzer, settings.brands))
            done += 1
            if done >= (AT_ONCE_IN_HASTE if self.in_rows.locked() else AT_ONCE):
                done = 0
                await asyncio.sleep(0)

    async def _follow_up(self, reading: Reading) -> None:
        """Index anew what has changed."""
        trail, index = self._trail, self._index
        try:
            while trail.keys and index is not None:
                if SEARCH_SETTINGS in trail.keys:
                    trail.keys.discard(SEARCH_SETTINGS)
                    settings = await self._settings(reading)
                    if not self._is_of(index, settings):
                        trail.broken = True
                        return
                    self._take(index, settings)
                keys = sorted(trail.keys)[:CHUNK]
                trail.keys.difference_update(keys)  # first: one may change again meanwhile
                async with reading() as snapshot:
                    rows = await snapshot.fetch(THESE_WARES, keys, into=WareRow)
                await self._put(index, rows, self.settings)
                if index.wants_packing:
                    index = self._index = await asyncio.to_thread(index.packed)
                    if self._is_too_large(index):
                        self._index = None
                        return
        except Exception as fault:
            logger.warning("search.not_followed", fault=repr(fault)[:300])
            trail.broken = True
        finally:
            self._following = None
