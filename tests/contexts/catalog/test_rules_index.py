"""What the index finds, counts and orders, whatever was put in, taken out and packed."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.contexts.catalog.rules import asking, entries, results
from tradewind.contexts.catalog.rules.asking import Synonyms, synonym_rule
from tradewind.contexts.catalog.rules.entries import Told, Ware, WareVariant
from tradewind.contexts.catalog.rules.index import Index
from tradewind.contexts.catalog.rules.results import SORTS, Filters, Narrowed
from tradewind.contexts.catalog.rules.words import Analyzer

READ = Analyzer()
WORDS = ("red", "lamp", "lamps", "desk", "head", "phones", "headphones", "dv6-6b", "17inch", "the")
CATEGORIES = (None, "Home", "Home/Light", "Garden")
FACETS = ("category", "categories", "brand", "availability", "price", "colour", "none")
QUERIES = (
    *WORDS,
    *("red lamp", "lmap", "head phones", "dv6 6b", "la", "red or desk", "lamp -red", "-red"),
    *("SKU-3", "sku3", "red desk lamp head", "nothing", "", "17 inch", "the red"),
)


@st.composite
def wares(draw: Callable[[Any], Any]) -> Ware:
    number = draw(st.integers(0, 20))
    colour = draw(st.sampled_from(("red", "blue", None)))
    return Ware(
        id=f"prd_{number:03}",
        external_id=f"ext-{number}",
        title=" ".join(draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4))),
        description=" ".join(draw(st.lists(st.sampled_from(WORDS), max_size=4))),
        category=draw(st.sampled_from(CATEGORIES)),
        attributes={"colour": colour, "brand": draw(st.sampled_from(("Acme", "Bolt", None)))},
        variants=(
            WareVariant(
                sku=f"SKU-{number}",
                price=Told(str(draw(st.sampled_from((1, 5, 20, 300)))), "GBP"),
                availability=draw(st.sampled_from(entries.AVAILABILITIES)),
            ),
        ),
    )


def made(shelf: list[Ware]) -> Index:
    """An index of these products, made at once."""
    index = Index(READ)
    for ware in sorted(shelf, key=lambda ware: ware.id):
        index.put(entries.entry_of(ware, READ))
    return index.packed()


NO_FILTERS, NO_SYNONYMS = Filters(), Synonyms()


def ask(index: Index, text: str, filters: Filters = NO_FILTERS, sort: str = "relevance") -> Any:
    """Every hit in order, and all counts."""
    asked = index.understood(asking.read(text, READ, Synonyms()))
    found = index.everything() if asked.is_empty and not asked.key else index.find(asked)
    narrowed = Narrowed(index, found, filters)
    hits = results.page(narrowed, sort, before=None, count_max=1_000)
    return hits, {name: narrowed.count(name, 50) for name in FACETS}


changes = st.lists(st.tuples(wares(), st.integers(0, 4)), max_size=25)


def changed(steps: list[tuple[Ware, int]]) -> tuple[Index, list[Ware]]:
    """An index that came to be step by step: put, taken away, packed; and what is there now."""
    index, shelf = Index(READ), dict[str, Ware]()
    for ware, what in steps:
        if what == 0:
            index.remove(ware.id)
            shelf.pop(ware.id, None)
            continue
        index.put(entries.entry_of(ware, READ))
        shelf[ware.id] = ware
        if what == 1:
            index = index.packed()
    return index, list(shelf.values())


@settings(deadline=None)
@given(changes, st.sampled_from(QUERIES))
def test_an_index_that_follows_answers_as_one_made_anew(
    steps: list[tuple[Ware, int]], text: str
) -> None:
    index, shelf = changed(steps)
    anew = made(shelf)
    assert len(index) == len(anew) == len(shelf)
    assert ask(index, text) == ask(anew, text)
    assert ask(index.packed(), text) == ask(anew, text)


@settings(deadline=None)
@given(changes, st.sampled_from(QUERIES), st.sampled_from(SORTS), st.integers(1, 4))
def test_pages_give_everything_once_and_in_order(
    steps: list[tuple[Ware, int]], text: str, sort: str, size: int
) -> None:
    index, _ = changed(steps)
    asked = index.understood(asking.read(text, READ, Synonyms()))
    narrowed = Narrowed(index, index.find(asked), Filters())
    whole = results.page(narrowed, sort, before=None, count_max=1_000)
    paged: list[Any] = []
    while page := results.page(
        narrowed,
        sort,
        before=(paged[-1].key, paged[-1].product_id) if paged else None,
        count_max=size,
    ):
        paged += page
    assert paged == whole
    assert len({hit.product_id for hit in whole}) == len(whole)


FILTERS = {
    "colour": ("red", "blue"),
    "brand": ("Acme",),
    "availability": ("in_stock", "low"),
    "category": ("Home",),
    "price": ("2..20", "300.."),
}


def passes(ware: Ware, name: str, values: tuple[str, ...]) -> bool:
    """Whether a filter leaves a product, by a plain look."""
    if name == "category":
        return any(f"{ware.category}/".startswith(f"{value}/") for value in values)
    if name == "availability":
        return ware.variants[0].availability in values
    if name == "price":
        assert ware.variants[0].price is not None
        price = float(ware.variants[0].price.amount)
        return any(
            low <= price <= high for low, high in filter(None, map(results.range_of, values))
        )
    return ware.attributes[name] in values


@settings(deadline=None)
@given(changes, st.sets(st.sampled_from(sorted(FILTERS))), st.sampled_from(("", "red", "lamp")))
def test_filters_leave_what_a_loop_leaves_and_facets_count_without_their_own(
    steps: list[tuple[Ware, int]], names: set[str], text: str
) -> None:
    index, shelf = changed(steps)
    everything = {hit.product_id for hit in ask(index, text)[0]}
    chosen = {name: FILTERS[name] for name in names}
    hits, counts = ask(index, text, Filters(values=chosen))
    there = [ware for ware in shelf if ware.id in everything]
    left = [w for w in there if all(passes(w, name, values) for name, values in chosen.items())]
    assert {hit.product_id for hit in hits} == {ware.id for ware in left}
    for facet in ("colour", "brand", "availability"):
        others = {name: values for name, values in chosen.items() if name != facet}
        kept = [w for w in there if all(passes(w, name, one) for name, one in others.items())]
        values = [
            ware.variants[0].availability if facet == "availability" else ware.attributes[facet]
            for ware in kept
        ]
        assert dict(counts[facet]) == {v: values.count(v) for v in values if v is not None}


def shop(*titles: str, **fields: Any) -> Index:
    return made(
        [
            Ware(id=f"prd_{number:03}", title=title, external_id=f"e{number}", **fields)
            for number, title in enumerate(titles)
        ]
    )


def titles(index: Index, text: str, synonyms: Synonyms = NO_SYNONYMS) -> list[int]:
    asked = index.understood(asking.read(text, READ, synonyms))
    found = index.find(asked)
    hits = results.page(Narrowed(index, found, Filters()), "relevance", before=None, count_max=99)
    return [int(hit.product_id[4:]) for hit in hits]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("headphones", [1, 0]),
        ("head phones", [1, 0]),
        ("headphnes", [1, 0]),
        ("eadphones", [1, 0]),
        ("haedphones", [1, 0]),
        ("hea", [1, 0]),
        ('17" lamp', [2]),
        ("17inch lamp", [2]),
        ("dv6 6b", [3]),
        ("dv66b", [3]),
        ("DV6-6B", [3]),
        ("cafe", [4]),
        ("iphone7", [5]),
        ("bagstrap", [6]),
        ("e6", [6]),
        ("xyzxyz", []),
    ],
)
def test_what_people_type(text: str, found: list[int]) -> None:
    index = shop(
        *("Black headphones with a long cable", "Headphones", "Desk lamp 17 inch", "HP dv6-6b"),
        *("Café", "iPhone 7", "Strap of a bag"),
    )
    assert titles(index, text) == found


def test_a_word_that_was_typed_right_is_left_alone() -> None:
    """However near it is to others."""
    index = shop(*["Lamp"] * 30, *["Ramp"] * 3)
    assert len(titles(index, "ramp")) == 3
    assert index.understood(asking.read("ramp", READ, Synonyms())).corrected == ""
    asked = index.understood(asking.read("blue lamq", READ, Synonyms()))
    assert asked.corrected == "blue lamp"


def test_titles_stand_over_texts_and_short_ones_over_long_ones() -> None:
    index = made(
        [
            Ware(id="prd_0", title="Shade", description="Fits every lamp."),
            Ware(id="prd_1", title="Lamp"),
            Ware(id="prd_2", title="Lamp with a very long title of many more words than that"),
        ]
    )
    assert titles(index, "lamp")[0:2] == [1, 2]


def test_what_hardly_any_product_has_whole_is_followed_by_what_has_most_of_it() -> None:
    index = shop("Red desk lamp", "Desk lamp", "Red chair", *["Red box"] * 20)
    assert titles(index, "red desk lamp")[:2] == [0, 1]
    strict = index.find(asking.read("red desk lamp", READ, Synonyms()), strict=True)
    assert len(strict.places) == 1


@pytest.mark.parametrize(
    ("line", "text", "found"),
    [
        ("tv => television", "tv", [1, 0]),
        ("tv => television", "television", [1]),
        ("tv, television", "television", [1, 0]),
        ("tv => flat screen", "tv", [2, 0]),
        ("flat screen => tv", "big flat screens", [2, 0]),
        ("TV  =>  Télévision", "tv", [1, 0]),
    ],
)
def test_synonyms(line: str, text: str, found: list[int]) -> None:
    rule = synonym_rule(line)
    assert not isinstance(rule, str)
    index = shop("TV big", "Television", "Screen, flat and big")
    assert sorted(titles(index, text, Synonyms([rule]))) == sorted(found)


@pytest.mark.parametrize("line", ["", "tv", "=> tv", "tv =>", "a => b => c", ",,", "- => -"])
def test_a_line_that_is_no_synonym_is_refused(line: str) -> None:
    assert isinstance(synonym_rule(line), str)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_nothing_that_is_typed_is_wrong(text: str) -> None:
    titles(SMALL_SHOP, text)


SMALL_SHOP = shop("Red lamp", "Desk lamp", "Blue box")


def test_ranges_of_prices_are_round_and_hold_everything() -> None:
    index = made(
        [
            Ware(
                id=f"prd_{n:03}", title="x", variants=(WareVariant("s", price=Told(str(n), "EUR")),)
            )
            for n in range(1, 101)
        ]
    )
    counts = ask(index, "x")[1]["price"]
    assert counts == [("..20", 20), ("20..50", 31), ("50..", 51)], "a border is in both"
    for name, count in counts:
        assert len(ask(index, "x", Filters(values={"price": [name]}))[0]) == count
