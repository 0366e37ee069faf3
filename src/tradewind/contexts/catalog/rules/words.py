"""Texts as words: one reading for what products say and for what people type.

Letter case and diacritics do not count. `dv6-6b` is its parts and the whole without the dash, so it
is found under `dv6 6b` and `dv66b`. A number and its unit are one word however they are written:
`17"`, `17-inch` and `17 inches` are all `17inch`. A decimal stays whole. Words are then stemmed.
"""

import re
import unicodedata
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

import snowballstemmer  # type: ignore[import-untyped]

NO_STEMS = "none"
LANGUAGES: tuple[str, ...] = (NO_STEMS, *sorted(snowballstemmer.algorithms()))
# What is read of one text, and of one word: longer words are numbers of something else.
TEXT_LENGTH_MAX = 20_000
WORD_LENGTH_MAX = 40
PARTS_JOINED_MAX = 5
# Pieces of text that were read, about 200 bytes each; then they are read anew.
READ_MAX = 50_000

TAG = re.compile(r"<[^<>]{0,500}>")
# Two primes, or a quotation mark, behind a digit.
INCHES = re.compile("(?<=\\d)\\s?(?:[\"\u201d]|'{2}|\u2032{2}|\u2019{2})")
PIECE = re.compile("[^\\W_]+(?:(?:[-.'\u2019]|(?<=\\d),(?=\\d))[^\\W_]+)*")
DECIMAL = re.compile(r"(\d+)[.,](\d+)([^\W\d_]*)")
MEASURE = re.compile(r"(\d+)([^\W\d_]+)")
APOSTROPHE = re.compile("['\u2019]s\\b|['\u2019]")
PARTING = re.compile(r"[-.,]")
LETTERS = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"})
# How units are written, and how they are kept. `in` is one only where it touches its number.
TOUCHING = {"in": "inch"}
UNITS = {
    **{unit: unit for unit in ("cm", "mm", "km", "m", "ft", "kg", "g", "mg", "lb", "oz", "ml")},
    **{unit: unit for unit in ("cl", "l", "kb", "mb", "gb", "tb", "hz", "khz", "mhz", "ghz")},
    **{unit: unit for unit in ("w", "kw", "wh", "v", "mah", "ah", "px", "dpi", "mp", "rpm")},
    **dict.fromkeys(("inch", "inches", "zoll"), "inch"),
    **dict.fromkeys(("feet", "foot"), "ft"),
    **dict.fromkeys(("lbs", "pound", "pounds"), "lb"),
    **dict.fromkeys(("gram", "grams"), "g"),
    **dict.fromkeys(("litre", "litres", "liter", "liters"), "l"),
    **dict.fromkeys(("watt", "watts"), "w"),
    **dict.fromkeys(("volt", "volts"), "v"),
    **dict.fromkeys(("metre", "metres", "meter", "meters"), "m"),
    **dict.fromkeys(("gigabyte", "gigabytes"), "gb"),
    **dict.fromkeys(("terabyte", "terabytes"), "tb"),
    **dict.fromkeys(("megapixel", "megapixels"), "mp"),
}
# Words that say nothing about a product, where others stand beside them.
SMALL = frozenset(
    (
        *(
            "a",
            "an",
            "and",
            "are",
            "as",
            "at",
            "be",
            "but",
            "by",
            "for",
            "from",
            "has",
            "have",
            "i",
            "in",
        ),
        *(
            "into",
            "is",
            "it",
            "its",
            "my",
            "no",
            "not",
            "of",
            "on",
            "or",
            "our",
            "that",
            "the",
            "their",
        ),
        *("then", "there", "these", "they", "this", "to", "was", "we", "what", "which", "will"),
        *("with", "you", "your"),
    )
)


class Piece(NamedTuple):
    """What stands between spaces: its parts, and all of them together where there are several.

    `beside` are further words it is found by: the number and the unit of a measure.
    """

    parts: tuple[str, ...]
    joined: str
    beside: tuple[str, ...]
    words: tuple[str, ...]  # all of it
    is_number: bool


