"""The provider's record, read to its end or not at all."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer as HttpServer
from aiohttp.test_utils import unused_port

from tradewind.checks.provider import ProviderSilent, read_charges, simulator_url
from tradewind.testing.provider import ProviderProcess

CHARGES_COUNT = 1_203


@pytest_asyncio.fixture(loop_scope="session")
async def broken_provider() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"detail": "disk full"}, status=500)

    app = web.Application()
    app.router.add_get("/v1/charges", answer)
    server = HttpServer(app)
    await server.start_server()
    yield str(server.make_url("")).rstrip("/")
    await server.close()


async def test_the_whole_record_is_read_page_by_page(tmp_path: Path) -> None:
    """More charges than one page of the real simulator holds."""
    provider = ProviderProcess(tmp_path)
    provider.start()
    try:
        for first in range(0, CHARGES_COUNT, 401):
            operations = [
                {
                    "key": f"pay_{number}:authorise",
                    "operation": "authorise",
                    "amount_minor": number + 1,
                    "currency": "GBP",
                    "token": "tok_ok",
                    "reference": f"pay_{number}",
                    "order_id": f"ord_{number}",
                }
                for number in range(first, first + 401)
            ]
            await provider.send(*operations)
        charges = await read_charges(provider.url)
    finally:
        provider.stop()
    assert [charge.number for charge in charges] == list(range(1, CHARGES_COUNT + 1))
    assert sorted(charge.amount_minor for charge in charges) == list(range(1, CHARGES_COUNT + 1))


async def test_a_provider_out_of_order_is_told(broken_provider: str) -> None:
    with pytest.raises(ProviderSilent, match="answered 500"):
        await read_charges(broken_provider)


async def test_a_provider_that_is_gone_is_told() -> None:
    with pytest.raises(ProviderSilent):
        await read_charges(f"http://127.0.0.1:{unused_port()}")


def test_the_simulator_of_a_home_is_found(tmp_path: Path) -> None:
    assert simulator_url(tmp_path, "http://bank.example") == "http://bank.example"
    (tmp_path / "simulator").mkdir()
    (tmp_path / "simulator" / "place.json").write_text(json.dumps({"port": 8123, "process": None}))
    assert simulator_url(tmp_path, None) == "http://127.0.0.1:8123"


@pytest.mark.parametrize("text", [None, "", "{}", '{"port": "x"}'])
def test_a_home_without_a_simulator_is_told(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "simulator").mkdir()
        (tmp_path / "simulator" / "place.json").write_text(text)
    with pytest.raises(ProviderSilent, match=r"place\.json"):
        simulator_url(tmp_path, None)
