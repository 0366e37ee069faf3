"""What is made of everything that was found: filtered, counted, put in order, a page of it.

A filter takes what a facet gives: `price` is a range, `availability` a word, `category` a path with
all below it, everything else the value of an attribute. Values of one name stand for each other,
names add up. A facet counts what all filters but its own leave.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil, floor, inf, log10
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from tradewind.contexts.catalog.rules.asking import Asked
from tradewind.contexts.catalog.rules.entries import AVAILABILITIES
from tradewind.contexts.catalog.rules.index import Chosen, Found, Index, Scores
from tradewind.contexts.catalog.rules.postings import Places
from tradewind.contexts.catalog.rules.rows import NO_PRICE
from tradewind.contexts.catalog.rules.words import folded

CATEGORY, CATEGORIES, BRAND, PRICE, AVAILABILITY = (
    *("category", "categories", "brand"),
    *("price", "availability"),
)
OWN_PREFIX = "attributes."  # an attribute that is called like one of these
RANGE = ".."
E4 = 10_000
RANGES = 5
SORTS = ("relevance", "price", "-price", "newest", "title")
NOTHING: Mapping[str, Sequence[str]] = {}
COUNTED_AT_ONCE = 400
COMPLETIONS_TRIED = 30

Keys = npt.NDArray[Any]
CHEAPEST_LAST = -(2**62)


class Filters(Struct, frozen=True):
    """What may be shown. `category`: a place that everything is in."""

    category: str = ""
    currency: str = ""
    values: Mapping[str, Sequence[str]] = NOTHING


class Hit(NamedTuple):
    """A product of a page, and what the next page goes on from."""

    product_id: str
    score: int
    key: int | str


class Narrowed:
    """Everything found, and what each filter leaves of it."""

    def __init__(self, index: Index, found: Found, filters: Filters) -> None:
        self.index = index
        self.currency = filters.currency or main_currency(index)
        if filters.category:
            kept = self._in_category((filters.category,), found.places)
            found = Found(found.places[kept], found.scores[kept])
        self.everything = found
        self._left: dict[str, Chosen] = {}
        for name, values in filters.values.items():
            kept = self._filter(name, values, found.places)
            known = self._left.get(own_name(name))
            self._left[own_name(name)] = kept if known is None else known & kept

    @property
    def found(self) -> Found:
        """What all filters leave."""
        return self.left()

    def left(self, *, but: str = "") -> Found:
        """What all filters leave, but one."""
        masks = [mask for name, mask in self._left.items() if name != own_name(but)]
        if not masks:
            return self.everything
        kept = np.logical_and.reduce(masks)
        return Found(self.everything.places[kept], self.everything.scores[kept])

    def _filter(self, name: str, values: Sequence[str], places: Places) -> Chosen:
        if name in (CATEGORY, CATEGORIES):
            return self._in_category(values, places)
        if name == AVAILABILITY:
            wanted = [AVAILABILITIES.index(one) for one in values if one in AVAILABILITIES]
            return np.isin(self.index.rows.column("availability")[places], wanted)
        if name == PRICE:
            return self._priced(values, places)
        if name == BRAND:
            texts = self.index.rows.brands.texts
            numbers = [number for number, text in enumerate(texts) if text and text in set(values)]
            return np.isin(self.index.rows.column("brand")[places], numbers)
        column = self.index.columns.column(name.removeprefix(OWN_PREFIX))
        having = np.zeros(self.index.rows.count, np.bool_)
        if column is not None:
            chosen = chosen_values(column.values, values)
            having[column.places[chosen[column.codes]]] = True
        return having[places]

    def _in_category(self, paths: Sequence[str], places: Places) -> Chosen:
        beginnings = tuple(f"{path}/" for path in paths)
        within = [f"{path}/".startswith(beginnings) for path in self.index.rows.categories.texts]
        within[0] = False  # no category at all
        chosen: Chosen = np.array(within, np.bool_)[self.index.rows.column("category")[places]]
        return chosen

    def _priced(self, values: Sequence[str], places: Places) -> Chosen:
        chosen = np.zeros(len(places), np.bool_)
        prices = self.index.rows.price(self.currency)
        if prices is None:
            return chosen
        here = prices[places]
        for value in values:
            limits = range_of(value)
            if limits is not None:
                low, high = limits
                chosen |= (here != NO_PRICE) & (here >= low * E4) & (here <= high * E4)
        return chosen

    # -- counting

    def count(self, name: str, count_max: int) -> list[tuple[str, int]]:
        """The commonest values under a name: a tie by the alphabet. Ranges of prices rise."""
        places = self.left(but=name).places
        rows = self.index.rows
        if name == CATEGORY:
            return counted(rows.column("category")[places], rows.categories.texts, count_max)
        if name == CATEGORIES:
            return self._tree(places, count_max)
        if name == AVAILABILITY:
            return counted(rows.column("availability")[places], AVAILABILITIES, count_max)
        if name == PRICE:
            return self._prices(places)
        if name == BRAND:
            return counted(rows.column("brand")[places], rows.brands.texts, count_max)
        column = self.index.columns.column(name.removeprefix(OWN_PREFIX))
        if column is None:
            return []
        here = np.zeros(rows.count, np.bool_)
        here[places] = True
        return counted(column.codes[here[column.places]], column.values, count_max)

    def _tree(self, places: Places, count_max: int) -> list[tuple[str, int]]:
        """Each category with everything below it."""
        sums: dict[str, int] = {}
        numbers = self.index.rows.column("category")[places]
        for number, count in enumerate(np.bincount(numbers).tolist() if len(numbers) else ()):
            path = self.index.rows.categories.texts[number]
            while path and count:
                sums[path] = sums.get(path, 0) + count
                path = path.rpartition("/")[0]
        return sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))[:count_max]

    def _prices(self, places: Places) -> list[tuple[str, int]]:
        prices = self.index.rows.price(self.currency)
        if prices is None:
            return []
        here = prices[places]
        here = here[here != NO_PRICE]
        borders = borders_of(here)
        if not borders:
            return []
        # As its filter finds them: a price on a border is in both ranges.
        edges = [-inf, *(border * E4 for border in borders), inf]
        counts = [int(((here >= a) & (here <= b)).sum()) for a, b in pairwise(edges)]
        texts = ["", *(f"{border:g}" for border in borders), ""]
        names = [f"{a}{RANGE}{b}" for a, b in pairwise(texts)]
        return [(name, count) for name, count in zip(names, counts, strict=True) if count]


def own_name(name: str) -> str:
    """A facet and a filter that speak of the same."""
    return CATEGORY if name == CATEGORIES else name


def main_currency(index: Index) -> str:
    """The currency in which most products have a price."""
    prices = index.rows.prices
    if len(prices) < 2:
        return next(iter(prices), "")
    sums = {currency: int((prices[currency] != NO_PRICE).sum()) for currency in prices}
    return max(sorted(sums), key=sums.__getitem__)


def range_of(text: str) -> tuple[float, float] | None:
    """``10..25``, ``..10`` or ``500..`` as two numbers, both included; None for all else."""
    low, dots, high = text.partition(RANGE)
    if not dots:
        return None
    try:
        limits = float(low or "-inf"), float(high or "inf")
    except ValueError:
        return None
    return limits if limits[0] <= limits[1] else None


def chosen_values(values: Sequence[str], wanted: Sequence[str]) -> Chosen:
    """Which values of a column are wanted, by name or as a range of numbers."""
    exact = set(wanted)
    limits = [found for found in map(range_of, wanted) if found is not None]
    chosen = np.fromiter((value in exact for value in values), np.bool_, len(values))
    for low, high in limits:
        numbers = np.fromiter(map(as_number, values), np.float64, len(values))
        chosen |= (numbers >= low) & (numbers <= high)
    return chosen


def as_number(text: str) -> float:
    """A value as a number; nan, which is in no range, where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def counted(numbers: Keys, texts: Sequence[str], count_max: int) -> list[tuple[str, int]]:
    """How often each number stands there, by its text; the empty text is none."""
    if not len(numbers):
        return []
    counts = np.bincount(numbers)
    there = np.flatnonzero(counts)
    if len(there) > COUNTED_AT_ONCE > count_max:
        least = np.partition(counts[there], len(there) - count_max - 1)[-count_max - 1]
        there = there[counts[there] >= least]
    pairs = [(texts[number], int(counts[number])) for number in there.tolist() if texts[number]]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:count_max]


