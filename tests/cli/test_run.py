"""The command line as a person meets it: help that teaches, sentences in place of tracebacks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tradewind.platform.settings import SETTINGS

# Starts whole platforms and stops their clocks: not beside other tests.
pytestmark = pytest.mark.alone


def tradewind(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRADEWIND_")}
    environment |= {f"TRADEWIND_{name.upper()}": value for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "tradewind", *arguments],
        capture_output=True,
        text=True,
        env={**environment, "COLUMNS": "120", "NO_COLOR": "1"},
        timeout=60,
        check=False,
    )


def test_help_leads_to_the_first_command() -> None:
    told = tradewind("--help")
    assert told.returncode == 0
    assert "tradewind up" in told.stdout
    for command in ("up", "serve", "migrate", "settings"):
        assert f" {command} " in told.stdout


@pytest.mark.parametrize("command", ["up", "serve", "migrate", "settings"])
def test_every_command_has_examples(command: str) -> None:
    told = tradewind(command, "--help")
    assert told.returncode == 0
    assert "Examples" in told.stdout
    assert told.stdout.count(f"tradewind {command}") >= 2


def test_settings_are_shown_with_what_is_in_force() -> None:
    told = tradewind("settings", "--json", port="9090", database_url="postgresql://u:pw@h/d")
    rows = {row["name"]: row for row in json.loads(told.stdout)}
    assert set(rows) == {setting.name for setting in SETTINGS}
    assert (rows["port"]["value"], rows["port"]["changed"]) == ("9090", True)
    assert "pw" not in rows["database_url"]["value"]
    changed = tradewind("settings", "--json", "--changed", port="9090")
    assert [row["name"] for row in json.loads(changed.stdout)] == ["port"]
    table = tradewind("settings", prt="1")
    assert all(setting.variable in table.stdout for setting in SETTINGS)
    assert "TRADEWIND_PRT is not a setting" in table.stderr


@pytest.mark.parametrize("command", ["up", "serve", "migrate", "settings"])
def test_a_bad_setting_is_a_sentence(command: str, tmp_path: Path) -> None:
    told = tradewind(command, port="eighty", home=str(tmp_path))
    assert told.returncode == 1
    assert told.stderr.startswith("TRADEWIND_PORT is 'eighty', but must be a whole number")
    assert "Traceback" not in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = tradewind("up", home=str(tmp_path / "file" / "home"), port="0")
    assert told.returncode == 1
    assert "TRADEWIND_HOME" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("command", ["migrate", "serve"])
def test_an_installation_that_does_not_run_is_a_sentence(command: str, tmp_path: Path) -> None:
    told = tradewind(command, home=str(tmp_path), port="0")
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    assert "Start it with `tradewind up`" in told.stderr


def test_a_database_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    """Nobody listens on this socket; the password is not shown."""
    url = f"postgresql://u:secret@/d?host={tmp_path}"
    told = tradewind("up", home=str(tmp_path / "home"), port="0", database_url=url)
    assert told.returncode == 1
    assert "TRADEWIND_DATABASE_URL" in told.stderr
    assert "secret" not in told.stdout + told.stderr
    assert "Traceback" not in told.stderr
