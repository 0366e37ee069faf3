"""Which of several offers of a sku counts: for whom, and when."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.contexts.catalog.events import GroupPrice, Price, ProductChanged, VariantChanged
from tradewind.contexts.orders.handlers.offers import offers_of
from tradewind.contexts.orders.rules import Offers
from tradewind.contexts.orders.tables import END_OF_TIME_MS, OfferRow


def offer(amount: int, **more: object) -> OfferRow:
    return OfferRow("MUG", "GBP", "Mug", "A mug", amount, **more)  # type: ignore[arg-type]


def found(*rows: OfferRow, group: str = "", now_ms: int = 1_000) -> int | None:
    chosen = Offers(rows).find("mug", "GBP", group=group, now_ms=now_ms)
    return None if chosen is None else chosen.unit_price_e4


def test_a_price_counts_from_its_first_millisecond_to_the_one_before_its_last() -> None:
    always, sale = offer(10), offer(7, from_ms=1_000, until_ms=2_000)
    for now_ms, amount in ((999, 10), (1_000, 7), (1_999, 7), (2_000, 10)):
        assert found(always, sale, now_ms=now_ms) == amount


def test_the_price_of_a_group_counts_before_a_sale_and_for_nobody_else() -> None:
    rows = offer(10), offer(5, from_ms=500), offer(8, customer_group="trade", list_id="a")
    assert found(*rows) == 5
    assert found(*rows, group="trade") == 8
    assert found(*rows, group="other") == 5


def test_of_two_lists_the_later_counts_and_then_the_lower() -> None:
    old = offer(3, customer_group="trade", list_id="a")
    new = offer(6, customer_group="trade", list_id="b", from_ms=900)
    same = offer(5, customer_group="trade", list_id="c", from_ms=900)
    assert found(old, new, same, group="trade") == 5
    assert found(old, group="trade") == 3


@given(
    st.lists(
        st.tuples(
            st.integers(1, 9),
            st.sampled_from(["", "a", "b"]),
            st.integers(0, 5),
            st.integers(1, 5),
        ),
        max_size=6,
    ),
    st.sampled_from(["", "a"]),
    st.integers(0, 10),
)
def test_what_counts_does_not_depend_on_the_order_of_the_rows(
    drawn: list[tuple[int, str, int, int]], group: str, now_ms: int
) -> None:
    rows = [
        offer(a, customer_group=g, list_id=f"l{i}", from_ms=f, until_ms=f + d)
        for i, (a, g, f, d) in enumerate(drawn)
    ]
    chosen = found(*rows, group=group, now_ms=now_ms)
    assert chosen == found(*reversed(rows), group=group, now_ms=now_ms)
    fitting = [r for r in rows if r.customer_group in ("", group)]
    counting = [r for r in fitting if r.from_ms <= now_ms < r.until_ms]
    assert (chosen is None) == (not counting)


@pytest.mark.parametrize("archived", [False, True])
def test_a_product_makes_a_row_of_each_of_its_prices(archived: bool) -> None:
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    variant = VariantChanged(
        sku="Mug",
        title="A mug",
        archived=False,
        prices=(
            Price(currency="GBP", amount_e4=10),
            Price(currency="GBP", amount_e4=7, valid_from=begins),
        ),
        group_prices=(GroupPrice(currency="GBP", amount_e4=5, list_id="l", group="trade"),),
    )
    product = ProductChanged(
        sequence=3,
        product_id="prd_1",
        external_id="mug",
        title="Mug",
        category=None,
        version=3,
        archived=archived,
        variants=(variant,),
    )
    rows = offers_of(product)
    if archived:
        assert rows == []
        return
    told = [(r["unit_price_e4"], r["customer_group"], r["from_ms"], r["until_ms"]) for r in rows]
    assert told == [
        (10, "", 0, END_OF_TIME_MS),
        (7, "", int(begins.timestamp() * 1_000), END_OF_TIME_MS),
        (5, "trade", 0, END_OF_TIME_MS),
    ]
