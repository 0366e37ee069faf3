"""A connection of its own for one question that is asked over and over.

It ends with the server's crash, and whoever asks sees that: a pool would quietly connect anew.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tradewind.platform.database.clock import Clock
from tradewind.platform.database.pool import Connection, Pool
from tradewind.platform.database.transaction import Snapshot


class SessionEnded(ConnectionError):
    """The connection was lost since it was last used: what it told may not hold any more."""


class Session:
    """Made when first needed, with the pool's settings, beside the pool; speaks as `role`."""

    def __init__(self, pool: Pool, clock: Clock, *, role: str, name: str) -> None:
        self._pool = pool
        self._clock = clock
        self._role = role
        self._name = name
        self._connection: Connection | None = None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Snapshot]:
        """Reads. Raises `SessionEnded` once where the connection has ended meanwhile."""
        if self._connection is None:
            connection = await self._pool.connect(name=self._name)
            self._connection = connection  # at once: whatever breaks off now, `close` ends it
            await connection.execute(f"SET ROLE {self._role}")
        elif self._connection.is_closed():
            self.close()
            raise SessionEnded(f"the session {self._name!r} has ended")
        yield Snapshot(self._connection, self._clock.now())

    def close(self) -> None:
        """End it; the next reading makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
