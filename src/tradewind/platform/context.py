"""What a bounded context declares, as data. To know what a context does, read its `context.py`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from msgspec import Struct

from tradewind.kernel.messages import Command, Decision, Event
from tradewind.platform.cache.memory import Memory, Seen
from tradewind.platform.database.transaction import Snapshot, Transaction
from tradewind.platform.gateway.routing import Route
from tradewind.platform.node import Node
from tradewind.platform.vault.personal import Personal

# So many messages in one unit of work: locks are held shortly, one bad batch costs little.
BATCH_MAX = 128

Handler = Callable[[Transaction, Sequence[Any]], Awaitable[Decision]]


class Consumer(Struct, frozen=True, kw_only=True):
    """A handler that listens to the log, with its own place in it.

    One consumer sees all its events in the order of the log (per key), mixed: a context folds them
    in that order. Its full name is ``<context>.<name>``; renaming it starts it from the beginning.
    """

    name: str
    handler: Handler
    events: tuple[type[Event], ...]
    # Those of the events that nobody waits for: they let others join them for a moment, and so
    # cost a fraction. An event that is not among them takes all with it at once.
    patient: tuple[type[Event], ...] = ()
    batch_max: int = BATCH_MAX


class Sweep(Struct, frozen=True, kw_only=True):
    """Work that time brings: runs every `every_s`, in every process, until it finds nothing.

    Several may run it at once, so it claims what it finds by a guarded write.
    """

    name: str
    every_s: float
    handler: Callable[[Transaction], Awaitable[Decision]]


class Projection(Struct, frozen=True, kw_only=True):
    """A table that the events explain in full: `tradewind rebuild` makes it again from the log.

    Only one consumer writes it, and the newest event about a subject says all rows of that subject.
    """

    table: str  # "orders.offers": also its name for those who rebuild it
    consumer: str  # of the same context
    event: type[Event]
    column: str  # says whose a row is: which subject's
    whose: Callable[[Any], str]  # what stands in it, by an event about that subject
    key: tuple[str, ...]  # the columns of the primary key
    rows: Callable[[Any], Sequence[Mapping[str, Any]]]  # of one event


class Redrawing(Struct, frozen=True, kw_only=True):
    """What is drawn from rows of the same context, some at a time: `tradewind rebuild` redraws it.

    The handler is given one `Redraw`; its outcome is a `Redrawn`.
    """

    name: str  # "catalog.documents"
    handler: Handler


InUse = Callable[[Snapshot, Sequence[str]], Awaitable[set[str]]]
Reading = Callable[[], AbstractAsyncContextManager[Snapshot]]
Changes = Callable[[Snapshot, str | None], Awaitable[Seen]]
Listener = Callable[[Node, Sequence[Any]], Awaitable[None]]


class Context(Struct, frozen=True, kw_only=True):
    """A bounded context: its schema, role, topic and everything that runs in it."""

    name: str
    topic: str  # "order-events": where its events stand
    announces: tuple[type[Event], ...]
    migrations: Path
    routes: tuple[Route, ...] = ()
    commands: Mapping[type[Command], Handler] = {}
    consumers: tuple[Consumer, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    projections: tuple[Projection, ...] = ()
    redrawings: tuple[Redrawing, ...] = ()
    # By type of signal: what this process starts after a commit (calls to third parties).
    clients: Mapping[type[Struct], Listener] = {}
    # Run once in a thread when the process serves: loads what a start need not wait for.
    warm_up: Callable[[], None] | None = None
    # What changed since a place that it gave before (None: from now on). With it, answers of open
    # routes that say what they depend on are remembered by each web process.
    changes: Changes | None = None
    # Run once when the process serves: loads what shall be in that memory from the start.
    make_ready: Callable[[Memory, Reading], Awaitable[None]] | None = None
    # Which of these records of the vault it still points to; the others are swept as orphans.
    persons_in_use: InUse | None = None
    # What it knows of a person: for exports, for erasure, and for who writes about an order.
    personal: Personal | None = None

    @property
    def role(self) -> str:
        """The database role that owns nothing and may touch this context's schema only."""
        return f"tradewind_{self.name}"
