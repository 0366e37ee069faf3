"""A whole shop in one process: real HTTP, real PostgreSQL, the real payment simulator.

Tests tell stories with it: a product is put on the shelf, somebody orders, the bus comes to rest,
and the shop is asked what it knows. With ``TESTED_TOPOLOGY=services`` the same stories are told to
a gateway and a service for each context: each has a node, a port and connections of its own, and
they meet over HTTP and the log as they do in processes of their own.
"""

import asyncio
import io
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import aiohttp
import msgspec

from tradewind import app, services
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import START, Position
from tradewind.platform.gateway.asgi import Application
from tradewind.platform.gateway.server import Server
from tradewind.platform.settings import Settings

TOPOLOGY = "TESTED_TOPOLOGY"
END_OF_LOG = """
    SELECT xid::text::bigint, number FROM bus.log ORDER BY xid DESC, number DESC LIMIT 1
"""
PORTS = (15_000, 32_000)
STARTED_WITHIN_S = 20
IDLE_WITHIN_S = 30
SENT_AT_ONCE_MAX = 256 * 1024  # bytes; more goes out in pieces


class Reply(NamedTuple):
    """What the shop answered."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.raw) if self.raw else None


def free_port() -> int:
    """A port of the loopback address that nobody uses at this moment.

    It is none of those that the system gives to connections: one of these might have it until its
    server is there.
    """
    while True:
        port = random.randrange(*PORTS)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


class SimulatorProcess:
    """The payment simulator as the program it is."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.home = home
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = ["-m", "tradewind.simulator", "--home", str(self.home), "--port", str(self.port)]
        self._process = subprocess.Popen([sys.executable, *command])
        until = time.monotonic() + STARTED_WITHIN_S
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.url}/livez", timeout=1):
                    return
            except (URLError, OSError):
                time.sleep(0.05)
        raise RuntimeError("the payment simulator does not answer")

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it and wait."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)


