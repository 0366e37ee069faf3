"""What an order book adds up to, figure by figure."""

import json
import os
from pathlib import Path

import pytest

from tests.samples.book import BOOK
from tradewind.platform.settings import read_settings
from tradewind.samples.history import make_plan, read_lines
from tradewind.samples.reconcile.totals import FIGURES, compare_totals, read_totals


def test_a_figure_nobody_knows_differs() -> None:
    (check,) = compare_totals({"moons": 2}, BOOK)
    assert (check.about, check.expected, check.found) == (
        "moons",
        "2",
        "not known to this version",
    )
    assert not check.equal


def test_figures_of_a_small_book() -> None:
    totals = {
        "lines": 22,
        "invoices": 18,
        "cancellation_lines": 7,
        "adjust_bad_debt_lines": 2,
        "negative_price_lines": 1,
        "zero_price_lines": 4,
        "units_net": 32,
        "net_amount_gbp": "-10973.702",
        "net_by_month": {"2010-12": "-10973.702"},
        "top10_units_sold": {"21733": 28, "85123A": 9},
    }
    told = {check.about: check for check in compare_totals(totals, BOOK)}
    assert all(check.equal for check in told.values()), [c for c in told.values() if not c.equal]


def test_the_whole_set_adds_up_to_its_totals() -> None:
    """Every figure that the data set tells of itself, from the lines as they are read."""
    folder = read_settings(os.environ).data_folder / "online-retail"
    books = sorted(Path(folder).glob("*.csv*"))
    if len(books) != 1:
        pytest.skip("no order book: set TRADEWIND_DATA to the folder of the large data sets")
    totals = read_totals(books[0])
    assert totals is not None and set(totals) <= {*FIGURES, "part"}
    lines = list(read_lines(books[0]))
    wrong = [check for check in compare_totals(totals, lines) if not check.equal]
    assert wrong == [], json.dumps([check.about for check in wrong])
    plan = make_plan(lines)
    parts = [p for action in plan.actions for p in action.parts]
    parts += [p for left in plan.left_out.values() for p in left]
    assert sum(part.first for part in parts) == totals["lines"]
    assert sum(part.units for part in parts) == totals["units_net"]
