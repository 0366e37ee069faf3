"""The plan made from an order book: every line in one place, every quirk where it belongs."""

from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples.book import BOOK, HEART, LAMP, LANTERN, line
from tradewind.samples import history
from tradewind.samples.history import (
    DAYS_APART,
    Cancel,
    Credit,
    Move,
    Part,
    Place,
    Plan,
    Return,
    SourceLine,
    make_plan,
    moved,
    opening_stock,
)
from tradewind.samples.history import plan as rules
from tradewind.samples.history.source import local_month, source_line


def told(plan: Plan) -> list[str]:
    """The actions in order, by kind and name."""
    return [f"{action.kind} {action.name}" for action in plan.actions]


def parts_of(plan: Plan) -> list[Part]:
    """Every part of every line, wherever the plan put it."""
    return [part for action in plan.actions for part in action.parts] + [
        part for parts in plan.left_out.values() for part in parts
    ]


def test_a_small_book_in_the_order_of_time() -> None:
    plan = make_plan(BOOK)
    assert told(plan) == [
        "place 536365",
        "place 536366",
        "place 536367",
        "cancel 536367",
        "place 536370",
        "place 536371",
        "move 536372/10",
        "move 536373/11",
        "ship 536365",
        "ship 536366",
        "ship 536370",
        "ship 536371",
        "return C536374>536365",
        "move 536375/13",
        "return C536376>536365",
        "credit C536377",
        "credit C536378",
        "credit C536379",
        "credit A536380",
        "place A536381",
        "place 536383",
        "ship A536381",
        "ship 536383",
    ]
    assert {why: [p.line.line_no for p in parts] for why, parts in plan.left_out.items()} == {
        rules.NO_STOCK: [21]
    }
    assert plan.unknown_countries == ("Atlantis",)


def test_what_is_moved_says_which_way_and_why() -> None:
    moves = [action for action in make_plan(BOOK).actions if isinstance(action, Move)]
    assert [(m.movement, m.quantity, m.reason) for m in moves] == [
        ("found", 4, "found"),
        ("given_away", -1, "given away"),
        ("write_off", -3, "damages"),
    ]


def test_a_return_names_lines_and_money_and_comes_after_the_shipment() -> None:
    first, second = (a for a in make_plan(BOOK).actions if isinstance(a, Return))
    assert [(r.number, r.units, r.refund_minor) for r in first.lines] == [(2, 1, 255)]
    assert first.at == datetime(2010, 12, 1, 23, 59, tzinfo=UTC)
    assert [(r.number, r.units, r.refund_minor) for r in second.lines] == [(2, 4, 1_020)]
    assert (second.fees_refund_minor, second.refund_minor) == (1_800, 2_820)


def test_fees_that_come_back_alone_are_credited() -> None:
    """Without goods of the order nothing is returned; the fee may go back later all the same."""
    plan = make_plan(
        [
            line(1, "1", HEART, 2),
            line(2, "1", "POST", 1, 180_000),
            line(3, "C2", "POST", -1, 180_000, day=1),
            line(4, "C3", HEART, -2, day=2),
            line(5, "C3", "POST", -1, 180_000, day=2),
        ]
    )
    assert told(plan)[2:] == ["credit C2", "return C3>1"]
    assert plan.actions[3].fees_refund_minor == 1_800  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "more",
    [
        (line(3, "C2", HEART, -2),),  # not all of it
        (line(3, "C2", HEART, -3, 20_000),),  # not at its price
        (line(3, "C2", HEART, -3, day=1),),  # after it shipped
        (line(2, "1", "POST", 1, 180_000), line(3, "C2", HEART, -3)),  # its postage stays
    ],
    ids=["a part", "cheaper", "too late", "without postage"],
)
def test_only_a_whole_order_is_called_off(more: tuple[SourceLine, ...]) -> None:
    plan = make_plan([line(1, "1", HEART, 3), *more])
    assert told(plan) == ["place 1", "ship 1", "return C2>1"]


def test_several_cancellations_may_call_one_order_off() -> None:
    plan = make_plan([line(1, "1", HEART, 3), line(2, "C2", HEART, -1), line(3, "C3", HEART, -2)])
    assert told(plan) == ["place 1", "cancel 1"]
    assert plan.actions[1].at.minute == 3


def test_the_latest_sale_is_given_back_first_and_the_rest_is_credited() -> None:
    plan = make_plan(
        [line(1, "1", HEART, 2), line(2, "2", HEART, 2), line(3, "C3", HEART, -5, day=1)]
    )
    backs = [a for a in plan.actions if isinstance(a, Return)]
    assert [(back.order, back.lines[0].units) for back in backs] == [("2", 2), ("1", 2)]
    (rest,) = [a for a in plan.actions if isinstance(a, Credit)]
    assert [(part.units, part.first) for part in rest.parts] == [(-1, False)]


