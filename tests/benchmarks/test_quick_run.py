"""The benchmark works from its start to its last line. Its figures are not looked at here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Starts whole platforms and stops their clocks: not beside other tests.
pytestmark = pytest.mark.alone


ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
def test_a_quick_run_ends_with_figures_and_holding_invariants(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--hot", "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    (file,) = tmp_path.glob("*.jsonl")
    lines = {line["figure"]: line for line in map(json.loads, file.read_text().splitlines())}
    orders = lines["c8.orders"]
    assert orders["value"] > 0
    assert orders["ratio_to_a"] == pytest.approx(
        orders["value"] / lines["a.orders"]["value"], rel=0.01
    )
    assert lines["c8.hot"]["value"] == pytest.approx(
        lines["c8.hot.orders"]["value"] / orders["value"], rel=0.01
    )
    assert lines["c8.hot.not_confirmed"]["value"] == 0
    assert lines["c8.not_confirmed"]["value"] == 0
    assert lines["c8.cpu.web"]["value"] > 0
    assert lines["c8.cpu.postgres"]["value"] > 0
    assert lines["c8.wal"]["value"] > 0
    assert lines["idle.memory"]["value"] > 0
    assert orders["machine"]["postgresql"].startswith("18")


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_quick_run_of_checkouts_has_a_partner(tmp_path: Path) -> None:
    """Every shopper reaches the end, and orders placed at once stand beside them."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.checkout", "--quick", "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    (file,) = tmp_path.glob("*.jsonl")
    lines = {line["figure"]: line for line in map(json.loads, file.read_text().splitlines())}
    assert lines["c4.checkouts"]["value"] > 0
    assert lines["c4.placed_at_once"]["value"] > 0
    assert lines["c4.not_confirmed"]["value"] == 0
    assert lines["c4.requests"]["value"] == 5
