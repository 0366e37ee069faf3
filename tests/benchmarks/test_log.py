"""The benchmark of the log works from its start to its last line: nothing is lost or doubled on the
way, and what it counts is what stands in the log. Its figures are not looked at here.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.announcing import EVENTS, facts_of, units_of
from benchmarks.log import ORDER_EVENTS
from tradewind.kernel.ids import new_id

# Starts a server and two processes: not beside other tests.
pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
def test_a_quick_run_ends_with_figures(tmp_path: Path) -> None:
    """It fails by itself where a group has not handled each event once."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.log", "--quick", "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    (file,) = tmp_path.glob("*.jsonl")
    lines = {line["figure"]: line for line in map(json.loads, file.read_text().splitlines())}
    for unit in (100, 8):
        events = lines[f"log{unit}.events"]
        assert events["value"] > 0
        unread = lines[f"log{unit}.unread"]["value"]
        assert events["ratio_to_b"] == pytest.approx(events["value"] / unread, rel=0.01)
        assert lines[f"log{unit}.announced"]["value"] >= events["value"]
        assert lines[f"log{unit}.cpu.consumers"]["value"] > 0


def test_an_order_is_all_that_is_told_about_one() -> None:
    """Versions without gaps, each type once: what the platform itself puts on the log."""
    facts = facts_of(new_id("ord"))
    assert [type(fact) for fact in facts] == list(EVENTS)
    assert [fact.sequence for fact in facts] == list(range(1, ORDER_EVENTS + 1))
    assert len({fact.subject for fact in facts}) == 1


@pytest.mark.parametrize(("events", "unit"), [(1_000, 100), (1_000, 8), (8, 100), (20, 8)])
def test_so_many_events_are_announced_as_were_asked_for(events: int, unit: int) -> None:
    units = list(units_of(events, unit))
    assert sum(map(len, units)) == events
    assert all(unit <= len(batch) < unit + ORDER_EVENTS for batch in units[:-1])