class Storefront:
    """What one says to a running shop, wherever it runs."""

    url: str
    admin_key: str
    session: aiohttp.ClientSession

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        bearer: str | None = None,
        headers: Mapping[str, str] | None = None,
        follow: bool = True,
    ) -> Reply:
        """One request. `body` is sent as JSON, bytes as they are; `key` is the Idempotency-Key."""
        told = dict(headers or {})
        if key is not None:
            told["Idempotency-Key"] = key
        if bearer is not None:
            told["Authorization"] = f"Bearer {bearer}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = io.BytesIO(data) if data and len(data) > SENT_AT_ONCE_MAX else data
        if data is not None:
            told.setdefault("Content-Type", "application/json")
        url = self.url + path
        async with self.session.request(
            method, url, data=sent, headers=told, allow_redirects=follow
        ) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def admin(self, method: str, path: str, body: Any = None, **options: Any) -> Reply:
        """A request with the first key, which may do everything, and with a reason for it."""
        headers = {"Tradewind-Reason": "a test", **(options.pop("headers", None) or {})}
        return await self.request(
            method, path, body, bearer=self.admin_key, headers=headers, **options
        )

    async def given_product(
        self, sku: str, *, on_hand: int, price: str = "10.00", currency: str = "GBP"
    ) -> None:
        """Put a product on the shelf."""
        product = {
            "title": f"Product {sku}",
            "variants": [{"sku": sku, "price": {"amount": price, "currency": currency}}],
        }
        answer = await self.admin("PUT", f"/v1/products/{sku}", product)
        assert answer.status in (200, 201), answer.raw
        answer = await self.admin("PUT", f"/v1/stock/{sku}", {"on_hand": on_hand})
        assert answer.status == 200, answer.raw

    def order(
        self, *lines: tuple[str, int], token: str = "tok_ok", email: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """The body of an order."""
        return {
            "email": email or f"{new_id('cus')}@example.com",
            "currency": "GBP",
            "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines],
            "shipping_address": {
                "name": "Ada Lovelace",
                "line1": "12 St James's Square",
                "city": "London",
                "postal_code": "SW1Y 4JH",
                "country": "GB",
            },
            "payment": {"token": token},
            **more,
        }

    async def place(
        self,
        *lines: tuple[str, int],
        key: str | None = None,
        bearer: str | None = None,
        wait_s: int = 30,
        **more: Any,
    ) -> Reply:
        """Place an order and wait for its decision."""
        return await self.request(
            "POST",
            "/v1/orders",
            self.order(*lines, **more),
            key=key or new_id("key"),
            bearer=bearer,
            headers={"Prefer": f"wait={wait_s}"},
        )

    async def read_order(self, order_id: str) -> dict[str, Any]:
        """An order as the shop's staff sees it."""
        answer = await self.admin("GET", f"/v1/orders/{order_id}")
        assert answer.status == 200, answer.raw
        found: dict[str, Any] = answer.json
        return found

    async def stock(self, sku: str) -> dict[str, Any]:
        """The counts of a sku."""
        found: dict[str, Any] = (await self.admin("GET", f"/v1/stock/{sku}")).json
        return found

    async def announced(self, order_id: str) -> list[str]:
        """The types of the facts about an order, in order, without context and version."""
        timeline = (await self.admin("GET", f"/v1/orders/{order_id}/timeline")).json
        return [item["type"].split(".")[1] for item in timeline["items"]]

    async def until(self, order_id: str, *, payment: str, within_s: float = 15) -> dict[str, Any]:
        """Wait until the order's payment has come to this status; the order."""
        until = time.monotonic() + within_s
        while True:
            order = await self.read_order(order_id)
            if order["payment"]["status"] == payment:
                return order
            assert time.monotonic() < until, f"still {order['payment']} after {within_s} s"
            await asyncio.sleep(0.03)


class Serving:
    """An application with its server, in the loop of the test."""

    def __init__(self, application: Application, settings: Settings) -> None:
        self.application = application
        self._server = Server(application, settings)
        self._task = asyncio.create_task(self._server.serve())

    async def until_started(self) -> None:
        """Wait until it takes connections."""
        until = time.monotonic() + STARTED_WITHIN_S
        while not self._server.started:
            assert time.monotonic() < until and not self._task.done(), "it does not start"
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Stop serving, and the node."""
        self._server.should_exit = True
        await self._task


class Shop(Storefront):
    """A running shop, and what one says to it."""

    def __init__(self, dsn: str, home: Path, simulator_url: str, **settings: Any) -> None:
        self.port = free_port()
        self.settings = msgspec.structs.replace(
            Settings(),
            home=home,
            port=self.port,
            drain_timeout_s=2,
            database_url=dsn,
            simulator_url=simulator_url,
            sample=False,
            limits=False,
            **{"topology": os.environ.get(TOPOLOGY, "together"), **settings},
        )
        self.url = f"http://127.0.0.1:{self.port}"
        self.application: Application  # the one that callers see
        self.served: dict[str, Serving] = {}

    async def start(self) -> None:
        """Prepare the database, start serving, wait until it is ready."""
        self.settings.home.mkdir(parents=True, exist_ok=True)
        assert self.settings.database_url is not None
        await app.prepare(self.settings, self.settings.database_url)
        self.admin_key = (self.settings.home / "admin.key").read_text().strip()
        if self.settings.topology == "services":
            await self._serve_services()
        else:
            self.served["all"] = Serving(app.create(self.settings), self.settings)
        await asyncio.gather(*(one.until_started() for one in self.served.values()))
        self.application = next(reversed(self.served.values())).application
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        if self.settings.topology == "services":
            await self._until_all_are_ready()

    async def _serve_services(self) -> None:
        """A node, a port and connections for each service; the gateway is the last."""
        ports = {name: free_port() for name in services.SERVICES}
        for name, port in ports.items():
            settings = msgspec.structs.replace(
                self.settings,
                port=port,
                public_url=self.settings.public_url or self.url,
                connections_max=8,
            )
            self.served[name] = Serving(services.create(settings, [name]), settings)
        addresses = tuple(f"{name}=http://127.0.0.1:{port}" for name, port in ports.items())
        settings = msgspec.structs.replace(self.settings, services=addresses, connections_max=8)
        gateway = services.create(settings, [services.GATEWAY])
        self.served[services.GATEWAY] = Serving(gateway, settings)

    async def _until_all_are_ready(self) -> None:
        until = time.monotonic() + STARTED_WITHIN_S
        while (await super().request("GET", "/readyz")).status != 200:
            assert time.monotonic() < until, "not all services are ready"
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Stop serving and the nodes, the gateway first."""
        await self.session.close()
        for one in reversed(self.served.values()):
            await one.stop()

    @property
    def node(self) -> Any:
        """The node of this process, for tests that look inside; of services that of identity."""
        return self.served.get("identity", next(iter(self.served.values()))).application.node

    async def until_idle(self) -> None:
        """Wait until the bus has come to rest, and shoppers are answered as the rows now are."""
        applications = [one.application for one in self.served.values()]
        if len(applications) == 1:
            assert await self.node.idle(IDLE_WITHIN_S), "the bus does not come to rest"
        else:
            until = time.monotonic() + IDLE_WITHIN_S
            while not await self._rests([application.node for application in applications]):
                assert time.monotonic() < until, "the bus does not come to rest"
                await asyncio.sleep(0.01)
        for application in applications:
            for memory in application.memories.values():
                await memory.look_now()

    async def _rests(self, nodes: Sequence[Any]) -> bool:
        """Whether every service has handled all that stands on the log, and nothing came of it."""
        end = await self._end_of_log()
        for node in nodes:
            follows = any(work.held for work in node.works)  # else others work for all of it
            if follows and node.reader.cursor < end:
                return False
            if any(work.queue or work.behind or work.gate.locked() for work in node.works):
                return False
        return await self._end_of_log() == end

    async def _end_of_log(self) -> Position:
        async with self.node.pool.lend("tradewind_bus") as connection:
            row = await connection.fetchrow(END_OF_LOG)
        return Position(*row) if row is not None else START
