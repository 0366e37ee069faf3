"""Real sockets: limits on heads, slow clients, what a client sees of early answers, the way out."""

import asyncio
import gc
import io
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from msgspec import structs
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tests.platform.gateway.gateway_shop import KEY, application, order
from tradewind.platform.gateway.limits import Limits
from tradewind.platform.gateway.protocol import GuardedProtocol
from tradewind.platform.gateway.server import Server
from tradewind.platform.settings import Settings

SETTINGS = structs.replace(
    Settings(),
    port=0,
    header_bytes_max=2_048,
    head_timeout_s=0.4,
    body_timeout_s=0.4,
    answer_timeout_s=0.4,
    drain_timeout_s=3,
)


class Running:
    """A server at work."""

    def __init__(self, server: Server, task: asyncio.Task[None], app: Any) -> None:
        self.server = server
        self.task = task
        self.app = app
        self.port = server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def say(self, *parts: bytes, pause_s: float = 0.0) -> bytes:
        """Send raw bytes and read until the server hangs up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_s)
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def running(
    settings: Settings = SETTINGS, limits: Limits | None = None
) -> AsyncIterator[Running]:
    app = application(settings, limits=limits)
    server = Server(app, settings)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield Running(server, task, app)
    finally:
        server.should_exit = True
        await task


def status_of(raw: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", raw)
    assert found, raw[:200]
    return int(found[1])


GET = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


async def test_a_request_leaves_nothing_to_the_collector() -> None:
    """What it made goes with it: `tradewind.supervisor.garbage` relies on that."""
    async with running() as at, aiohttp.ClientSession(at.url) as client:
        gc.collect()
        gc.disable()
        try:
            for number in range(20):
                headers = {"idempotency-key": f"g-{number}", "content-type": "application/json"}
                async with client.post("/v1/orders", json=order(), headers=headers) as reply:
                    assert reply.status == 201
                async with client.post("/v1/orders", data=b"{", headers=headers) as reply:
                    assert reply.status == 400
                async with client.get("/v1/things/no%20such%20thing/of/ours") as reply:
                    assert reply.status == 404
            left = [o for o in gc.get_objects() if isinstance(o, RequestResponseCycle)]
        finally:
            gc.enable()
    assert len(left) <= 1  # the last one of the connection


async def test_an_order_over_a_socket() -> None:
    async with running() as at, aiohttp.ClientSession(at.url) as client:
        async with client.post("/v1/orders", json=order(), headers=KEY) as reply:
            assert reply.status == 201
            assert (await reply.json())["id"] == "ord_1"
            assert len(reply.headers.getall("Date")) == 1
            assert "Server" not in reply.headers
        async with client.get("/v1/things/sku:%C3%A4%2F1") as reply:
            assert (await reply.json())["sku"] == "ä/1"
        async with client.head("/v1/things/1") as reply:
            assert (reply.status, await reply.read()) == (200, b"")


async def test_an_answer_is_sent_with_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes as by ASGI, but for the date and the ids; not where the connection closes."""
    whole: list[bool] = []
    in_one = GuardedProtocol._answer_in_one

    def watched(*args: Any) -> bool:
        whole.append(in_one(*args))
        return whole[-1]

    async def ask(server: Running) -> bytes:
        head = b"GET /v1/nothing HTTP/1.1\r\nhost: x\r\n"
        answer = await server.say(head + b"\r\n" + head + b"connection: close\r\n\r\n")
        return re.sub(rb"[0-9a-f]{32}|date: [^\r]+|req_\w+|[0-9a-f-]{36}", b"*", answer)

    monkeypatch.setattr(GuardedProtocol, "_answer_in_one", watched)
    async with running() as server:
        once = await ask(server)
    assert whole == [True, False]
    monkeypatch.setattr(GuardedProtocol, "_answer_in_one", lambda *args: False)
    async with running() as server:
        assert await ask(server) == once


@pytest.mark.parametrize("header", [(b"x-told", b"a\r\nb: c"), (b"connection", b"close")])
async def test_what_does_not_fit_takes_the_long_way(header: tuple[bytes, bytes]) -> None:
    """Which refuses a line break in a header, and hangs up."""

    class Cycle:
        response_started = disconnected = False
        keep_alive = True

    class Open:
        write_paused = False

        def is_closing(self) -> bool:
            return False

    protocol = GuardedProtocol.__new__(GuardedProtocol)
    protocol.flow = Open()  # type: ignore[assignment]
    protocol.transport = Open()  # type: ignore[assignment]
    assert not protocol._answer_in_one(Cycle(), 200, [(b"content-length", b"0"), header], b"")


async def test_heads_are_bounded() -> None:
    async with running() as at:
        fits = GET + b"X: " + b"a" * 1_800 + b"\r\n\r\n"
        assert status_of(await at.say(fits)) == 200
        for raw in (
            GET + b"X: " + b"a" * 4_000 + b"\r\n\r\n",
            GET + b"X: " + b"a" * 4_000,
            b"GET /" + b"a" * 4_000,
            GET + b"".join(b"X-%d: a\r\n" % n for n in range(500)) + b"\r\n",
        ):
            reply = await at.say(raw)
            assert status_of(reply) == 431, raw[:40]
            assert b"application/problem+json" in reply and b"headers_too_large" in reply


