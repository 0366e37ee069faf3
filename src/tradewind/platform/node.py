"""A running process of the platform: its database, log, queues, vault and secrets in one place.

The node knows no context. It is told which handlers stand behind which commands, which consumers,
sweeps and clients it runs, and does the rest: `app.py` is the only caller of `Node(...)`.
"""

import asyncio
import contextvars
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from tradewind.kernel.audit import Audited
from tradewind.kernel.messages import Command, Decision, Event, Position
from tradewind.kernel.problems import Problem
from tradewind.platform import faults
from tradewind.platform.audit.record import Record, write_with
from tradewind.platform.audit.sealer import SEALED_EVERY_S
from tradewind.platform.bus import dead_letters, delivery, feed, timers, watch, whole_log
from tradewind.platform.bus.answers import WaitingRoom
from tradewind.platform.bus.batcher import Batcher
from tradewind.platform.bus.consumer import Work
from tradewind.platform.bus.dead_letters import DeadLetter
from tradewind.platform.bus.delivery import Done, Handler, Unit, Workplace
from tradewind.platform.bus.log import END_OF_XID, Vocabulary
from tradewind.platform.bus.members import ANSWERS_CHANNEL, LOG_CHANNEL, Members
from tradewind.platform.bus.passing import Passing
from tradewind.platform.bus.reader import Reader
from tradewind.platform.bus.segments import archive_folder
from tradewind.platform.bus.segments import upkeep as keep_segments
from tradewind.platform.database.clock import Clock
from tradewind.platform.database.databases import Databases
from tradewind.platform.database.disk import Disk
from tradewind.platform.database.transaction import Snapshot, Transaction
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.settings import Settings
from tradewind.platform.telemetry import logs, reconciled
from tradewind.platform.vault.personal import Personal
from tradewind.platform.vault.sweeping import sweep_vault
from tradewind.platform.vault.transit import masters_of
from tradewind.platform.vault.vault import Vault

logger = logs.get(__name__)

TIMERS_PUMPED_EVERY_S = 0.5
ORPHANS_SWEPT_EVERY_S = 600.0
# The units of work of this request's commands. See `caught_up`.
WRITTEN: contextvars.ContextVar[list[Done] | None] = contextvars.ContextVar(
    "tradewind_written", default=None
)
CAUGHT_UP_LOOK_S = 0.01
# Events that may wait for all consumers here before nothing new is begun. An order is one event
# on its way and three after its decision: enough for full batches everywhere (the best rate is
# reached with a hundred orders under way), few enough that what was begun is decided in a second.
EVENTS_BEHIND_MAX = 512
# Requests that may wait for a decision before nothing new is begun: with more of them under way
# each waits longer, and those that nobody can wait for any more are a flush and a read each.
UNDECIDED_MAX = 512
# A commit that waits for the disk takes every earlier one of the server with it.
FLUSH = "SELECT pg_logical_emit_message(true, 'tradewind', '')"


class CommandPlan(Struct, frozen=True):
    """Who decides a kind of command."""

    command: type[Command]
    context: str
    handler: Handler


class ConsumerPlan(Struct, frozen=True):
    """A consumer this process runs."""

    context: str
    name: str
    handler: Handler
    events: tuple[type[Event], ...]
    batch_max: int
    patient: tuple[type[Event], ...] = ()


class SweepPlan(Struct, frozen=True):
    """Work that time brings."""

    context: str
    name: str
    every_s: float
    handler: Callable[[Transaction], Awaitable[Decision]]


class Plan(Struct, frozen=True, kw_only=True):
    """Everything a node runs, put together by the composition root."""

    commands: Sequence[CommandPlan]
    consumers: Sequence[ConsumerPlan]
    sweeps: Sequence[SweepPlan]
    clients: Mapping[type[Struct], Callable[["Node", Sequence[Any]], Awaitable[None]]]
    announced: Sequence[type[Event]]  # public: they reach the feed
    sources: Mapping[str, tuple[str, ...]]  # topic -> sources
    # context -> which records of the vault it still points to
    persons_in_use: Mapping[str, Callable[[Snapshot, Sequence[str]], Awaitable[set[str]]]] = {}
    personal: Mapping[str, Personal] = {}  # context -> what it knows of a person
    sequences: bool = True  # may number the feed
    listens: Mapping[str, frozenset[str]] = {}  # consumer, here or elsewhere -> its types


