"""A lag is from the commit to the first look that finds the slowest consumer behind the event."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.lag import WHOLE, Event, Passed, lags_s
from benchmarks.shop import BenchmarkFailed

ROOT = Path(__file__).parents[2]


def looked_at() -> Passed:
    """Two consumers, one of them of the log as a whole, seen four times."""
    passed = Passed([("orders.decisions", 3), ("bus.sequencer", WHOLE)])
    passed.note(10.00, [(5, 1), (0, 0)])
    passed.note(10.01, [(5, 1), (5, 9)])
    passed.note(10.02, [(7, 2), (5, 9)])
    passed.note(10.03, [(7, 2), (8, 0)])
    return passed


def test_the_first_look_behind_an_event_counts() -> None:
    event = Event((7, 1), 3, "a", 10.0)
    listeners = {"a": ["orders.decisions", "bus.sequencer"]}
    ((kind, found),) = lags_s([event], looked_at(), listeners)
    assert kind == "a"
    assert found == pytest.approx({"orders.decisions": 0.02, "bus.sequencer": 0.03})


def test_an_offset_on_the_event_has_passed_it() -> None:
    event = Event((5, 9), 3, "a", 10.0)
    ((_, found),) = lags_s([event], looked_at(), {"a": ["bus.sequencer"]})
    assert found == pytest.approx({"bus.sequencer": 0.01})


def test_events_that_nobody_listens_to_have_no_lag() -> None:
    assert not list(lags_s([Event((7, 1), 3, "b", 10.0)], looked_at(), {"a": ["bus.sequencer"]}))


def test_an_event_that_is_never_passed_is_no_figure() -> None:
    """Left out, it would make the figures better the worse things are."""
    with pytest.raises(BenchmarkFailed):
        list(lags_s([Event((9, 1), 3, "a", 10.0)], looked_at(), {"a": ["bus.sequencer"]}))


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_quick_run_ends_with_figures(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.lag", "--quick", "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    (file,) = tmp_path.glob("*.jsonl")
    lines = {
        line["figure"]: line["value"] for line in map(json.loads, file.read_text().splitlines())
    }
    slowest = lines["lag10.slowest.p95"]
    assert slowest > 0
    assert slowest >= max(v for name, v in lines.items() if name.startswith("lag10.bus"))
    assert lines["lag10.slowest_in_a_hurry.p95"] <= slowest
    assert lines["lag10.orders"] > 0
