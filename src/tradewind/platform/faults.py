"""Places at which a check may end this process: between two steps that a crash must not part.

A place costs one comparison while no check runs. Where the setting `faults` names a folder, a file
in it with the name of a place is a trap: the first process that comes by takes it away and kills
itself, as `kill -9` would. So exactly one dies for each trap, and whoever laid it sees that.
"""

import os
import signal
from pathlib import Path

# Every place, and what a process has done and not yet done there.
PLACES = {
    "command-committed": "a command is committed, its caller not answered",
    "decision-committed": "an order is decided and committed, who waits for it not answered",
    "call-committed": "a call to the provider is committed, and not made",
    "provider-answered": "the provider answered, and nothing is recorded",
    "batch-committed": "a consumer's batch and its mark are committed, this process does not know",
    "feed-numbered": "events have their numbers, the sequencer's mark is not committed",
}

# The same on the way of a segment of the log to its file, which no order passes.
PLACES_OF_UPKEEP = {
    "segment-half-written": "a segment's file has no name yet",
    "segment-written": "a segment's file is whole, the database does not know",
    "segment-noted": "the database knows the file, the segment is still there",
    "segment-dropping": "the segment is dropped, and that is not committed",
}

_folder: Path | None = None


def switch_on(folder: str | None) -> None:
    """Look for traps in this folder from now on; None: never."""
    global _folder
    _folder = None if folder is None else Path(folder)


def passing(place: str) -> None:
    """Die here if a trap was laid."""
    if _folder is not None:
        spring(_folder / place)


def spring(trap: Path) -> None:
    """Take the trap away and die; do neither where there is none, or another was faster."""
    try:
        trap.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