async def test_a_body_does_not_count_as_head() -> None:
    """Head and body come in one packet that is larger than a head may be."""
    async with running() as at:
        body = b'{"email":"a","lines":[' + b" " * 8_000 + b'{"sku":"A","quantity":1}]}'
        head = (
            b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\nIdempotency-Key: k\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        assert status_of(await at.say(head + body)) == 201


async def test_slow_heads_end() -> None:
    async with running() as at:
        began = time.monotonic()
        assert await at.say() == b"", "a client that says nothing is hung up on"
        assert status_of(await at.say(GET)) == 408
        assert status_of(await at.say(GET[:10], GET[10:20], GET[20:30], pause_s=0.12)) == 408
        assert time.monotonic() - began < 5


async def test_who_takes_nothing_of_an_answer_is_hung_up_on() -> None:
    """A client that asks for much and reads none of it does not hold it for ever."""
    async with running() as at:
        _, writer = await asyncio.open_connection("127.0.0.1", at.port, limit=1)
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 2_000)
        protocols = at.server.server_state.connections
        await asyncio.sleep(0.1)
        assert protocols
        until = time.monotonic() + 10
        while protocols:
            assert time.monotonic() < until, "it is still held"
            await asyncio.sleep(0.05)
        writer.close()
        assert status_of(await at.say(GET + b"\r\n")) == 200


async def test_a_stream_that_only_drips_ends() -> None:
    """Each piece comes in time, and all together would hold the import for a week."""
    async with running() as at:
        head = (
            b"POST /v1/imports HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer clerk\r\n"
            b"Content-Type: application/x-ndjson\r\nContent-Length: 100000\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(head)
        answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        until = time.monotonic() + 10
        while not answer.done():
            assert time.monotonic() < until, "it still takes what drips in"
            writer.write(b"x")
            await asyncio.sleep(0.1)
        assert status_of(answer.result()) == 408
        writer.close()


async def test_so_many_connections_of_one_client() -> None:
    """The next one hears why it is none; what ends makes room. Not counted without limits."""
    settings = structs.replace(SETTINGS, connections_per_client_max=3, head_timeout_s=5)
    limits = Limits(b"s" * 32, time.time)
    async with running(settings, limits) as at:
        held = [await asyncio.open_connection("127.0.0.1", at.port) for _ in range(3)]
        await asyncio.sleep(0.1)
        refused = await at.say()
        assert status_of(refused) == 429
        assert b"too_many_at_once" in refused and b"retry-after: 1" in refused
        held.pop()[1].close()
        await asyncio.sleep(0.1)
        assert status_of(await at.say(GET + b"\r\n")) == 200
        for _, writer in held:
            writer.close()
    async with running(structs.replace(settings, trusted_proxies=("127.0.0.0/8",)), limits) as at:
        held = [await asyncio.open_connection("127.0.0.1", at.port) for _ in range(6)]
        assert status_of(await at.say(GET + b"\r\n")) == 200
        for _, writer in held:
            writer.close()


async def test_slow_bodies_end_and_the_connection_is_not_left_in_the_middle() -> None:
    async with running() as at:
        head = (
            b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        )
        reply = await at.say(head + b"{")
        assert status_of(reply) == 408
        assert b"connection: close" in reply


@pytest.mark.parametrize(
    "raw",
    [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBroken Header: y\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_400(raw: bytes) -> None:
    async with running() as at:
        reply = await at.say(raw)
        assert status_of(reply) == 400
        assert b"malformed_request" in reply


async def test_a_client_that_sends_10_mb_sees_why_it_was_refused() -> None:
    async with running() as at, aiohttp.ClientSession(at.url) as client:
        for data in (io.BytesIO(b"x" * 10_000_000), chunks(10_000_000)):
            headers = {**KEY, "Content-Type": "application/json"}
            async with client.post("/v1/orders", data=data, headers=headers) as reply:
                assert reply.status == 413
                assert (await reply.json(content_type=None))["code"] == "body_too_large"
        async with client.post("/v1/imports", data=io.BytesIO(b"x" * 10_000_000)) as reply:
            assert reply.status == 401


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(0, size, 50_000):
        yield b"x" * 50_000


async def test_two_requests_in_one_packet_are_answered_in_order() -> None:
    async with running() as at:
        first = b"GET /v1/things/1 HTTP/1.1\r\nHost: x\r\n\r\n"
        second = b"GET /v1/things/2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        reply = await at.say(first + second)
        assert re.findall(rb'"thing_id":"(\d)"', reply) == [b"1", b"2"]


async def test_what_was_begun_is_finished_before_the_server_goes() -> None:
    async with running() as at, aiohttp.ClientSession(at.url) as client:
        slow = asyncio.create_task(
            client.get("/v1/slow", headers={"prefer": "wait=1"}).__aenter__()
        )
        await asyncio.sleep(0.2)
        at.server.stop()
        assert at.app.draining
        reply = await slow
        assert (reply.status, await reply.json()) == (200, {"waited": 1.0})
        await client.close()
        async with asyncio.timeout(5):
            await at.task


async def test_what_cannot_be_finished_is_told_to_come_back() -> None:
    settings = structs.replace(SETTINGS, drain_timeout_s=1)
    async with running(settings) as at, aiohttp.ClientSession(at.url) as client:
        slow = asyncio.create_task(
            client.get("/v1/slow", headers={"prefer": "wait=20"}).__aenter__()
        )
        await asyncio.sleep(0.2)
        at.server.stop()
        reply = await slow
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        reply.close()
