"""Products and queries that people rated, and what a ranking of them is worth.

The data is the folder product-search of TRADEWIND_DATA (Chorus, o19s; products of Open Icecat): its
README says where it comes from. The measure is nDCG@10 as it is defined there.
"""

import csv
import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import log, log2
from pathlib import Path
from statistics import mean
from typing import Any

from msgspec import Struct

FOLDER = "product-search"
SHOWN = 10
ATTRIBUTES_MAX = 97  # a product takes a hundred
TEXT_MAX = 1_000
WORD = re.compile(r"[a-z0-9]+")
TAG = re.compile(r"<[^>]*>")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+")  # an import refuses them


class Score(Struct, frozen=True):
    """What a ranking is worth: as it is, without what nobody rated, and how much was rated."""

    all: float
    rated_only: float
    rated_share: float


def read_products(folder: Path) -> Iterator[dict[str, Any]]:
    """The products as they were published."""
    with gzip.open(folder / FOLDER / "products.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def read_ratings(folder: Path) -> dict[str, dict[str, int]]:
    """Ratings 0 to 3 by query and product, of queries for which anything is good."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    with (folder / FOLDER / "ratings.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["query"]][row["product_id"]] = int(row["rating"])
    return {query: ratings for query, ratings in found.items() if max(ratings.values()) > 0}


def as_imported(product: Mapping[str, Any]) -> dict[str, Any]:
    """A product as a shop would import it."""
    attributes: dict[str, Any] = {}
    for name, value in list(product["attributes"].items())[:ATTRIBUTES_MAX]:
        attributes[name[:100]] = plain(value) if isinstance(value, str) else value
    if product.get("supplier"):
        attributes["brand"] = product["supplier"]
    if product.get("ean"):
        attributes["ean"] = " ".join(product["ean"])[:TEXT_MAX]
    price = {"amount": f"{(product.get('price') or 0) / 100:.2f}", "currency": "EUR"}
    return {
        "external_id": product["id"],
        "title": plain(product["title"]),
        "description": plain(product.get("short_description") or ""),
        "attributes": attributes,
        "variants": [{"sku": product["id"], "price": price}],
    }


def plain(text: str) -> str:
    """A text without what an import refuses."""
    return CONTROL.sub(" ", text)[:TEXT_MAX]


def score_of(ranking: Sequence[str], ratings: Mapping[str, int]) -> Score:
    """What a ranking is worth for one query."""
    ideal = gain(sorted(ratings.values(), reverse=True))
    return Score(
        all=gain([ratings.get(one, 0) for one in ranking]) / ideal,
        rated_only=gain([ratings[one] for one in ranking if one in ratings]) / ideal,
        rated_share=sum(one in ratings for one in ranking[:SHOWN]) / SHOWN,
    )


def gain(ratings: Sequence[int]) -> float:
    """DCG@10: 2^rating - 1, through the logarithm of the place."""
    gains = ((2.0**rating - 1) / log2(place + 2) for place, rating in enumerate(ratings[:SHOWN]))
    return float(sum(gains))


def average(scores: Sequence[Score]) -> Score:
    """The mean of each."""
    return Score(
        mean(score.all for score in scores),
        mean(score.rated_only for score in scores),
        mean(score.rated_share for score in scores),
    )


class PlainRanking:
    """BM25 as in a textbook: titles twice, supplier, short description; a plural s is cut."""

    K1, B = 1.2, 0.75

    def __init__(self, products: Sequence[Mapping[str, Any]]) -> None:
        self.ids = [product["id"] for product in products]
        self._lengths: list[int] = []
        self._postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, product in enumerate(products):
            text = TAG.sub(" ", product.get("short_description") or "")
            words = self.words(
                f"{product['title']} {product['title']} {product['supplier']} {text}"
            )
            self._lengths.append(len(words))
            for word, count in Counter(words).items():
                self._postings[word].append((number, count))
        self._length = mean(self._lengths)

    @staticmethod
    def words(text: str) -> list[str]:
        """The words of a text."""
        words = WORD.findall(text.lower())
        return [word[:-1] if word.endswith("s") and len(word) > 3 else word for word in words]

    def ranking(self, query: str) -> list[str]:
        """Everything that has a word of the query, best first."""
        scores: dict[int, float] = defaultdict(float)
        for word in dict.fromkeys(self.words(query)):
            found = self._postings.get(word, ())
            rarity = log(1 + (len(self.ids) - len(found) + 0.5) / (len(found) + 0.5))
            for number, count in found:
                long = 1 - self.B + self.B * self._lengths[number] / self._length
                scores[number] += rarity * count * (self.K1 + 1) / (count + self.K1 * long)
        return [self.ids[n] for n in sorted(scores, key=lambda n: (-scores[n], n))]
