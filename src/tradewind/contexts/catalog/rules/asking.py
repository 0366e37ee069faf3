"""What somebody typed, as groups of words of which a product needs one each.

Words must all occur; `-word` must not; `"in quotes"` in this order; `or` parts what may stand for
each other. Nothing that can be typed is wrong. Which groups there are depends on the text and the
synonyms alone; `understood` then asks the words of the shop what to make of those that no product
has: unfinished, two words written as one, one word written as two, or a letter wrong.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from tradewind.contexts.catalog.rules.words import SMALL, Analyzer, folded, key_of

# What a way to find a word counts, of sixteen: as it was typed, and what stands for it.
WHOLE, SAME, APART, CORRECTED, BEGUN, RARER = 16, 14, 8, 12, 6, 4
WORDS_MAX = 32  # of one search; what comes later is not looked at
PHRASES_MAX = 4
# So few products have a word that its writer may have meant the beginning of another one.
FEW = 10
# A word of so few products is a misspelling where another one of so many times as many is near.
HARDLY_ANY, FAR_MORE = 2, 50
UNFINISHED_LENGTH_MIN = 2
CORRECTED_LENGTH_MIN, DOUBTED_LENGTH_MIN = 3, 4
CORRECTIONS_MAX = 3
PART_LENGTH_MIN = 3
OR = "or"
BORDER = re.compile(r"(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)")
TOKEN = re.compile(r'(-?)"([^"]*)"|(\S+)')


class Way(NamedTuple):
    """Words that together stand for a word, and what that counts of sixteen."""

    words: tuple[str, ...]
    counts: int


class Group(NamedTuple):
    """One word that was typed, and the ways in which products may have it."""

    typed: str
    ways: tuple[Way, ...]
    begun: str = ""  # what unfinished words begin with


class Clause(NamedTuple):
    """Groups that must all occur, and such that must not."""

    groups: tuple[Group, ...]
    without: tuple[Group, ...] = ()
    phrases: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether a product that lacks a word may do, where hardly any has all."""
        return not self.without and not self.phrases


class Asked(NamedTuple):
    """A search. `unfinished`: the last word may go on."""

    text: str
    clauses: tuple[Clause, ...]
    key: str  # the whole text as a sku
    unfinished: bool = False
    corrected: str = ""  # what was looked for instead, if it was

    @property
    def is_empty(self) -> bool:
        """Whether nothing is looked for."""
        return not self.clauses


class Vocabulary(Protocol):
    """The words of a shop."""

    def frequency(self, word: str) -> int:
        """How many products have a word, stemmed."""

    def knows(self, word: str) -> bool:
        """Whether a word stands anywhere as it is written."""

    def begins(self, beginning: str) -> bool:
        """Whether any word begins so."""

    def near(self, word: str) -> list[str]:
        """Words as they are written that differ in one letter, the likeliest first."""


class Synonyms:
    """What else to look for. Made from lines; see `read_synonyms`."""

    def __init__(self, rules: Sequence[tuple[Sequence[str], Sequence[str]]] = ()) -> None:
        self._rules = rules
        self._by_first: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
        self._language = ""

    def of(self, stems: Sequence[str], analyzer: Analyzer) -> Iterator[tuple[int, int, Way]]:
        """Where they stand in a row of words, from and to, and what also counts there."""
        if self._language != analyzer.language:
            self._read(analyzer)
        for first, stem in enumerate(stems):
            for typed, meant in self._by_first.get(stem, ()):
                if tuple(stems[first : first + len(typed)]) == typed:
                    yield first, first + len(typed), Way(meant, SAME)

    def _read(self, analyzer: Analyzer) -> None:
        self._by_first, self._language = {}, analyzer.language
        for typed, meant in self._rules:
            for one in typed:
                for other in meant:
                    stems, others = stems_of(one, analyzer), stems_of(other, analyzer)
                    if stems and others and stems != others:
                        self._by_first.setdefault(stems[0], []).append((stems, others))


def stems_of(text: str, analyzer: Analyzer) -> tuple[str, ...]:
    """The words of a text that count."""
    stems = [analyzer.stem(part) for piece in analyzer.pieces(text) for part in piece.parts]
    return tuple(stems)


