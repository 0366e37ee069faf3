"""The whole check on a platform of its own: nothing is found, and all that is planted is."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tradewind.checks.oversell.evidence import read_history
from tradewind.checks.oversell.history import Recorder
from tradewind.checks.oversell.run import Outcome, Plan, run
from tradewind.platform.faults import PLACES
from tradewind.testing.planted import bugs

# Starts whole platforms and stops their clocks: not beside other tests.
pytestmark = [pytest.mark.alone, pytest.mark.timeout(400)]

SEED = int(os.environ.get("TRADEWIND_SIMULATION_SEED") or 1)


def told(phase: str, recorder: Recorder, share: float) -> None:
    """Nobody watches."""


def found(outcome: Outcome) -> list[str]:
    """The anomalies as sentences."""
    return [f"{a.kind}: {a.about}: {a.detail}"[:500] for a in outcome.anomalies]


def check(*options: str) -> "subprocess.CompletedProcess[str]":
    """Run the command."""
    command = [sys.executable, "-m", "tradewind", "check", "oversell", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=350, check=False)


def test_nothing_is_oversold_lost_or_doubled_while_everything_is_killed(tmp_path: Path) -> None:
    """The short one, by its command. What it finds is found again with its seed and more time."""
    kept = tmp_path / "kept"
    done = check("--seconds", "20", "--seed", str(SEED), "--keep", str(kept))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No anomaly." in done.stdout
    assert f"seed {SEED};" in done.stdout
    history = read_history(kept / "history.jsonl")
    assert any(act.what.startswith("kill") for act in history.acts), "nothing was killed"
    assert sum(asked.status == 201 for asked in history.asked) > 50


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path) -> None:
    done = check("--keep", str(tmp_path))
    assert done.returncode == 2
    assert "name a folder that does not" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize("name", bugs.ALL)
async def test_a_planted_bug_is_caught_and_named(name: str, tmp_path: Path) -> None:
    """A check that finds nothing must have been able to find something."""
    bug = bugs.ALL[name]
    kinds: set[str] = set()
    for attempt in range(2):
        plan = Plan(
            folder=tmp_path / str(attempt),
            seconds=20,
            seed=SEED + attempt,
            clients=24,
            quiet_within_s=25,
            acts=bug.acts,
            windows=bug.windows,
            command=(sys.executable, "-m", "tradewind.testing.planted.house", name),
        )
        kinds |= {anomaly.kind for anomaly in (await run(plan, told)).anomalies}
        if kinds & set(bug.caught_as):
            return
    pytest.fail(f"it should be called one of {bug.caught_as}; found were {sorted(kinds)}")


@pytest.mark.long
async def test_a_house_without_a_bug_is_content_with_the_same_acts(tmp_path: Path) -> None:
    """What the planted runs find is the bug, not the way in which they look."""
    assert await quiet_run(tmp_path / "traps", ("spring_a_trap",)) == []
    assert await quiet_run(tmp_path / "crashes", ("kill_postgres",)) == []
    assert await quiet_run(tmp_path / "pauses", ("pause_web",)) == []


async def quiet_run(folder: Path, acts: Sequence[str]) -> list[str]:
    """The check as it is started for a planted bug, without one."""
    outcome = await run(Plan(folder=folder, seconds=20, seed=SEED, acts=acts), told)
    if acts == ("spring_a_trap",):
        assert outcome.windows.keys() <= PLACES.keys()
        assert outcome.kills_in_windows == outcome.kills > 0
    return found(outcome)
