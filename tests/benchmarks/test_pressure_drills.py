"""The drills work from their start to their last line. Their times are not looked at here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Starts whole platforms: not beside other tests.
pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[2]


@pytest.mark.long  # what must hold under pressure is in tests/flows/test_under_pressure.py
@pytest.mark.timeout(240)
def test_a_short_run_ends_with_figures_and_right_answers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.pressure", "overload", "idlers"]
    command += ["--seconds", "3", "--times", "6", "--idle", "200", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr or done.stdout
    (file,) = tmp_path.glob("*-pressure.jsonl")
    lines = {line["figure"]: line for line in map(json.loads, file.read_text().splitlines())}
    assert lines["overload.accepted"]["value"] > 0
    assert lines["idlers.connections"]["value"] == 200
    for sentence in (
        "overload: no answer but 201, 202, 503 (none)",
        "overload: nobody unanswered (0)",
        "overload: 503 with Retry-After (0 without)",
        "idlers: all 200 got in",
        "idlers: every order of the others confirmed (0 not)",
    ):
        assert f"holds   {sentence}" in done.stdout, done.stdout
