"""The plan made from an order book: every line in one place, every quirk where it belongs."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.samples import history
from tradewind.samples.history import GiveBack, Part, Place, Plan, SourceLine, make_plan

SKUS = frozenset(("MUG", "BAG"))
NOON = datetime(2010, 12, 1, 12, tzinfo=UTC)


def line(
    number: int,
    invoice: str = "1",
    sku: str = "MUG",
    quantity: int = 1,
    *,
    price_e4: int = 10_000,
    customer: str = "17850",
    minute: int | None = None,
) -> SourceLine:
    return SourceLine(
        line_no=number,
        invoice=invoice,
        sku=sku,
        quantity=quantity,
        at=NOON.replace(minute=number % 60 if minute is None else minute),
        unit_price_e4=price_e4,
        customer=customer,
        country="GB",
    )


def places(plan: Plan) -> list[Place]:
    return [action for action in plan.actions if isinstance(action, Place)]


def backs(plan: Plan) -> list[GiveBack]:
    return [action for action in plan.actions if isinstance(action, GiveBack)]


def parts_of(plan: Plan) -> list[Part]:
    """Every part of every line, wherever the plan put it."""
    return [part for action in plan.actions for part in action.parts] + [
        part for parts in plan.left_out.values() for part in parts
    ]


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (line(1, sku="LAMP"), history.OUTSIDE),
        (line(1, price_e4=0), history.NO_PRICE),
        (line(1, quantity=-5, price_e4=0, customer=""), history.WRITE_OFF),
        (line(1, sku="M"), "no goods: manual adjustment"),
        (line(1, sku="GIFT_0001_30"), "no goods: gift voucher"),
        (line(1, sku="POST"), history.CARRIAGE_ALONE),
        (line(1, "A563187", "B", price_e4=-110_620_600), history.BAD_DEBT),
        (line(1, "C9", quantity=-1), history.CANCELS_UNFOUND),
        (line(1, "C9", quantity=-1, customer=""), history.CANCELS_NOBODY),
        (line(1, "C9", "LAMP", quantity=-1), history.CANCELS_OUTSIDE),
        (line(1, "C9", "D", quantity=-1), history.CANCELS_NOT_GOODS),
    ],
)
def test_what_cannot_be_replayed_is_left_out_by_name(odd: SourceLine, reason: str) -> None:
    plan = make_plan([odd], skus=SKUS)
    assert not plan.actions
    assert {why: [part.line for part in parts] for why, parts in plan.left_out.items()} == {
        reason: [odd]
    }


def test_equal_lines_and_letter_cases_stay_lines_of_the_order() -> None:
    (order,) = places(make_plan([line(1), line(1), line(2)], skus=SKUS))
    assert [part.line.line_no for part in order.lines] == [1, 1, 2]
    assert history.source_line(1, row(StockCode="85123a")).sku == "85123A"


def test_an_invoice_with_two_times_was_placed_at_the_first() -> None:
    (order,) = places(make_plan([line(1, minute=7), line(2, minute=6)], skus=SKUS))
    assert order.at == NOON.replace(minute=6)


def test_carriage_is_a_fee_and_unknown_customers_are_guests_of_one_invoice() -> None:
    plan = make_plan(
        [line(1, customer=""), line(2, sku="POST", price_e4=180_000, quantity=2, customer="")],
        skus=SKUS,
    )
    (order,) = places(plan)
    assert order.customer_ref == "guest-1"
    assert [part.total_minor for part in order.fees] == [3_600]
    assert order.total_minor == 3_700


def test_lines_are_rounded_half_to_even_one_by_one() -> None:
    """0.001 x 15 is 1.5 p: two pence; 0.001 x 5 is half a penny: nothing."""
    (order,) = places(
        make_plan([line(1, price_e4=10, quantity=15), line(2, price_e4=10, quantity=5)], skus=SKUS)
    )
    assert order.total_minor == 2


def test_a_cancellation_of_everything_cancels_the_order() -> None:
    plan = make_plan(
        [
            line(1, quantity=3),
            line(2, sku="BAG"),
            line(3, "C2", quantity=-3),
            line(3, "C2", "BAG", -1),
        ],
        skus=SKUS,
    )
    (back,) = backs(plan)
    assert (back.order, back.whole, back.amount_minor) == ("1", True, 400)


def test_what_is_left_after_a_refund_is_refunded_too() -> None:
    """A second cancellation that takes the rest is no cancel: some of it went back before."""
    plan = make_plan(
        [line(1, quantity=3), line(2, "C2", quantity=-1), line(3, "C3", quantity=-2)], skus=SKUS
    )
    assert [(back.whole, back.amount_minor) for back in backs(plan)] == [(False, 100), (False, 200)]


def test_the_latest_sale_is_given_back_first_and_the_rest_of_the_line_is_named() -> None:
    plan = make_plan(
        [
            line(1, "1", quantity=2),
            line(2, "2", quantity=2),
            line(3, "C3", quantity=-5),
        ],
        skus=SKUS,
    )
    assert [(back.order, [part.units for part in back.parts]) for back in backs(plan)] == [
        ("2", [-2]),
        ("1", [-2]),
    ]
    (rest,) = plan.left_out[history.CANCELS_UNFOUND]
    assert (rest.units, rest.first) == (-1, False)


@pytest.mark.parametrize(
    "sale",
    [
        line(1, customer="12346"),
        line(1, sku="BAG"),
        line(1, price_e4=9_999),
        line(9, minute=59),
    ],
    ids=["another customer", "another sku", "cheaper than what comes back", "later"],
)
def test_a_cancellation_is_never_matched_to(sale: SourceLine) -> None:
    plan = make_plan([sale, line(2, "C2", quantity=-1, minute=30)], skus=SKUS)
    assert not backs(plan)
    assert [part.line.invoice for part in plan.left_out[history.CANCELS_UNFOUND]] == ["C2"]


LINES = st.builds(
    line,
    st.integers(1, 200),
    st.sampled_from(("1", "2", "3", "C4", "C5", "A6")),
    st.sampled_from(("MUG", "BAG", "LAMP", "POST", "M")),
    st.integers(-4, 6).filter(bool),
    price_e4=st.sampled_from((0, 10, 10_000, 25_500)),
    customer=st.sampled_from(("", "17850", "12346")),
)


@given(st.lists(LINES, max_size=40))
def test_every_line_is_in_the_plan_once_with_all_its_units(source: list[SourceLine]) -> None:
    plan = make_plan(source, skus=SKUS)
    parts = parts_of(plan)
    assert sum(part.first for part in parts) == len(source)
    for one in source:
        # Equal lines cannot be told apart: compare what all of them add up to.
        twins = sum(other == one for other in source)
        assert sum(part.units for part in parts if part.line == one) == one.quantity * twins


@given(st.lists(LINES, max_size=40))
def test_no_order_gives_back_more_than_it_sold(source: list[SourceLine]) -> None:
    plan = make_plan(source, skus=SKUS)
    for order in places(plan):
        given_back = [back for back in backs(plan) if back.order == order.invoice]
        for sku in SKUS:
            sold = sum(part.units for part in order.parts if part.line.sku == sku)
            back = sum(
                part.units for one in given_back for part in one.parts if part.line.sku == sku
            )
            assert sold + back >= 0
        assert sum(back.whole for back in given_back) <= 1
        if any(back.whole for back in given_back):
            assert len(given_back) == 1


def row(**changes: str) -> dict[str, str]:
    return {
        "InvoiceNo": "536365",
        "StockCode": "85123A",
        "Quantity": "6",
        "InvoiceDate": "2010-12-01 08:26:00",
        "UnitPrice": "2.55",
        "CustomerID": "17850",
        "Country": "United Kingdom",
    } | changes


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2010-12-01 08:26:00", datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
        ("2011-03-27 01:59:00", datetime(2011, 3, 27, 1, 59, tzinfo=UTC)),
        ("2011-03-27 02:00:00", datetime(2011, 3, 27, 1, 0, tzinfo=UTC)),
        ("2011-10-30 01:59:00", datetime(2011, 10, 30, 0, 59, tzinfo=UTC)),
        ("2011-10-30 02:00:00", datetime(2011, 10, 30, 2, 0, tzinfo=UTC)),
    ],
)
def test_times_of_the_shop_are_british(text: str, utc: datetime) -> None:
    assert history.source_line(1, row(InvoiceDate=text)).at == utc


@pytest.mark.parametrize(
    ("column", "value"),
    [("UnitPrice", "1e3"), ("UnitPrice", "NaN"), ("Quantity", "six"), ("Country", "Atlantis")],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, column: str, value: str) -> None:
    path = tmp_path / "lines.csv"
    good, bad = row(), row(**{column: value})
    path.write_text("\n".join([",".join(good), ",".join(good.values()), ",".join(bad.values())]))
    with pytest.raises(history.HistoryError, match="line 3"):
        list(history.read_lines(path))


def test_a_file_without_a_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lines.csv"
    path.write_text("InvoiceNo,StockCode\n1,2\n")
    with pytest.raises(history.HistoryError, match="no column"):
        list(history.read_lines(path))
