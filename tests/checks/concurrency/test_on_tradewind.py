"""The races on the platform as it is started, by the command as it is typed."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from tradewind.checks.concurrency.adapter import AdapterBroken
from tradewind.checks.concurrency.races import RACES
from tradewind.checks.concurrency.tradewind_adapter import connect
from tradewind.testing.platform import Platform

# A whole platform, and a crowd at its door: not beside other tests.
pytestmark = pytest.mark.alone

ROUNDS = 2


class Result(NamedTuple):
    """How the command ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> Any:
        return json.loads(self.stdout)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """Two web processes: a race inside one of them is only half a race."""
    platform = Platform(tmp_path_factory.mktemp("raced"), workers=2)
    try:
        await platform.start()
        yield platform
    finally:
        await platform.stop()


async def check(platform: Platform, *options: str, url: str = "") -> Result:
    command = [sys.executable, "-m", "tradewind", "check", "concurrency", url or platform.url]
    command += ["--key-file", str(platform.home / "admin.key"), *options]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, stdout.decode(), stderr.decode())


async def test_every_race_holds(platform: Platform) -> None:
    """From outside; then the invariants say the same from inside."""
    result = await check(platform, "--rounds", str(ROUNDS), "--json")
    assert result.exit_code == 0, result.stdout + result.stderr
    report = result.report
    assert report["holds"] is True
    assert [outcome["race"] for outcome in report["outcomes"]] == [race.name for race in RACES]
    assert {outcome["verdict"] for outcome in report["outcomes"]} == {"holds"}
    assert all(outcome["rounds"] == ROUNDS for outcome in report["outcomes"])
    await platform.check_invariants()
    assert platform.error_lines() == []


async def test_one_race_of_a_seed_is_told_to_a_person(platform: Platform) -> None:
    options = ("--race", "last-unit", "--rounds", "1", "--seed", "7")
    result = await check(platform, *options)
    assert result.exit_code == 0, result.stdout + result.stderr
    assert "1 races hold, 0 violated, 0 not applicable; 1 rounds each, seed 7." in result.stdout


async def test_another_adapter_is_found_by_its_name(platform: Platform, tmp_path: Path) -> None:
    ours = "tradewind.checks.concurrency.tradewind_adapter:connect"
    options = ("--race", "double-cancel", "--rounds", "1", "--adapter", ours)
    assert (await check(platform, *options)).exit_code == 0
    result = await check(platform, "--adapter", "nothing.like_that:connect")
    assert result.exit_code == 2
    assert "There is no adapter 'nothing.like_that:connect'" in result.stderr


async def test_what_cannot_be_raced_leaves_with_2(platform: Platform, tmp_path: Path) -> None:
    """No such race; nobody there; a key that is none."""
    unknown = await check(platform, "--race", "downhill")
    assert unknown.exit_code == 2
    assert "There is no race 'downhill'. There are: last-unit, " in unknown.stderr
    silent = await check(platform, url="http://127.0.0.1:9")
    assert silent.exit_code == 2
    assert "is not ready: no answer" in silent.stderr
    with pytest.raises(AdapterBroken, match="does not take this key: 401"):
        await connect(platform.url, "tw_live_none")
