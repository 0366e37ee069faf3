"""Few connections, each speaking as one role.

Every context has a role with rights on its own schema only. A connection takes a role with one
``SET ROLE`` and keeps it while the same context asks again, so in steady state a unit of work costs
no round trip for it. One login a process, `connections_max` in all: on two cores more than about
sixteen *lose* throughput (docs/decisions/0005).
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

ROLE = re.compile(r"[a-z][a-z0-9_]{0,50}")
# One composed statement per handler and shape of batch; a few hundred in the whole platform.
STATEMENTS_CACHED_MAX = 1_000

Connection = Any  # asyncpg has no types of its own

# Whether a session that was there lives: its lock is gone with it, or with the server's crash.
LIVES = """
    SELECT EXISTS (SELECT FROM pg_locks
                    WHERE locktype = 'advisory' AND granted AND objsubid = 1
                      AND (classid::bigint << 32) | objid::bigint = $1)
"""
# Far from the locks of aggregates and processes.
WITNESS_LOCKS = range(2**61, 2**62)


class Pool:
    """At most `connections_max` connections, lent by role, the warmest first.

    A connection that broke is dropped when it is given back; waiters are served in order.
    """

    def __init__(self, dsn: str, *, connections_max: int, application: str) -> None:
        self.dsn = dsn
        self.connections_max = connections_max
        self.application = application
        self._idle: list[tuple[str, Connection]] = []
        self._open = 0
        self._free = asyncio.Semaphore(connections_max)
        self._witness = 0
        self._witnessed: dict[int, int] = {}  # by id of the connection
        self._closed = False
        self.in_use = 0
        self.waiting = 0

    async def connect(self, *, name: str = "") -> Connection:
        """A connection of its own, outside the pool (LISTEN, migrations); the caller closes it."""
        return await asyncpg.connect(
            self.dsn,
            statement_cache_size=STATEMENTS_CACHED_MAX,
            max_cached_statement_lifetime=0,
            server_settings={
                "application_name": name or self.application,
                "idle_in_transaction_session_timeout": "5s",
                "jit": "off",
                # Units of work are few large statements: planning one costs more than running it.
                "plan_cache_mode": "force_generic_plan",
            },
        )

    async def bear_witness(self, session: Connection) -> int:
        """Let a session stand for this life of the server; returns the number of that life.

        A server that crashes ends all its sessions and may lose what was committed last. As long as
        `life_of` a connection is the number returned here, and the session lives, no crash came
        between what was committed there and what the session has read.
        """
        self._witness = secrets.choice(WITNESS_LOCKS)
        await session.execute(f"SELECT pg_advisory_lock({self._witness})")
        return self._witness

    @property
    def witness(self) -> int:
        """The life of the server that was last borne witness of; 0: none yet."""
        return self._witness

    def life_of(self, connection: Connection) -> int:
        """The life of the server that a lent connection belongs to; 0: not known."""
        return self._witnessed.get(id(connection), 0)

    async def _ask_witness(self, connection: Connection) -> None:
        witness = self._witness
        lives = await connection.fetchval(LIVES, witness)
        self._witnessed[id(connection)] = witness if lives else 0

    @asynccontextmanager
    async def lend(self, role: str) -> AsyncIterator[Connection]:
        """A connection that speaks as `role` until the block ends."""
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.in_use += 1
        connection: Connection | None = None
        try:
            connection = await self._take(role)
            if self._witness and self._witnessed.get(id(connection)) != self._witness:
                await self._ask_witness(connection)
            yield connection
        except asyncio.CancelledError:
            # Torn out of a statement: what the connection is in the middle of is not known here.
            if connection is not None:
                connection.terminate()
            raise
        finally:
            if connection is not None:
                await self._give_back(role, connection)
            self.in_use -= 1
            self._free.release()

    async def _take(self, role: str) -> Connection:
        idle = self._idle
        for index in range(len(idle) - 1, -1, -1):
            if idle[index][0] == role:
                connection = idle.pop(index)[1]
                if not connection.is_closed():
                    return connection
                self._open -= 1
                break
        connection = None
        if self._open >= self.connections_max and idle:
            _, connection = idle.pop(0)  # the coldest
            if connection.is_closed():
                self._open -= 1
                connection = None
        if connection is None:
            self._open += 1
        try:
            if connection is None:
                connection = await self.connect()
                self._witnessed.pop(id(connection), None)  # of one that had its place in memory
            await self._speak_as(connection, role)
        except BaseException:
            self._open -= 1
            if connection is not None:
                connection.terminate()
            raise
        return connection

    async def _speak_as(self, connection: Connection, role: str) -> None:
        assert ROLE.fullmatch(role), role
        await connection.execute(f"SET ROLE {role}")

    async def _give_back(self, role: str, connection: Connection) -> None:
        if connection.is_closed() or self._closed:
            self._open -= 1
            connection.terminate()
            # What broke this one has often broken all: who tries again gets a new one.
            idle, self._idle = self._idle, []
            for _, other in idle:
                self._open -= 1
                other.terminate()
            return
        if connection.is_in_transaction():
            # The block failed between BEGIN and COMMIT. Nothing of it may stay.
            try:
                await connection.execute("ROLLBACK")
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                self._open -= 1
                connection.terminate()
                return
        self._idle.append((role, connection))

    async def close(self) -> None:
        """Close every idle connection; those still lent are closed when they come back."""
        self._closed = True
        idle, self._idle = self._idle, []
        for _, connection in idle:
            self._open -= 1
            try:
                await connection.close(timeout=2)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                connection.terminate()
