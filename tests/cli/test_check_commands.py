"""`tradewind check invariants`: the exit code is the verdict."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import NamedTuple

import asyncpg
import pytest
import pytest_asyncio

from tradewind.testing.database import TestServer
from tradewind.testing.shop import Shop, SimulatorProcess


class Result(NamedTuple):
    """How the command ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sold(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """A shop with one order, and a provider that knows no other shop."""
    simulator = SimulatorProcess(tmp_path_factory.mktemp("simulator"))
    simulator.start()
    dsn = await server.create_database()
    shop = Shop(dsn, tmp_path_factory.mktemp("shop"), simulator.url)
    await shop.start()
    await shop.given_product("MUG", on_hand=10)
    await shop.until_idle()
    order = await shop.place(("MUG", 2))
    assert order.status == 201, order.raw
    await shop.until(order.json["id"], payment="captured")
    yield shop
    await shop.stop()
    await server.drop_database(dsn)
    simulator.stop()


async def check(shop: Shop, *words: str, **environment: str) -> Result:
    return await run(shop, "check", *(words or ("invariants", "--wait", "10")), **environment)


async def run(shop: Shop, *words: str, **environment: str) -> Result:
    assert shop.settings.database_url and shop.settings.simulator_url
    told = {
        "TRADEWIND_DATABASE_URL": shop.settings.database_url,
        "TRADEWIND_SIMULATOR_URL": shop.settings.simulator_url,
        **environment,
    }
    command = (sys.executable, "-m", "tradewind", *words)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | told
    )
    stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, stdout.decode(), stderr.decode())


async def test_a_shop_in_order_leaves_with_0(sold: Shop) -> None:
    result = await check(sold)
    assert result.exit_code == 0, result.output
    assert "BROKEN" not in result.stdout
    assert "invariants hold." in result.stdout
    assert "The provider recorded 2 operations" in result.stdout


async def test_the_events_of_a_shop_in_order_reproduce_its_rows(sold: Shop) -> None:
    result = await check(sold, "replay")
    assert result.exit_code == 0, result.output
    assert "The events reproduce every row." in result.stdout


async def test_lives_are_explored_without_a_shop(sold: Shop) -> None:
    result = await check(sold, "life", "--faults", "0", "--bound", "300")
    assert result.exit_code == 0, result.output
    assert "states over" in result.stdout
    assert "There are more." in result.stdout


async def test_what_follows_from_events_is_rebuilt_from_the_command_line(sold: Shop) -> None:
    listed, rebuilt, unknown = await asyncio.gather(
        run(sold, "rebuild"), run(sold, "rebuild", "all"), run(sold, "rebuild", "orders.orders")
    )
    assert listed.stdout.split() == ["orders.offers", "catalog.availability", "catalog.documents"]
    assert rebuilt.exit_code == 0, rebuilt.output
    assert rebuilt.stdout.count("identical") == 2
    assert unknown.exit_code == 2
    assert "Choose one of" in unknown.stderr


async def test_what_is_broken_is_named_and_leaves_with_1(sold: Shop) -> None:
    assert sold.settings.database_url is not None
    connection = await asyncpg.connect(sold.settings.database_url)
    await connection.execute("UPDATE inventory.stock SET reserved = reserved + 1")
    try:
        result = await check(sold)
    finally:
        await connection.execute("UPDATE inventory.stock SET reserved = reserved - 1")
        await connection.close()
    assert result.exit_code == 1
    assert (
        "BROKEN: units reserved are the sum of living reservations: MUG at main: "
        "reserved 3, reservations add up to 2"
    ) in result.stdout
    assert "NOT PROVED" in result.stdout


async def test_without_the_providers_record_nothing_is_proved(sold: Shop) -> None:
    result = await check(sold, TRADEWIND_SIMULATOR_URL="http://127.0.0.1:9")
    assert result.exit_code == 2
    assert "provider's record cannot be read" in result.stderr


async def test_without_a_database_it_says_so(sold: Shop) -> None:
    result = await check(sold, TRADEWIND_DATABASE_URL="postgresql://127.0.0.1:9/nothing")
    assert result.exit_code == 2
    assert "The database cannot be read" in result.stderr
