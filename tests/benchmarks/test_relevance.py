"""The measure of relevance, and what searches come to by it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import rated
from benchmarks.rated import PlainRanking, gain, score_of
from tradewind.platform.settings import read_settings

ROOT = Path(__file__).parents[2]


def test_a_ranking_is_worth_what_its_definition_says() -> None:
    ratings = {"a": 3, "b": 1, "c": 0}
    assert gain([3, 1]) == pytest.approx(7 + 1 / 1.5849625)
    best = score_of(["a", "b"], ratings)
    assert (best.all, best.rated_only, best.rated_share) == (1.0, 1.0, 0.2)
    late = score_of(["x", "c", "a"], ratings)
    assert late.all == pytest.approx(3.5 / gain([3, 1]))
    assert late.rated_only == pytest.approx(7 / 1.5849625 / gain([3, 1]))


def test_the_partner_is_bm25() -> None:
    products = [
        {"id": str(n), "title": title, "supplier": "", "short_description": ""}
        for n, title in enumerate(("red lamp", "lamps lamps", "box"))
    ]
    assert PlainRanking(products).ranking("lamp") == ["1", "0"]


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.timeout(600)
def test_rated_queries_are_answered_well() -> None:
    """nDCG@10 of rated products is at least the bar; the command ends with status 1 below it."""
    folder = read_settings(os.environ).data_folder / rated.FOLDER
    if not folder.is_dir():
        pytest.skip(f"no {folder.name}: set TRADEWIND_DATA to the folder of the large data sets")
    command = [sys.executable, "-m", "benchmarks.relevance"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
