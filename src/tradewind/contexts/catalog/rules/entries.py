"""What the search index keeps of a product: words with weights, keys, values, price, availability.

The weight of a word is that of BM25F, without the part that depends on other products: the fields
in which it stands add up, each divided by how long it is, and more of the same counts less and
less. It is a number from 1 to 255, so the same product weighs the same in every process, whenever
and in whatever order the index was made.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import log2
from typing import NamedTuple

import msgspec
from msgspec import Struct, structs

from tradewind.contexts.catalog.events import AttributeValue
from tradewind.contexts.catalog.rules.words import SMALL, Analyzer, key_of, plain
from tradewind.kernel.money import parse_e4


class Field(NamedTuple):
    """How a part of a product counts."""

    weight: float
    pivot: int
    is_long: bool = False


# What a field counts for, and the length at which it counts for that: a shorter one counts more, a
# longer one less. Measured by `python -m benchmarks.relevance`; see docs/concepts/search.md.
TITLE, BRAND, CATEGORY = Field(2.0, 10), Field(1.0, 1), Field(0.5, 3)
TEXT, VALUES = Field(1.0, 10, is_long=True), Field(0.15, 30, is_long=True)
LENGTH_COUNTS = 0.75
REPEATS_COUNT = 1.0  # k1 of BM25
WEIGHT_MAX = 255
# A product weighs a little more than one that costs half of it: of all that has the word, what is
# meant is rather the thing than what belongs to it.
DEARER = 32
PRICE_POINTS = 8  # steps of a doubling
VALUES_LENGTH_MAX = 20_000
TITLE_BYTES = 48
KEYS_MAX = 600
# Attributes whose values name exactly this product, as a word of their name.
KEY_NAMES = frozenset(("ean", "eans", "gtin", "upc", "isbn", "mpn", "barcode", "oem", "asin"))
BRAND_NAMES = ("brand", "manufacturer", "supplier", "vendor", "marke", "hersteller", "marque")
AVAILABILITIES = ("in_stock", "low", "out_of_stock")  # the best first
NOTHING: Mapping[str, AttributeValue] = {}
NO_OPTIONS: Mapping[str, str] = {}
NO_WORDS: frozenset[str] = frozenset()


class Told(Struct, frozen=True):
    """A price, as a document tells it."""

    amount: str
    currency: str


class WareVariant(Struct, frozen=True):
    """What is looked at of a variant, as it stands in a product's document."""

    sku: str
    title: str = ""
    price: Told | None = None
    prices: tuple[Told, ...] = ()
    attributes: Mapping[str, AttributeValue] = NOTHING
    options: Mapping[str, str] = NO_OPTIONS  # what it is of each option of the product
    availability: str = "out_of_stock"


class Sold(Struct, frozen=True):
    """The part of a document that is looked at."""

    variants: tuple[WareVariant, ...] = ()


class Ware(Struct, frozen=True):
    """What is looked at of a product."""

    id: str
    title: str
    external_id: str = ""
    description: str = ""
    category: str | None = None
    attributes: Mapping[str, AttributeValue] = NOTHING
    variants: tuple[WareVariant, ...] = ()
    print: int = 0  # differs where anything does


class Entry(Struct, frozen=True):
    """A product as the index keeps it."""

    product_id: str
    words: Mapping[str, int]  # stemmed, with their weights
    written: Sequence[str]  # the same as they are written
    keys: Sequence[str]  # what is exactly this product
    values: Sequence[tuple[str, str]]  # name and value of attributes
    brand: str
    category: str
    availability: int  # place in AVAILABILITIES
    prices: Mapping[str, int]  # the lowest of each currency, in ten-thousandths
    worth: int  # the factor of its score
    title: bytes  # how it is sorted
    print: int


_variants = msgspec.json.Decoder(Sold).decode
_attributes = msgspec.json.Decoder(dict[str, AttributeValue]).decode
_encode = msgspec.json.Encoder().encode


def variants_in(document: str) -> tuple[WareVariant, ...]:
    """The variants of a product from its document; none where it is broken: it is drawn again."""
    try:
        return _variants(document).variants
    except msgspec.DecodeError:
        return ()


def attributes_in(text: str) -> dict[str, AttributeValue]:
    """The attributes of a product from their JSON."""
    return _attributes(text)


def entry_of(ware: Ware, analyzer: Analyzer, brands: Sequence[str] = BRAND_NAMES) -> Entry:
    """What the index keeps of a product."""
    bare = bare_entry(ware, brands)
    words: dict[str, float] = {}
    written: dict[str, None] = {}
    fields = (
        (TITLE, ware.title),
        (BRAND, bare.brand),
        (CATEGORY, (ware.category or "").replace("/", " ")),
        (TEXT, plain(ware.description)),
        (VALUES, " ".join(told_values(ware))[:VALUES_LENGTH_MAX]),
    )
    for field, text in fields:
        if text:
            weigh(text, field, analyzer, words, written)
    weights = {
        word: max(1, round(WEIGHT_MAX * weight / (weight + REPEATS_COUNT)))
        for word, weight in words.items()
    }
    return structs.replace(bare, words=weights, written=list(written), keys=keys_of(ware))


