"""What travels: events (facts in the past tense) and commands (requests in the imperative).

An event is announced by one context about one *subject* (an aggregate's id) and carries the
aggregate's version as its ``sequence``: 1..n per source and subject, without gaps. Structs are
frozen and carry a type ``<context>.<event>.v<n>``; a new field has a default; nothing is ever
renamed.
"""

import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

from msgspec import Struct

from tradewind.kernel.answers import Answer, Idempotency
from tradewind.kernel.audit import Audited, Change
from tradewind.kernel.problems import Problem

# Partitions per topic. The hash of the key places an event; changing the number moves keys.
PARTITIONS = 16


class Event(Struct, frozen=True, kw_only=True):
    """A fact that one context announces. Subclasses say which field is the subject."""

    type: ClassVar[str]  # "orders.order_placed.v1"

    sequence: int

    @property
    def subject(self) -> str:
        """The id of the aggregate the fact is about."""
        raise NotImplementedError

    @property
    def key(self) -> str:
        """What orders delivery: events with one key are handled in the order of the log."""
        return self.subject


class Command(Struct, frozen=True, kw_only=True):
    """A request that one context accepts. It may be refused with a `Problem`."""

    # Whether its commit waits for the disk. False: nobody is told of it before something later is
    # on the disk, and if a crash undoes it, whoever asked asks again.
    durable: ClassVar[bool] = True
    # Whether it begins something that many consumers go on with: then it waits in its queue while
    # one of them is behind, so that what was begun is finished first.
    begins: ClassVar[bool] = False
    # Whether a request that submits it is recorded by it. False: one of many that one request
    # makes, of which another is recorded.
    recorded: ClassVar[bool] = True

    # Under which key it came, where it may be sent twice: then its outcome is an `Answer`
    # (kept, and replayed to a twin) or `Pending` (the answer follows with a later decision).
    idempotency: Idempotency | None = None
    trace: str | None = None
    # Who is answerable for it, where that is recorded: an entry is made in the commit that does it.
    audit: Audited | None = None


class Delivered(Struct, frozen=True):
    """An event as a consumer reads it from the log, with where and when it was written."""

    source: str
    type: str
    subject: str
    sequence: int
    at: datetime
    partition: int
    position: "Position"
    key: str
    event: Event | None  # None: no context in this process knows the type
    trace: str | None = None

    @property
    def id(self) -> str:
        """The CloudEvents id: unique per source, and the same however often it is sent."""
        return event_id(self.subject, self.sequence)

    @property
    def reference(self) -> str:
        """Source and id in one: what an event names as its cause."""
        return f"{self.source}/{self.id}"


def event_id(subject: str, sequence: int) -> str:
    """The CloudEvents id of a fact."""
    return f"evt_{subject}.{sequence}"


class Position(Struct, frozen=True, order=True, array_like=True):
    """A place in the log: (transaction, number). Below the horizon nothing is added behind it."""

    xid: int
    number: int


START = Position(0, 0)


class TimerSet(Struct, frozen=True, kw_only=True):
    """Wake a handler later: at `due_at`, `event` is delivered to its listeners through the log."""

    name: str  # unique per key; setting it again moves it
    key: str
    due_at: datetime
    event: Event


class TimerDropped(Struct, frozen=True, kw_only=True):
    """Forget a timer that was set; nothing happens if it is gone already."""

    name: str
    key: str


ReconciledCase = Literal[
    "lost_authorise",  # a process went away with the call under way
    "lost_capture",
    "lost_void",
    "lost_refund",
    "unknown_outcome",  # it was in doubt what the provider had done; now it is known
    "overdue_order",  # lost on its way to a decision
    "orphaned_record",  # of the vault, for a request that came to nothing
    "queued_mail",  # whoever was to send it went away
]


class Reconciled(Struct, frozen=True, kw_only=True):
    """Something that a process left behind, and that is settled, or taken up again, by a sweep."""

    case: ReconciledCase
    id: str  # of what was left: an operation's key, a message, a record
    order_id: str | None = None


class Decision(Struct, frozen=True, kw_only=True):
    """What a handler decided for its batch. Rows, events, outcomes: all commit or none does.

    `outcomes` has one entry per command, in order: a value (accepted) or a `Problem`; for events it
    is left empty. `answers` settle what was `Pending`, by resource. `signals` go to the listeners
    of this process after the commit; they are hints, lost in a crash: whatever they start must also
    be found by a sweep. `changes` say what commands did, by their place in the batch, for the
    audit; a command without one is recorded by its request alone.
    """

    events: Sequence[Event] = ()
    outcomes: Sequence[Any] = ()
    answers: Mapping[str, Answer | Problem] = {}
    # What led to the events of a key, where that was no event: a request, an operation, the clock.
    causes: Mapping[str, str] = {}
    timers: Sequence[TimerSet | TimerDropped] = ()
    signals: Sequence[Any] = ()
    reconciled: Sequence[Reconciled] = ()  # each is counted and logged after the commit
    changes: Mapping[int, Change] = {}


NOTHING = Decision()


class Redraw(Struct, frozen=True):
    """Draw anew what comes after `after`, in the order of its ids; "" is before the first."""

    after: str


class Redrawn(Struct, frozen=True):
    """What a `Redraw` came to: go on after `after`; None: that was all."""

    after: str | None
    seen: int
    mended: int


def partition_of(key: str) -> int:
    """The partition of a key. Stable for ever: CRC-32 is the same on every machine and version."""
    return zlib.crc32(key.encode()) % PARTITIONS
