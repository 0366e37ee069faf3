"""Clients that hold things up: connections that say nothing, orders whose card never answers."""

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import aiohttp

from benchmarks.shop import BenchmarkFailed

OPENED_AT_ONCE = 64
STALLED_WITHIN_S = 30
ADDRESS = {
    "name": "Ada Lovelace",
    "line1": "12 St James's Square",
    "city": "London",
    "postal_code": "SW1Y 4JH",
    "country": "GB",
}
# A third each: silent; in the middle of a head; in the middle of a body.
STARTS = (
    b"",
    b"POST /v1/orders HTTP/1.1\r\nHost: x\r\n",
    b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\n"
    b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{",
)
SILENT_ANEW_S = 1.0


class Idlers:
    """So many connections, all the time: one that the server ends is opened again."""

    def __init__(self, host: str, port: int, count: int) -> None:
        self.host, self.port, self.count = host, port, count
        self.opened = 0
        self._gate = asyncio.Semaphore(OPENED_AT_ONCE)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._idle(number)) for number in range(self.count)]
        for _ in range(600):
            if self.opened >= self.count:
                break
            await asyncio.sleep(0.05)
        return self

    async def _idle(self, number: int) -> None:
        first = True
        while True:
            async with self._gate:
                try:
                    reader, writer = await asyncio.open_connection(self.host, self.port)
                except OSError:
                    await asyncio.sleep(SILENT_ANEW_S)
                    continue
            self.opened += first
            first = False
            try:
                writer.write(STARTS[number % len(STARTS)])
                await reader.read()
            except OSError:
                pass  # hung up on
            finally:
                writer.close()
            await asyncio.sleep(SILENT_ANEW_S)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Stalled:
    """Orders that wait for the provider. `ends` is whole when the block has ended."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()


@asynccontextmanager
async def stalled_orders(url: str, key: str, count: int) -> AsyncIterator[Stalled]:
    """So many buyers with a card that never answers or takes 2 s, over and over until the end."""
    stalled = Stalled()
    ending = asyncio.Event()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def buy(number: int) -> None:
            token = "tok_slow" if number % 2 else "tok_timeout"
            while not ending.is_set():
                stalled.ends[await place(session, url, token)] += 1

        tasks = [asyncio.create_task(buy(number)) for number in range(count)]
        await until_stalled(session, url, key, count // 2)
        try:
            yield stalled
        finally:
            ending.set()
            await asyncio.gather(*tasks)


async def place(session: aiohttp.ClientSession, url: str, token: str) -> str:
    """One order; its end in two words."""
    body = {
        "email": f"{secrets.token_hex(8)}@bench.example",
        "currency": "GBP",
        "lines": [{"sku": "B0001", "quantity": 1}],
        "shipping_address": ADDRESS,
        "payment": {"token": token},
    }
    headers = {"Idempotency-Key": secrets.token_hex(16), "Prefer": "wait=30"}
    async with session.post(f"{url}/v1/orders", json=body, headers=headers) as reply:
        document: dict[str, Any] = json.loads(await reply.read())
        return f"{reply.status} {document.get('code') or document['status']}"


async def until_stalled(session: aiohttp.ClientSession, url: str, key: str, count: int) -> None:
    """Wait until so many orders wait for the provider. Raises `BenchmarkFailed`."""
    headers = {"Authorization": f"Bearer {key}"}
    path = f"{url}/v1/orders?status=placed&limit=100"
    for _ in range(STALLED_WITHIN_S * 10):
        async with session.get(path, headers=headers) as reply:
            found = len((await reply.json())["items"])
        if found >= min(count, 100):
            return
        await asyncio.sleep(0.1)
    raise BenchmarkFailed(f"Only {found} orders wait for the provider.")
