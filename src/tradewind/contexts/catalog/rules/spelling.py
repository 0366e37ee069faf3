"""Words that differ in one letter: a wrong, a missing, a needless one, or two that changed places.

The first letter may be wrong, too. All that a word can become are some hundred texts; those that
are words are found by their hashes, all at once.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from tradewind.contexts.catalog.rules.postings import Postings, WordList
from tradewind.contexts.catalog.rules.words import Analyzer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
EDITED_LENGTH_MAX = 24
COMPLETIONS_READ_MAX = 20_000


def edits(word: str, letters: str = LETTERS) -> set[str]:
    """All texts that differ from a word in one letter."""
    halves = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    found = {left + right[1:] for left, right in halves if right}
    found.update(left + right[1] + right[0] + right[2:] for left, right in halves if right[1:])
    for left, right in halves:
        rest = right[1:]
        if right:
            found.update([left + letter + rest for letter in letters])
        found.update([left + letter + right for letter in letters])
    found.discard(word)
    return found


class Written:
    """The words of a shop as they are written, and how many products had them when last packed."""

    def __init__(self, words: Sequence[bytes] = (), counts: Sequence[int] = ()) -> None:
        self.words = WordList(words)
        self.counts = np.array(counts, np.int32)
        self.recent: set[str] = set()
        hashes = np.fromiter((hash(word.decode()) for word in words), np.int64, len(words))
        self._order = np.argsort(hashes).astype(np.int32)
        self._hashes = hashes[self._order]

    @property
    def size_bytes(self) -> int:
        """What they take, about."""
        return self.words.size_bytes + len(self.words) * 16 + len(self.recent) * 100

    def add(self, words: Iterable[str]) -> None:
        """Words of a product."""
        self.recent.update(words)

    def near(self, word: str) -> list[str]:
        """Words that differ in one letter; some may be gone."""
        if len(word) > EDITED_LENGTH_MAX:
            return []
        letters = LETTERS if word.isascii() else LETTERS + "".join(sorted(set(word)))
        candidates = list(edits(word, letters))
        found = [one for one in candidates if one in self.recent] if self.recent else []
        if len(self._hashes):
            hashes = np.fromiter(map(hash, candidates), np.int64, len(candidates))
            at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
            for number in np.flatnonzero(self._hashes[at] == hashes).tolist():
                if self.words[self._order[at[number]]] == candidates[number].encode():
                    found.append(candidates[number])
        return list(dict.fromkeys(found))

    def begun(self, beginning: str, count_max: int) -> list[str]:
        """Words that begin so, those of most products first."""
        first, last = self.words.begun(beginning)
        counts = self.counts[first : min(last, first + COMPLETIONS_READ_MAX)]
        found = np.argsort(-counts, kind="stable")[:count_max]
        words = [self.words[first + int(number)].decode() for number in found]
        late = sorted(word for word in self.recent if word.startswith(beginning))
        return list(dict.fromkeys([*words, *late[:count_max]]))

    def knows(self, word: str) -> bool:
        """Whether this is one of them; some may be gone."""
        return word in self.recent or self.words.find(word) >= 0

    def begins(self, beginning: str) -> bool:
        """Whether any word begins so."""
        first, last = self.words.begun(beginning)
        return first < last or any(word.startswith(beginning) for word in self.recent)


def packed(written: Written, postings: Postings, analyzer: Analyzer) -> Written:
    """The words that products still have, with the number of products of their stem."""
    roots = postings.packed.words
    numbers = {root: number for number, root in enumerate(roots)}
    sizes = np.diff(postings.packed.starts).tolist()
    words, counts = [], []
    for word in sorted({word.encode() for word in written.recent}.union(written.words)):
        number = numbers.get(analyzer.stem(word.decode()).encode())
        if number is not None:
            words.append(word)
            counts.append(sizes[number])
    return Written(words, counts)
