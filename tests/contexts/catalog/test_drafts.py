"""What people send becomes a draft, or everything that is wrong with it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contexts.catalog.factories import body, draft, variant
from tradewind.contexts.catalog.commands import ProductBody
from tradewind.contexts.catalog.events import Price
from tradewind.contexts.catalog.problems import InvalidProduct
from tradewind.contexts.catalog.rules.drafts import (
    CATEGORY_DEPTH_MAX,
    CATEGORY_LENGTH_MAX,
    Draft,
    check,
)


def pointers(external_id: str, sent: ProductBody) -> list[str]:
    checked = check(external_id, sent)
    assert isinstance(checked, InvalidProduct)
    assert checked.errors and checked.errors[0].message in checked.detail
    return [error.pointer for error in checked.errors]


def test_a_small_product_is_a_draft() -> None:
    checked = draft("mug", "MUG-1", category=["Home", " Kitchen "], attributes={"b": 1, "a": "x"})
    assert checked.category == "Home/Kitchen"
    assert list(checked.attributes) == ["a", "b"]
    assert checked.variants[0].title == "Mug"
    assert checked.variants[0].prices == (Price(currency="GBP", amount_e4=127_500),)


def test_price_stands_before_the_other_currencies_and_may_be_repeated_among_them() -> None:
    gbp, eur = {"amount": "1", "currency": "GBP"}, {"amount": "1.2", "currency": "EUR"}
    sent = body(variants=[{"sku": "A", "price": gbp, "prices": [eur, gbp]}])
    checked = check("a", sent)
    assert isinstance(checked, Draft)
    assert [price.currency for price in checked.variants[0].prices] == ["GBP", "EUR"]


@pytest.mark.parametrize(
    ("external_id", "fields", "pointer"),
    [
        ("", {}, "/external_id"),
        (" a", {}, "/external_id"),
        ("a" * 101, {}, "/external_id"),
        ("a\nb", {}, "/external_id"),
        ("..", {}, "/external_id"),
        ("sku:a", {}, "/external_id"),
        ("a", {"external_id": "b"}, "/external_id"),
        ("a", {"title": "   "}, "/title"),
        ("a", {"title": "a\nb"}, "/title"),
        ("a", {"title": "a\x00b"}, "/title"),
        ("a", {"description": "a\x00b"}, "/description"),
        ("a", {"category": "/".join("a" * (CATEGORY_DEPTH_MAX + 1))}, "/category"),
        ("a", {"category": "a" * 101}, "/category"),
        ("a", {"category": ["a/b"]}, "/category"),
        ("a", {"category": "a\x1fb"}, "/category"),
        ("a", {"attributes": {"k~/": "\x07"}}, "/attributes/k~0~1"),
        ("a", {"attributes": {"\x07": "v"}}, "/attributes"),
        ("a", {"variants": [variant("a"), variant("A")]}, "/variants/1/sku"),
        ("a", {"variants": [variant("A\n")]}, "/variants/0/sku"),
        ("a", {"variants": [variant(title="\x07")]}, "/variants/0/title"),
        ("a", {"variants": [{"sku": "A"}]}, "/variants/0/price"),
        ("a", {"variants": [variant(amount="-1")]}, "/variants/0/price/amount"),
        ("a", {"variants": [variant(amount="1e3")]}, "/variants/0/price/amount"),
        ("a", {"variants": [variant(amount="0.00001")]}, "/variants/0/price/amount"),
        ("a", {"variants": [variant(amount="1000000000.01")]}, "/variants/0/price/amount"),
        (
            "a",
            {"variants": [variant(prices=[{"amount": "2", "currency": "GBP"}])]},
            "/variants/0/prices/0",
        ),
    ],
)
def test_what_is_wrong_is_named(external_id: str, fields: dict[str, Any], pointer: str) -> None:
    assert pointers(external_id, body(**fields)) == [pointer]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    sent = body(title=" ", variants=[variant(amount="x"), variant("B", amount="-1")])
    told = pointers("a", sent)
    assert told == ["/title", "/variants/0/price/amount", "/variants/1/price/amount"]


@given(
    external_id=st.text(max_size=110),
    title=st.text(min_size=1, max_size=300),
    description=st.text(max_size=200),
    category=st.none() | st.text(max_size=500) | st.lists(st.text(max_size=100), max_size=8),
    attributes=st.dictionaries(
        st.text(min_size=1, max_size=20), st.text(max_size=20) | st.integers(-9, 9) | st.booleans()
    ),
    amount=st.text(max_size=20) | st.decimals(0, 10, places=4).map(str),
)
def test_any_text_is_a_draft_or_a_problem_with_places(
    external_id: str,
    title: str,
    description: str,
    category: str | list[str] | None,
    attributes: dict[str, Any],
    amount: str,
) -> None:
    """Nothing raises, and what is taken can be stored: no NUL, nothing past its limit."""
    sent = ProductBody(
        title=title,
        variants=body(variants=[variant(amount="1")]).variants,
        description=description,
        category=category,
        attributes=attributes,
    )
    checked = check(external_id, sent)
    if isinstance(checked, InvalidProduct):
        assert checked.errors
        return
    texts = [checked.external_id, checked.title, checked.description, checked.category or ""]
    texts += [str(value) for pair in checked.attributes.items() for value in pair]
    assert not any("\x00" in text for text in texts)
    assert len(checked.category or "") <= CATEGORY_LENGTH_MAX
    assert checked.external_id == checked.external_id.strip() != ""
