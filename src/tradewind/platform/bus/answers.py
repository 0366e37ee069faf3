"""Requests that wait for an answer which a later decision gives.

One room per process. A waiter holds no connection and no lock, and asks nothing itself: a decision
of this process is told directly; one of another process rings a channel, and one statement then
looks for all who wait. Where others live the room looks every 50 ms even without a ring.
"""

import asyncio
from collections.abc import Callable, Mapping

from tradewind.kernel.answers import Settled
from tradewind.platform.bus import delivery, idempotency
from tradewind.platform.database.pool import Pool
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

FLOOR_S = 0.05
FLOOR_ALONE_S = 1.0
# Answers that came between the commit of a request and its wait; and resources remembered.
UNCLAIMED_MAX = 4_096


class WaitingRoom:
    """Who waits for what."""

    def __init__(
        self, pool: Pool, *, waiting_max: int, alone: Callable[[], bool] = lambda: False
    ) -> None:
        self.pool = pool
        self.alone = alone
        self.waiting_max = waiting_max
        self._waiting: dict[str, list[asyncio.Future[Settled]]] = {}
        self._context: dict[str, str] = {}  # resource -> context that keeps its answer
        self._early: dict[str, Settled] = {}
        self._doubtful: set[str] = set()  # may have been decided before anyone waited
        self._bell = asyncio.Event()
        self._idle = False  # nobody waits: the next one who does has to say so
        self.closing = False

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, resource: str, context: str, *, doubtful: bool = False) -> None:
        """A request was taken whose answer comes later; called before anyone can decide it here.

        `doubtful`: it was taken earlier, so it may have been decided already.
        """
        self._context[resource] = context
        if doubtful:
            self._doubtful.add(resource)
        if len(self._context) > 4 * UNCLAIMED_MAX:
            self._context.pop(next(iter(self._context)))

    def tell(self, answers: Mapping[str, Settled]) -> None:
        """Decisions of this process, after their commit."""
        for resource, answer in answers.items():
            waiters = self._waiting.pop(resource, None)
            if waiters is None:
                if resource in self._context:
                    self._early[resource] = answer
                    if len(self._early) > UNCLAIMED_MAX:
                        self._early.pop(next(iter(self._early)))
                continue
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(answer)

    async def wait(self, resource: str, timeout_s: float) -> Settled | None:
        """The answer for a resource, or None: not decided in time, room full, or shutting down."""
        early = self._early.pop(resource, None)
        if early is not None:
            return early
        if timeout_s <= 0 or self.closing or len(self._waiting) >= self.waiting_max:
            return None
        waiter: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(resource, []).append(waiter)
        if resource in self._doubtful or self._idle:
            self._bell.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter
        except (TimeoutError, asyncio.CancelledError) as end:
            if isinstance(end, asyncio.CancelledError) and not self.closing:
                raise
            return None
        finally:
            waiters = self._waiting.get(resource)
            if waiters and waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    del self._waiting[resource]

    def ring(self) -> None:
        """Another process decided something."""
        self._bell.set()

    def close(self) -> None:
        """Answer everybody "not yet": the process is going."""
        self.closing = True
        for waiters in list(self._waiting.values()):
            for waiter in waiters:
                waiter.cancel()

    async def run(self) -> None:
        """Look for answers that were given elsewhere, until cancelled."""
        while True:
            if not self._waiting:
                self._bell.clear()
                self._idle = True
                await self._bell.wait()
                self._idle = False
            self._bell.clear()
            if not self._doubtful:
                try:
                    async with asyncio.timeout(FLOOR_ALONE_S if self.alone() else FLOOR_S):
                        await self._bell.wait()
                except TimeoutError:
                    pass
            self._doubtful.clear()
            try:
                await self.look()
            except delivery.PASSING as fault:
                logger.warning("answers.fault", fault=repr(fault)[:300])
                await asyncio.sleep(0.2)

    async def look(self) -> None:
        """One statement per context for everyone who has waited at least one floor."""
        by_context: dict[str, list[str]] = {}
        for resource in self._waiting:
            context = self._context.get(resource)
            if context is not None:
                by_context.setdefault(context, []).append(resource)
        for context, resources in by_context.items():
            async with self.pool.lend(f"tradewind_{context}") as connection:
                self.tell(await idempotency.answered(connection, context, resources))
