"""What a replay does, one thing at a time, and where each source line went."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from tradewind.samples.history.source import Part, SourceLine

# Orders are chains: each action of a chain waits for the one before it.
Kind = Literal["place", "cancel", "ship", "return", "credit", "move"]
Movement = Literal["write_off", "found", "given_away"]


class Place(Struct, frozen=True, kw_only=True):
    """Place one old invoice as an order."""

    name: str  # the invoice; of the second order that a very long one becomes, "573585/2"
    at: datetime
    day: str
    customer_ref: str
    country: str
    lines: tuple[Part, ...]
    fees: tuple[Part, ...]

    kind: Kind = "place"

    @property
    def order(self) -> str:
        """The chain it begins."""
        return self.name

    @property
    def parts(self) -> tuple[Part, ...]:
        """All source lines that the order stands for."""
        return self.lines + self.fees

    @property
    def total_minor(self) -> int:
        """What the order must cost: the sum of its rounded lines and fees."""
        return sum(part.total_minor for part in self.parts)


class Cancel(Struct, frozen=True, kw_only=True):
    """Call a whole order off on its own trading day: its units and its money go back."""

    order: str
    at: datetime
    day: str
    parts: tuple[Part, ...]  # of the cancellations that together take back everything

    kind: Kind = "cancel"

    @property
    def name(self) -> str:
        """There is one of an order."""
        return self.order


class Ship(Struct, frozen=True, kw_only=True):
    """Send an order's goods out, at the end of its trading day."""

    order: str
    at: datetime
    day: str

    kind: Kind = "ship"
    parts: tuple[Part, ...] = ()

    @property
    def name(self) -> str:
        """There is one of an order."""
        return self.order


class ReturnedLine(Struct, frozen=True):
    """Units of one line of an order (counted from 1) that come back, and the money for them."""

    number: int
    units: int
    refund_minor: int
    parts: tuple[Part, ...]


class Return(Struct, frozen=True, kw_only=True):
    """Goods of one shipped order come back by one cancellation, all of them to the shelf."""

    invoice: str  # of the cancellation
    order: str
    at: datetime
    day: str
    lines: tuple[ReturnedLine, ...]
    fees: tuple[Part, ...]  # fees of the order that go back with them
    fees_refund_minor: int

    kind: Kind = "return"

    @property
    def name(self) -> str:
        """One cancellation may take goods of several orders back."""
        return f"{self.invoice}>{self.order}"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The lines of the cancellation that it stands for."""
        return tuple(part for line in self.lines for part in line.parts) + self.fees

    @property
    def refund_minor(self) -> int:
        """What the customer gets."""
        return sum(line.refund_minor for line in self.lines) + self.fees_refund_minor


class Credit(Struct, frozen=True, kw_only=True):
    """Credit what belongs to no order that is known: a note of its own."""

    name: str  # the invoice; of the second note that a very long one becomes, "C573585/2"
    at: datetime
    day: str
    customer_ref: str
    country: str
    parts: tuple[Part, ...]

    kind: Kind = "credit"
    order: str = ""

    @property
    def total_minor(self) -> int:
        """What is credited, above zero."""
        return -sum(part.total_minor for part in self.parts)


class Move(Struct, frozen=True, kw_only=True):
    """Units that came or went without an order."""

    name: str  # invoice and line
    at: datetime
    day: str
    part: Part
    movement: Movement
    quantity: int  # as stock sees it: below zero they went

    kind: Kind = "move"
    order: str = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The one line it stands for."""
        return (self.part,)

    @property
    def reason(self) -> str:
        """In the words of the source, where there are any."""
        return self.part.line.words or self.movement.replace("_", " ")


Action = Place | Cancel | Ship | Return | Credit | Move


class Plan(Struct, frozen=True):
    """What the replay does, in the order of time, and what it leaves out and why.

    `days` are the trading days; units that come back on one are not counted on before the day
    after the next, so that as many actions as one likes may be under way within two days.
    """

    actions: tuple[Action, ...]
    left_out: dict[str, tuple[Part, ...]]
    source: tuple[SourceLine, ...]
    days: tuple[str, ...]
    unknown_countries: tuple[str, ...] = ()