def synonym_rule(line: str) -> tuple[list[str], list[str]] | str:
    """A line as what is typed and what is meant by it; or what is wrong with the line.

    ``tv => television, telly`` works one way, ``sofa, couch`` both ways.
    """
    left, arrow, right = line.partition("=>")
    typed = [text.strip() for text in left.split(",") if key_of(text)]
    if not arrow:
        return (typed, typed) if len(typed) > 1 else "needs two words, parted by ',' or '=>'"
    meant = [text.strip() for text in right.split(",") if key_of(text)]
    if not typed or not meant or "=>" in right:
        return "needs words on both sides of one '=>'"
    return typed, meant


def read(text: str, analyzer: Analyzer, synonyms: Synonyms) -> Asked:
    """What was typed."""
    text = text.encode("utf-8", "replace").decode().replace("\x00", " ")
    clauses: list[Clause] = []
    words: list[str] = []
    without: list[Group] = []
    phrases: list[str] = []
    last = ""
    left = WORDS_MAX

    def end() -> None:
        groups = groups_of(" ".join(words), analyzer, synonyms, count_max=left)
        if groups or phrases:
            clauses.append(Clause(groups, tuple(without), tuple(phrases)))
        elif without:
            clauses.append(Clause((), tuple(without)))

    typed = [*tokens_of(text)]
    for kind, token in typed[: 2 * WORDS_MAX]:
        last = kind
        if kind == "or":
            if words or phrases or without:
                end()
                words, without, phrases = [], [], []
        elif kind == "without":
            without += groups_of(token, analyzer, Synonyms(), count_max=left)
        elif kind == "phrase" and len(phrases) < PHRASES_MAX:
            phrases.append(token)
            words.append(token)
        else:
            words.append(token)
    end()
    unfinished = last == "word" and not text[-1:].isspace()
    return Asked(text.strip(), tuple(clauses), key_of(text[:200]), unfinished)


def begun(asked: Asked) -> Asked:
    """The same as somebody types it who has not ended the last word, however many have it."""
    if not asked.clauses or not asked.unfinished or not asked.clauses[-1].groups:
        return asked
    last = asked.clauses[-1]
    group = last.groups[-1]
    groups = (*last.groups[:-1], group._replace(begun=group.typed))
    return asked._replace(clauses=(*asked.clauses[:-1], last._replace(groups=groups)))


def tokens_of(text: str) -> Iterator[tuple[str, str]]:
    """What stands between spaces or quotes: word, phrase, without, or. A quotation mark behind a
    digit is an inch where no quotation is open; one that is never closed is none.
    """
    text = re.sub(r'(?<=\d)"(?=\s|$)', "inch", text) if text.count('"') % 2 else text
    for minus, phrase, word in TOKEN.findall(text.replace("“", '"').replace("„", '"')):
        if word.lower() == OR:
            yield "or", word
        elif word.startswith("-") and len(word) > 1:
            yield "without", word[1:].replace('"', " ")
        elif word:
            # One quotation mark parts nothing; behind a digit it is an inch.
            yield "word", re.sub(r'(?<=\d)"', "inch ", word).replace('"', " ")
        elif minus:
            yield "without", phrase
        elif phrase.strip():
            yield "phrase", phrase


def groups_of(
    text: str, analyzer: Analyzer, synonyms: Synonyms, *, count_max: int
) -> tuple[Group, ...]:
    """The words of a text as groups; small words only where there are no others."""
    groups: list[Group] = []
    for piece in analyzer.pieces(text):
        for part in piece.parts:
            ways = [Way((analyzer.stem(part),), WHOLE)]
            if piece.joined:
                ways.append(Way((analyzer.stem(piece.joined),), WHOLE))
            if piece.beside:
                ways.append(Way(tuple(map(analyzer.stem, piece.beside)), BEGUN))
            groups.append(Group(part, tuple(ways)))
            if len(groups) >= count_max:
                break
    if analyzer.language == "english":
        groups = [group for group in groups if group.typed not in SMALL] or groups
    stems = [group.ways[0].words[0] for group in groups]
    for first, behind, way in synonyms.of(stems, analyzer):
        for number in range(first, behind):
            group = groups[number]
            groups[number] = group._replace(ways=(*group.ways, way))
    return tuple({group.typed: group for group in groups}.values())


