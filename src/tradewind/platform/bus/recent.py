"""What this process announced and has not yet read back.

The reader follows the log by places below the horizon, whoever wrote there. Of what this very
process committed it knows the events: their rows need not be fetched, and their texts not be
decoded. Nothing hangs on it: an event that is not found here is read from the log.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from tradewind.kernel.messages import Delivered, Event, Position, partition_of
from tradewind.platform.bus.log import NO_CAUSE, Cause

# Units of work whose events have not come below the horizon yet: usually a handful.
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
    """Committed units by their xid, until the reader has found them."""

    def __init__(self) -> None:
        self._units: OrderedDict[int, Announced] = OrderedDict()
        # A server that crashed may give a transaction number again. Whoever began before `forget`
        # must not put anything in after it.
        self.generation = 0

    def __bool__(self) -> bool:
        return bool(self._units)

    def put(self, xid: int, announced: Announced, generation: int) -> None:
        """Remember a unit that began in this generation."""
        if generation == self.generation:
            self._units[xid] = announced
            if len(self._units) > UNITS_MAX:
                self._units.popitem(last=False)

    def take(self, xid: int, places: Sequence[Position]) -> list[Delivered] | None:
        """The events that stand at these places of a transaction; None: not known here."""
        announced = self._units.pop(xid, None)
        if announced is None or len(announced.events) != len(places):
            return None
        return announced.at_places(places)

    def forget(self) -> None:
        """Believe nothing any more."""
        self._units.clear()
        self.generation += 1
