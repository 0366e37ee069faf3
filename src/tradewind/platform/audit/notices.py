"""What was refused, told once: floods are counted, not written line by line.

The first refusal of a kind is written within a second; what follows of the same kind is counted for
a minute and written as one. So who asks a million times leaves some entries a minute, not a
million, and the refusals themselves never touch the database.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

from tradewind.kernel.ids import new_id
from tradewind.platform.audit.entries import Entry, side

WINDOW = timedelta(seconds=60)
# Of different ones in a minute; the rest is told as one. At 1,000 a minute and process the record
# grows by some 300 MB a day under attack, and no faster.
KINDS_MAX = 1_000
REST = "*"


class Kind(Struct, frozen=True):
    """What makes refusals alike."""

    notice: str
    operation: str
    principal: str
    address: str


class Flood:
    """Refusals of one kind."""

    __slots__ = ("count", "due", "first_at", "last_at", "trace")

    def __init__(self, now: datetime, trace: str) -> None:
        self.count = 0
        self.due = now
        self.first_at = self.last_at = now
        self.trace = trace


class Notices:
    """Counts what is refused in this process."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._floods: dict[Kind, Flood] = {}

    def note(self, kind: Kind, trace: str) -> None:
        """Something of this kind was refused. Costs a look into a table."""
        now = self._now()
        flood = self._floods.get(kind)
        if flood is None:
            if len(self._floods) >= KINDS_MAX:
                kind = Kind(kind.notice, REST, REST, REST)
                flood = self._floods.get(kind)
            if flood is None:
                flood = self._floods[kind] = Flood(now, trace)
        if not flood.count:
            flood.first_at, flood.trace = now, trace
        flood.count += 1
        flood.last_at = now

    def take(self, *, all_of_them: bool = False) -> list[Entry]:
        """What is to be written now; all of it where the process ends."""
        now = self._now()
        entries = []
        for kind, flood in list(self._floods.items()):
            if flood.due > now and not all_of_them:
                continue
            if not flood.count:
                del self._floods[kind]
                continue
            entries.append(entry(kind, flood))
            flood.count = 0
            flood.due = now + WINDOW
        return entries


def entry(kind: Kind, flood: Flood) -> Entry:
    """What is written of a flood."""
    times = {
        "count": flood.count,
        "first_at": flood.first_at.isoformat(),
        "last_at": flood.last_at.isoformat(),
    }
    return Entry(
        entry_id=new_id("aud"),
        at=flood.last_at,
        kind="notice",
        operation=kind.operation,
        notice=kind.notice,
        principal=kind.principal,
        object="",
        address=kind.address,
        trace=flood.trace,
        reason="",
        after=side(times),
    )
