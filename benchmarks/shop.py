"""The platform under test: started as a person starts it, in a folder of its own."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.load import PRODUCTS
from benchmarks.processes import Tiers
from tradewind.checks.provider import simulator_url
from tradewind.platform.database.embedded import EmbeddedPostgres

READY_TIMEOUT_S = 120
IMPORT_TIMEOUT_S = 120
STOP_TIMEOUT_S = 15
POLL_S = 0.05
ON_HAND = 1_000_000_000
PRICE = "9.99"


class BenchmarkFailed(Exception):
    """The figures of this run would be worth nothing; the text says why."""


class Shop:
    """A platform that runs, and where its parts are."""

    def __init__(self, home: Path, port: int, supervisor: subprocess.Popen[bytes]) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self.url = f"http://{self.host}:{port}"
        self.home = home
        self.postgres = EmbeddedPostgres(home / "postgres")
        self._supervisor = supervisor

    @property
    def dsn(self) -> str:
        """The platform's database."""
        return self.postgres.dsn

    @property
    def provider_url(self) -> str:
        """The payment simulator, whose record the invariants are checked against."""
        return simulator_url(self.home, None)

    @property
    def log(self) -> str:
        """The last lines that the platform printed."""
        lines = (self.home / "up.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-20:])

    def tiers(self) -> Tiers:
        """Its processes."""
        postmaster = self.postgres.pid
        if postmaster is None:
            raise BenchmarkFailed(f"PostgreSQL does not run any more.\n{self.log}")
        return Tiers(self._supervisor.pid, postmaster)

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> Any:
        """One request with the admin key; its JSON. Raises `BenchmarkFailed`."""
        request = urllib.request.Request(self.url + path, method=method, data=body)
        request.add_header("Authorization", f"Bearer {(self.home / 'admin.key').read_text()[:-1]}")
        if kind:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=IMPORT_TIMEOUT_S) as reply:
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            raise BenchmarkFailed(f"{method} {path}: {error}: {said}\n{self.log}") from error
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise BenchmarkFailed(f"{method} {path}: {error}\n{self.log}") from error

    def raw(self, path: str) -> bytes:
        """What a shopper reads there, byte by byte. Raises `BenchmarkFailed`."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=IMPORT_TIMEOUT_S) as reply:
                return bytes(reply.read())
        except (urllib.error.URLError, OSError) as error:
            raise BenchmarkFailed(f"GET {path}: {error}\n{self.log}") from error

    def is_ready(self) -> bool:
        """Whether it takes orders."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=1) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    async def until_ready(self) -> None:
        """Wait until it takes orders. Raises `BenchmarkFailed`."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not await asyncio.to_thread(self.is_ready):
            if self._supervisor.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkFailed(f"The platform does not come up.\n{self.log}")
            await asyncio.sleep(POLL_S)

    async def import_products(self) -> None:
        """Put the products on the shelf, through the public API."""
        lines = [json.dumps(product(number)) for number in range(1, PRODUCTS + 1)]
        body = "\n".join(lines).encode()
        kind = "application/x-ndjson"
        report = await asyncio.to_thread(self.ask, "POST", "/v1/imports/products", body, kind)
        while report["status"] != "finished":
            await asyncio.sleep(POLL_S)
            report = await asyncio.to_thread(self.ask, "GET", f"/v1/imports/{report['id']}")
        if report["accepted"] != PRODUCTS:
            raise BenchmarkFailed(f"{report['accepted']} of {PRODUCTS} products were accepted.")

    def stop(self) -> None:
        """Stop it in good order, and everything it started."""
        self._supervisor.send_signal(signal.SIGTERM)
        try:
            self._supervisor.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()


def product(number: int) -> dict[str, Any]:
    """A product as the load generator orders it, and as same_rows_schema.sql makes it."""
    sku = f"B{number:04d}"
    title = f"Bench product {number:04d}"
    variant = {
        "sku": sku,
        "title": title,
        "price": {"amount": PRICE, "currency": "GBP"},
        "on_hand": ON_HAND,
    }
    return {"external_id": sku, "title": title, "category": "Bench", "variants": [variant]}


# Limits as a shop has them, behind a proxy that tells who asks: with one address the figures would
# be those of refusals.
PROXIED = {"TRADEWIND_LIMITS": "on", "TRADEWIND_TRUSTED_PROXIES": "127.0.0.0/8"}


@asynccontextmanager
async def running(
    home: Path, *, workers: int, products: bool = True, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Shop]:
    """A platform, unless told otherwise with products on the shelf, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWIND_")}
    environment = {
        **ours,
        "TRADEWIND_HOME": str(home),
        "TRADEWIND_PORT": str(port),
        "TRADEWIND_WORKERS": str(workers),
        "TRADEWIND_SAMPLE": "0",
        "TRADEWIND_LIMITS": "off",
        **(settings or {}),
    }
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.log").open("wb") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "tradewind", "up"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,  # Ctrl-C is for us: we stop it in good order
        )
    shop = Shop(home, port, supervisor)
    try:
        await shop.until_ready()
        if products:
            await shop.import_products()
        await check_durability(shop.dsn)
        yield shop
    finally:
        await asyncio.to_thread(shop.stop)


async def check_durability(dsn: str) -> None:
    """A figure without fsync is no figure. Raises `BenchmarkFailed`."""
    connection = await asyncpg.connect(dsn)
    try:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            if await connection.fetchval("SELECT current_setting($1)", name) != "on":
                raise BenchmarkFailed(f"PostgreSQL runs with {name} off.")
    finally:
        await connection.close()
