"""The search index in memory: what a search finds, and how well each product fits.

The score of a product is that of BM25F, in whole numbers: for each group of words its weight in the
product, times how rare it is in the shop; then times a little for what it costs. Rarity goes in
steps, so that a product more or less in the shop moves no page. A product whose sku was typed comes
first, and where hardly any product has all the words, those that have the rarer half come last.
"""

from collections.abc import Mapping, Sequence
from math import log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tradewind.contexts.catalog.rules import asking, spelling
from tradewind.contexts.catalog.rules.asking import WHOLE, Asked, Clause, Group, Way
from tradewind.contexts.catalog.rules.columns import Columns
from tradewind.contexts.catalog.rules.entries import Entry
from tradewind.contexts.catalog.rules.postings import (
    NO_PLACES,
    NO_WEIGHTS,
    Places,
    Postings,
    Weights,
)
from tradewind.contexts.catalog.rules.rows import Rows
from tradewind.contexts.catalog.rules.spelling import Written
from tradewind.contexts.catalog.rules.words import Analyzer

Scores = npt.NDArray[np.int64]
Chosen = npt.NDArray[np.bool_]

RARITY_STEPS = 16  # of one unit of the logarithm
# A score of one: what is shown is the score through this.
SCORE_ONE = 1 << 23
# Above everything that words can reach: 32 words of 255 * 200 * 700 are 2^31 at most.
KEY_SCORE = 1 << 33
# What lacks a word stays below what has all: its score is divided, and theirs is raised.
LACKING_SHIFT, COMPLETE_SCORE = 12, 1 << 20
# With fewer products that have all words, those that have more than half of their rarity do, too.
ENOUGH = 10
# So many changes, and all is packed anew: they take ten times the room of what is packed.
RECENT_MAX, RECENT_SHARE = 1_000, 50
NEAR_FEW = 8  # a list this many times shorter is looked up in the longer one


class Found(NamedTuple):
    """Everything that a search found, in no order."""

    places: Places
    scores: Scores


NONE = Found(NO_PLACES, np.zeros(0, np.int64))


