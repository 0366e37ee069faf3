"""Which processes serve a PostgreSQL data folder, and how to end them.

A number in a pid file proves nothing: the process may be gone, be a zombie that nobody buried, or
be a stranger that was given the number later. What counts is a live ``postgres`` whose working
folder is the data folder, which is where PostgreSQL keeps all its processes.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

PROC = Path("/proc")
END_POLL_S = 0.02
END_TIMEOUT_S = 5


class PidFile(Struct, frozen=True):
    """What a server wrote about itself into its data folder."""

    pid: int
    socket_folder: str  # empty while the server has not opened its socket yet

    @staticmethod
    def path(folder: Path) -> Path:
        """Where the file of the server of `folder` lies."""
        return folder / "postmaster.pid"

    @staticmethod
    def read(folder: Path) -> "PidFile | None":
        """The file's content; None when it is absent or half written."""
        try:
            lines = PidFile.path(folder).read_text().splitlines()
            return PidFile(int(lines[0]), lines[4].strip() if len(lines) > 4 else "")
        except (OSError, ValueError, IndexError):
            return None


def exists(pid: int) -> bool:
    """Whether the number is taken, by a zombie or a stranger too."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def serves(pid: int, folder: Path) -> bool:
    """Whether `pid` is a live PostgreSQL process of `folder`."""
    if not PROC.joinpath("self").exists():
        return named_by_ps(pid) == "postgres"  # no /proc: its name is all there is to go by
    try:
        name, state = described_by_proc(pid)
        theirs = PROC.joinpath(str(pid), "cwd").stat()
        ours = folder.stat()
    except (OSError, IndexError):
        return False
    same = (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
    return name == "postgres" and state not in "ZX" and same


def described_by_proc(pid: int) -> tuple[str, str]:
    """Name and state of a process, out of a line like ``123 (postgres) S 1 ...``."""
    name, _, rest = PROC.joinpath(str(pid), "stat").read_text().partition("(")[2].rpartition(")")
    return name, rest.split()[0]


def named_by_ps(pid: int) -> str:
    """The name of a process where there is no /proc; empty when it is gone."""
    found = subprocess.run(
        ["ps", "-p", str(pid), "-o", "comm="], capture_output=True, text=True, check=False
    )
    return Path(found.stdout.strip()).name


def of_folder(folder: Path) -> list[int]:
    """All live PostgreSQL processes of `folder`, those without a parent server too."""
    if not PROC.joinpath("self").exists():
        return []
    numbers = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    return [pid for pid in numbers if serves(pid, folder)]


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is gone is fine."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


async def end(pids: Iterable[int], folder: Path) -> None:
    """Kill processes of `folder` and wait for it. Only for those that have no server above them."""
    left = list(pids)
    for pid in left:
        send(pid, signal.SIGKILL)
    deadline = time.monotonic() + END_TIMEOUT_S
    while left and time.monotonic() < deadline:
        await asyncio.sleep(END_POLL_S)
        left = [pid for pid in left if serves(pid, folder)]