@pytest.mark.parametrize(
    "sale",
    [
        line(1, "1", HEART, 1, customer="12346"),
        line(1, "1", HEART, 1, customer=""),
        line(1, "1", LAMP, 1),
        line(1, "1", HEART, 1, 25_499),
        line(9, "1", HEART, 1),
    ],
    ids=["another customer", "a guest", "another sku", "cheaper than what comes back", "later"],
)
def test_a_cancellation_is_never_matched_to(sale: SourceLine) -> None:
    plan = make_plan([sale, line(2, "C2", HEART, -1)])
    assert sorted(told(plan)) == ["credit C2", "place 1", "ship 1"]


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (line(1, "1", LAMP, 1), rules.OUTSIDE),
        (line(1, "C1", LAMP, -1), rules.OUTSIDE),
        (line(1, "1", "POST", 2, 0), rules.NO_STOCK),
        (line(1, "1", HEART, 0), rules.NO_UNITS),
        (line(1, "1", HEART, -1, -10), rules.NO_SENSE),
        (line(1, "C1", HEART, 1), rules.CANCELS_MORE),
        (line(1, "C1", "M", -1, 0), rules.NO_AMOUNT),
    ],
)
def test_what_makes_no_sense_is_left_out_by_name(odd: SourceLine, reason: str) -> None:
    plan = make_plan([odd], skus=frozenset((HEART,)))
    assert not plan.actions
    assert {why: [part.line for part in parts] for why, parts in plan.left_out.items()} == {
        reason: [odd]
    }


def test_goods_that_come_back_for_nothing_are_found() -> None:
    (found,) = make_plan([line(1, "C1", HEART, -2, 0)]).actions
    assert isinstance(found, Move)
    assert (found.movement, found.quantity) == ("found", 2)


def test_an_invoice_with_two_times_was_placed_at_the_first() -> None:
    order, _ = make_plan([line(7, "1", HEART, 1), line(6, "1", LAMP, 1)]).actions
    assert order.at.minute == 6


def test_an_invoice_longer_than_an_order_becomes_several() -> None:
    source = [line(n, "1", HEART, 1) for n in range(1, 1_116)] + [line(0, "1", "POST", 1)]
    first, second = (a for a in make_plan(source).actions if isinstance(a, Place))
    assert (first.name, len(first.lines), len(first.fees)) == ("1", 1_000, 1)
    assert (second.name, len(second.lines), len(second.fees)) == ("1/2", 115, 0)


def test_lines_are_rounded_half_to_even_one_by_one() -> None:
    """0.001 x 15 is 1.5 p: two pence; 0.001 x 5 is half a penny: nothing."""
    order, _ = make_plan([line(1, "1", HEART, 15, 10), line(2, "1", LAMP, 5, 10)]).actions
    assert isinstance(order, Place)
    assert order.total_minor == 2


def test_no_refund_exceeds_what_was_paid_however_it_rounds() -> None:
    """Three units at 0.335 cost 1.00; given back one by one they would be 0.34 each."""
    source = [line(1, "1", HEART, 3, 3_350)]
    source += [line(n, f"C{n}", HEART, -1, 3_350, day=n) for n in (2, 3, 4)]
    backs = [a.refund_minor for a in make_plan(source).actions if isinstance(a, Return)]
    assert backs == [34, 34, 32]


CODES = (HEART, HEART.lower(), LANTERN, LAMP, "POST", "M", "NEW CODE")
LINES = st.builds(
    line,
    st.integers(1, 300),
    st.sampled_from(("1", "2", "3", "C4", "C5", "A6", "X7")),
    st.sampled_from(CODES),
    st.integers(-4, 6),
    st.sampled_from((-10_000, 0, 10, 3_350, 10_000, 25_500)),
    customer=st.sampled_from(("", "17850", "12346")),
    day=st.integers(0, 5),
)
BOOKS = st.lists(LINES, max_size=40, unique_by=lambda one: one.line_no)


@given(BOOKS)
def test_every_line_is_in_the_plan_once_with_all_its_units(source: list[SourceLine]) -> None:
    parts = parts_of(make_plan(source))
    assert sum(part.first for part in parts) == len(source)
    for one in source:
        # Equal lines cannot be told apart: compare what all of them add up to.
        twins = sum(other == one for other in source)
        assert sum(part.units for part in parts if part.line == one) == one.quantity * twins


@given(BOOKS)
def test_no_order_gives_back_more_than_it_sold(source: list[SourceLine]) -> None:
    plan = make_plan(source)
    for order in (a for a in plan.actions if isinstance(a, Place)):
        back: Counter[int] = Counter()
        refund_minor = 0
        whole = False
        for action in (a for a in plan.actions if a.order == order.name):
            if isinstance(action, Cancel):
                whole = True
                assert -sum(p.value_e4 for p in action.parts) == sum(
                    p.value_e4 for p in order.parts
                )
            elif isinstance(action, Return):
                refund_minor += action.refund_minor
                assert action.refund_minor >= 0
                back.update({each.number: each.units for each in action.lines})
        assert all(units <= order.lines[n - 1].units for n, units in back.items())
        assert refund_minor <= order.total_minor
        assert not (whole and back)


