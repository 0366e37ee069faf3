"""The database is prepared in a process of its own, which tells what it did or why it could not."""

import os
import sys
from pathlib import Path

import pytest

from tradewind.platform.settings import Settings, read_settings
from tradewind.supervisor.children import StartError
from tradewind.supervisor.preparing import Preparation

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


def settings_of(home: Path) -> Settings:
    return read_settings({"TRADEWIND_HOME": str(home)})


async def test_what_a_person_can_repair_is_told_in_a_sentence(tmp_path: Path) -> None:
    """As if it had happened in the supervisor itself."""
    (tmp_path / "server.key").write_text("no key at all\n")
    settings = settings_of(tmp_path)
    with pytest.raises(StartError, match=r"server\.key"):
        await Preparation(settings)(settings, NOWHERE)


async def test_one_that_dies_is_no_preparation(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever it wrote to its standard error is on the terminal already."""
    settings = settings_of(tmp_path)
    dying = (sys.executable, "-c", "import sys; sys.exit('out of luck')")
    with pytest.raises(StartError, match="could not be prepared"):
        await Preparation(settings, dying)(settings, NOWHERE)
    assert "out of luck" in capfd.readouterr().err


async def test_it_ends_when_nobody_wants_it(tmp_path: Path) -> None:
    """A supervisor that is stopped, or dies, closes the gate without a word."""
    preparation = Preparation(settings_of(tmp_path))
    os.close(preparation._gate)
    assert preparation._process.communicate(timeout=60)[0] == b""
    assert preparation._process.returncode == 1
