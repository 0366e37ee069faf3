"""A fresh database with the toy context for each test."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.platform.bus.workshop import SCHEMA, Workshop
from tradewind.platform.bus import members
from tradewind.platform.database.migrate import migrate
from tradewind.platform.database.pool import Pool
from tradewind.testing.database import TEMPLATE, TestServer

TOY_TEMPLATE = "toy_template"


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def toy_template(server: TestServer) -> AsyncIterator[str]:
    """The platform's database with the toy context in it."""
    await server.execute(f"CREATE DATABASE {TOY_TEMPLATE} TEMPLATE {TEMPLATE}")
    pool = Pool(server.dsn_of(TOY_TEMPLATE), connections_max=1, application="toy template")
    await migrate(pool, [SCHEMA])
    await pool.close()
    yield TOY_TEMPLATE
    await server.drop_database(server.dsn_of(TOY_TEMPLATE))


@pytest_asyncio.fixture(loop_scope="session")
async def workshop(
    server: TestServer, toy_template: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Workshop]:
    """A database of its own, and nodes that look after each other ten times a second."""
    monkeypatch.setattr(members, "TICK_S", 0.1)
    name = f"toy_{uuid4().hex[:12]}"
    await server.execute(f"CREATE DATABASE {name} TEMPLATE {toy_template}")
    dsn = server.dsn_of(name)
    workshop = Workshop(dsn)
    yield workshop
    await workshop.close()
    await server.drop_database(dsn)