def borders_of(prices: npt.NDArray[np.int64]) -> list[float]:
    """Round prices between which about as many products lie."""
    if len(prices) < 2:
        return []
    places = [len(prices) * n // RANGES for n in range(1, RANGES)]
    quantiles = np.partition(prices, places)[places]
    low, high = int(prices.min()), int(prices.max())
    borders = sorted({rounded(int(quantile)) for quantile in quantiles})
    return [border for border in borders if low < border * E4 < high]


def rounded(price_e4: int) -> float:
    """A price as people say it: 1, 2 or 5 with zeros."""
    price = max(price_e4, 1) / E4
    power = 10.0 ** floor(log10(price))
    found = min((1, 2, 5, 10), key=lambda step: abs(log10(price / power) - log10(step))) * power
    return float(ceil(found)) if found >= 1 else found


# -- while somebody types


def completions(index: Index, asked: Asked, found: Found, count_max: int) -> list[str]:
    """What the text may become: with words that begin as the last one does, of most products
    first, and only such as stand beside the words before it.
    """
    groups = asked.clauses[-1].groups if asked.clauses else ()
    if len(asked.clauses) != 1 or not groups or not asked.unfinished:
        return []
    last = groups[-1].typed
    text = folded(asked.corrected or asked.text)
    head = text[: len(text) - len(last)] if text.endswith(last) else ""
    here = np.zeros(index.rows.count, np.bool_)
    here[found.places] = True
    counted: dict[str, tuple[int, str]] = {}
    for word in index.written.begun(last, COMPLETIONS_TRIED):
        stem = index.analyzer.stem(word)
        count = int(here[index.of(stem)[0]].sum())
        # Of two forms of a word the shorter one.
        if count and (stem not in counted or len(word) < len(counted[stem][1])):
            counted[stem] = count, word
    best = sorted(counted.values(), key=lambda pair: (-pair[0], pair[1]))
    return [f"{head}{word}" for _, word in best[:count_max]]


def categories_like(index: Index, asked: Asked, count_max: int) -> list[tuple[str, int]]:
    """Categories whose last name has words that begin as all of these do."""
    typed = [group.typed for clause in asked.clauses for group in clause.groups]
    if not typed:
        return []
    paths: dict[str, None] = {}
    for text in index.rows.categories.texts:
        path = text
        while path and path not in paths:
            paths[path] = None
            path = path.rpartition("/")[0]
    fitting = set()
    for path in paths:
        words = index.analyzer.words(path.rpartition("/")[2])
        if all(any(word.startswith(one) for word in words) for one in typed):
            fitting.add(path)
    if not fitting:
        return []
    everything = Narrowed(index, index.everything(), Filters())
    tree = everything.count(CATEGORIES, len(paths))
    return [(path, count) for path, count in tree if path in fitting][:count_max]


# -- pages


def page(
    narrowed: Narrowed, sort: str, *, before: tuple[int | str, str] | None, count_max: int
) -> list[Hit]:
    """The first in an order, from behind a key and an id on. Equal ones are newest first."""
    places, scores = narrowed.found
    rows = narrowed.index.rows
    by_title = sort == "title"
    keys: Any = (
        rows.column("title")[places] if by_title else keys_of(narrowed, sort, places, scores)
    )
    ranks = rows.column("rank")
    if before is not None:
        key, rank = before[0], rows.rank(before[1])
        same = keys == (str(key).encode() if by_title else key)
        behind = keys > str(key).encode() if by_title else keys < key
        behind |= same & (ranks[places] < rank)
        places, scores, keys = places[behind], scores[behind], keys[behind]
    first = titles_first if by_title else greatest
    best = first(keys, places, ranks, count_max)
    return [
        Hit(rows.id(place), score, key.decode() if isinstance(key, bytes) else key)
        for place, score, key in zip(
            places[best].tolist(), scores[best].tolist(), keys[best].tolist(), strict=True
        )
    ]


def keys_of(narrowed: Narrowed, sort: str, places: Places, scores: Scores) -> Scores:
    """What is sorted by, the greatest first. Products without a price are last."""
    if sort == "relevance":
        return scores
    if sort == "newest":
        return np.zeros(len(places), np.int64)
    prices = narrowed.index.rows.price(narrowed.currency)
    here = np.full(len(places), NO_PRICE, np.int64) if prices is None else prices[places]
    return here if sort == "-price" else np.where(here == NO_PRICE, CHEAPEST_LAST, -here)


def greatest(keys: Scores, places: Places, ranks: Scores, count_max: int) -> Places:
    """Where the greatest keys are, in order."""
    best = np.arange(len(keys), dtype=np.int32)
    if len(keys) > count_max:
        least = np.partition(keys, len(keys) - count_max)[len(keys) - count_max]
        above, equal = np.flatnonzero(keys > least), np.flatnonzero(keys == least)
        missing = count_max - len(above)
        if len(equal) > missing:
            newest = np.argpartition(ranks[places[equal]], len(equal) - missing)
            equal = equal[newest[len(equal) - missing :]]
        best = np.concatenate((above, equal)).astype(np.int32)
    return best[np.lexsort((-ranks[places[best]], -keys[best]))]


def titles_first(titles: Any, places: Places, ranks: Scores, count_max: int) -> Places:
    """Where the first titles are, in order. Their first eight letters leave most of them out."""
    best: Any = np.arange(len(titles), dtype=np.int32)
    if len(titles) > count_max:
        eight = np.ascontiguousarray(titles).view(">u8").reshape(len(titles), -1)[:, 0]
        eight = eight.astype(np.uint64)
        best = np.flatnonzero(eight <= np.partition(eight, count_max - 1)[count_max - 1])
    best = best[np.lexsort((-ranks[places[best]], titles[best]))][:count_max]
    return np.asarray(best, np.int32)
