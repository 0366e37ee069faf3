"""What runs during a window of reads: the readers, the bare route, the orders and price changes."""

import asyncio
import json
import random
import socket
import sys
import tempfile
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Struct

from benchmarks.flood import Flooded
from benchmarks.processes import Sample, Used, between, read
from benchmarks.reading import Read, Record, read_record
from benchmarks.shop import BenchmarkFailed, Shop
from benchmarks.staleness import Acknowledged

ROOT = Path(__file__).parents[1]
CHANGE_EVERY_S = 1.0
ORDERING = 128  # connections at most
STARTED_WITHIN_S = 20
# Readers and orders start before the window: Python takes a while to load.
STARTS_WITHIN_S = 1.0


class Window(Struct, frozen=True):
    """When to count, by the machine's monotonic clock."""

    begin: float
    end: float

    @classmethod
    def soon(cls, warm_s: float, seconds: float) -> Self:
        """A window that begins when everything is warm."""
        begin = time.monotonic() + STARTS_WITHIN_S + warm_s
        return cls(begin, begin + seconds)


class Run(Struct, frozen=True):
    """What the readers saw in a window, and what it cost."""

    read: Read
    record: Record
    used: Used

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return self.read.answered / self.used.elapsed_s

    @property
    def took_ms(self) -> list[float]:
        """How long answers took, sorted."""
        return sorted(took * 1000 for took in self.record.took_s)

    def cpu_us(self, tier: str) -> float:
        """Processor time an answer."""
        return self.used.tiers[tier] / max(1, self.read.answered) * 1e6


async def ask(shop: Shop, method: str, path: str, body: bytes | None = None, kind: str = "") -> Any:
    """One request with the admin key, beside the loop."""
    return await asyncio.to_thread(shop.ask, method, path, body, kind)


class Asking(Struct, frozen=True):
    """What readers ask for: targets in an order, from so many connections; what they note."""

    targets: Sequence[str]
    order: "array[int]"
    connections: int
    state: str = "none"


async def read_with(
    shop: Shop, asking: Asking, window: Window, *, folder: Path, bare: "BareRoute | None" = None
) -> Run:
    """Have readers ask the shop, or the bare route, in a window."""
    tiers = shop.tiers()
    port = bare.port if bare else shop.port
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        (place / "targets").write_text("\n".join(asking.targets))
        (place / "order").write_bytes(asking.order.tobytes())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.reading", "--port", str(port)),
            *("--connections", str(asking.connections), "--state", asking.state),
            *("--begin", str(window.begin), "--end", str(window.end)),
            *("--targets", str(place / "targets"), "--order", str(place / "order")),
            *("--record", str(place / "record")),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        samples: list[tuple[Sample, float]] = []
        try:
            for at in (window.begin, window.end):
                await asyncio.sleep(max(0.0, at - time.monotonic()))
                samples.append((tiers.sample(), bare.cpu_s() if bare else 0.0))
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise BenchmarkFailed(f"The readers ended with status {process.returncode}.")
        seen = msgspec.convert(json.loads(output), Read)
        record = read_record(place / "record")
    (before, bare_before), (after, bare_after) = samples
    used = between(before, after, load=seen.cpu_s, bare=bare_after - bare_before)
    return Run(seen, record, used)


class BareRoute:
    """The partner, as a process of its own."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self._pid = pid

    def cpu_s(self) -> float:
        """What it has used so far."""
        found = read(self._pid)
        if found is None:
            raise BenchmarkFailed("The bare route has ended.")
        return found.own_s

    @classmethod
    @asynccontextmanager
    async def serving(cls, answers: dict[str, bytes], folder: Path) -> AsyncIterator["BareRoute"]:
        """A bare route that gives these answers, until the block ends."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        file = folder / "answers"
        file.write_bytes(msgspec.msgpack.encode(answers))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.bare"),
            *("--port", str(port), "--answers", str(file)),
            cwd=ROOT,
        )
        try:
            until = time.monotonic() + STARTED_WITHIN_S
            while not listens(port):
                if time.monotonic() > until or process.returncode is not None:
                    raise BenchmarkFailed("The bare route does not start.")
                await asyncio.sleep(0.05)
            yield cls(port, process.pid)
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()


def listens(port: int) -> bool:
    """Whether somebody answers there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Beside:
    """Orders at a rate and a change of a price a second, around and in a window."""

    def __init__(
        self,
        shop: Shop,
        products: Sequence[dict[str, Any]],
        orders_per_s: float,
        window: Window,
        seed: int,
    ) -> None:
        self.shop = shop
        self.products = products
        self.window = window
        self.changes: list[Acknowledged] = []
        self.odd: dict[str, int] = {}
        self.orders_per_s = 0.0
        self._rate = orders_per_s
        self._chance = random.Random(seed)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._order()),
            asyncio.create_task(self._change_prices()),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            await task

    async def _order(self) -> None:
        window = self.window
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.flood", "--port", str(self.shop.port)),
            *("--rate", str(self._rate), "--connections", str(ORDERING)),
            *("--begin", str(window.begin), "--end", str(window.end)),
            *("--until", str(window.end)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise BenchmarkFailed(f"The orders ended with status {process.returncode}.")
        seen = msgspec.convert(json.loads(output), Flooded)
        self.orders_per_s = seen.confirmed / max(1, seen.sent) * self._rate
        self.odd = {
            status: n for status, n in seen.statuses.items() if status not in ("201", "202")
        }
        if seen.lost:
            self.odd["lost"] = seen.lost

    async def _change_prices(self) -> None:
        """The popular ones more often, as they are read."""
        while time.monotonic() < self.window.end:
            began = time.monotonic()
            rank = min(int(len(self.products) ** self._chance.random()), len(self.products)) - 1
            product = self.products[rank]
            variant = {
                "sku": product["variants"][0]["sku"],
                "title": product["variants"][0]["title"],
                "price": {"amount": f"{self._chance.randint(100, 9999) / 100}", "currency": "GBP"},
            }
            body = {"title": product["title"], "category": "Bench", "variants": [variant]}
            path = f"/v1/products/{product['external_id']}"
            answer, at = await asyncio.to_thread(self._put, path, json.dumps(body).encode())
            self.changes.append(Acknowledged(answer["id"], answer["version"], at))
            await asyncio.sleep(max(0.0, began + CHANGE_EVERY_S - time.monotonic()))

    def _put(self, path: str, body: bytes) -> tuple[Any, float]:
        """Change a product; what was answered, and when it had been read."""
        answer = self.shop.ask("PUT", path, body, "application/json")
        return answer, time.monotonic()
