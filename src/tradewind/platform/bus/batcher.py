"""Commands over HTTP, taken together.

Natural batching: while one batch is at work arrivals queue, and all go in the next; no timer, so
an idle platform answers a single command at once. One slot per kind of command, a bounded queue
that says `Busy`, no two equal idempotency keys in a batch (a twin joins the first), a batch that
fails is split until the one that fails alone fails alone.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import asyncpg

from tradewind.kernel.answers import Pending, Settled
from tradewind.kernel.messages import Command, Decision
from tradewind.kernel.problems import Problem
from tradewind.platform import faults
from tradewind.platform.bus import delivery, idempotency
from tradewind.platform.bus.answers import WaitingRoom
from tradewind.platform.bus.delivery import Done, Handler, Unit, Workplace
from tradewind.platform.bus.log import Cause
from tradewind.platform.database.transaction import StaleRead, Transaction
from tradewind.platform.telemetry import logs, metrics

logger = logs.get(__name__)

BATCH_MAX = 128
# After a connection was lost in the middle, how long the same batch is tried again. Keys and
# natural keys tell what of it had been committed.
OUTCOME_LOOKED_UP_S = 3.0
# Nearly every key is new, so keys are not looked up: their rows tell. After a repeated one came,
# they are for so long.
LOOKED_UP_FOR_S = 2.0
COLLISIONS_MAX = 3
# What begins something waits while consumers are behind; not for ever, since one that is stuck must
# not close the door: then orders are taken, at a batch in 2 s, and wait for their decision.
HELD_BACK_S_MAX = 2.0
HELD_BACK_LOOK_S = 0.002
# What begins something waits for requests that are about to submit more of it, as long as a unit
# of work takes at present. Who is in a batch of his own stays apart at every later stage, and a
# unit of work costs as much as ten orders in it.
GATHERED_S_MAX = 0.05
GATHERED_LOOK_S = 0.001
# Who comes behind somebody that has waited so long is better told to come back: on a slow machine
# a queue of a thousand is longer than anybody's patience.
WAITED_S_MAX = 2.0


class Busy(Problem):
    """More is asked for than can be done; come back."""

    status = 503
    code = "busy"
    title = "The platform is busy."

    def __init__(self) -> None:
        super().__init__(
            "Too many requests are waiting. Nothing was done; repeat this one in a second.",
            headers={"retry-after": "1"},
        )


class OutcomeUnknown(Problem):
    """The database went away while a request was being committed."""

    status = 503
    code = "outcome_unknown"
    title = "The outcome is not known."

    def __init__(self) -> None:
        super().__init__(
            "The database went away in the middle. Repeat the request with the same "
            "Idempotency-Key: it takes effect once.",
            headers={"retry-after": "1"},
        )


class KeysUnknown(Exception):
    """Something is to be refused without a row for its key: only a look tells a repeat from it."""


class Waiting:
    """A command in the queue, the place in the log it may lead to, and who wants its outcome."""

    __slots__ = ("command", "done", "future", "since")

    def __init__(self, command: Command, future: asyncio.Future[Any]) -> None:
        self.command = command
        self.future = future
        self.since = time.monotonic()
        self.done: Done | None = None


class Batcher:
    """The queue and the slot of one kind of command."""

    def __init__(
        self,
        *,
        context: str,
        handler: Handler,
        workplace: Workplace,
        room: WaitingRoom,
        queue_max: int,
        batch_max: int = BATCH_MAX,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self.context = context
        self.handler = handler
        self.workplace = workplace
        self.room = room
        self.queue_max = queue_max
        self.batch_max = batch_max
        self.crowded = crowded
        self.queue: deque[Waiting] = deque()
        self.coming = 0  # requests at work that will submit one
        self._worker: asyncio.Task[None] | None = None
        self._in_flight: dict[tuple[str, str], Waiting] = {}
        self._looks_until = 0.0
        self._looked = False  # whether the keys of the batch at work were looked up

    @property
    def has_room(self) -> bool:
        """Whether one more would be taken, and soon. Those on their way here count."""
        queue = self.queue
        if len(queue) + self.coming >= self.queue_max:
            return False
        return not queue or time.monotonic() - queue[0].since < WAITED_S_MAX

    async def submit(self, command: Command) -> tuple[Any, Done | None]:
        """The outcome of a command and the unit it was committed in. Raises `Busy`."""
        key = command.idempotency
        while key is not None:
            twin = self._in_flight.get((key.scope, key.key))
            if twin is None or twin.command.idempotency is None:
                break
            if twin.command.idempotency.fingerprint == key.fingerprint:
                return await asyncio.shield(twin.future), twin.done
            # Another request under this key: it may be the one that is refused, since ours was
            # taken before. Once it is settled, the key's row knows.
            await asyncio.wait([twin.future])
        if len(self.queue) >= self.queue_max:
            metrics.QUEUE_REFUSED.labels(type(command).__name__).inc()
            raise Busy
        waiting = Waiting(command, asyncio.get_running_loop().create_future())
        if key is not None:
            # Until it is decided, not until its caller goes: a twin must find it.
            self._in_flight[key.scope, key.key] = waiting
            waiting.future.add_done_callback(partial(self._land, (key.scope, key.key)))
        self.queue.append(waiting)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        # Shielded: a caller that goes away does not take a committed order's answer with it.
        return await asyncio.shield(waiting.future), waiting.done

    def _land(self, key: tuple[str, str], future: asyncio.Future[Any]) -> None:
        del self._in_flight[key]

    async def _work(self) -> None:
        # Let everything that is ready to arrive arrive: the first batch after an idle time would
        # otherwise always be one.
        await asyncio.sleep(0)
        while self.queue:
            if type(self.queue[0].command).begins:
                await self._hold_back()
                await self._gather()
            batch = [self.queue.popleft() for _ in range(min(len(self.queue), self.batch_max))]
            await self._settle(batch)
        self._worker = None

    async def _hold_back(self) -> None:
        """Wait while what was begun before is behind."""
        until = time.monotonic() + HELD_BACK_S_MAX
        while self.crowded() and time.monotonic() < until:
            await asyncio.sleep(HELD_BACK_LOOK_S)

    async def _gather(self) -> None:
        """Wait for those that are on their way here, a moment at most; alone, not at all."""
        until = time.monotonic() + min(self.workplace.pace.unit_s, GATHERED_S_MAX)
        enough = self.batch_max // 2
        while self.coming and len(self.queue) < enough and time.monotonic() < until:
            await asyncio.sleep(GATHERED_LOOK_S)

    async def _settle(self, batch: Sequence[Waiting]) -> None:
        """Run a batch to an outcome for everyone in it, whatever happens."""
        deadline = time.monotonic() + OUTCOME_LOOKED_UP_S
        try:
            await self._run(batch, deadline)
        except Exception as error:
            # While the database is away there is no point in asking for each half anew.
            if len(batch) > 1 and not isinstance(error, OutcomeUnknown):
                middle = len(batch) // 2
                await self._settle(batch[:middle])
                await self._settle(batch[middle:])
                return
            for future in (waiting.future for waiting in batch):
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # the caller may have gone; then nobody else reads it

    async def _run(self, batch: Sequence[Waiting], deadline: float) -> None:
        live = [w for w in batch if not w.future.done()]
        collisions = 0
        while live:
            try:
                await self._once(live)
                return
            except KeysUnknown:
                self._looks_until = time.monotonic() + LOOKED_UP_FOR_S
            except asyncpg.UniqueViolationError:
                self._looks_until = time.monotonic() + LOOKED_UP_FOR_S
                if not self._looked:
                    continue
                # A twin in another process was faster. Alone, the next look finds its row.
                collisions += 1
                if len(live) > 1 or collisions > COLLISIONS_MAX:
                    raise
            except StaleRead as late:
                # Alone, and round after round somebody was faster. Nothing was done.
                if len(live) > 1:
                    raise
                logger.warning("command.crowded", detail=str(late))
                raise Busy from late
            except delivery.PASSING as fault:
                kind = "conflict" if delivery.is_conflict(fault) else "connection"
                metrics.BATCH_RETRIES.labels(type(live[0].command).__name__, kind).inc()
                if len(live) > 1 and delivery.is_conflict(fault):
                    raise
                self._looks_until = time.monotonic() + LOOKED_UP_FOR_S
                if time.monotonic() > deadline:
                    logger.warning("command.outcome_unknown", fault=repr(fault)[:300])
                    raise OutcomeUnknown from fault
                await asyncio.sleep(0.05)
                live = [w for w in live if not w.future.done()]

    async def _decide(self, tx: Transaction, commands: Sequence[Any]) -> Decision:
        """The handler, held to its word before anything is committed."""
        decision = await self.handler(tx, commands)
        assert len(decision.outcomes) == len(commands), "one outcome per command"
        if not self._looked and any(
            command.idempotency is not None and not idempotency.leaves_row(outcome)
            for command, outcome in zip(commands, decision.outcomes, strict=True)
        ):
            raise KeysUnknown
        return decision

    async def _once(self, batch: Sequence[Waiting]) -> None:
        """Look the keys up if some may be known, run what is new, tell everybody."""
        fresh: list[Waiting] = []
        keyed = [w for w in batch if w.command.idempotency is not None]
        known: dict[bytes, idempotency.KeyRow] = {}
        self._looked = time.monotonic() < self._looks_until
        if keyed and self._looked:
            async with self.workplace.pool.lend(f"tradewind_{self.context}") as connection:
                keys = [w.command.idempotency for w in keyed if w.command.idempotency is not None]
                known = await idempotency.look_up(connection, self.context, keys)
        for waiting in batch:
            key = waiting.command.idempotency
            row = known.get(idempotency.digest_of(key)) if key is not None and known else None
            if row is None or key is None:
                fresh.append(waiting)
                continue
            outcome = idempotency.outcome_of(row, key)
            if isinstance(outcome, Pending):
                self.room.expect(outcome.resource, self.context, doubtful=True)
            tell(waiting, outcome, None)
        if not fresh:
            return
        commands = [w.command for w in fresh]
        name = type(commands[0]).__name__
        done = await delivery.run(
            self.workplace,
            Unit(
                context=self.context,
                handler=self._decide,
                messages=commands,
                causes=causes(commands),
                durable=type(commands[0]).durable,
                keyed=bool(keyed),
                audited=any(command.audit is not None for command in commands),
                name=name,
                expected=self.room.expect,
            ),
        )
        faults.passing("command-committed")
        metrics.COMMANDS.labels(name, metrics.worker()).inc(len(fresh))
        metrics.QUEUE_LENGTH.labels(name).set(len(self.queue))
        for index, waiting in enumerate(fresh):
            settled: Settled | None = done.settled.get(index)
            tell(waiting, settled or done.decision.outcomes[index], done)


def tell(waiting: Waiting, outcome: Any, done: Done | None) -> None:
    """Hand an outcome to whoever submitted the command."""
    waiting.done = done
    if not waiting.future.done():
        waiting.future.set_result(outcome)


def causes(commands: Sequence[Command]) -> dict[str, Cause]:
    """The trace of each command, by the key its events will have, where it names one."""
    return {
        key: Cause(None, command.trace)
        for command in commands
        if command.trace is not None and (key := getattr(command, "key", None)) is not None
    }
