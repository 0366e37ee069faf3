"""Connections that fail on purpose, and doorbells that are lost, repeated and late.

Everything else is real: the platform's own code, a real PostgreSQL, real commits. One seeded
generator per node decides, statement by statement, what goes wrong.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from tradewind.platform.database.pool import Connection, Pool

# Per statement. A unit of work has one to five of them.
BEFORE_SEND = 0.006
IN_THE_AIR = 0.006
BEFORE_REPLY = 0.006
PAUSED = 0.08
PAUSE_S_MAX = 0.02


class Chaos:
    """What goes wrong for one node."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.calm = False
        self.dead = False
        self.faults = 0
        self.open: set[Connection] = set()

    def kill(self) -> None:
        """kill -9: every connection gone in the middle of whatever it does, no new one."""
        self.dead = True
        for connection in self.open:
            connection.terminate()

    async def pause(self) -> None:
        """Now and then, take a while."""
        if not self.calm and self.random.random() < PAUSED:
            await asyncio.sleep(self.random.uniform(0, PAUSE_S_MAX))

    async def run(self, connection: Connection, send: Callable[[], Awaitable[Any]]) -> Any:
        """A statement: sent or not, committed or not, answered or not."""
        if self.dead:
            connection.terminate()
            raise asyncpg.ConnectionDoesNotExistError("simulated: this node is dead")
        if self.calm:
            return await send()
        await self.pause()
        roll = self.random.random()
        if roll < BEFORE_SEND:
            raise self.cut(connection, "before it was sent")
        roll -= BEFORE_SEND
        if roll < IN_THE_AIR:
            sending = asyncio.ensure_future(send())
            await asyncio.sleep(self.random.uniform(0, 0.002))
            connection.terminate()
            await asyncio.gather(sending, return_exceptions=True)
            raise self.cut(connection, "in the air")
        result = await send()
        if roll - IN_THE_AIR < BEFORE_REPLY:
            raise self.cut(connection, "before its reply")
        await self.pause()
        return result

    def cut(self, connection: Connection, when: str) -> Exception:
        """The connection is lost."""
        self.faults += 1
        connection.terminate()
        lost: Exception = asyncpg.ConnectionDoesNotExistError(f"simulated: lost {when}")
        return lost


class FaultyConnection:
    """An asyncpg connection under a `Chaos`."""

    def __init__(self, connection: Connection, chaos: Chaos) -> None:
        self._connection = connection
        self._chaos = chaos

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, *args: Any) -> Any:
        return await self._chaos.run(self._connection, lambda: self._connection.fetch(*args))

    async def fetchrow(self, *args: Any) -> Any:
        return await self._chaos.run(self._connection, lambda: self._connection.fetchrow(*args))

    async def fetchval(self, *args: Any) -> Any:
        return await self._chaos.run(self._connection, lambda: self._connection.fetchval(*args))

    async def execute(self, *args: Any) -> Any:
        return await self._chaos.run(self._connection, lambda: self._connection.execute(*args))


class FaultyPool(Pool):
    """The platform's pool, lending faulty connections."""

    def __init__(self, dsn: str, *, connections_max: int, application: str, chaos: Chaos) -> None:
        super().__init__(dsn, connections_max=connections_max, application=application)
        self.chaos = chaos

    async def connect(self, *, name: str = "") -> Connection:
        """See `Pool.connect`; a dead node reaches nobody."""
        if self.chaos.dead:
            raise ConnectionRefusedError("simulated: this node is dead")
        connection = await super().connect(name=name)
        self.chaos.open.add(connection)
        connection.add_termination_listener(self.chaos.open.discard)
        return FaultyConnection(connection, self.chaos)


def unreliable(ring: Callable[..., None], chaos: Chaos) -> Callable[..., None]:
    """A doorbell of which rings are lost, repeated, or late."""

    def ring_or_not(*args: Any) -> None:
        roll = 1.0 if chaos.calm else chaos.random.random()
        if roll < 0.2:
            return
        if roll < 0.4:
            delay_s = chaos.random.uniform(0, 0.05)
            asyncio.get_running_loop().call_later(delay_s, ring, *args)
            return
        if roll < 0.5:
            ring(*args)
        ring(*args)

    return ring_or_not
