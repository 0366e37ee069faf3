"""The products of the search index, one row each, in columns that grow.

A product that changes gets a new row and the old one is dead. Rows have a rank in the order of
their ids, whatever the order in which they came: so what is equal otherwise is newest first in
every process alike.
"""

from bisect import bisect_left
from typing import Any

import numpy as np
import numpy.typing as npt

from tradewind.contexts.catalog.rules.columns import Texts
from tradewind.contexts.catalog.rules.entries import TITLE_BYTES, Entry
from tradewind.contexts.catalog.rules.postings import Places

ID_BYTES = 40
# Between the ranks of two packed products there is room for those whose id lies between theirs.
RANK_STEP = 1 << 24
NO_PRICE = -1
KINDS: dict[str, Any] = {
    "id": f"S{ID_BYTES}",
    "alive": np.bool_,
    "rank": np.int64,
    "worth": np.int64,
    "availability": np.int8,
    "category": np.int32,
    "brand": np.int32,
    "title": f"S{TITLE_BYTES}",
    "print": np.int64,
}
ROOM_MIN = 64
LATE_BYTES = 300


class Rows:
    """See the module."""

    def __init__(self) -> None:
        self.count = 0
        self.packed = 0  # so many stand in the order of their ids
        self.dead = 0
        self.categories = Texts([""])
        self.brands = Texts([""])
        self.prices: dict[str, npt.NDArray[np.int64]] = {}
        self._columns: dict[str, npt.NDArray[Any]] = {
            name: np.zeros(0, kind) for name, kind in KINDS.items()
        }
        self._late: dict[bytes, int] = {}  # rows that are not packed, by id
        self._late_ids: list[tuple[bytes, int]] = []  # id and rank of all that ever came late

    @property
    def size_bytes(self) -> int:
        """What they take, about."""
        columns = [*self._columns.values(), *self.prices.values()]
        texts = self.categories.size_bytes + self.brands.size_bytes
        return sum(column.nbytes for column in columns) + texts + len(self._late) * LATE_BYTES

    def __len__(self) -> int:
        """How many are alive."""
        return self.count - self.dead

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column, as long as there are rows."""
        return self._columns[name][: self.count]

    def price(self, currency: str) -> npt.NDArray[np.int64] | None:
        """The lowest prices in a currency; `NO_PRICE` where a product has none."""
        column = self.prices.get(currency)
        return column[: self.count] if column is not None else None

    def place(self, product_id: str) -> int | None:
        """The row of a product that is alive."""
        key = product_id.encode()
        at = self._late.get(key)
        if at is None:
            at = int(np.searchsorted(self._columns["id"][: self.packed], key))
            if at >= self.packed or self._columns["id"][at] != key:
                return None
        return at if self._columns["alive"][at] else None

    def id(self, place: int) -> str:
        """The product of a row."""
        return str(self._columns["id"][place], "ascii")

    def kill(self, place: int) -> None:
        """This row is no product any more."""
        self._columns["alive"][place] = False
        self.dead += 1

    def add(self, entry: Entry) -> int:
        """A product that is not there (any more); its row."""
        if self.count == len(self._columns["id"]):
            self._grow()
        place, columns = self.count, self._columns
        key = entry.product_id.encode()
        columns["rank"][place] = self._rank_of(key)
        columns["id"][place] = key
        columns["alive"][place] = True
        columns["worth"][place] = entry.worth
        columns["availability"][place] = entry.availability
        columns["category"][place] = self.categories.number(entry.category)
        columns["brand"][place] = self.brands.number(entry.brand)
        columns["title"][place] = entry.title
        columns["print"][place] = entry.print
        for currency, lowest in entry.prices.items():
            if currency not in self.prices:
                self.prices[currency] = np.full(len(columns["id"]), NO_PRICE, np.int64)
            self.prices[currency][place] = lowest
        self.count += 1
        self._late[key] = place
        return place

    def rank(self, product_id: str) -> int:
        """The rank of a product, or the one it would have."""
        place = self.place(product_id)
        if place is not None:
            return int(self._columns["rank"][place])
        return self._rank_of(product_id.encode(), note=False)

    def _rank_of(self, key: bytes, *, note: bool = True) -> int:
        """Between its neighbours. Once given it stays: a product that comes back has it again."""
        packed = self._columns["id"][: self.packed]
        at = int(np.searchsorted(packed, key))
        if at < self.packed and packed[at] == key:
            return at * RANK_STEP
        late = self._late_ids
        behind = bisect_left(late, (key, -1))
        if behind < len(late) and late[behind][0] == key:
            return late[behind][1]
        low = (at - 1) * RANK_STEP
        if behind:
            low = max(low, late[behind - 1][1])
        highs = [at * RANK_STEP] if at < self.packed else []
        if behind < len(late):
            highs.append(late[behind][1])
        rank = (low + min(highs)) // 2 if highs else low + RANK_STEP
        if note:
            late.insert(behind, (key, rank))
        return rank

    def _grow(self) -> None:
        """Room for half as many again."""
        room = max(ROOM_MIN, self.count + self.count // 2)
        for name, column in self._columns.items():
            wider = np.zeros(room, column.dtype)
            wider[: self.count] = column[: self.count]
            self._columns[name] = wider
        for currency, column in self.prices.items():
            prices = np.full(room, NO_PRICE, np.int64)
            prices[: self.count] = column[: self.count]
            self.prices[currency] = prices

    def renumbered(self) -> tuple["Rows", Places]:
        """All that are alive in the order of their ids; where each row went, or -1."""
        order = np.flatnonzero(self.column("alive"))
        order = order[np.argsort(self.column("id")[order], kind="stable")]
        places = np.full(self.count, -1, np.int32)
        places[order] = np.arange(len(order), dtype=np.int32)
        found = Rows()
        found.count = found.packed = len(order)
        for name in KINDS:
            found._columns[name] = self.column(name)[order]
        found._columns["rank"] = np.arange(len(order), dtype=np.int64) * RANK_STEP
        found.categories = found._only_used("category", self.categories)
        found.brands = found._only_used("brand", self.brands)
        for currency, column in self.prices.items():
            kept = column[: self.count][order]
            if (kept != NO_PRICE).any():
                found.prices[currency] = kept
        return found, places

    def _only_used(self, name: str, texts: Texts) -> Texts:
        """Number the texts of a column anew, without those that nobody has."""
        used = np.unique(np.append(self._columns[name], 0))
        self._columns[name] = np.searchsorted(used, self._columns[name]).astype(np.int32)
        return Texts(texts.texts[number] for number in used)
