"""What products are counted and filtered by: attributes, as columns of values.

A name that one product in a thousand has takes as much room as those products, not as all.
"""

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from tradewind.contexts.catalog.rules.postings import NO_PLACES, STRING_BYTES, Places, joined

Codes = npt.NDArray[np.int32]
NAME_BYTES = 400


class Column(Struct, frozen=True):
    """The products that have a name, in any order, and which value: a place in `values`."""

    places: Places
    codes: Codes
    values: Sequence[str]


class Texts:
    """Texts by number, each once."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts = list(texts)
        self._numbers: dict[str, int] | None = None

    def number(self, text: str) -> int:
        """The number of a text; it gets one where it has none."""
        if self._numbers is None:
            self._numbers = {text: number for number, text in enumerate(self.texts)}
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return found

    def forget_numbers(self) -> None:
        """Find numbers anew when they are asked for: they take more than the texts."""
        self._numbers = None

    @property
    def size_bytes(self) -> int:
        """What they take, about."""
        return len(self.texts) * (STRING_BYTES + 8 + (100 if self._numbers is not None else 0))


class Attribute:
    """One name: the products and their values, packed, and those that came since."""

    __slots__ = ("codes", "places", "recent_codes", "recent_places", "texts")

    def __init__(self) -> None:
        self.places: Places = NO_PLACES
        self.codes: Codes = NO_PLACES
        self.recent_places = array("i")
        self.recent_codes = array("i")
        self.texts = Texts()

    def column(self) -> Column:
        """All of it."""
        if not self.recent_places:
            return Column(self.places, self.codes, self.texts.texts)
        return Column(
            np.concatenate((self.places, np.array(self.recent_places, np.int32))),
            np.concatenate((self.codes, np.array(self.recent_codes, np.int32))),
            self.texts.texts,
        )

    def packed(self, new_places: Places) -> "Attribute":
        """The same with each product at its new place, and only values that are there."""
        places = np.concatenate((self.places, joined([self.recent_places], np.int32)))
        codes = np.concatenate((self.codes, joined([self.recent_codes], np.int32)))
        places = new_places[places]
        kept = places >= 0
        places, codes = places[kept], codes[kept]
        used, codes = np.unique(codes, return_inverse=True)
        found = Attribute()
        order = np.argsort(places, kind="stable")
        found.places, found.codes = places[order], codes[order].astype(np.int32)
        found.texts = Texts(self.texts.texts[code] for code in used)
        return found


class Columns:
    """All names."""

    def __init__(self) -> None:
        self.names: dict[str, Attribute] = {}
        self._count = 0

    @property
    def size_bytes(self) -> int:
        """What they take, about."""
        texts = sum(attribute.texts.size_bytes for attribute in self.names.values())
        return texts + len(self.names) * NAME_BYTES + self._count * 8

    def add(self, place: int, values: Iterable[tuple[str, str]]) -> None:
        """The values of a product."""
        for name, value in values:
            attribute = self.names.get(name)
            if attribute is None:
                attribute = self.names[name] = Attribute()
            attribute.recent_places.append(place)
            attribute.recent_codes.append(attribute.texts.number(value))
            self._count += 1

    def column(self, name: str) -> Column | None:
        """A name, if any product has it."""
        attribute = self.names.get(name)
        return attribute.column() if attribute is not None else None

    def packed(self, new_places: Places) -> "Columns":
        """The same with each product at its new place."""
        found = Columns()
        for name, attribute in self.names.items():
            one = attribute.packed(new_places)
            if len(one.places):
                found.names[name] = one
                found._count += len(one.places)
        return found
