"""Traps: one process dies for each, and none where nobody looks for them."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tradewind.platform import faults

PASSING = """
import sys
from tradewind.platform import faults
faults.switch_on(sys.argv[1])
faults.passing("command-committed")
"""


@pytest.fixture(autouse=True)
def switched_off_again() -> Iterator[None]:
    yield
    faults.switch_on(None)


def pass_by(folder: Path) -> int:
    return subprocess.run([sys.executable, "-c", PASSING, str(folder)], check=False).returncode


def test_a_trap_kills_the_first_that_passes_and_nobody_after(tmp_path: Path) -> None:
    """Whoever laid it sees by the missing file that somebody died of it."""
    trap = tmp_path / "command-committed"
    trap.touch()
    assert pass_by(tmp_path) == -signal.SIGKILL
    assert not trap.exists()
    assert pass_by(tmp_path) == 0


def test_other_places_and_missing_folders_are_harmless(tmp_path: Path) -> None:
    (tmp_path / "feed-numbered").touch()
    faults.switch_on(str(tmp_path))
    faults.passing("command-committed")
    faults.switch_on(str(tmp_path / "missing"))
    faults.passing("feed-numbered")
    assert (tmp_path / "feed-numbered").exists()


def test_switched_off_nothing_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "command-committed").touch()
    faults.switch_on(str(tmp_path))
    faults.switch_on(None)
    faults.passing("command-committed")
    assert (tmp_path / "command-committed").exists()


@pytest.mark.parametrize("place", [*faults.PLACES, *faults.PLACES_OF_UPKEEP])
def test_every_place_is_somewhere_on_the_way(place: str) -> None:
    """A name in the list that nothing passes would be a window nobody is killed in."""
    package = Path(faults.__file__).parents[1]
    texts = [path.read_text(encoding="utf-8") for path in package.rglob("*.py")]
    assert any(f'faults.passing("{place}")' in t for t in texts if "def passing" not in t)
