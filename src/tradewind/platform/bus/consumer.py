"""A consumer at work: takes batches from its queue, decides them, moves its offsets.

Invariants: the queue holds, per partition, exactly the events after the committed offset, in the
order of the log. A batch commits with the offset of its last event per partition, compared and
swapped under the lease's epoch; when that fails the batch never happened and the partition is let
go. A message that fails alone is dead, blocks its key, and the others go on.
"""

import asyncio
import random
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tradewind.kernel.messages import (
    NOTHING,
    PARTITIONS,
    Decision,
    Delivered,
    Event,
    Position,
)
from tradewind.platform import faults
from tradewind.platform.bus import dead_letters, delivery
from tradewind.platform.bus.delivery import Fence, Handler, Unit, Workplace
from tradewind.platform.bus.log import Cause, Vocabulary
from tradewind.platform.database.transaction import LeaseLost, StaleRead, Transaction
from tradewind.platform.telemetry import logs, metrics

logger = logs.get(__name__)

# The reader stops feeding a consumer that is this far behind and comes back for it later.
QUEUE_MAX = 4_096
# How long patient events wait for company: below what a person notices on a page.
PATIENCE_S = 0.04
# Where much comes they wait for the next orders, whose turn it is anyway: those come some seven
# units of work after the answers to these.
COMPANY_MIN = 8  # messages in the last batch: much comes
PATIENCE_UNITS = 7
PATIENCE_S_MAX = 0.25
ATTEMPTS_MAX = 3  # of one message alone, before it is dead
BACKOFF_S_MAX = 2.0
WHOLE = -1  # the partition of a consumer that takes the log as a whole


class Undecodable(Exception):
    """What stands in the log does not have the form that its type has today."""


class Held:
    """A partition this process works for: where its consumer is, by which lease."""

    __slots__ = ("committed", "epoch", "ready", "seen")

    def __init__(self, committed: Position, epoch: int) -> None:
        self.committed = committed
        self.epoch = epoch
        self.seen = committed  # the last event that was queued
        # Whether the reader has come back to `seen`. Until then later events are refused:
        # taking one would skip those in between.
        self.ready = False


