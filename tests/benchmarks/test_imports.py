"""The benchmark of imports: what it counts, and that a quick run ends with figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.imports import line

ROOT = Path(__file__).parents[2]


def test_lines_are_products_that_differ() -> None:
    first, second = json.loads(line(1)), json.loads(line(2))
    assert first["external_id"] != second["external_id"]
    assert {v["sku"] for v in first["variants"]}.isdisjoint(v["sku"] for v in second["variants"])


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_quick_run_ends_with_figures(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.imports", "--quick", "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    (file,) = tmp_path.glob("*.jsonl")
    found = {row["figure"]: row["value"] for row in map(json.loads, file.read_text().splitlines())}
    assert found["import_first.created"] == found["import_again.unchanged"] == 500
    assert found["orders_first.p95"] > 0 and found["unit_first.count"] > 0
