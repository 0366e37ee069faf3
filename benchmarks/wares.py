"""A large shop to search in, and what people type there.

The words are those of the sample shop's titles, as often as they are there, so a few stand nearly
everywhere and most hardly anywhere. The same products and queries for everybody: the seed is fixed.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote_plus

from msgspec import Struct

from tradewind.samples import files

WARES = 20_000
SEED = 20_000
TITLE_WORDS = 4
TEXT_WORDS = 12
WORD = re.compile(r"[a-z]{3,}")
# As in the sample shop, where each description begins so: these words are everywhere.
TEXT_BEGINS = "As the shop listed it -"
CATEGORIES = ("Home/Lighting", "Home/Kitchen", "Home", "Garden", "Toys", "Cards", "Bags", "Party")
# Of a hundred queries so many are one word, and so many two; the last word of the rest is
# unfinished.
ONE_WORD, TWO_WORDS = 50, 30
UNFINISHED_LETTERS = 3


class Query(Struct, frozen=True):
    """What somebody types."""

    kind: str  # one_word, two_words, unfinished
    text: str
    more: str = ""  # further parameters

    @property
    def target(self) -> str:
        """How it is asked."""
        return f"/v1/search?q={quote_plus(self.text)}{self.more}"


class Vocabulary:
    """Words with their frequencies."""

    def __init__(self) -> None:
        counted: Counter[str] = Counter()
        for line in files.product_lines():
            counted.update(WORD.findall(json.loads(line)["title"].lower()))
        self.words = sorted(counted, key=lambda word: (-counted[word], word))
        self._weights = [counted[word] for word in self.words]

    def draw(self, chance: random.Random, count: int) -> list[str]:
        """Some words, the frequent ones more often."""
        return chance.choices(self.words, self._weights, k=count)


def lines(vocabulary: Vocabulary) -> list[str]:
    """The products, as the import takes them."""
    chance = random.Random(SEED)
    found = []
    for number in range(1, WARES + 1):
        title = " ".join(vocabulary.draw(chance, TITLE_WORDS)).title()
        text = " ".join(vocabulary.draw(chance, TEXT_WORDS))
        variant = {"sku": f"W{number:05d}", "price": {"amount": "9.99", "currency": "GBP"}}
        ware = {
            "external_id": f"W{number:05d}",
            "title": title,
            "description": f"{TEXT_BEGINS} {text}.",
            "category": chance.choice(CATEGORIES),
            "variants": [variant],
        }
        found.append(json.dumps(ware))
    return found


def queries(vocabulary: Vocabulary, seed: int, count: int) -> list[Query]:
    """What so many people type. Two seeds share the frequent queries and not the rare ones."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        first, second = vocabulary.draw(chance, 2)
        of_hundred = chance.randrange(100)
        if of_hundred < ONE_WORD:
            word = chance.choice(("shop", "listed")) if of_hundred == 0 else first
            found.append(Query("one_word", word))
        elif of_hundred < ONE_WORD + TWO_WORDS:
            found.append(Query("two_words", f"{first} {second}"))
        else:
            letters = chance.randint(UNFINISHED_LETTERS, max(UNFINISHED_LETTERS, len(second) - 1))
            begun = second[:letters]
            text = begun if of_hundred % 2 else f"{first} {begun}"
            found.append(Query("unfinished", text))
    return found


def numbered(drawn: Sequence[Query]) -> tuple[list[Query], list[int]]:
    """Each query once, and the order in which they were asked by number."""
    numbers: dict[str, int] = {}
    distinct: list[Query] = []
    order = []
    for query in drawn:
        if query.text not in numbers:
            numbers[query.text] = len(distinct)
            distinct.append(query)
        order.append(numbers[query.text])
    return distinct, order