class Work:
    """One consumer of this process. `step()` handles one batch; `run()` does so for ever."""

    def __init__(
        self,
        *,
        context: str,
        name: str,
        handler: Handler,
        events: Iterable[type[Event]] | None,
        workplace: Workplace,
        batch_max: int,
        whole: bool = False,
        raw: bool = False,
        patient: Iterable[type[Event]] | None = (),
        durable: bool = False,
    ) -> None:
        self.context = context
        self.name = f"{context}.{name}"
        self.handler = handler
        self.types = None if events is None else frozenset(event.type for event in events)
        self.workplace = workplace
        self.batch_max = batch_max
        self.whole = whole
        # The types that wait for company; None: all of them.
        self.patient = None if patient is None else frozenset(e.type for e in patient)
        self.pressing = asyncio.Event()  # something is queued that somebody waits for
        self.resting = False  # what is queued waits for company
        self.last_size = 0  # of the last batch
        self.durable = durable  # whether each commit waits for the disk
        self.raw = raw  # the handler is given `Delivered`, not the event inside
        self.held: dict[int, Held] = {}
        self.working: dict[int, Held] = {}  # the leases that the batch at work was taken under
        self.queue: deque[Delivered] = deque()
        self.blocked: set[str] = set()
        self.bell = asyncio.Event()
        self.gate = asyncio.Lock()  # one thing at a time: a batch, a retry, an idle advance
        self.behind = False  # some partition waits for the reader to come back
        self.call_reader: Callable[[], None] = lambda: None
        self.lost: Callable[[], None] = lambda: None
        self.life: Callable[[], int] = lambda: 0  # of the server, as the reader knows it
        self.read_in = 0  # the life in which the batch at work was read

    def slot_of(self, message: Delivered) -> int:
        """The offset row a message counts under."""
        return self.slot(message.partition)

    def slot(self, partition: int) -> int:
        """The offset row a partition counts under."""
        return WHOLE if self.whole else partition

    def offer(self, message: Delivered) -> None:
        """Take an event from the reader, if it is ours, new, and there is room."""
        held = self.held.get(WHOLE if self.whole else message.partition)
        if held is None or not held.ready or message.position <= held.seen:
            return
        if self.types is not None and message.type not in self.types:
            return
        if len(self.queue) >= QUEUE_MAX:
            held.ready = False
            self.behind = True
            return
        held.seen = message.position
        self.queue.append(message)
        self.bell.set()
        if self.is_pressing(message) or len(self.queue) >= self.batch_max:
            self.pressing.set()

    @property
    def pressing_types(self) -> frozenset[str]:
        """The types that somebody waits for."""
        if self.types is None or self.patient is None:
            return frozenset()
        return self.types - self.patient

    def is_pressing(self, message: Delivered) -> bool:
        """Whether somebody waits for what comes of an event."""
        return self.patient is not None and message.type not in self.patient

    def wants_from(self) -> Position | None:
        """Where the reader must come back to, if there is room to go on; None: nowhere."""
        if not self.behind or len(self.queue) > QUEUE_MAX // 2:
            return None
        return min((held.seen for held in self.held.values() if not held.ready), default=None)

    def resume(self, cursor: Position) -> None:
        """The reader is at `cursor`: partitions that waited for it go on."""
        for held in self.held.values():
            if cursor <= held.seen:
                held.ready = True
        self.behind = any(not held.ready for held in self.held.values())

    async def run(self) -> None:
        """Handle batches as they come. Never ends but by cancellation."""
        backoff_s = 0.05
        while True:
            if not self.queue:
                self.bell.clear()
                await self.bell.wait()
            if len(self.queue) < self.batch_max and not self.pressing.is_set():
                await self.rest()
            self.pressing.clear()
            try:
                await self.step()
                backoff_s = 0.05
            except delivery.PASSING as fault:
                metrics.BATCH_RETRIES.labels(self.name, "connection").inc()
                logger.warning("bus.fault", consumer=self.name, fault=repr(fault)[:300])
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.5))
                backoff_s = min(BACKOFF_S_MAX, backoff_s * 2)

    @property
    def patience_s(self) -> float:
        """How long what is queued waits for company."""
        if self.last_size < COMPANY_MIN:
            return PATIENCE_S
        units_s = PATIENCE_UNITS * self.workplace.pace.unit_s
        return min(max(PATIENCE_S, units_s), PATIENCE_S_MAX)

    async def rest(self) -> None:
        """Wait for company: until something presses, a batch is full, or it is time."""
        self.resting = True
        try:
            async with asyncio.timeout(self.patience_s):
                await self.pressing.wait()
        except TimeoutError:
            pass
        finally:
            self.resting = False

    async def step(self) -> int:
        """Handle one batch; how many messages left the queue. Raises passing faults, queue kept."""
        async with self.gate:
            size = min(len(self.queue), self.batch_max)
            batch = [self.queue[index] for index in range(size)]
            if not batch:
                return 0
            slots = (WHOLE,) if self.whole else {message.partition for message in batch}
            self.working = {slot: self.held[slot] for slot in slots}
            self.read_in = self.life()
            try:
                await self.deliver(batch)
            except LeaseLost as lost:
                self.let_go(p for p, held in self.working.items() if self.held.get(p) is held)
                logger.warning("bus.lease_lost", consumer=self.name, detail=str(lost))
                self.lost()
                return 0
            if self.behind:
                self.call_reader()
            self.last_size = size
            if any(map(self.is_pressing, self.queue)):
                self.pressing.set()
            return size

    async def deliver(self, batch: Sequence[Delivered]) -> None:
        """Commit a batch; on an unexpected error its halves, down to the single message."""
        try:
            await self.commit(batch, self.handler)
        except (LeaseLost, asyncio.CancelledError):
            raise
        except delivery.PASSING as fault:
            if len(batch) == 1 or not delivery.is_conflict(fault):
                raise
            await self.deliver_halves(batch)
        except Exception as error:
            if len(batch) > 1:
                logger.warning("bus.split", consumer=self.name, size=len(batch), error=repr(error))
                await self.deliver_halves(batch)
            else:
                await self.deliver_alone(batch[0], error)

    async def deliver_halves(self, batch: Sequence[Delivered]) -> None:
        """Both halves, in order."""
        metrics.BATCH_RETRIES.labels(self.name, "split").inc()
        middle = len(batch) // 2
        await self.deliver(batch[:middle])
        await self.deliver(batch[middle:])

    async def deliver_alone(self, message: Delivered, error: Exception) -> None:
        """A message that failed alone: again, and again, then it is dead."""
        for attempt in range(1, ATTEMPTS_MAX):
            await asyncio.sleep(0.02 * attempt)
            try:
                await self.commit([message], self.handler)
                return
            except (LeaseLost, *delivery.PASSING):
                raise
            except Exception as again:
                error = again
        text = "".join(traceback.format_exception(error))
        logger.error(
            "bus.dead_letter",
            consumer=self.name,
            key=message.key,
            type=message.type,
            error=repr(error)[:500],
        )

        async def nothing(tx: Transaction, messages: Sequence[Any]) -> Decision:
            return NOTHING

        await self.commit([message], nothing, dead=text)
        self.blocked.add(message.key)
        metrics.DEAD_LETTERS.labels(self.name).set(len(self.blocked))

    async def commit(
        self, batch: Sequence[Delivered], handler: Handler, *, dead: str | None = None
    ) -> None:
        """One unit of work: the free messages, the parked ones, the offsets."""
        live = [m for m in batch if m.key not in self.blocked] if self.blocked else batch
        parked = [m for m in batch if m.key in self.blocked] if self.blocked else []

        def extra(tx: Transaction) -> None:
            if parked:
                dead_letters.park(tx, self.name, parked, state="parked", error="")
            if dead is not None:
                dead_letters.park(tx, self.name, live, state="dead", error=dead)

        if handler is self.handler and not self.raw:
            for message in live:
                if message.event is None:
                    raise Undecodable(f"{message.type} {message.id} cannot be decoded")
        if self.whole:
            fence = self.fence({WHOLE: batch[-1].position})
        else:
            fence = self.fence({m.partition: m.position for m in batch})
        await delivery.run(
            self.workplace,
            Unit(
                context=self.context,
                handler=handler,
                messages=live if self.raw else [m.event for m in live],
                causes={m.key: m for m in live},
                fence=fence,
                life=self.read_in,
                durable=self.durable,
                name=self.name,
                extra=extra if parked or dead is not None else None,
            ),
        )
        faults.passing("batch-committed")
        for partition, after in zip(fence.partitions, fence.after, strict=True):
            self.working[partition].committed = after
        # What was let go while we committed has left the queue already, and where it was taken
        # again the queue holds other messages: only this batch's own leave it, by identity.
        done = set(map(id, batch))
        while self.queue and id(self.queue[0]) in done:
            self.queue.popleft()
        metrics.BUS_EVENTS.labels(self.name, metrics.worker()).inc(len(live))

    def fence(self, after: Mapping[int, Position]) -> Fence:
        """Move these offsets, if the leases are still those that the work began under."""
        partitions = sorted(after)
        for partition in partitions:
            if self.held.get(partition) is not self.working[partition]:
                raise LeaseLost(f"partition {partition} was given up")
        return Fence(
            consumer=self.name,
            partitions=partitions,
            before=[self.held[p].committed for p in partitions],
            after=[after[p] for p in partitions],
            epochs=[self.held[p].epoch for p in partitions],
        )

    def hold(self, partition: int, committed: Position, epoch: int) -> None:
        """Take over a partition; the reader must come back to `committed`."""
        self.let_go([partition])  # what is queued of it came under another lease
        self.held[partition] = Held(committed, epoch)
        self.behind = True
        self.call_reader()

    def let_go(self, partitions: Iterable[int]) -> None:
        """Forget partitions and what is queued of them."""
        gone = set(partitions)
        if not gone:
            return
        for partition in gone:
            self.held.pop(partition, None)
        self.queue = deque(m for m in self.queue if self.slot(m.partition) not in gone)

    async def retry(self, vocabulary: Vocabulary) -> int:
        """Try the letters of keys without a dead one, oldest first; how many went through."""
        through = 0
        async with self.gate:
            self.working = dict(self.held)
            partitions = list(self.held)
            if self.whole:
                partitions = list(range(PARTITIONS)) if self.held else []
            async with self.workplace.pool.lend("tradewind_bus") as connection:
                rows = await dead_letters.retries(connection, self.name, partitions)
            stuck: set[str] = set()
            for message in map(vocabulary.decode, rows):
                if message.key in stuck:
                    continue
                if await self.retry_one(message):
                    through += 1
                else:
                    stuck.add(message.key)
            # Also where nothing ran: somebody may have dropped the only letter of a key.
            self.blocked = await self.waiting_keys()
        return through

    async def retry_one(self, message: Delivered) -> bool:
        """One dead or parked message again: through, or dead once more."""

        async def nothing(tx: Transaction, messages: Sequence[Any]) -> Decision:
            return NOTHING

        async def handle(tx: Transaction, messages: Sequence[Any]) -> Decision:
            if message.event is None and not self.raw:
                raise Undecodable(f"{message.type} {message.id} cannot be decoded")
            return await self.handler(tx, messages)

        # The offset stays where it is, but must still be there, and ours.
        slot = self.slot_of(message)
        fence = self.fence({slot: self.working[slot].committed})
        unit = Unit(
            context=self.context,
            handler=handle,
            messages=[message if self.raw else message.event],
            causes={message.key: Cause(message.reference, message.trace)},
            fence=fence,
            extra=lambda tx: dead_letters.remove(tx, self.name, message.position),
        )
        try:
            await delivery.run(self.workplace, unit)
            return True
        except (LeaseLost, *delivery.PASSING):
            raise
        except StaleRead as late:
            # Somebody dropped the letter, or is always faster: the next look will tell.
            logger.warning("bus.retry_late", consumer=self.name, key=message.key, detail=str(late))
            return False
        except Exception as error:
            text = "".join(traceback.format_exception(error))
            again = Unit(
                context=self.context,
                handler=nothing,
                messages=[],
                fence=fence,
                extra=lambda tx: dead_letters.bury_again(tx, self.name, message.position, text),
            )
            await delivery.run(self.workplace, again)
            return False

    async def learn_blocked(self) -> None:
        """Learn which keys wait behind a dead letter, when a partition is taken over.

        A batch of other partitions may bury one of its own meanwhile, so nothing is forgotten
        here; a key that waits for nothing any more is freed by the next `retry`.
        """
        keys = await self.waiting_keys()
        self.blocked |= keys

    async def waiting_keys(self) -> set[str]:
        """The keys of which something waits."""
        async with self.workplace.pool.lend("tradewind_bus") as connection:
            keys = await dead_letters.blocked_keys(connection, self.name)
        metrics.DEAD_LETTERS.labels(self.name).set(len(keys))
        return keys