def bare_entry(ware: Ware, brands: Sequence[str] = BRAND_NAMES) -> Entry:
    """What a product is filtered, counted and sorted by, without its words."""
    prices = prices_of(ware)
    return Entry(
        product_id=ware.id,
        words={},
        written=(),
        keys=(),
        values=values_of(ware),
        brand=brand_of(ware.attributes, brands),
        category=ware.category or "",
        availability=availability_of(ware),
        prices=prices,
        worth=worth_of(next(iter(prices.values()), 0)),
        title=key_of_title(ware.title),
        print=ware.print,
    )


def weigh(
    text: str,
    field: Field,
    analyzer: Analyzer,
    words: dict[str, float],
    written: dict[str, None],
) -> None:
    """Add what the words of a field count; small words count in short fields only."""
    length = 0
    passed_over = SMALL if field.is_long and analyzer.language == "english" else NO_WORDS
    counted: dict[str, int] = {}
    for piece in analyzer.pieces(text):
        length += len(piece.parts)
        if piece.parts[0] in passed_over:
            continue
        for word in piece.words:
            counted[word] = counted.get(word, 0) + 1
    if field.is_long:  # a short text says no more than a title
        length = max(length, field.pivot)
    each = field.weight / (1 - LENGTH_COUNTS + LENGTH_COUNTS * length / field.pivot)
    for word, count in counted.items():
        written[word] = None
        stem = analyzer.stem(word)
        words[stem] = words.get(stem, 0.0) + each * count


def brand_of(attributes: Mapping[str, AttributeValue], brands: Sequence[str]) -> str:
    """The first of the attributes that name the brand."""
    for name in brands:
        value = attributes.get(name)
        if value is None:
            value = attributes.get(name.capitalize())
        if isinstance(value, str) and value:
            return value
    return ""


def told_values(ware: Ware) -> Iterator[str]:
    """Values of attributes and options, skus and other titles, each once."""
    seen: dict[str, None] = {}
    for variant in ware.variants:
        seen[variant.sku] = None
        if variant.title != ware.title:
            seen[variant.title] = None
    for attributes in (ware.attributes, *(variant.attributes for variant in ware.variants)):
        for value in attributes.values():
            if value is not None and not isinstance(value, bool):
                seen[shown(value)] = None
    for variant in ware.variants:
        seen.update(dict.fromkeys(variant.options.values()))
    return iter(seen)


def shown(value: AttributeValue) -> str:
    """A value as a word: a whole number without its point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def as_value(value: AttributeValue) -> str:
    """A value as it is counted: a text as it is, all else as JSON."""
    return value if isinstance(value, str) else _encode(value).decode()


def values_of(ware: Ware) -> list[tuple[str, str]]:
    """Names and values of attributes and options; a name has several where variants differ."""
    found: dict[tuple[str, str], None] = {}
    for attributes in (ware.attributes, *(variant.attributes for variant in ware.variants)):
        for name, value in attributes.items():
            if value is not None:
                found[name, as_value(value)] = None
    for variant in ware.variants:
        found.update(dict.fromkeys(variant.options.items()))
    return list(found)


def keys_of(ware: Ware) -> list[str]:
    """Skus, external id, and numbers such as EANs: whoever types one wants this product."""
    keys = [ware.external_id, *(variant.sku for variant in ware.variants)]
    for attributes in (ware.attributes, *(variant.attributes for variant in ware.variants)):
        for name, value in attributes.items():
            if value is None or isinstance(value, bool | float) or not names_key(name):
                continue
            keys += str(value).replace(",", " ").replace(";", " ").split()
    found = (key_of(key) for key in keys[:KEYS_MAX])
    return list(dict.fromkeys(key for key in found if key))


@lru_cache(maxsize=10_000)
def names_key(name: str) -> bool:
    """Whether an attribute of this name says which product it is."""
    return not KEY_NAMES.isdisjoint(name.lower().replace("-", "_").replace(" ", "_").split("_"))


def prices_of(ware: Ware) -> dict[str, int]:
    """The lowest price of each currency, the first variant's currency first."""
    lowest: dict[str, int] = {}
    for variant in ware.variants:
        for price in variant.prices or ((variant.price,) if variant.price else ()):
            amount = parse_e4(price.amount)
            if amount is not None:
                lowest[price.currency] = min(lowest.get(price.currency, amount), amount)
    return lowest


def availability_of(ware: Ware) -> int:
    """The best of its variants."""
    found = {variant.availability for variant in ware.variants}
    return next((n for n, name in enumerate(AVAILABILITIES) if name in found), 2)


def worth_of(price_e4: int) -> int:
    """By what a score is multiplied: a step for each eighth of a doubling of the price."""
    return PRICE_POINTS * DEARER + round(PRICE_POINTS * log2(max(1, price_e4)))


def key_of_title(title: str) -> bytes:
    """What a title is sorted by: without letter case and diacritics, its beginning."""
    folded = key_of_words(title).encode()[:TITLE_BYTES]
    return folded.decode(errors="ignore").encode()


def key_of_words(title: str) -> str:
    """Letters, digits and single spaces."""
    return " ".join(word for word in map(key_of, title.split()) if word)
