"""A real PostgreSQL for tests, and fresh databases in it.

One server serves a test run (the log's horizon is that of the whole server, so runs never share
one); each database is a copy of a migrated template, which takes some twenty milliseconds.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from tradewind.platform.bus import delivery
from tradewind.platform.bus.delivery import Done, Handler, Unit, Workplace
from tradewind.platform.database.clock import Clock
from tradewind.platform.database.embedded import EmbeddedPostgres
from tradewind.platform.database.migrate import SchemaSource, migrate
from tradewind.platform.database.pool import Pool
from tradewind.platform.database.transaction import Snapshot
from tradewind.platform.settings import Settings

TEMPLATE = "tradewind_template"


class TestServer:
    """An embedded server in a folder of its own, and databases made from a template."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self.server = EmbeddedPostgres(folder, shared_buffers_mb=64)

    async def start(self, sources: Sequence[SchemaSource]) -> None:
        """Start, and migrate the template."""
        await self.server.start()
        await self.execute(f"CREATE DATABASE {TEMPLATE}")
        pool = Pool(self.dsn_of(TEMPLATE), connections_max=1, application="template")
        await migrate(pool, sources)
        await pool.close()

    async def stop(self) -> None:
        """Stop the server."""
        await self.server.stop()

    def dsn_of(self, database: str) -> str:
        """The address of a database of this server."""
        address, _, options = self.server.dsn.partition("?")
        return f"{address.rsplit('/', 1)[0]}/{database}" + (f"?{options}" if options else "")

    async def execute(self, sql: str) -> None:
        """Run a statement as the owner, in the server's first database."""
        connection = await asyncpg.connect(self.server.dsn)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def create_database(self) -> str:
        """A fresh migrated database; its address."""
        name = f"t_{uuid4().hex[:12]}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return self.dsn_of(name)

    async def drop_database(self, dsn: str) -> None:
        """Throw a database away, whoever is still connected."""
        name = dsn.partition("?")[0].rsplit("/", 1)[1]
        await self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class UnitRunner:
    """Runs one unit of work at a time, as delivery would, and keeps what was committed."""

    def __init__(self, dsn: str, settings: Settings | None = None) -> None:
        self.dsn = dsn
        self.pool = Pool(dsn, connections_max=4, application="unit")
        self.done: list[Done] = []
        self.workplace = Workplace(
            pool=self.pool,
            clock=Clock(),
            settings=settings or Settings(),
            committed=self.done.append,
        )

    async def run(
        self, context: str, handler: Handler, messages: Sequence[Any], *, keyed: bool = False
    ) -> Any:
        """Commit one unit of work of a context; returns its `Decision`."""
        unit = Unit(context=context, handler=handler, messages=messages, keyed=keyed)
        return (await delivery.run(self.workplace, unit)).decision

    @asynccontextmanager
    async def reading(self, context: str) -> AsyncIterator[Snapshot]:
        """Reads as the role of a context."""
        async with self.pool.lend(f"tradewind_{context}") as connection:
            yield Snapshot(connection, self.workplace.clock.now())

    async def sql(self, query: str, *args: Any) -> list[Any]:
        """Any statement as the owner: for what a test wants to see or to break."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(query, *args))
        finally:
            await connection.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.pool.close()
