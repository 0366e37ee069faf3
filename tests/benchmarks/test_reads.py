"""Reads are measured from the first line to the last. Their figures are not looked at here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Starts whole platforms: not beside other tests.
pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[2]


@pytest.mark.long  # no old answer: tests/flows/test_read_from_memory.py
@pytest.mark.timeout(240)
def test_a_short_run_ends_with_figures_and_no_old_answer(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.reads", "detail", "list", "--runs", "1"]
    command += ["--seconds", "2", "--connections", "4", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or done.stdout
    (file,) = tmp_path.glob("*-reads.jsonl")
    lines = {line["figure"]: line for line in map(json.loads, file.read_text().splitlines())}
    for part in ("detail", "list"):
        reads = lines[f"{part}.reads"]
        assert reads["ratio_to_a"] == pytest.approx(
            reads["value"] / lines[f"{part}.bare"]["value"], rel=0.01
        )
        assert lines[f"{part}.price_changes"]["value"] > 1
        assert lines[f"{part}.stalest"]["value"] <= 1_000
        assert lines[f"{part}.orders"]["value"] > 0
        assert lines[f"{part}.cpu.web"]["value"] > 0
    assert str(ROOT) not in file.read_text()