def made(parts: tuple[str, ...], joined: str = "", beside: tuple[str, ...] = ()) -> Piece:
    """A piece of these parts."""
    words = (*parts, *((joined,) if joined else ()), *beside)
    number = len(words) == 1 and parts[0].replace(".", "", 1).isdecimal()
    return Piece(parts, joined, beside, words, number)


class Analyzer:
    """Reads texts in one language. Remembers what it has read; safe to share."""

    def __init__(self, language: str = "english") -> None:
        self.language = language
        self._stemmer = None if language == NO_STEMS else snowballstemmer.stemmer(language)
        self._stems: dict[str, str] = {}
        self._pieces: dict[str, Piece] = {}

    def forget(self) -> None:
        """Give back the memory of what was read."""
        self._stems, self._pieces = {}, {}

    def stem(self, word: str) -> str:
        """What a word is kept as: words with digits and short ones as they are."""
        known = self._stems.get(word)
        if known is None:
            known = word
            if self._stemmer is not None and len(word) > 2 and word.isalpha():
                known = self._stemmer.stemWord(word) or word
            if len(self._stems) >= READ_MAX:
                self._stems.clear()
            self._stems[word] = known
        return known

    def pieces(self, text: str) -> Iterator[Piece]:
        """The pieces of a text. A number and the unit behind it are one."""
        number: Piece | None = None
        for found in PIECE.findall(folded(text[:TEXT_LENGTH_MAX])):
            piece = self._pieces.get(found)
            if piece is None:
                if len(self._pieces) >= READ_MAX:
                    self._pieces.clear()
                piece = self._pieces[found] = piece_of(found)
            if number is not None:
                unit = UNITS.get(found)
                if unit is not None:
                    yield made((number.parts[0] + unit,), "", (number.parts[0], found))
                    number = None
                    continue
                yield number
                number = None
            if piece.is_number:
                number = piece
            else:
                yield piece
        if number is not None:
            yield number

    def words(self, text: str) -> list[str]:
        """Every word that a text is found by, as it is written."""
        return [word for piece in self.pieces(text) for word in piece.words]


def piece_of(found: str) -> Piece:
    """A piece of folded text, read."""
    decimal = DECIMAL.fullmatch(found)
    if decimal is not None:
        number, unit = f"{decimal[1]}.{decimal[2]}"[:WORD_LENGTH_MAX], decimal[3]
        return measure(number, unit) or made((number, unit) if unit else (number,))
    found = APOSTROPHE.sub("", found) or found
    parts = [part[:WORD_LENGTH_MAX] for part in PARTING.split(found) if part]
    if len(parts) == 1:
        whole = MEASURE.fullmatch(parts[0])
        return (whole and measure(whole[1], whole[2])) or made((parts[0],))
    if len(parts) == 2 and parts[0].isdecimal():
        both = measure(parts[0], parts[1])
        if both is not None:
            return both
    joined = "".join(parts) if len(parts) <= PARTS_JOINED_MAX else ""
    return made(tuple(parts), joined if len(joined) <= WORD_LENGTH_MAX else "")


def measure(number: str, unit: str) -> Piece | None:
    """A number with its unit as one word; None where it is no unit."""
    kept = UNITS.get(unit) or TOUCHING.get(unit)
    return made((number + kept,), "", (number, kept)) if kept else None


def folded(text: str) -> str:
    """Without letter case, diacritics and marks of inches."""
    text = INCHES.sub("inch ", text.casefold()) if not text.isascii() or '"' in text else text
    text = text.casefold()
    if text.isascii():
        return INCHES.sub("inch ", text) if "''" in text else text
    text = unicodedata.normalize("NFKD", text).translate(LETTERS)
    text = "".join([letter for letter in text if not unicodedata.combining(letter)])
    return INCHES.sub("inch ", text)


def plain(text: str) -> str:
    """A text without the tags of HTML."""
    if "<" in text:
        text = TAG.sub(" ", text)
    return unescape(text) if "&" in text else text


def key_of(text: str) -> str:
    """How numbers of products are compared: letters and digits only."""
    return "".join([letter for letter in folded(text) if letter.isalnum()])
