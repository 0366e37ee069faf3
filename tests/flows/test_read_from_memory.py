"""What is answered from memory, byte by byte: nobody can tell, but by how fast it is."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tradewind.platform.cache.memory import FRESH_S
from tradewind.platform.telemetry import metrics
from tradewind.testing.platform import Platform
from tradewind.testing.shop import Shop

CHANGING = re.compile(rb"(?m)^(date|x-request-id): .*\r\n")


class Line:
    """A connection on which one writes what one likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self, *, empty: bool = False) -> bytes:
        """One answer, head and body."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        length = re.search(rb"content-length: (\d+)", head)
        if empty or length is None:
            return head
        return head + await self.reader.readexactly(int(length[1]))

    async def ask(
        self, *heads: str, target: str, method: str = "GET", version: str = "1.1"
    ) -> bytes:
        """One request, one answer."""
        lines = [f"{method} {target} HTTP/{version}", "Host: shop", *heads, "", ""]
        self.writer.write("\r\n".join(lines).encode())
        return await self.answer(empty=method == "HEAD")

    @property
    async def ended(self) -> bool:
        """Whether the server hung up."""
        return await asyncio.wait_for(self.reader.read(1), 5) == b""


@contextlib.asynccontextmanager
async def line(port: int) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def steady(answer: bytes) -> bytes:
    """An answer without what differs each time."""
    return CHANGING.sub(b"", answer)


def hits() -> float:
    """Answers from memory so far."""
    found: float = metrics.REMEMBERED.labels("catalog", "hit")._value.get()
    return found


def counted(status: str) -> float:
    """Requests that the figures know of."""
    labels = "GET", "/v1/products/sku:{sku}", status
    found: float = metrics.HTTP_REQUESTS.labels(*labels)._value.get()
    return found


async def warm(one: Line, target: str) -> bytes:
    """Ask until the answer comes from memory."""
    for _ in range(100):
        before = hits()
        answer = await one.ask(target=target)
        if hits() > before:
            return answer
        await asyncio.sleep(0.01)
    raise AssertionError(f"{target} is not remembered")


@pytest.mark.together("a gateway remembers no answers")
async def test_the_short_way_and_the_long_way_say_the_same(shop: Shop) -> None:
    """Whatever a request looks like, and whether it is counted."""
    await shop.given_product("quick", on_hand=5)
    await shop.until_idle()
    [memory] = shop.application._recall.memories.values()
    url = "/v1/products/sku:quick"
    async with line(shop.port) as one:
        known = await warm(one, url)
        tag = re.search(rb'etag: ("[^"]+")', known)
        assert tag is not None
        etag = tag[1].decode()
        for heads in (
            [],
            ["If-None-Match: " + etag],
            ["If-None-Match: W/" + etag],
            ["If-None-Match: *"],
            ['If-None-Match: "other"'],
            ["Accept: text/html", "Connection: keep-alive", "User-Agent: x"],
            ["Authorization: Bearer " + shop.admin_key],
            ["Content-Length: 0"],
            ["X-Request-Id: mine"],
            ["X-Request-Id: mine", "X-Request-Id: yours"],
        ):
            await warm(one, url)
            before = counted("200") + counted("304")
            quick = await one.ask(*heads, target=url)
            memory._entries.clear()
            slow = await one.ask(*heads, target=url)
            assert steady(quick) == steady(slow), heads
            assert counted("200") + counted("304") == before + 2
        await warm(one, url)
        head = await one.ask(target=url, method="HEAD")
        assert steady(head) == steady(known.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        refused = await one.ask("Authorization: Bearer wrong", target=url)
        assert refused.startswith(b"HTTP/1.1 401 ")


async def test_ids_and_traces_go_on(shop: Shop) -> None:
    """The caller's own where there is one; else each request has another."""
    await shop.given_product("traced", on_hand=5)
    url = "/v1/products/sku:traced"
    async with line(shop.port) as one:
        await warm(one, url)
        assert b"x-request-id: mine\r\n" in await one.ask("X-Request-Id: mine", target=url)
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        told = await one.ask(f"traceparent: {trace}", target=url)
        assert b"x-request-id: 0af7651916cd43dd8448eb211c80319c\r\n" in told
        ids = {re.search(rb"x-request-id: (\w{32})", await one.ask(target=url)) for _ in range(600)}
        assert len({found[1] for found in ids if found}) == 600


async def test_a_connection_goes_on_as_it_was_asked_to(shop: Shop) -> None:
    """Many requests at once in order, the long way between them; an end where one is wanted."""
    await shop.given_product("mixed", on_hand=5)
    quick, slow = "/v1/products/sku:mixed", "/v1/categories"
    async with line(shop.port) as one:
        await warm(one, quick)
        asked = [quick, slow, quick, quick, slow, quick]
        one.writer.write(
            b"".join(f"GET {target} HTTP/1.1\r\nHost: shop\r\n\r\n".encode() for target in asked)
        )
        for target in asked:
            answer = await one.answer()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert (b"surrogate-key" in answer) is (target == quick)
        for piece in (f"GET {quick} HT", "TP/1.1\r\nHo", "st: shop\r\n\r", "\n"):
            one.writer.write(piece.encode())
            await asyncio.sleep(0.01)
        assert (await one.answer()).startswith(b"HTTP/1.1 200 OK\r\n")
        answer = await one.ask("Connection: close", target=quick)
        assert b"connection: close" in answer
        assert await one.ended
    async with line(shop.port) as one:
        assert (await one.ask(target=quick, version="1.0")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert await one.ended


async def test_a_price_is_new_for_everybody_when_its_change_is_answered(shop: Shop) -> None:
    await shop.given_product("priced", on_hand=5)
    url = "/v1/products/sku:priced"
    async with line(shop.port) as one:
        for number in range(1, 20):
            await warm(one, url)
            await shop.given_product("priced", on_hand=5, price=f"{number}.50")
            assert f'"amount":"{number}.50"'.encode() in await one.ask(target=url)


@pytest.mark.alone
async def test_stopped_and_woken_no_process_tells_old_prices(tmp_path: Path) -> None:
    """Two web processes; each in turn is stopped by SIGSTOP while a price changes. Whoever asks it
    when it goes on is not answered with what it remembers.
    """
    platform = Platform(tmp_path, workers=2)
    try:
        await platform.start()
        await platform.given_product("frozen", on_hand=5, price="1.00")
        url = "/v1/products/sku:frozen"
        lines: list[Any] = []
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(8):  # some with each process
                lines.append(await stack.enter_async_context(line(platform.port)))
            for number, pid in enumerate([*platform.web, *platform.web], 2):
                for _ in range(20):
                    await asyncio.gather(*(one.ask(target=url) for one in lines))
                    await asyncio.sleep(0.02)
                os.kill(pid, signal.SIGSTOP)
                try:
                    changed = await platform.ask_until_answered(
                        "PUT",
                        "/v1/products/frozen",
                        {
                            "title": "Frozen",
                            "variants": [
                                {
                                    "sku": "frozen",
                                    "price": {"amount": f"{number}.00", "currency": "GBP"},
                                }
                            ],
                        },
                        bearer=platform.admin_key,
                        within_s=30,
                    )
                    assert changed.status in (200, 202)
                    waiting = [asyncio.create_task(one.ask(target=url)) for one in lines]
                    await asyncio.sleep(FRESH_S)
                finally:
                    os.kill(pid, signal.SIGCONT)
                for answer in await asyncio.gather(*waiting):
                    assert f'"amount":"{number}.00"'.encode() in answer
                await platform.until_ready()
    finally:
        await platform.stop()
