"""Processes by number *and* time of birth, so that a number used again is never mistaken."""

import asyncio
import os
import resource
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

PROC = Path("/proc")
GONE_POLL_S = 0.02
# Field 22 of /proc/PID/stat, counted behind the name, which may itself contain spaces.
BORN_FIELD = 19


class Identity(Struct, frozen=True):
    """One particular process, not whoever has its number today."""

    pid: int
    born: str


def identify(pid: int) -> Identity | None:
    """The process that has this number now; None when there is none, or only a zombie."""
    if not PROC.joinpath("self").exists():
        found = subprocess.run(
            ["ps", "-p", str(pid), "-o", "stat=,lstart="],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.split(maxsplit=1)
        return Identity(pid, found[1].strip()) if found and "Z" not in found[0] else None
    try:
        fields = PROC.joinpath(str(pid), "stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else Identity(pid, fields[BORN_FIELD])
    except (OSError, IndexError):
        return None


def lives(identity: Identity) -> bool:
    """Whether exactly this process still runs."""
    return identify(identity.pid) == identity


def send(identity: Identity, number: signal.Signals) -> None:
    """Send a signal to exactly this process; it may be gone."""
    if lives(identity):
        try:
            os.kill(identity.pid, number)
        except (ProcessLookupError, PermissionError):
            return


async def gone(identities: Sequence[Identity], timeout_s: float) -> bool:
    """Wait until none of them runs; False when the time is over first."""
    deadline = time.monotonic() + timeout_s
    left = [identity for identity in identities if lives(identity)]
    while left:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(GONE_POLL_S)
        left = [identity for identity in left if lives(identity)]
    return True


def age_s() -> float:
    """How long this process has been running: what a person at the terminal has waited."""
    own = identify(os.getpid())
    try:
        ticks = int(own.born) if own else 0
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (AttributeError, ValueError, OSError):
        return time.process_time()


def how_it_ended(returncode: int) -> str:
    """An exit status in words."""
    if returncode >= 0:
        return f"ended with status {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


def remember(file: Path, identities: Sequence[Identity]) -> None:
    """Write down who runs, for whoever comes after we were killed."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.encode(list(identities)))
    draft.replace(file)


def recall(file: Path) -> list[Identity]:
    """Who was written down; nobody when there is no such file or it cannot be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[Identity])
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return []


def allow_many_files() -> None:
    """Every connection is a file; most systems allow far more of them than they do by default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return
