"""What this process committed and has not yet handed out.

The log is handed out in the order of transactions, and only where every earlier one has ended.
Transaction numbers are given without gaps: where this process committed all of those that follow
the cursor, nothing can stand between them, and their events need not be read at all. Where one is
missing - another process wrote, a unit was undone, the database did something of its own - the
reader looks which places stand below the horizon, and what this process announced itself it still
knows. Nothing hangs on it: an event that is not found here is read from the log.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from tradewind.kernel.messages import Delivered, Event, Position, partition_of
from tradewind.platform.bus.log import END_OF_XID, NO_CAUSE, Cause

# Units of work that have not come below the horizon yet: usually a handful.
UNITS_MAX = 2_000


class Announced(Struct, frozen=True):
    """The events of a committed unit, in the order in which they stand in the log."""

    source: str
    at: datetime
    events: Sequence[Event]
    causes: Mapping[str, Cause | Delivered]

    def at_places(self, places: Sequence[Position]) -> list[Delivered]:
        """The events as a consumer reads them."""
        messages: list[Delivered] = []
        for event, place in zip(self.events, places, strict=True):
            key = event.key
            messages.append(
                Delivered(
                    source=self.source,
                    type=event.type,
                    subject=event.subject,
                    sequence=event.sequence,
                    at=self.at,
                    partition=partition_of(key),
                    position=place,
                    key=key,
                    event=event,
                    trace=self.causes.get(key, NO_CAUSE).trace,
                )
            )
        return messages


class Recent:
    """Committed units by their xid, until their events have been handed out."""

    def __init__(self) -> None:
        # None: it announced nothing, but its number is accounted for.
        self._units: OrderedDict[int, Announced | None] = OrderedDict()

    def __bool__(self) -> bool:
        """Whether any event is known. A process that only listens commits offsets, and no events:
        where those stand in the log is of no use to it.
        """
        return any(announced is not None for announced in self._units.values())

    def put(self, xid: int, announced: Announced | None) -> None:
        """Remember a unit of this life of the server."""
        self._units[xid] = announced
        if len(self._units) > UNITS_MAX:
            self._units.popitem(last=False)

    def after(self, cursor: Position) -> tuple[list[Delivered], Position]:
        """The events of all units that follow the cursor without a gap, and the place behind."""
        found: list[Delivered] = []
        if cursor.number != END_OF_XID:
            return found, cursor  # in the middle of a transaction: the log has the rest of it
        xid = cursor.xid
        while (following := xid + 1) in self._units:
            xid = following
            announced = self._units.pop(xid)
            if announced is not None:
                places = [Position(xid, n) for n in range(1, len(announced.events) + 1)]
                found += announced.at_places(places)
        return found, Position(xid, END_OF_XID) if xid > cursor.xid else cursor

    def take(self, xid: int, places: Sequence[Position]) -> list[Delivered] | None:
        """The events that stand at these places of a transaction; None: not known here."""
        announced = self._units.pop(xid, None)
        if announced is None or len(announced.events) != len(places):
            return None
        return announced.at_places(places)

    def drop(self, xid: int) -> None:
        """Forget what stands at or before a transaction: it has been handed out."""
        for known in [known for known in self._units if known <= xid]:
            del self._units[known]

    def forget(self) -> None:
        """Believe nothing any more."""
        self._units.clear()
