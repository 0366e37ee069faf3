"""The nemesis, on processes that do nothing: what it says it did it has done."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from tradewind.checks.oversell import nemesis as module
from tradewind.checks.oversell.evidence import read_history
from tradewind.checks.oversell.history import Recorder
from tradewind.checks.oversell.installation import Installation
from tradewind.checks.oversell.nemesis import WEIGHTS, Nemesis

SLEEP = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]


class Victims:
    """Two processes in the place of a platform."""

    def __init__(self, folder: Path) -> None:
        self.traps = folder
        self.processes = [subprocess.Popen(SLEEP, stdout=subprocess.PIPE) for _ in range(2)]
        for process in self.processes:
            assert process.stdout is not None
            process.stdout.readline()  # it runs
        self.asked_ready = 0

    @property
    def web(self) -> list[int]:
        return [p.pid for p in self.processes if p.poll() is None]

    postgres = simulator = web

    async def until_ready(self, session: Any) -> float:
        self.asked_ready += 1
        return 0.0

    def state(self, number: int) -> str:
        """`T` while it is stopped."""
        text = Path(f"/proc/{self.processes[number].pid}/stat").read_text()
        return text.rpartition(")")[2].split()[0]

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def victims(tmp_path: Path) -> Iterator[Victims]:
    victims = Victims(tmp_path)
    yield victims
    victims.end()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "history", seed=1)
    yield recorder
    recorder.close()


def against(victims: Victims, recorder: Recorder, **options: Any) -> Nemesis:
    return Nemesis(
        cast(Installation, victims),
        cast(aiohttp.ClientSession, None),
        recorder,
        dsn="postgresql:///nowhere?host=/nowhere",
        seed=1,
        **options,
    )


async def test_a_trap_counts_when_somebody_died_of_it(
    victims: Victims, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that nobody passed in time is taken away again, and is no kill."""
    monkeypatch.setattr(module, "SPRUNG_WITHIN_S", 0.3)
    nemesis = against(victims, recorder, windows=("here", "there"))
    springing = asyncio.create_task(nemesis.spring_a_trap())
    await asyncio.sleep(0.1)
    (victims.traps / "here").unlink()
    await springing
    await nemesis.spring_a_trap()
    assert not (victims.traps / "there").exists()
    assert recorder.windows == {"here": 1}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
async def test_what_is_paused_goes_on(
    victims: Victims, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the check ends in the middle of the pause; and the next one is another's."""
    monkeypatch.setattr(module, "PAUSES_S", ((5.0, 5.0),))
    nemesis = against(victims, recorder)
    stopped = []
    for _ in range(2):
        pausing = asyncio.create_task(nemesis.pause_web())
        await asyncio.sleep(0.1)
        stopped.append([n for n in range(2) if victims.state(n) == "T"])
        pausing.cancel()
        await asyncio.gather(pausing, return_exceptions=True)
    assert sorted(stopped) == [[0], [1]]
    assert "T" not in (victims.state(0), victims.state(1))


async def test_killed_is_killed_and_in_the_history(victims: Victims, recorder: Recorder) -> None:
    nemesis = against(victims, recorder)
    await nemesis.kill_postgres()
    assert [p.wait(5) for p in victims.processes] == [-signal.SIGKILL] * 2
    await nemesis.cut_connections()  # nobody is there: no reason to fail
    recorder.close()
    acts = [act.what for act in read_history(recorder.path).acts]
    assert acts == ["kill PostgreSQL", "cut connections"]
    assert recorder.windows == {"anywhere": 1}


async def test_it_rests_and_waits_until_the_platform_is_back(
    victims: Victims, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BETWEEN_S", (0.01, 0.02))
    monkeypatch.setattr(module, "AT_ONCE_SHARE", 0.0)
    nemesis = against(victims, recorder, acts=("nothing",))
    running = asyncio.create_task(nemesis.run())
    await asyncio.sleep(0.3)
    nemesis.over.set()
    await asyncio.wait_for(running, 5)
    assert victims.asked_ready > 2


def test_every_act_has_a_weight(victims: Victims, recorder: Recorder) -> None:
    nemesis = against(victims, recorder)
    assert all(callable(getattr(nemesis, name)) for name in WEIGHTS)
