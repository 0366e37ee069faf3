"""The index finds what a plain loop over all products finds, whatever was put in and taken out."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.contexts.catalog.rules import index as module
from tradewind.contexts.catalog.rules import wording
from tradewind.contexts.catalog.rules.index import SKU_LEVEL, Hit, Index, Wording, levels
from tradewind.contexts.catalog.rules.wording import Node, NotPlain, Tree, Word

ALL = 10**9, "~"
WORDS = ("a", "ab", "abc", "b", "bc", "c")
CATEGORIES = ("Home", "Home/Light", "Garden")

words_with_weights = st.lists(
    st.tuples(st.sampled_from(WORDS), st.text("ABCD", min_size=1, max_size=3)),
    unique_by=lambda pair: pair[0],
    max_size=5,
)


@st.composite
def wordings(draw: Callable[[Any], Any]) -> Wording:
    category = draw(st.sampled_from((None, *CATEGORIES)))
    product_id = f"prd_{draw(st.integers(0, 30)):03}"
    return Wording(
        product_id=product_id,
        archived=draw(st.integers(0, 4)) == 0,
        category=category,
        categories=[c for c in CATEGORIES if category and f"{category}/".startswith(f"{c}/")],
        sku_keys=[f"SKU-{product_id}"],
        names=["colour"],
        values=[draw(st.sampled_from(("red", "blue", None)))],
        words=[f"{word} {letters}" for word, letters in draw(words_with_weights)],
    )


trees = st.recursive(
    st.builds(Word, st.sampled_from(WORDS), st.booleans()),
    lambda inner: st.one_of(
        st.builds(lambda left: Node("!", left, None), inner),
        st.builds(Node, st.sampled_from("&|"), inner, inner),
    ),
    max_leaves=5,
)


def weight(tree: Tree, words: dict[str, int]) -> int | None:
    """What a search counts in a product with these words; None where it does not find it."""
    if isinstance(tree, Word):
        begun = [w for text, w in words.items() if text.startswith(tree.text)]
        return max(begun, default=None) if tree.begun else words.get(tree.text)
    left = weight(tree.left, words)
    if tree.operator == "!":
        return 0 if left is None else None
    assert tree.right is not None
    right = weight(tree.right, words)
    if tree.operator == "&":
        return None if left is None or right is None else left + right
    return None if left is None and right is None else (left or 0) + (right or 0)


def expected(shelf: dict[str, Wording], tree: Tree, sku: str, category: str) -> list[Hit]:
    """All hits in their order, by a plain loop."""
    hits = []
    for product_id, one in shelf.items():
        found = weight(tree, dict(levels(one.words)))
        if sku in one.sku_keys:
            found = (found or 0) + SKU_LEVEL
        if found is not None and (not category or category in one.categories):
            hits.append(Hit(product_id, found))
    return sorted(hits, key=lambda hit: (hit.level, hit.product_id), reverse=True)


@given(st.lists(wordings(), max_size=40), st.integers(0, 3), st.data())
def test_it_finds_what_a_loop_finds(changes: list[Wording], few: int, data: st.DataObject) -> None:
    """After any changes, in any order of ids; words of few and of many products alike."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FEW_MAX", few)
        index = Index()
        shelf: dict[str, Wording] = {}
        for change in changes:
            index.put(change)
            shelf.pop(change.product_id, None)
            if not change.archived:
                shelf[change.product_id] = change
        tree = data.draw(trees)
        sku = data.draw(st.sampled_from(("", "SKU-prd_003")))
        category = data.draw(st.sampled_from(("", *CATEGORIES)))
        found = index.find(tree, sku, category)
        wanted = expected(shelf, tree, sku, category)
        assert len(index) == len(shelf)
        assert index.page(found, before=ALL, count_max=100) == wanted
        paged: list[Hit] = []
        place = ALL
        while page := index.page(found, before=place, count_max=3):
            paged += page
            place = page[-1].level, page[-1].product_id
        assert paged == wanted
        for name in ("colour", "category", "none"):
            values = [
                one.category
                if name == "category"
                else dict(zip(one.names, one.values, strict=True)).get(name)
                for one in (shelf[hit.product_id] for hit in wanted)
            ]
            assert dict(index.count(found, name, 50)) == {
                value: values.count(value) for value in values if value is not None
            }


@given(st.lists(wordings(), max_size=40), trees, st.integers(0, 3))
def test_filled_at_once_it_is_the_same(products: list[Wording], tree: Tree, few: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FEW_MAX", few)
        last = {one.product_id: one for one in products if not one.archived}
        slow, quick = Index(), Index()
        for product_id in sorted(last):
            slow.put(last[product_id])
        quick.fill(last[product_id] for product_id in sorted(last))
        for _ in quick.settle():
            pass
        for index in (slow, quick):
            assert index.find(tree, "", "") == slow.find(tree, "", "")
        for product_id in list(last)[::2]:
            gone = Wording(product_id, True, None, (), (), (), (), ())
            slow.put(gone)
            quick.put(gone)
        assert quick.find(tree, "", "") == slow.find(tree, "", "")
        assert quick.shelf("") == slow.shelf("")


def test_so_many_late_ones_that_it_wants_to_be_made_anew() -> None:
    index = Index()
    for number in reversed(range(module.LATE_MAX + 2)):
        index.put(Wording(f"prd_{number:05}", False, None, (), (), (), (), ("a A",)))
    assert index.wants_order


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", None),
        ("'lamp'", Word("lamp", False)),
        ("'shad':*", Word("shad", True)),
        ("'it''s' & 'a\\\\b'", Node("&", Word("it's", False), Word("a\\b", False))),
        (
            "'a' & 'b' | !'c'",
            Node(
                "|",
                Node("&", Word("a", False), Word("b", False)),
                Node("!", Word("c", False), None),
            ),
        ),
        (
            "'a' & ( 'b' | 'c' )",
            Node("&", Word("a", False), Node("|", Word("b", False), Word("c", False))),
        ),
    ],
)
def test_a_tsquery_becomes_a_tree(text: str, tree: Tree | None) -> None:
    assert wording.read(text) == tree


@pytest.mark.parametrize("text", ["'a' <-> 'b'", "'a' <3> 'b'", "'a' &", "( 'a'", "'a' 'b'", "a"])
def test_what_is_more_than_words_is_refused(text: str) -> None:
    """The order of words, and what we do not understand: the database looks for it."""
    with pytest.raises(NotPlain):
        wording.read(text)


def test_only_plain_words_are_taken_one_by_one() -> None:
    assert wording.plain_words("Desk lamps") == ["desk", "lamps"]
    for text in ("a or b", "OR", '"a b"', "a -b", "a1", "t-light", "größe", "", "a\x00b", "a'b"):
        assert wording.plain_words(text) is None
