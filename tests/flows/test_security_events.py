"""What a security system is told: over a file, syslog and HTTP, at least once, and no floods."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web

from tradewind.testing.database import TestServer
from tradewind.testing.shop import Shop, SimulatorProcess, free_port

Start = Callable[..., Awaitable[Shop]]
LOOPBACK = ("127.0.0.0/8",)
TOLD_WITHIN_S = 20


@pytest_asyncio.fixture(loop_scope="session")
async def start(
    server: TestServer, simulator: SimulatorProcess, tmp_path: Path
) -> AsyncIterator[Start]:
    """Shops with settings of their own, over one database."""
    dsn = await server.create_database()
    started: list[Shop] = []

    async def begin(**settings: Any) -> Shop:
        shop = Shop(dsn, tmp_path / "home", simulator.url, **settings)
        await shop.start()
        started.append(shop)
        return shop

    yield begin
    for shop in started:
        if not shop.session.closed:
            await shop.stop()
    await server.drop_database(dsn)


async def until(found: Callable[[], bool]) -> None:
    for _ in range(TOLD_WITHIN_S * 20):
        if found():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("nothing was told")


async def make_key(shop: Shop, *scopes: str) -> dict[str, Any]:
    answer = await shop.admin("POST", "/v1/keys", {"name": "a till", "scopes": list(scopes)})
    found: dict[str, Any] = answer.json
    return found


async def test_refusals_and_keys_are_told_to_a_file(start: Start) -> None:
    shop = await start(security_export="file://siem/events.jsonl")
    key = await make_key(shop, "orders:read")
    for _ in range(50):
        assert (await shop.request("GET", "/v1/orders", bearer="tw_live_wrong")).status == 401
    for _ in range(20):
        assert (await shop.request("GET", "/v1/stock", bearer=key["key"])).status == 403
    order = "ord_" + "0" * 26
    other = await make_key(shop, "carts:read")
    assert (await shop.request("GET", f"/v1/orders/{order}", bearer=other["key"])).status == 404
    assert (await shop.request("GET", "/v1/orders")).status == 401  # shows nothing, tries nothing
    await shop.admin("POST", f"/v1/keys/{key['id']}/revoke")
    path = shop.settings.home / "siem" / "events.jsonl"

    def lines() -> list[dict[str, Any]]:
        return [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []

    def actions() -> list[tuple[str, str]]:
        return [(x["event"]["action"], x.get("user", {}).get("id", "")) for x in lines()]

    wanted = {
        ("key_made", "key_" + "0" * 26),
        ("key_revoked", "key_" + "0" * 26),
        ("credential_refused", ""),
        ("permission_refused", key["id"]),
        ("permission_refused", other["id"]),
    }
    await until(lambda: wanted <= set(actions()))
    assert (path.stat().st_mode & 0o777) == 0o600
    assert len(lines()) <= 12, "seventy refusals are no seventy lines"
    assert "tw_live_wrong" not in path.read_text()
    made = next(x for x in lines() if x["event"]["action"] == "key_revoked")
    assert made["labels"]["object"] == key["id"]
    assert made["url"]["path"] == "/v1/keys/{key_id}/revoke"
    # The same, on the bus, for who may read the audit; to others there is no such topic.
    feed = (await shop.admin("GET", "/v1/events?topic=security-events&limit=100")).json["items"]
    assert {"key_made", "credential_refused"} <= {item["data"]["notice"] for item in feed}
    reader = await make_key(shop, "events:read")
    path_of_topic = "/v1/events?topic=security-events"
    assert (await shop.request("GET", path_of_topic, bearer=reader["key"])).status == 403
    everything = await shop.request("GET", "/v1/events?limit=100", bearer=reader["key"])
    assert everything.status == 200
    assert not [x for x in everything.json["items"] if x["type"].startswith("audit.")]


@asynccontextmanager
async def collector(answer: Callable[[bytes], web.Response]) -> AsyncIterator[int]:
    """An HTTP endpoint; its port."""

    async def take(request: web.Request) -> web.Response:
        return answer(await request.read())

    served = web.Application()
    served.router.add_post("/in", take)
    runner = web.AppRunner(served)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield port
    await runner.cleanup()


async def test_an_endpoint_that_fails_loses_nothing(start: Start) -> None:
    """It says 500, then takes everything and loses the connection, then is there again: each event
    comes at least once, in order, and a restart goes on where the last one ended.
    """
    taken: list[dict[str, Any]] = []
    asked = 0

    def answer(body: bytes) -> web.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            return web.Response(status=500)
        taken.extend(json.loads(x) for x in body.splitlines())
        return web.Response(status=502 if asked == 2 else 204)

    async with collector(answer) as port:
        export = {
            "security_export": f"http://127.0.0.1:{port}/in",
            "outbound_networks": LOOPBACK,
        }
        shop = await start(**export)
        made = [(await make_key(shop, "orders:read"))["id"] for _ in range(5)]

        def objects() -> list[str]:
            return [x["labels"].get("object", "") for x in taken]

        await until(lambda: set(made) <= set(objects()) and asked >= 3)
        first_seen = list(dict.fromkeys(x["event"]["sequence"] for x in taken))
        assert first_seen == sorted(first_seen)
        await shop.stop()
        before = len(taken)
        again = await start(**export)
        later = (await make_key(again, "orders:read"))["id"]
        await until(lambda: later in objects())
        assert not set(made) & {x["labels"].get("object") for x in taken[before:]}


async def test_an_endpoint_inside_the_house_is_not_called_unless_it_is_named(start: Start) -> None:
    """Neither it nor where it redirects to."""
    asked: list[bytes] = []

    def answer(body: bytes) -> web.Response:
        asked.append(body)
        return web.Response(status=204)

    async with collector(answer) as port:
        for host in ("127.0.0.1", "localhost", "2130706433"):
            shop = await start(security_export=f"http://{host}:{port}/in")
            await make_key(shop, "orders:read")
            await asyncio.sleep(3)
            await shop.stop()
        assert asked == []

        def redirect(body: bytes) -> web.Response:
            return web.Response(status=307, headers={"Location": f"http://127.0.0.1:{port}/in"})

        async with collector(redirect) as moved:
            shop = await start(
                security_export=f"http://127.0.0.1:{moved}/in", outbound_networks=LOOPBACK
            )
            await make_key(shop, "orders:read")
            await asyncio.sleep(3)
        assert asked == []


async def test_syslog_over_tcp_is_framed_by_octets(start: Start) -> None:
    received = bytearray()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(4096):
            received.extend(piece)
        writer.close()

    listener = await asyncio.start_server(take, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    shop = await start(security_export=f"syslog+tcp://127.0.0.1:{port}", outbound_networks=LOOPBACK)
    key = await make_key(shop, "orders:read")
    await until(lambda: key["id"].encode() in received)
    messages, rest = [], bytes(received)
    while rest:
        length, _, rest = rest.partition(b" ")
        messages.append(rest[: int(length)])
        rest = rest[int(length) :]
    assert all(message.startswith(b"<10") and b">1 20" in message for message in messages)
    await shop.stop()
    listener.close()


async def test_syslog_over_udp_is_a_message_a_datagram(start: Start) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        port = listener.getsockname()[1]
        shop = await start(
            security_export=f"syslog+udp://127.0.0.1:{port}", outbound_networks=LOOPBACK
        )
        key = await make_key(shop, "orders:read")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TOLD_WITHIN_S):
            while True:
                message = await loop.sock_recv(listener, 65_536)
                if key["id"].encode() in message:
                    break
        assert message.startswith(b"<109>1 ")


async def test_two_processes_send_each_event_once(start: Start) -> None:
    """While nothing fails, the claim keeps them apart."""
    taken: list[str] = []

    def answer(body: bytes) -> web.Response:
        taken.extend(json.loads(x)["event"]["id"] for x in body.splitlines())
        return web.Response(status=204)

    async with collector(answer) as port:
        export = {
            "security_export": f"http://127.0.0.1:{port}/in",
            "outbound_networks": LOOPBACK,
        }
        shop, other = await start(**export), await start(**export)
        made = [
            (await make_key(each, "orders:read"))["id"] for _ in range(10) for each in (shop, other)
        ]
        connection = await asyncpg.connect(shop.settings.database_url)
        wanted = await connection.fetchval(
            "SELECT count(*) FROM audit.entries WHERE object = ANY($1::text[])", made
        )
        await connection.close()
        assert wanted == 20
        await until(lambda: len(set(taken)) >= 20)
        await asyncio.sleep(2)
        assert len(taken) == len(set(taken))


@pytest.mark.parametrize("setting", ["10.0.0.0/99", "house"])
def test_a_network_that_is_none_stops_the_start(setting: str) -> None:
    from tradewind.platform.settings import SettingsError, read_settings

    with pytest.raises(SettingsError, match="TRADEWIND_OUTBOUND_NETWORKS"):
        read_settings({"TRADEWIND_OUTBOUND_NETWORKS": setting})