class Node:
    """A process at work. `start()` it, `submit` commands, `reading()` for queries, `stop()` it."""

    def __init__(self, settings: Settings, plan: Plan, *, dsn: str, secrets: Secrets) -> None:
        self.settings = settings
        self.plan = plan
        self.secrets = secrets
        self.clock = Clock()
        # Three have a session of their own: members, the reader of the log, the memory of answers.
        self.databases = Databases(settings, dsn, connections_max=settings.connections_max - 3)
        self.pool = self.databases.home
        self.disk = Disk(settings.home / "postgres", reserve_mb=settings.disk_reserve_mb)
        self.vault = Vault(
            self.databases.of("vault"),
            secrets,
            masters=masters_of(settings, secrets),
            queue_max=settings.batch_queue_max,
            wrote=self._wrote_apart,
        )
        self.audit = Record(self.pool, self.clock, secrets, settings)
        self.answers = WaitingRoom(
            self.pool, waiting_max=settings.waiting_max, alone=lambda: self.members.alone
        )
        self.workplace = Workplace(
            pool=self.pool, clock=self.clock, settings=settings, committed=self._committed
        )
        self.vocabulary = Vocabulary(
            [*plan.announced, *(event for c in plan.consumers for event in c.events)]
        )
        self.works = [self._work(c) for c in plan.consumers]
        self.works += [self._sequencer()] if plan.sequences else []
        self.reader = Reader(
            self.pool, self.vocabulary, self.works, poll_floor_s=settings.poll_floor_ms / 1000
        )
        self.members = Members(
            self.pool,
            self.clock,
            self.works,
            lease_s=settings.lease_s,
            heard=self._heard,
            passed=self.reader.passed,
        )
        self.batchers = {
            c.command: Batcher(
                context=c.context,
                handler=c.handler,
                workplace=self.workplace,
                room=self.answers,
                queue_max=settings.batch_queue_max,
                crowded=self.crowded,
            )
            for c in plan.commands
        }
        self.reader.lost = self.members.hurry.set
        for work in self.works:
            work.lost = self.members.hurry.set
        self.passing = Passing(self.databases, plan.listens)
        self.ready = False
        self._tasks: list[asyncio.Task[None]] = []
        self._client_tasks: set[asyncio.Task[None]] = set()

    def _work(self, plan: ConsumerPlan) -> Work:
        return Work(
            context=plan.context,
            name=plan.name,
            handler=plan.handler,
            events=plan.events,
            workplace=self.workplace,
            batch_max=plan.batch_max,
            patient=plan.patient,
        )

    def _sequencer(self) -> Work:
        return Work(
            context="bus",
            name=feed.SEQUENCER,
            handler=feed.number,
            events=None,  # whatever stands between the first and the last of a batch is numbered
            workplace=self.workplace,
            batch_max=feed.BATCH_MAX,
            patient=None,
            durable=True,
            whole=True,
            raw=True,
        )

    # -- life

    async def start(self) -> None:
        """Join the others and begin to work; returns when commands can be taken."""
        await self.members.join()
        self.disk.look()
        self._spawn("disk", self.disk.run())
        self._spawn("members", self.members.run())
        self._spawn("reader", self.reader.run())
        self._spawn("answers", self.answers.run())
        self._spawn("timers", self._pump_timers())
        self._spawn("retries", self._retry_dead_letters())
        self._spawn("orphans", self._sweep_orphans())
        self._spawn("watch", self._watch())
        self._spawn("audit", self.audit.run())
        self._spawn("segments", keep_segments(self.pool, self.settings))
        for work in self.works:
            self._spawn(work.name, work.run())
        sealing = SweepPlan("audit", "seal", SEALED_EVERY_S, self.audit.sealer.seal)
        for sweep in (*self.plan.sweeps, sealing):
            self._spawn(f"{sweep.context}.{sweep.name}", self._sweep(sweep))
        self.ready = True

    def begin_stop(self) -> None:
        """Take no new work from the others; answer "not yet" to everybody who waits."""
        self.ready = False
        self.answers.close()

    def unready(self) -> list[str]:
        """Why orders cannot be taken right now; nothing when they can."""
        if not self.ready:
            return ["this process has not started, or is stopping"]
        return ["the database does not answer"] if self.reader.faulty else []

    async def stop(self) -> None:
        """Answer who waits, finish what runs, say good-bye."""
        self.begin_stop()
        for work in self.works:
            try:
                async with asyncio.timeout(2):
                    await work.gate.acquire()
            except TimeoutError:
                logger.warning("node.slow_stop", consumer=work.name)
        for task in [*self._tasks, *self._client_tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._client_tasks, return_exceptions=True)
        await self.passing.close()
        await self.audit.close()
        await self.members.leave()
        self.reader.close()
        await self.vault.close()
        await self.databases.close()

    def _spawn(self, name: str, work: Awaitable[None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except Exception:
                # A loop of the platform must never end in silence: the process goes, the
                # supervisor starts a new one, the leases move.
                logger.exception("node.loop_died", loop=name)
                self.ready = False
                raise SystemExit(70) from None

        self._tasks.append(asyncio.create_task(guarded(), name=name))

    # -- what contexts use

    @asynccontextmanager
    async def reading(self, context: str) -> AsyncIterator[Snapshot]:
        """Reads as the role of a context."""
        async with self.databases.of(context).lend(f"tradewind_{context}") as connection:
            yield Snapshot(connection, self.clock.now())

    async def submit(self, command: Command) -> Any:
        """The outcome of a command, decided in a batch; raises the `Problem` that refused it."""
        outcome, done = await self.batchers[type(command)].submit(command)
        if done is not None and done.partitions:
            written = WRITTEN.get()
            if written is None:
                WRITTEN.set([done])
            else:
                written.append(done)
        if isinstance(outcome, Problem):
            raise outcome
        return outcome

    def has_room(self, command: type[Command]) -> bool:
        """Whether one more of these may come in; else it is refused as busy."""
        return self.batchers[command].has_room

    def comes(self, command: type[Command], count: int) -> None:
        """A request began that will submit one of these (1), or it did, or ended (-1)."""
        self.batchers[command].coming += count

    def crowded(self) -> bool:
        """Whether the consumers here have enough to do."""
        if self.reader.late or len(self.answers) > UNDECIDED_MAX:
            return True
        behind = 0
        for work in self.works:
            if not work.whole:
                behind += 0 if work.resting else len(work.queue)
            elif len(work.queue) > 2 * work.batch_max:
                return True
        return behind > EVENTS_BEHIND_MAX

    async def make_durable(self) -> None:
        """Return once everything this process has committed so far is on the disk."""
        async with self.pool.lend("tradewind_bus") as connection:
            await connection.execute(FLUSH)

    async def caught_up(self, consumers: Sequence[str], timeout_s: float) -> bool:
        """Whether these consumers passed, in time, what this request's commands announced."""
        written = WRITTEN.get()
        if not written:
            return True
        if not self.members.alone or self.settings.databases:
            announced = [done.announced for done in written if done.announced is not None]
            return await self.passing.passed(consumers, announced, timeout_s)
        until = time.monotonic() + timeout_s
        xids = {p: done.xid for done in written for p in done.partitions}
        works = [work for work in self.works if work.name in consumers]
        while not all(self._passed(work, xids) for work in works):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(CAUGHT_UP_LOOK_S)
        return True

    async def idle(self, timeout_s: float) -> bool:
        """Whether, in time, everything on the log has been handled by this process's consumers,
        the events included that handling announced."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            seen = self.reader.cursor >= Position(self.reader.told, END_OF_XID)
            if seen and not any(w.queue or w.behind or w.gate.locked() for w in self.works):
                return True
            await asyncio.sleep(CAUGHT_UP_LOOK_S)
        return False

    def _passed(self, work: Work, written: Mapping[int, int]) -> bool:
        for partition, xid in written.items():
            held = work.held.get(work.slot(partition))
            if held is None or not held.ready or partition in self.reader.halted:
                return False
            if held.committed.xid > xid:
                continue  # an equal one may be in the middle of what that transaction announced
            if self.reader.cursor < Position(xid, END_OF_XID) or held.seen > held.committed:
                return False
        return True

    # -- the feed

    async def feed_page(
        self, *, after: int, topic: str | None, limit: int, hidden: Collection[str] = ()
    ) -> feed.FeedPage:
        """Public events behind a position, but for those of `hidden` sources."""
        sources = feed.sources_of(self.plan.sources, topic, hidden)
        async with self.pool.lend("tradewind_bus") as connection:
            return await whole_log.page(
                connection, archive_folder(self.settings), after=after, sources=sources, limit=limit
            )

    async def feed_end(self) -> str:
        """The cursor behind the newest public event."""
        async with self.pool.lend("tradewind_bus") as connection:
            return await feed.end(connection)

    async def history(self, subject: str, *, count_max: int = 500) -> list[feed.FeedEvent]:
        """Everything that was announced about a subject."""
        async with self.pool.lend("tradewind_bus") as connection:
            return await whole_log.history(
                connection, archive_folder(self.settings), subject, count_max=count_max
            )

    # -- dead letters

    async def dead_letters(
        self, *, consumer: str | None, parked: bool, count_max: int
    ) -> list[DeadLetter]:
        """What could not be handled, oldest first."""
        async with self.pool.lend("tradewind_bus") as connection:
            return await dead_letters.listed(
                connection, consumer=consumer, parked=parked, count_max=count_max
            )

    async def retry_dead_letters(
        self, *, consumer: str | None, key: str | None, audit: Audited | None = None
    ) -> int:
        """Have dead letters tried again by whoever holds them; how many."""
        async with self.pool.lend("tradewind_bus") as connection, connection.transaction():
            await write_with(connection, audit, self.clock)
            return await dead_letters.ask_retry(connection, consumer=consumer, key=key)

    async def drop_dead_letter(
        self, *, consumer: str, key: str, audit: Audited | None = None
    ) -> None:
        """Give up on a key's dead letter; what waits behind it runs."""
        async with self.pool.lend("tradewind_bus") as connection, connection.transaction():
            await write_with(connection, audit, self.clock)
            await dead_letters.drop(connection, consumer=consumer, key=key)

    # -- inside

    def _wrote_apart(self, xid: int, life: int) -> None:
        if self.databases.of("vault") is self.pool:  # another database says nothing about the log
            self.reader.committed(xid, None, life)

    def _committed(self, done: Done) -> None:
        if done.xid:
            self.reader.committed(done.xid, done.announced, done.life)
        if done.answers:
            faults.passing("decision-committed")
            self.answers.tell(done.answers)
        if done.decision.signals:
            self.signal(done.decision.signals)
        if done.decision.reconciled:
            reconciled.tell(done.decision.reconciled)

    def signal(self, signals: Sequence[Any]) -> None:
        """Start what a decision asked for, by kind; it is a hint, a sweep finds what is lost."""
        by_kind: dict[type[Any], list[Any]] = {}
        for one in signals:
            by_kind.setdefault(type(one), []).append(one)
        for kind, group in by_kind.items():
            task = asyncio.create_task(self._run_client(kind, group))
            self._client_tasks.add(task)
            task.add_done_callback(self._client_tasks.discard)

    async def _run_client(self, kind: type[Any], group: Sequence[Any]) -> None:
        try:
            await self.plan.clients[kind](self, group)
        except (Problem, *delivery.PASSING) as fault:  # a sweep comes back to what it was about
            logger.warning("client.fault", kind=kind.__name__, fault=repr(fault)[:300])
        except Exception:
            logger.exception("client.failed", kind=kind.__name__, count=len(group))

    def _heard(self, channel: str) -> None:
        if channel == LOG_CHANNEL:
            self.reader.ring()
        elif channel == ANSWERS_CHANNEL:
            self.answers.ring()
        self.workplace.bells = () if self.members.alone else (LOG_CHANNEL, ANSWERS_CHANNEL)

    async def _sweep(self, sweep: SweepPlan) -> None:
        """Run a sweep, again at once while it finds work, else after its pause."""

        async def handler(tx: Transaction, messages: Sequence[Any]) -> Decision:
            return await sweep.handler(tx)

        name = f"{sweep.context}.{sweep.name}"
        unit = Unit(context=sweep.context, handler=handler, messages=(), name=name)
        while True:
            found = False
            try:
                done = await delivery.run(self.workplace, unit)
                found = bool(done.xid)
            except delivery.PASSING as fault:
                logger.warning("sweep.fault", sweep=sweep.name, fault=repr(fault)[:300])
            except Exception:
                logger.exception("sweep.failed", context=sweep.context, sweep=sweep.name)
            await asyncio.sleep(0.01 if found else sweep.every_s * random.uniform(0.8, 1.2))

    async def _pump_timers(self) -> None:
        while True:
            try:
                async with self.pool.lend("tradewind_bus") as connection:
                    fired = await timers.fire(connection)
                if fired:
                    self.reader.ring()
            except delivery.PASSING as fault:
                logger.warning("timers.fault", fault=repr(fault)[:300])
            await asyncio.sleep(TIMERS_PUMPED_EVERY_S)

    async def _watch(self) -> None:
        await watch.run(self.pool, self.clock, self.works, self.answers, self.reader)

    async def _sweep_orphans(self) -> None:
        """Destroy what the vault keeps for requests that came to nothing, and what time ends."""
        faults = (Problem, *delivery.PASSING)
        while True:
            await asyncio.sleep(ORPHANS_SWEPT_EVERY_S * random.uniform(0.8, 1.2))
            await sweep_vault(self, faults=faults)

    async def _retry_dead_letters(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for work in self.works:
                try:
                    if work.blocked:
                        await work.retry(self.vocabulary)
                except (delivery.LeaseLost, *delivery.PASSING) as fault:
                    logger.warning("retry.fault", consumer=work.name, fault=repr(fault)[:300])
