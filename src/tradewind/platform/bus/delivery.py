"""One unit of work: load, decide, save. The only place where anything is committed."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct, structs
from prometheus_client import Histogram

from tradewind.kernel.answers import Pending, Settled
from tradewind.kernel.messages import Decision, Delivered, Position
from tradewind.platform.audit import entries
from tradewind.platform.bus import idempotency, log, timers
from tradewind.platform.bus.log import Cause
from tradewind.platform.bus.recent import Announced
from tradewind.platform.database.clock import Clock
from tradewind.platform.database.known_rows import KnownRows
from tradewind.platform.database.pool import Pool
from tradewind.platform.database.session import SessionEnded
from tradewind.platform.database.transaction import LeaseLost as LeaseLost
from tradewind.platform.database.transaction import StaleRead, Transaction
from tradewind.platform.settings import Settings
from tradewind.platform.telemetry import metrics

Handler = Callable[[Transaction, Sequence[Any]], Awaitable[Decision]]

# A guarded write that met a faster twin is decided again at once. Each round one of the rivals has
# won, so this many rounds in a row mean as many rivals on one aggregate; then the batch is split.
STALE_ROUNDS_MAX = 8

# Faults that pass: nothing is wrong with the message, so it is never a dead letter.
PASSING = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DiskFullError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    ConnectionError,
    OSError,
    TimeoutError,
)


class Fence(Struct, frozen=True):
    """Which offsets a unit moves, and that they are still where, and whose, they were."""

    consumer: str
    partitions: Sequence[int]
    before: Sequence[Position]
    after: Sequence[Position]
    epochs: Sequence[int]


class Done(Struct, frozen=True):
    """A committed unit of work."""

    xid: int
    decision: Decision
    partitions: frozenset[int]
    announced: Announced | None
    life: int  # of the server, as far as it is known: see `Pool.bear_witness`
    answers: Mapping[str, Settled]
    settled: Mapping[int, Settled]


class Pace:
    """How long a unit of work takes at present: waiting for company is measured by it.

    On a busy machine everything takes longer, also the way of those who are waited for.
    """

    __slots__ = ("unit_s",)

    def __init__(self) -> None:
        self.unit_s = 0.008

    def took(self, seconds: float) -> None:
        """A unit was committed: the last dozen count."""
        self.unit_s += (seconds - self.unit_s) / 12


class Workplace(Struct, kw_only=True):
    """What every unit of work of this process needs."""

    pool: Pool
    clock: Clock
    settings: Settings
    committed: Callable[[Done], None]  # told after every commit: doorbells, waiting requests
    known: KnownRows = msgspec.field(default_factory=KnownRows)
    pace: Pace = msgspec.field(default_factory=Pace)
    bells: tuple[str, ...] = ()  # channels to ring with a commit, while other processes live


class Unit(Struct, frozen=True, kw_only=True):
    """What to run: whose handler, on which messages, under which fence."""

    context: str  # names the schema, the role and the source of the events
    handler: Handler
    messages: Sequence[Any]
    causes: Mapping[str, Cause | Delivered] = {}  # by key, what led to the events of that key
    fence: Fence | None = None
    life: int = 0  # of the server, in which the messages were read; 0: in that of today
    # Whether the commit always waits for the disk; else only where something leaves with it.
    durable: bool = True
    keyed: bool = False  # messages are commands, some with idempotency keys
    audited: bool = False  # messages are commands, some of which go on record
    anew: bool = False  # tried before, and came too late
    name: str = ""  # whose figures it counts among
    extra: Callable[[Transaction], None] | None = None  # more writes for the same commit
    expected: Callable[[str, str], None] | None = None  # told of what stays pending, before it is


async def run(workplace: Workplace, unit: Unit) -> Done:
    """Run a unit until it commits or fails for good; a stale read is decided anew.

    Raises what the handler raised, `LeaseLost`, or a database error; then nothing happened.
    """
    for round_ in range(STALE_ROUNDS_MAX):
        began = time.perf_counter()
        try:
            done = await attempt(workplace, unit)
        except StaleRead:
            metrics.BATCH_RETRIES.labels(unit.name, "stale").inc()
            await asyncio.sleep(random.uniform(0, 0.002 * round_))
            unit = structs.replace(unit, anew=True)
            continue
        if unit.name:
            taken_s = time.perf_counter() - began
            workplace.pace.took(taken_s)
            size, seconds = figures_of(unit.name)
            size.observe(len(unit.messages))
            seconds.observe(taken_s)
        workplace.committed(done)
        return done
    raise StaleRead(f"{unit.context}: {STALE_ROUNDS_MAX} rounds and always too late")


@lru_cache(maxsize=1_000)
def figures_of(name: str) -> tuple[Histogram, Histogram]:
    """Sizes and seconds of a kind of unit; asking the registry costs more than counting."""
    return metrics.BATCH_SIZE.labels(name), metrics.BATCH_SECONDS.labels(name)


async def attempt(workplace: Workplace, unit: Unit) -> Done:
    """One try: the handler's reads, its decision, and everything it changes in one statement."""
    async with workplace.pool.lend(f"tradewind_{unit.context}") as connection:
        life, known = workplace.pool.life_of(connection), workplace.known
        if unit.fence is not None and life != (unit.life or workplace.pool.witness):
            # The server may have crashed, and lost what these messages are about.
            raise SessionEnded("the messages were read in another life of the server, perhaps")
        tx = Transaction(
            connection,
            workplace.clock.now(),
            workplace.settings,
            anew=unit.anew,
            known=known if known.believes(life) else None,
        )
        try:
            decision = await unit.handler(tx, unit.messages)
        except PASSING:
            raise
        except Exception as error:
            if not tx.recalled:
                raise
            # Perhaps the rows are no longer so; what fails on rows that were read is a fault.
            known.forget(tx.recalled)
            raise StaleRead(f"failed on rows known from memory: {error!r}") from error
        if tx.unproven:
            known.forget(tx.unproven)
            raise StaleRead(f"{len(tx.unproven)} rows were known from memory only")
        settled: Mapping[int, Settled] = {}
        answers: Mapping[str, Settled] = {}
        partitions: frozenset[int] = frozenset()
        announced: Announced | None = None
        if unit.keyed:
            settled = idempotency.keep(tx, unit.context, unit.messages, decision.outcomes)
        if unit.audited:
            entries.write(tx, entries.of_unit(unit.messages, decision, tx.now))
        for outcome in decision.outcomes:
            if unit.expected is not None and isinstance(outcome, Pending):
                unit.expected(outcome.resource, unit.context)
        if decision.answers:
            answers = idempotency.settle(tx, unit.context, decision.answers)
        if decision.events:
            causes = unit.causes
            if decision.causes:
                causes = {**causes}
                for key, what in decision.causes.items():
                    causes[key] = Cause(what, causes[key].trace if key in causes else None)
            partitions = log.append(tx, unit.context, decision.events, causes)
            announced = Announced(unit.context, tx.now, decision.events, causes)
        if decision.timers:
            timers.write(tx, unit.context, decision.timers)
        if unit.extra is not None:
            unit.extra(tx)
        if unit.fence is not None:
            move(tx, unit.fence)
        ring = workplace.bells if decision.events or answers else ()
        # What a caller is told, or a third party is asked for, must outlive a crash. The rest may
        # be lost with the last instants of a crashed server: whoever did it does it again.
        lazy = not (unit.durable or answers or decision.signals)
        try:
            xid = await tx.send(ring=ring, lazy=lazy)
        except BaseException:
            known.forget([*tx.recalled, *tx.remembered])
            raise
        known.keep(tx.remembered, life)
    return Done(xid, decision, partitions, announced, life, answers, settled)


# Served by the primary key. HOT: the offsets' page is never full.
MOVE = """
    UPDATE bus.offsets o SET xid = m.xid::text::xid8, number = m.number
      FROM unnest($2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                  $7::bigint[]) AS m (partition, xid_before, number_before, epoch, xid, number)
     WHERE o.consumer = $1 AND o.partition = m.partition AND o.epoch = m.epoch
       AND o.xid = m.xid_before::text::xid8 AND o.number = m.number_before
"""


def move(tx: Transaction, fence: Fence) -> None:
    """Queue the consumer's advance: compare and swap, epoch included."""
    tx.write(
        MOVE,
        fence.consumer,
        list(fence.partitions),
        [position.xid for position in fence.before],
        [position.number for position in fence.before],
        list(fence.epochs),
        [position.xid for position in fence.after],
        [position.number for position in fence.after],
        expect=len(fence.partitions),
        guard="fence",
    )


def is_conflict(fault: BaseException) -> bool:
    """Whether a fault is about who else ran, so that smaller batches meet less."""
    return getattr(fault, "sqlstate", "") in ("40P01", "40001", "55P03")