class Index:
    """See the module. One thread changes it; `packed` may run beside those who ask."""

    def __init__(self, analyzer: Analyzer) -> None:
        self.analyzer = analyzer
        self.rows = Rows()
        self.columns = Columns()
        self.postings = Postings()
        self.keys = Postings()
        self.written = Written()
        self._frequencies: dict[str, int] = {}

    def __len__(self) -> int:
        """How many products there are."""
        return len(self.rows)

    @property
    def size_bytes(self) -> int:
        """What it takes, about."""
        parts = (self.rows, self.columns, self.postings, self.keys, self.written)
        return sum(part.size_bytes for part in parts)

    @property
    def recent(self) -> int:
        """How many rows came since it was packed."""
        return self.rows.count - self.rows.packed

    @property
    def wants_packing(self) -> bool:
        """Whether so much has changed that it should be packed."""
        return self.recent > max(RECENT_MAX, len(self) // RECENT_SHARE)

    def put(self, entry: Entry) -> None:
        """A product as it now is."""
        self.remove(entry.product_id)
        place = self.rows.add(entry)
        self.postings.add(place, entry.words)
        self.keys.add(place, dict.fromkeys(entry.keys, 1))
        self.columns.add(place, entry.values)
        self.written.add(entry.written)

    def remove(self, product_id: str) -> None:
        """A product that is no longer there."""
        self._frequencies.clear()
        place = self.rows.place(product_id)
        if place is not None:
            self.rows.kill(place)

    def packed(self) -> "Index":
        """The same, small and fast. May run in a thread while nobody changes this one."""
        found = Index(self.analyzer)
        found.rows, places = self.rows.renumbered()
        found.columns = self.columns.packed(places)
        found.postings = Postings(self.postings.pack(places))
        found.keys = Postings(self.keys.pack(places))
        analyzer = Analyzer(self.analyzer.language)  # its own: this may run in a thread
        found.written = spelling.packed(self.written, found.postings, analyzer)
        return found

    def differing(self, prints: Mapping[str, int]) -> set[str]:
        """Products that are not as they were, given what there is now: new, changed or gone."""
        rows = self.rows
        alive = np.flatnonzero(rows.column("alive"))
        ids, known = rows.column("id")[alive].tolist(), rows.column("print")[alive].tolist()
        here = {key.decode(): value for key, value in zip(ids, known, strict=True)}
        changed = {key for key, value in prints.items() if here.get(key) != value}
        return changed.union(here.keys() - prints.keys())

    # -- words, as `asking` wants them

    def of(self, word: str) -> tuple[Places, Weights]:
        """The products that have a word, stemmed, and its weights."""
        places, weights = self.postings.of(word)
        if self.rows.dead and len(places):
            alive = self.rows.column("alive")[places]
            places, weights = places[alive], weights[alive]
        return places, weights

    def frequency(self, word: str) -> int:
        """How many products have a word, stemmed."""
        known = self._frequencies.get(word)
        if known is None:
            if len(self._frequencies) > 10_000:
                self._frequencies.clear()
            known = self._frequencies[word] = len(self.of(word)[0])
        return known

    def knows(self, word: str) -> bool:
        """Whether a word stands, or stood, anywhere as it is written."""
        return self.written.knows(word)

    def begins(self, beginning: str) -> bool:
        """Whether any word begins so."""
        return self.written.begins(beginning)

    def near(self, word: str) -> list[str]:
        """Words that differ in one letter: those of most products first."""
        counted = [
            (-self.frequency(self.analyzer.stem(near)), len(near), near)
            for near in self.written.near(word)
        ]
        return [near for count, _, near in sorted(counted) if count]

    # -- asking

    def understood(self, asked: Asked) -> Asked:
        """A search with what is to be made of words that hardly any product has."""
        return asking.understood(asked, self.analyzer, self)

    def everything(self) -> Found:
        """All products."""
        places = np.flatnonzero(self.rows.column("alive")).astype(np.int32)
        return Found(places, np.zeros(len(places), np.int64))

    def find(self, asked: Asked, *, strict: bool = False) -> Found:
        """Everything that a search finds. `strict`: only what has all the words."""
        owners = self._owners(asked.key)
        parts = [self._of_clause(clause, strict=strict) for clause in asked.clauses]
        if len(parts) == 1 and not len(owners):
            return parts[0]
        scores = np.zeros(self.rows.count, np.int64)
        for found in parts:
            scores[found.places] = np.maximum(scores[found.places], found.scores)
        scores[owners] += KEY_SCORE
        places = np.flatnonzero(scores).astype(np.int32)
        return Found(places, scores[places])

    def _owners(self, key: str) -> Places:
        """The products whose sku, or other number, this is."""
        places: Places = self.keys.of(key)[0] if key else NO_PLACES
        alive: Places = places[self.rows.column("alive")[places]]
        return alive

    def _of_clause(self, clause: Clause, *, strict: bool) -> Found:
        """Products that have all groups; or nearly all, where few do."""
        if not clause.groups:
            found = self.everything()._replace(scores=np.ones(len(self), np.int64))
        else:
            groups = [self._of_group(group) for group in clause.groups]
            found = self._joined(groups)
            if len(found.places) < ENOUGH and len(groups) > 1 and clause.is_plain and not strict:
                found = self._nearly(groups, found)
        for group in clause.without:
            without = np.zeros(self.rows.count, np.bool_)
            without[self._of_group(group)[0]] = True
            kept = ~without[found.places]
            found = Found(found.places[kept], found.scores[kept])
        return found

    def _of_group(self, group: Group) -> tuple[Places, Weights]:
        """Products that have a word in any of its ways, and its score there."""
        found = [self._of_way(way) for way in group.ways]
        if group.begun:
            for places, weights in self.postings.begun(group.begun):
                alive = self.rows.column("alive")[places]
                found.append((places[alive], weights[alive] * asking.BEGUN))
        found = [one for one in found if len(one[0])]
        if not found:
            return NO_PLACES, NO_WEIGHTS
        if len(found) == 1 and not group.begun:
            places, weights = found[0]
        else:
            most = np.zeros(self.rows.count, np.int32)
            for places, weights in found:
                np.maximum.at(most, places, weights)
            places = np.flatnonzero(most).astype(np.int32)
            weights = most[places]
        rarity = rarity_of(len(places), len(self))
        return places, np.maximum(weights * rarity // WHOLE, 1)

    def _of_way(self, way: Way) -> tuple[Places, Weights]:
        """Products that have all words of a way, and what they weigh on average."""
        places, weights = self.of(way.words[0])
        for word in way.words[1:]:
            places, weights = met(places, weights, *self.of(word), self.rows.count)
        return places, weights * way.counts // len(way.words)

    def _joined(self, groups: Sequence[tuple[Places, Weights]]) -> Found:
        """Products that have all groups."""
        ordered = sorted(groups, key=lambda group: len(group[0]))
        places, weights = ordered[0]
        for others in ordered[1:]:
            places, weights = met(places, weights, *others, self.rows.count)
        scores = weights.astype(np.int64) * self.rows.column("worth")[places]
        return Found(places, scores + COMPLETE_SCORE)

    def _nearly(self, groups: Sequence[tuple[Places, Weights]], complete: Found) -> Found:
        """With products that have more than half of what all groups weigh by their rarity."""
        rarities = [rarity_of(len(places), len(self)) for places, _ in groups]
        had = np.zeros(self.rows.count, np.int32)
        scores = np.zeros(self.rows.count, np.int64)
        for (places, weights), rarity in zip(groups, rarities, strict=True):
            had[places] += rarity
            scores[places] += weights
        places = np.flatnonzero(2 * had >= sum(rarities)).astype(np.int32)
        lacking = scores[places] * self.rows.column("worth")[places] >> LACKING_SHIFT
        scores[places] = np.clip(lacking, 1, COMPLETE_SCORE - 1)
        scores[complete.places] = complete.scores
        places = np.union1d(places, complete.places)
        return Found(places, scores[places])


def rarity_of(count: int, of: int) -> int:
    """How much it says that a product has what so many of all have, in steps."""
    return max(1, round(RARITY_STEPS * log(1 + (of - count + 0.5) / (count + 0.5))))


def met(
    left: Places, left_weights: Weights, right: Places, right_weights: Weights, size: int
) -> tuple[Places, Weights]:
    """Products that are in both lists, in the order of the left one; their weights add up."""
    if not len(left) or not len(right):
        return NO_PLACES, NO_WEIGHTS
    if len(left) * NEAR_FEW < len(right):
        at = np.minimum(np.searchsorted(right, left), len(right) - 1)
        kept = right[at] == left
        return left[kept], left_weights[kept] + right_weights[at[kept]]
    of_right = np.zeros(size, np.int32)
    of_right[right] = right_weights
    weights = of_right[left]
    kept = weights > 0
    return left[kept], left_weights[kept] + weights[kept]
