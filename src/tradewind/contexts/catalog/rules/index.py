"""The search index in memory: which products have a word, and how much it weighs there.

Each product has a place, a bit. A word that many products have is kept as one number per weight,
whose bits are the products: joining two words that stand in ten thousand products each, or counting
them in a category, is then some operations on numbers of 2.5 kB. A word that few have is kept as a
list. What is found is best first, and among equals by id from the end, in every process alike: so
pages go on from a weight and an id, whoever answers the next one.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import log
from sys import intern

from msgspec import Struct, structs

from tradewind.contexts.catalog.rules.wording import Tree, Word

# What a word counts for: in the title, the category, the attributes, the description. Of a longer
# text it counts a little less.
WEIGHTS = {"A": 1.0, "B": 0.4, "C": 0.2, "D": 0.05}
# Weights are rounded to steps of a fortieth: a word in the title of a short text makes 14 of them.
STEPS = 40
STEP_MICRO = 1_000_000 // STEPS
LEVEL_MAX = 30
# More than all words together: the product whose sku was typed comes first.
SKU_LEVEL = 1_000 * STEPS
# A word of so many products becomes numbers: 64 places are 2 kB as a list, and one of 20,000 bits.
FEW_MAX = 64
LEVEL_BITS = 5
# Products whose id is not the latest come behind the others until so many have, then all are sorted
# anew. Few do: ids are made in the order of time, but commits are not.
LATE_MAX = 500
SETTLED_AT_ONCE = 500  # words, some milliseconds

Found = dict[int, int]  # level -> products, no product twice
Places = (
    tuple[int, ...] | dict[int, int]
)  # (place << LEVEL_BITS | level, ...), or level -> products


class Wording(Struct, frozen=True):
    """What a product is found by. Words with the letters of their weights: ``lamp AD``."""

    product_id: str
    archived: bool
    category: str | None
    categories: Sequence[str]
    sku_keys: Sequence[str]
    names: Sequence[str]  # of attributes
    values: Sequence[str | None]
    words: Sequence[str]


class Hit(Struct, frozen=True):
    """A product that was found."""

    product_id: str
    level: int


class Index:
    """See the module. One thread changes and asks it."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._order: list[str] = []  # the same, but a late one has the id before it
        self._place: dict[str, int] = {}
        self._late = 0
        self._last = ""
        self._shelf = 0  # every product on it
        self._words: dict[str, Places] = {}
        self._sorted: list[str] = []
        self._owners: dict[str, int] = {}
        self._within: dict[str, int] = {}  # category -> products in it and below it
        self._values: dict[str, dict[str, Places]] = {}
        self._of_place: list[Wording | None] = []
        self._lists: dict[str, list[int]] = {}
        self._value_lists: dict[tuple[str, str], list[int]] = {}

    def __len__(self) -> int:
        return self._shelf.bit_count()

    @property
    def wants_order(self) -> bool:
        """Whether so many came late that it should be made anew."""
        return self._late.bit_count() > LATE_MAX

    def fill(self, wordings: Iterable[Wording]) -> None:
        """Products of a new index, in the order of their ids. `settle` it before it is asked."""
        for wording in wordings:
            place = self._new_place(wording.product_id)
            for word, level in self._note(place, wording):
                self._lists.setdefault(word, []).append(place << LEVEL_BITS | level)
            for pair in valued(wording):
                self._value_lists.setdefault(pair, []).append(place << LEVEL_BITS)

    def settle(self) -> Iterator[None]:
        """Make numbers of what was filled in; it comes back now and then for others to go on."""
        size = len(self.ids) // 8 + 1
        for count, (word, codes) in enumerate(self._lists.items()):
            self._words[word] = settled(codes, size)
            if count % SETTLED_AT_ONCE == 0:
                yield
        for (name, value), codes in self._value_lists.items():
            self._values.setdefault(name, {})[value] = settled(codes, size)
        yield
        self._sorted = sorted(self._words)
        self._lists, self._value_lists = {}, {}

    def put(self, wording: Wording) -> None:
        """A product as it now is."""
        place = self._place.get(wording.product_id)
        if place is None:
            if wording.archived:
                return
            place = self._new_place(wording.product_id)
        else:
            self._take_away(place)
        if not wording.archived:
            self._add(place, wording)

    def _new_place(self, product_id: str) -> int:
        place = len(self.ids)
        self._place[product_id] = place
        self.ids.append(product_id)
        self._of_place.append(None)
        if product_id < self._last:
            self._late |= 1 << place
        else:
            self._last = product_id
        self._order.append(self._last)
        return place

    def _note(self, place: int, wording: Wording) -> list[tuple[str, int]]:
        """Everything but words and values, which are returned as words and levels."""
        # Most words stand in many products: each is kept once.
        wording = structs.replace(wording, words=tuple(map(intern, wording.words)))
        self._of_place[place] = wording
        bit = 1 << place
        self._shelf |= bit
        for key in wording.sku_keys:
            self._owners[key] = place
        for category in wording.categories:
            self._within[category] = self._within.get(category, 0) | bit
        return levels(wording.words)

    def _add(self, place: int, wording: Wording) -> None:
        for word, level in self._note(place, wording):
            if word not in self._words:
                insort(self._sorted, word)
            self._words[word] = added(self._words.get(word, ()), place, level)
        for name, value in valued(wording):
            values = self._values.setdefault(name, {})
            values[value] = added(values.get(value, ()), place, 0)

    def _take_away(self, place: int) -> None:
        wording = self._of_place[place]
        if wording is None:
            return
        self._of_place[place] = None
        self._shelf &= ~(1 << place)
        for word, _ in levels(wording.words):
            left = removed(self._words[word], place)
            if left:
                self._words[word] = left
            else:
                del self._words[word]
                del self._sorted[bisect_left(self._sorted, word)]
        for key in wording.sku_keys:
            if self._owners.get(key) == place:
                del self._owners[key]
        for category in wording.categories:
            self._within[category] &= ~(1 << place)
        for name, value in valued(wording):
            left = removed(self._values[name][value], place)
            if left:
                self._values[name][value] = left
            else:
                del self._values[name][value]

    # -- asking

    def find(self, tree: Tree | None, sku_key: str, category: str) -> Found:
        """Everything that a search finds; an empty tree finds what has this sku, if any."""
        found = self._follow(tree) if tree is not None else {}
        owner = self._owners.get(sku_key)
        if owner is not None:
            bit = 1 << owner
            before = next((level for level, products in found.items() if products & bit), 0)
            found = {level: products & ~bit for level, products in found.items()}
            found[before + SKU_LEVEL] = bit
        return self._inside(found, category)

    def shelf(self, category: str) -> Found:
        """Everything there is, in a category or anywhere."""
        return self._inside({0: self._shelf}, category)

    def _inside(self, found: Found, category: str) -> Found:
        within = self._within.get(category, 0) if category else self._shelf
        return {level: left for level, products in found.items() if (left := products & within)}

    def _follow(self, tree: Tree) -> Found:
        if isinstance(tree, Word):
            return (
                self._begun(tree.text) if tree.begun else as_found(self._words.get(tree.text, ()))
            )
        if tree.operator == "!":
            return {0: self._shelf & ~union(self._follow(tree.left))}
        assert tree.right is not None, "and, or join two"
        left, right = self._follow(tree.left), self._follow(tree.right)
        return joined(left, right) if tree.operator == "&" else merged(left, right)

    def _begun(self, beginning: str) -> Found:
        """The products of all words that begin so, each with its heaviest."""
        first = bisect_left(self._sorted, beginning)
        lists: dict[int, bytearray] = {}
        found: Found = {}
        size = len(self.ids) // 8 + 1
        for number in range(first, len(self._sorted)):
            word = self._sorted[number]
            if not word.startswith(beginning):
                break
            places = self._words[word]
            if isinstance(places, dict):
                for level, products in places.items():
                    found[level] = found.get(level, 0) | products
                continue
            for code in places:
                level = code & (1 << LEVEL_BITS) - 1
                bits = lists.get(level)
                if bits is None:
                    bits = lists[level] = bytearray(size)
                place = code >> LEVEL_BITS
                bits[place >> 3] |= 1 << (place & 7)
        for level, bits in lists.items():
            found[level] = found.get(level, 0) | int.from_bytes(bits, "little")
        seen = 0
        for level in sorted(found, reverse=True):
            found[level] &= ~seen
            seen |= found[level]
        return found

    def page(self, found: Found, *, before: tuple[int, str], count_max: int) -> list[Hit]:
        """The best, from behind a level and an id on."""
        level_before, id_before = before
        hits: list[Hit] = []
        for level in sorted(found, reverse=True):
            if level > level_before:
                continue
            limit = id_before if level == level_before else None
            for product_id in self._descending(found[level], limit):
                hits.append(Hit(product_id, level))
                if len(hits) == count_max:
                    return hits
        return hits

    def _descending(self, products: int, before: str | None) -> Iterator[str]:
        """Ids from the greatest on, those below `before`."""
        ids = self.ids
        late = products & self._late
        orderly = products ^ late
        if before is not None:
            orderly &= (1 << bisect_left(self._order, before)) - 1
        if not late:
            for place in places_in(orderly):
                yield ids[place]
            return
        waiting = sorted(
            ids[place] for place in places_in(late) if before is None or ids[place] < before
        )
        for place in places_in(orderly):
            product_id = ids[place]
            while waiting and waiting[-1] > product_id:
                yield waiting.pop()
            yield product_id
        yield from reversed(waiting)

    def count(self, found: Found, name: str, count_max: int) -> list[tuple[str, int]]:
        """The commonest values of an attribute, or of the category: a tie by the alphabet."""
        products = union(found)
        bits = products.to_bytes(len(self.ids) // 8 + 1, "little")
        counted = []
        for value, places in self._values.get(name, {}).items():
            if isinstance(places, dict):
                count = (places.get(0, 0) & products).bit_count()
            else:
                count = sum(bits[code >> 8] >> (code >> LEVEL_BITS & 7) & 1 for code in places)
            if count:
                counted.append((value, count))
        return sorted(counted, key=lambda pair: (-pair[1], pair[0]))[:count_max]


def levels(words: Iterable[str]) -> list[tuple[str, int]]:
    """Each word with its weight in steps."""
    parted = [word.rpartition(" ") for word in words]
    length = sum([len(letters) for _, _, letters in parted])
    known = levels_of(max(1, length))
    found = []
    for word, _, letters in parted:
        level = known.get(letters)
        if level is None:
            scale = STEPS / (1 + log(max(1, length)))
            weight = sum(map(WEIGHTS.__getitem__, letters))
            level = known[letters] = min(LEVEL_MAX, max(1, round(scale * weight)))
        found.append((intern(word), level))
    return found


@lru_cache(maxsize=1_000)
def levels_of(length: int) -> dict[str, int]:
    """Levels that were worked out for texts of this length: a few, over and over."""
    return {}


def valued(wording: Wording) -> Iterator[tuple[str, str]]:
    """What is counted of a product: attributes, and the category under the name it has there."""
    for name, value in zip(wording.names, wording.values, strict=True):
        if value is not None and name != "category":
            yield name, value
    if wording.category is not None:
        yield "category", wording.category


def added(places: Places, place: int, level: int) -> Places:
    """With one product more."""
    if isinstance(places, dict):
        places[level] = places.get(level, 0) | 1 << place
        return places
    if len(places) < FEW_MAX:
        return (*places, place << LEVEL_BITS | level)
    return added(as_found(places), place, level)


def settled(codes: Sequence[int], size: int) -> Places:
    """A list of products as it is kept; `size`: bytes that take a bit for each."""
    if len(codes) <= FEW_MAX:
        return tuple(codes)
    lists: dict[int, bytearray] = {}
    for code in codes:
        level = code & (1 << LEVEL_BITS) - 1
        bits = lists.get(level)
        if bits is None:
            bits = lists[level] = bytearray(size)
        place = code >> LEVEL_BITS
        bits[place >> 3] |= 1 << (place & 7)
    return {level: int.from_bytes(bits, "little") for level, bits in lists.items()}


def removed(places: Places, place: int) -> Places:
    """With one product less. What has become few stays as it is: it may become many again."""
    if isinstance(places, dict):
        kept = ~(1 << place)
        return {level: bits for level, products in places.items() if (bits := products & kept)}
    return tuple(code for code in places if code >> LEVEL_BITS != place)


def as_found(places: Places) -> Found:
    """Products by level."""
    if isinstance(places, dict):
        return places
    found: Found = {}
    for code in places:
        level = code & (1 << LEVEL_BITS) - 1
        found[level] = found.get(level, 0) | 1 << (code >> LEVEL_BITS)
    return found


def union(found: Mapping[int, int]) -> int:
    """All products, whatever their level."""
    products = 0
    for one in found.values():
        products |= one
    return products


def joined(left: Found, right: Found) -> Found:
    """Products that are in both; their levels add up."""
    found: Found = {}
    for a, those in left.items():
        for b, these in right.items():
            products = those & these
            if products:
                found[a + b] = found.get(a + b, 0) | products
    return found


def merged(left: Found, right: Found) -> Found:
    """Products that are in either; the levels of those in both add up."""
    found = joined(left, right)
    twice = union(found)
    for one in (left, right):
        for level, products in one.items():
            alone = products & ~twice
            if alone:
                found[level] = found.get(level, 0) | alone
    return found


def places_in(products: int) -> Iterator[int]:
    """The places of the bits, from the highest. Who asks takes a page of them."""
    while products:
        place = products.bit_length() - 1
        products ^= 1 << place
        yield place