def with_neighbours(
    groups: tuple[Group, ...], analyzer: Analyzer, vocabulary: Vocabulary
) -> list[Group]:
    """Two words beside each other may be one: `head phones`, `dv 6`."""
    found = list(groups)
    for number, (left, right) in enumerate(pairwise(groups)):
        if not vocabulary.knows(left.typed + right.typed):
            continue
        way = Way((analyzer.stem(left.typed + right.typed),), WHOLE)
        for at in (number, number + 1):
            if way not in found[at].ways:
                found[at] = found[at]._replace(ways=(*found[at].ways, way))
    return found


def understood(asked: Asked, analyzer: Analyzer, vocabulary: Vocabulary) -> Asked:
    """The same with what is to be made of words that hardly any product has."""
    corrections: dict[str, str] = {}
    clauses = []
    for number, clause in enumerate(asked.clauses):
        last = asked.unfinished and number == len(asked.clauses) - 1
        groups = []
        for place, group in enumerate(with_neighbours(clause.groups, analyzer, vocabulary)):
            may_go_on = last and place == len(clause.groups) - 1
            groups.append(resolved(group, may_go_on, analyzer, vocabulary, corrections))
        clauses.append(clause._replace(groups=tuple(groups)))
    corrected = ""
    if corrections:
        corrected = re.sub(
            r"[^\W_]+", lambda one: corrections.get(one[0], one[0]), folded(asked.text)
        )
    return asked._replace(clauses=tuple(clauses), corrected=" ".join(corrected.split()))


def resolved(
    group: Group,
    may_go_on: bool,
    analyzer: Analyzer,
    vocabulary: Vocabulary,
    corrections: dict[str, str],
) -> Group:
    """A word, and what else it may be where hardly any product has it."""
    near: list[str] = []
    ways = [way for way in group.ways if all(map(vocabulary.frequency, way.words))]
    count = max((vocabulary.frequency(way.words[0]) for way in ways), default=0)
    typed, begun = group.typed, ""
    if count >= FEW and not group.begun:
        return group._replace(ways=tuple(ways))
    if may_go_on and len(typed) >= UNFINISHED_LENGTH_MIN and vocabulary.begins(typed):
        begun = typed
    if ways:
        if (
            begun
            or group.begun
            or count > HARDLY_ANY
            or len(typed) < DOUBTED_LENGTH_MIN
            or not typed.isalpha()
        ):
            return group._replace(ways=tuple(ways), begun=begun)
        near = vocabulary.near(typed)[:1]
        if near and vocabulary.frequency(analyzer.stem(near[0])) >= FAR_MORE * count:
            corrections[typed] = near[0]
            ways.append(Way((analyzer.stem(near[0]),), RARER))
        return group._replace(ways=tuple(ways))
    if begun:
        return Group(typed, (), begun)
    near = []
    if len(typed) >= CORRECTED_LENGTH_MIN and not any(map(str.isdigit, typed)):
        near = vocabulary.near(typed)[:CORRECTIONS_MAX]
    if not near:
        parts = apart(typed, analyzer, vocabulary)
        return Group(typed, (Way(parts, SAME),) if parts else ())
    corrections[typed] = near[0]
    stems = dict.fromkeys(analyzer.stem(word) for word in near)
    counts = (CORRECTED, *[APART] * len(stems))
    return Group(typed, tuple(Way((s,), n) for s, n in zip(stems, counts, strict=False)))


def apart(typed: str, analyzer: Analyzer, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Two words that were written as one, or the letters and the digits of one."""
    pieces = BORDER.split(typed)
    if 1 < len(pieces) <= PART_LENGTH_MIN:
        stems = tuple(map(analyzer.stem, pieces))
        if all(map(vocabulary.frequency, stems)):
            return stems
    best: tuple[str, ...] = ()
    best_count = 0
    for at in range(PART_LENGTH_MIN, len(typed) - PART_LENGTH_MIN + 1):
        stems = analyzer.stem(typed[:at]), analyzer.stem(typed[at:])
        count = min(map(vocabulary.frequency, stems))
        if count > best_count:
            best, best_count = stems, count
    return best
