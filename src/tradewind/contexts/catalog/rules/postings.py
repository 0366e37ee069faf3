"""Which products have a word, and how much it weighs there: arrays, and what came since.

Most of it is one array of products and one of weights, a slice of both for each word, so a word
that ten thousand products have is ranked and counted in some microseconds. What comes later stands
beside it in lists until all is packed anew. Nothing is ever taken out: products that are gone are
left out by who asks.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int32]
Weights = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]

NO_PLACES: Places = np.zeros(0, np.int32)
NO_WEIGHTS: Weights = np.zeros(0, np.int32)
LAST = b"\xff"  # behind every letter
STRING_BYTES = 60  # what a short text takes in Python
LIST_BYTES = 300  # a word with its two lists


class WordList(Sequence[bytes]):
    """Words in their order, as one text: a tenth of what as many texts take."""

    def __init__(self, words: Sequence[bytes] = ()) -> None:
        self._text = b"".join(words)
        self._ends = np.zeros(len(words) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, words), np.int64, len(words)), out=self._ends[1:])

    @property
    def size_bytes(self) -> int:
        """What it takes."""
        return len(self._text) + self._ends.nbytes

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: Any) -> Any:
        return self._text[self._ends[number] : self._ends[number + 1]]

    def __iter__(self) -> Iterator[bytes]:
        ends = self._ends.tolist()
        return (self._text[first:last] for first, last in pairwise(ends))

    def find(self, word: str) -> int:
        """The number of a word, or -1."""
        key = word.encode()
        at = bisect_left(self, key)
        return at if at < len(self) and self[at] == key else -1

    def begun(self, beginning: str) -> tuple[int, int]:
        """The words that begin so, from and to."""
        key = beginning.encode()
        return bisect_left(self, key), bisect_left(self, key + LAST)


class Packed:
    """Words in their order, each with the slice of its products."""

    __slots__ = ("places", "starts", "weights", "words")

    def __init__(
        self,
        words: WordList,
        starts: npt.NDArray[np.int64],
        places: Places,
        weights: Bytes,
    ) -> None:
        self.words = words
        self.starts = starts
        self.places = places
        self.weights = weights

    def span(self, first: int, last: int) -> tuple[Places, Bytes]:
        """The products of the words from the first to the last, that one left out."""
        low, high = self.starts[first], self.starts[last]
        return self.places[low:high], self.weights[low:high]


NOTHING = Packed(WordList(), np.zeros(1, np.int64), NO_PLACES, np.zeros(0, np.uint8))


class Postings:
    """See the module. One thread changes it."""

    def __init__(self, packed: Packed = NOTHING) -> None:
        self.packed = packed
        self.recent: dict[str, tuple[array[int], array[int]]] = {}
        self._count = 0

    @property
    def size_bytes(self) -> int:
        """What it takes, about."""
        packed = self.packed
        arrays = packed.places.nbytes + packed.weights.nbytes + packed.starts.nbytes
        return arrays + packed.words.size_bytes + len(self.recent) * LIST_BYTES + self._count * 5

    def add(self, place: int, words: Mapping[str, int]) -> None:
        """A product that comes behind all others."""
        recent = self.recent
        for word, weight in words.items():
            lists = recent.get(word)
            if lists is None:
                lists = recent[word] = (array("i"), array("B"))
            lists[0].append(place)
            lists[1].append(weight)
        self._count += len(words)

    def of(self, word: str) -> tuple[Places, Weights]:
        """The products that have a word, in their order, and its weight there."""
        at = self.packed.words.find(word)
        places, weights = self.packed.span(at, at + 1) if at >= 0 else (NO_PLACES, None)
        lists = self.recent.get(word)
        if lists is None:
            return places, NO_WEIGHTS if weights is None else weights.astype(np.int32)
        late, heavy = np.array(lists[0], np.int32), np.array(lists[1], np.int32)
        if weights is None:
            return late, heavy
        return np.concatenate((places, late)), np.concatenate((weights.astype(np.int32), heavy))

    def begun(self, beginning: str) -> list[tuple[Places, Weights]]:
        """The products of all words that begin so; one may stand there several times."""
        first, last = self.packed.words.begun(beginning)
        found = []
        if first < last:
            places, weights = self.packed.span(first, last)
            found.append((places, weights.astype(np.int32)))
        for word, (places_, weights_) in self.recent.items():
            if word.startswith(beginning):
                found.append((np.array(places_, np.int32), np.array(weights_, np.int32)))
        return found

    def pack(self, new_places: Places) -> Packed:
        """All of it as one, each product at its new place; those with a negative one are gone."""
        words = sorted({word.encode() for word in self.recent}.union(self.packed.words))
        number = {word: n for n, word in enumerate(words)}
        numbers, places, weights = self._all(number)
        places = new_places[places]
        kept = places >= 0
        numbers, places, weights = numbers[kept], places[kept], weights[kept]
        order = np.argsort(numbers.astype(np.int64) << 32 | places)
        counts = np.bincount(numbers, minlength=len(words))
        used = np.flatnonzero(counts)
        starts = np.zeros(len(used) + 1, np.int64)
        np.cumsum(counts[used], out=starts[1:])
        return Packed(WordList([words[n] for n in used]), starts, places[order], weights[order])

    def _all(self, number: Mapping[bytes, int]) -> tuple[Any, Any, Any]:
        """Every word of every product: number of the word, place, weight."""
        packed, recent = self.packed, self.recent
        of_packed = np.fromiter((number[word] for word in packed.words), np.int32)
        of_recent = np.fromiter((number[word.encode()] for word in recent), np.int32, len(recent))
        counts = np.fromiter((len(lists[0]) for lists in recent.values()), np.int64, len(recent))
        return (
            np.concatenate(
                (np.repeat(of_packed, np.diff(packed.starts)), np.repeat(of_recent, counts))
            ),
            np.concatenate(
                (packed.places, joined((lists[0] for lists in recent.values()), np.int32))
            ),
            np.concatenate(
                (packed.weights, joined((lists[1] for lists in recent.values()), np.uint8))
            ),
        )


def joined(lists: Iterable["array[int]"], kind: Any) -> Any:
    """One array of many."""
    return np.frombuffer(b"".join([one.tobytes() for one in lists]), kind)