@given(BOOKS)
def test_what_belongs_to_one_order_is_in_its_order(source: list[SourceLine]) -> None:
    """Placed, then called off, or shipped and perhaps returned; times never go back."""
    plan = make_plan(source)
    assert [a.at for a in plan.actions] == sorted(a.at for a in plan.actions)
    assert [plan.days.index(a.day) for a in plan.actions] == sorted(
        plan.days.index(a.day) for a in plan.actions
    )
    names = told(plan)
    assert len(names) == len(set(names))
    chains = defaultdict(list)
    for action in plan.actions:
        if action.order:
            chains[action.order].append(action.kind)
    for kinds in chains.values():
        assert kinds[0] == "place"
        assert (kinds[1] == "cancel" and len(kinds) == 2) or kinds[1] == "ship"
        assert set(kinds[2:]) <= {"return"}


def short_of(plan: Plan, opening: dict[str, int]) -> set[str]:
    """The skus that run out, where of all actions that may be under way together those that take
    come first.
    """
    free, short = Counter(opening), set()
    coming: list[tuple[int, str, int]] = []
    for number, day in enumerate(plan.days):
        for back in [one for one in coming if one[0] <= number - DAYS_APART]:
            coming.remove(back)
            free[back[1]] += back[2]
        for action in (a for a in plan.actions if a.day == day):
            for sku, units in moved(action):
                if units > 0:
                    coming.append((number, sku, units))
                else:
                    free[sku] += units
                    short |= {sku} if free[sku] < 0 else set()
    return short


@given(BOOKS)
def test_the_opening_stock_suffices_and_not_one_unit_less_would(source: list[SourceLine]) -> None:
    plan = make_plan(source)
    opening = opening_stock(plan)
    assert short_of(plan, opening) == set()
    needed = {sku for sku, units in opening.items() if units > 0}
    assert short_of(plan, {sku: units - 1 for sku, units in opening.items()}) >= needed


def test_products_are_named_and_priced_by_what_is_usual() -> None:
    source = [
        line(1, "1", HEART, 1, 20_000, words=" WHITE HEART "),
        line(2, "2", HEART.lower(), 1, 30_000, words="WHITE  HEART"),
        line(3, "3", HEART, 1, 0, words="damages", customer=""),
        line(4, "4", LAMP, 1, 10_000, words="LAMP"),
        line(5, "5", LAMP, 1, 20_000, words="LIGHT"),
        line(6, "6", LANTERN, -2, 0, customer=""),
        line(7, "7", "POST", 1),
    ]
    products = [msgspec.json.decode(p) for p in history.products(make_plan(source))]
    told = {p["external_id"]: (p["title"], p["variants"][0]) for p in products}
    assert set(told) == {HEART, LAMP, LANTERN}
    title, variant = told[HEART]
    assert (title, variant["price"]["amount"], variant["on_hand"]) == ("WHITE HEART", "3.00", 2)
    assert (told[LAMP][0], told[LAMP][1]["price"]["amount"]) == ("LIGHT", "2.00")
    assert (told[LANTERN][0], told[LANTERN][1]["price"]["amount"]) == (LANTERN, "0.00")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("POST", "postage"),
        ("GIFT_0001_40", "gift_voucher"),
        ("DCGSSBOY", "dotcom_goods"),
        ("BANK CHARGES", "bank_charges"),
        ("NEVER SEEN!", "never_seen"),
        ("£", "fee"),
        ("1234", "1234"),
    ],
)
def test_what_is_no_goods_is_a_fee_with_a_name(code: str, name: str) -> None:
    assert not history.is_goods(code)
    assert history.fee_name(code) == name


@pytest.mark.parametrize("code", ["85123A", "21733", "79323GR", "15056BL"])
def test_five_digits_and_a_few_letters_are_goods(code: str) -> None:
    assert history.is_goods(code)


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
    read = source_line(1, row(InvoiceDate=text))
    assert (read.at, read.when, read.day) == (utc, text, text[:10])
    assert local_month(utc.isoformat()) == read.month


def test_odd_values_are_read_as_they_are() -> None:
    read = source_line(7, row(UnitPrice="-11062.06", StockCode=" 47503J ", CustomerID="17850.0"))
    assert (read.unit_price_e4, read.sku, read.code) == (-110_620_600, "47503J", " 47503J ")
    assert (read.customer, read.line_no) == ("17850", 7)
    assert source_line(1, row(UnitPrice="0.001")).unit_price_e4 == 10
    assert source_line(1, row(Country="Atlantis")).country == "ZZ"


@pytest.mark.parametrize(
    ("column", "value"),
    [("UnitPrice", "1e3"), ("UnitPrice", "NaN"), ("Quantity", "six"), ("InvoiceNo", " ")],
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
