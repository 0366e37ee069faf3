"""What a figure was measured on. An absolute number says nothing without it."""

import os
import platform
import subprocess
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parents[1]
# A file system in memory makes every flush free.
NOT_DISKS = ("tmpfs", "ramfs")


class NotOnDisk(Exception):
    """The folder for the database lies in memory."""


class Machine(Struct, frozen=True):
    """The machine, the versions and the state of the code."""

    cpu: str
    cores: int
    memory_gb: float
    kernel: str
    file_system: str  # of the database
    python: str
    postgresql: str
    commit: str


def describe(folder: Path, postgresql: str) -> Machine:
    """This machine; `folder` is where the database lies."""
    return Machine(
        cpu=cpu_model(),
        cores=os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        kernel=f"{platform.system()} {platform.release()}",
        file_system=file_system_of(folder),
        python=platform.python_version(),
        postgresql=postgresql,
        commit=commit(),
    )


def cpu_model() -> str:
    """The name the processor gives itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def file_system_of(folder: Path) -> str:
    """The kind of file system a folder lies on: ext4, xfs, tmpfs, ..."""
    best, kind = "", "unknown"
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return kind
    for line in mounts:
        _, mounted, found, *_ = line.split()
        if folder.resolve().is_relative_to(mounted) and len(mounted) >= len(best):
            best, kind = mounted, found
    return kind


def check_on_disk(folder: Path) -> None:
    """A figure without a disk is no figure. Raises `NotOnDisk`."""
    kind = file_system_of(folder)
    if kind in NOT_DISKS:
        raise NotOnDisk(f"{folder} is on {kind}: name a folder on a disk by --folder.")


def commit() -> str:
    """The commit that is checked out; with a plus where files differ from it."""
    known = git("rev-parse", "--short=12", "HEAD")
    if not known:
        return "unknown"
    return known + ("+" if git("status", "--porcelain", "--", "src", "benchmarks") else "")


def git(*arguments: str) -> str:
    """What git says; nothing where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
