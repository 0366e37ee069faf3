"""Run a program as somebody who is not root, because PostgreSQL refuses to be root.

Two ways, tried in this order when we are root:

* ``namespace``: a user namespace in which root carries an ordinary number. Files stay root's, any
  folder works, nothing is left behind.
* ``switch``: another user id, with the right to pass through folders it does not own (the program
  may be installed below a private home). The data folder is handed over to that user.

This file is also the launcher itself: it is run by path, isolated, as
``python -I -S ordinary_user.py WAY UID GID PROGRAM ARGUMENTS...``, so it imports nothing of ours.
"""

import ctypes
import os
import pwd
import subprocess
import sys
from pathlib import Path

NAMESPACE = "namespace"
SWITCH = "switch"

CLONE_NEWUSER = 0x10000000
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522
# What the id is called inside the namespace does not matter, but initdb wants a name for it.
PREFERRED_UIDS = (1000, 1, 2)
NOBODY = 65_534


class NoOrdinaryUser(Exception):
    """Nobody but root can be had here; the text says what was tried."""


def named_uid() -> int:
    """A user id that is not root's and has a name on this machine."""
    known = {entry.pw_uid for entry in pwd.getpwall()} - {0}
    for uid in (*PREFERRED_UIDS, *sorted(known)):
        if uid in known:
            return uid
    raise NoOrdinaryUser("this machine knows no user but root")


def switch_uid() -> int:
    """The user that owns the data folder where namespaces are forbidden."""
    known = {entry.pw_uid: entry.pw_name for entry in pwd.getpwall()}
    for uid, name in known.items():
        if name in ("postgres", "tradewind"):
            return uid
    return NOBODY if NOBODY in known else named_uid()


def prefix(way: str, uid: int, gid: int) -> list[str]:
    """What to put before a command so that it runs in that way."""
    return [sys.executable, "-I", "-S", __file__, way, str(uid), str(gid)]


def refusal(way: str, uid: int, gid: int, program: Path) -> str | None:
    """Why `program` cannot run in that way, or None when it can."""
    probe = subprocess.run(
        [*prefix(way, uid, gid), str(program), "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    if probe.returncode == 0:
        return None
    lines = probe.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {probe.returncode}"


def hand_over(folder: Path, uid: int, gid: int) -> None:
    """Make everything in `folder` belong to that user."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)


class CapabilityHeader(ctypes.Structure):
    """The first argument of ``capset``."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapabilityData(ctypes.Structure):
    """The second argument of ``capset``, twice: capabilities 0-31, and the rest."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def enter_namespace(uid: int, gid: int) -> None:
    """Leave root for a namespace in which we are `uid` and own what root owns."""
    own_uid, own_gid = os.geteuid(), os.getegid()
    check(library().unshare(CLONE_NEWUSER), "user namespaces are not allowed here")
    # Before a group is mapped, the kernel wants the promise that none will be added.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {own_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {own_gid} 1")


def switch_user(uid: int, gid: int) -> None:
    """Become `uid`, keeping nothing of root but the right to pass through its folders."""
    libc = library()
    check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "capabilities cannot be kept")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    kept = 1 << CAP_DAC_OVERRIDE
    header = CapabilityHeader(CAPABILITY_VERSION_3, 0)
    data = (CapabilityData * 2)(CapabilityData(kept, kept, kept), CapabilityData(0, 0, 0))
    check(libc.capset(ctypes.byref(header), data), "the right to pass folders cannot be kept")
    check(
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0),
        "the right to pass folders cannot be handed on",
    )


def library() -> ctypes.CDLL:
    """The C library, remembering errors."""
    return ctypes.CDLL(None, use_errno=True)


def check(result: int, complaint: str) -> None:
    """Raise when a call into the C library failed."""
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{complaint} ({os.strerror(ctypes.get_errno())})")


def launch(arguments: list[str]) -> None:
    """Become an ordinary user and then the program; returns only by an exception."""
    way, uid, gid, *command = arguments
    become = enter_namespace if way == NAMESPACE else switch_user
    become(int(uid), int(gid))
    os.execv(command[0], command)


if __name__ == "__main__":
    try:
        launch(sys.argv[1:])
    except OSError as error:
        sys.exit(f"{error.strerror or error}")
