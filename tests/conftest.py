"""One PostgreSQL server for the run; a fresh database for each module that asks for one."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import settings

from tradewind import app
from tradewind.supervisor.processes import allow_many_files
from tradewind.testing.database import TestServer, UnitRunner
from tradewind.testing.shop import TOPOLOGY, Shop, SimulatorProcess

# A run in the background may have been told to ignore Ctrl-C, and so would all it starts; and the
# tests hold more connections than many systems allow files at first.
signal.signal(signal.SIGINT, signal.default_int_handler)
allow_many_files()

# The machine is shared: how long an example takes says nothing about it.
settings.register_profile("tradewind", deadline=None)
settings.load_profile("tradewind")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out, with the reason, what is about one process where services are tested."""
    if os.environ.get(TOPOLOGY, "together") == "together":
        return
    for item in items:
        mark = item.get_closest_marker("together")
        if mark is not None:
            item.add_marker(pytest.mark.skip(reason=f"not of services: {mark.args[0]}"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestServer]:
    """The run's PostgreSQL, with a migrated template."""
    folder: Path = tmp_path_factory.mktemp("postgres") / "data"
    server = TestServer(folder)
    await server.start(app.schema_sources(app.load_contexts()))
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def dsn(server: TestServer) -> AsyncIterator[str]:
    """A fresh database for one test."""
    dsn = await server.create_database()
    yield dsn
    await server.drop_database(dsn)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def unit(server: TestServer) -> AsyncIterator[UnitRunner]:
    """Units of work on a database that the tests of a module share."""
    dsn = await server.create_database()
    runner = UnitRunner(dsn)
    yield runner
    await runner.close()
    await server.drop_database(dsn)


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """The payment simulator, for the whole run."""
    process = SimulatorProcess(tmp_path_factory.mktemp("simulator"))
    process.start()
    yield process
    process.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(
    server: TestServer, simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    """A whole shop that the tests of a module share."""
    dsn = await server.create_database()
    shop = Shop(dsn, tmp_path_factory.mktemp("shop"), simulator.url)
    await shop.start()
    yield shop
    await shop.stop()
    await server.drop_database(dsn)
