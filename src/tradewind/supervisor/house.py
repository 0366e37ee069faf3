"""The order in which everything starts and stops, and what is done when something dies.

Start: lock, left-overs, address; then the web processes load while PostgreSQL and the payment
simulator start; then the database is prepared and the web processes are let in. Stop: the web
processes finish what they began, then the simulator, then PostgreSQL: all within ten seconds. A
second Ctrl-C does not wait.
"""

import asyncio
import fcntl
import json
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec
from msgspec import Struct

from tradewind.platform.database.embedded import EmbeddedPostgres
from tradewind.platform.settings import Settings, without_password
from tradewind.platform.telemetry import logs
from tradewind.supervisor import prepared, processes
from tradewind.supervisor.children import (
    SIMULATOR,
    WORKER,
    Database,
    Simulator,
    StartError,
    WebProcess,
)
from tradewind.supervisor.keeper import Keeper
from tradewind.supervisor.listening import BACKLOG, address_of, bind, bind_all
from tradewind.supervisor.narrator import Fact, Narrator, curl, curl_order

LEFT_OVERS_TIMEOUT_S = 3
READY_POLL_S = 0.03
READY_ASK_TIMEOUT_S = 1
READY_TIMEOUT_S = 120
# A web process that dies this often before the platform was ever ready will not get better.
DEATHS_BEFORE_READY_MAX = 3

# Stopping: 6 s of draining + 0.7 + 0.8 + 1.5 s stay below the ten that are promised.
DRAIN_GRACE_S = 0.7
SIMULATOR_STOP_S = 0.8
DATABASE_STOP_S = 1.5
STOP_POLL_S = 0.02

# Of one service, where all share the embedded database: nine of them, and what people open beside.
SERVICE_CONNECTIONS_MAX = 8
GATEWAY = "gateway"
# As in `tradewind.services`, which is not loaded here: the supervisor stays small.
SERVICES = (
    "orders",
    "catalog",
    "inventory",
    "payments",
    "fraud",
    "notifications",
    "identity",
    "events",
)

log = logs.get("supervisor")


class Report(Protocol):
    """What preparing the database came to."""

    @property
    def lines(self) -> Sequence[str]:
        """Sentences about what was done; none when all was done before."""


Prepare = Callable[[Settings, str], Awaitable[Report]]


class Programs(Struct, frozen=True):
    """What is run as a web process and as the payment simulator."""

    web: Sequence[str] = WORKER
    simulator: Sequence[str] = SIMULATOR


class House:
    """One installation, from the lock on its home to the last process stopped.

    `load` is called in a thread while PostgreSQL starts; it returns what prepares the database
    (migrations, first key, sample shop), in a process of its own (`preparing`).
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Prepare],
        narrator: Narrator,
        programs: Programs | None = None,
    ) -> None:
        self.settings = settings
        self.narrator = narrator
        self._load = load
        self._programs = programs or Programs()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._lock: IO[str] | None = None
        self._sockets: list[socket.socket] = []  # of the platform's own address
        self._service_sockets: dict[str, socket.socket] = {}
        self._database: Database | None = None
        self._simulator: Simulator | None = None
        self._keepers: list[Keeper] = []
        self._web: list[WebProcess] = []  # who takes callers
        self._services: list[WebProcess] = []  # who is asked by those
        self.ready_after_s: float | None = None

    # -- life

    async def run(self) -> None:
        """Open, stay, close. Returns after a signal; raises `StartError` and its like."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup, a shell's background job
                loop.add_signal_handler(number, self.stop)
        opening = asyncio.create_task(self._open())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                opening.result()
                await stopping
        finally:
            for task in (opening, stopping):
                task.cancel()
            await asyncio.gather(opening, stopping, return_exceptions=True)
            await self._close()

    def stop(self) -> None:
        """Stop in good order; called again, at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _open(self) -> None:
        settings, say = self.settings, self.narrator
        self._take_lock()
        await self._end_left_overs()
        self._sockets = bind_all(settings.host, settings.port, settings.workers)
        if settings.topology == "services":
            self._service_sockets = {name: bind("127.0.0.1", 0) for name in SERVICES}
        await self._start_web()
        asked = settings  # as they were given: what is remembered is remembered under these
        known = prepared.is_current(asked)
        loading = asyncio.create_task(self._loaded(known=known))
        dsn, simulator_url, prepare = await together(
            self._open_database(), self._open_simulator(), loading
        )
        settings = msgspec.structs.replace(
            settings,
            database_url=dsn,
            simulator_url=simulator_url,
            port=self._sockets[0].getsockname()[1],
            services=settings.services or self._service_addresses,
        )
        if prepare is None and self._database and self._database.server.how == "created":
            prepare = await self._loaded(known=False)
        if prepare is not None:
            with say.step("database prepared") as step:
                report = await prepare(settings, dsn)
                if report.lines:
                    step.became(f"{step.text}: {', '.join(report.lines)}")
            prepared.remember(asked)
        with say.step(f"{self._counted} ready"):
            for one in (*self._sockets, *self._service_sockets.values()):
                one.listen(BACKLOG)
            for service in self._services:
                service.open_gate(behind(settings))
            for web in self._web:
                web.open_gate(settings)
            await self._until_ready(settings)
        self.ready_after_s = processes.age_s()
        await self._tell(settings)

    async def _loaded(self, *, known: bool) -> Prepare | None:
        """What prepares the database; None where that was done before."""
        return None if known else await asyncio.to_thread(self._load)

    async def _open_database(self) -> str:
        url = self.settings.database_url
        if url:
            from tradewind.platform.database import reach  # loads the driver: after the web starts

            with self.narrator.step(f"database {without_password(url)}"):
                await reach.check(url)
            return url
        with self.narrator.step("PostgreSQL") as step:
            self._database = Database(EmbeddedPostgres.of(self.settings))
            await self._keep(self._database)
            step.became(f"PostgreSQL {self._database.server.how}")
        return self._database.server.dsn

    async def _open_simulator(self) -> str:
        if self.settings.simulator_url:
            return self.settings.simulator_url
        self._simulator = Simulator(
            self.settings.home, self.settings.simulator_port, self._programs.simulator
        )
        await self._keep(self._simulator)
        return self._simulator.url

    async def _start_web(self) -> None:
        settings, command = self.settings, self._programs.web
        for name, own in self._service_sockets.items():
            self._services.append(WebProcess(1, settings, [own], command, serves=name))
        serves = GATEWAY if self._services else ""
        for number in range(1, settings.workers + 1):
            self._web.append(WebProcess(number, settings, self._sockets, command, serves=serves))
        for web in (*self._services, *self._web):
            web.started = self._remember
            await self._keep(web)

    @property
    def _service_addresses(self) -> tuple[str, ...]:
        return tuple(
            f"{name}=http://127.0.0.1:{own.getsockname()[1]}"
            for name, own in self._service_sockets.items()
        )

    @property
    def _counted(self) -> str:
        """What serves, in words."""
        workers, kind = self.settings.workers, "gateway" if self._services else "web process"
        counted = (
            f"1 {kind}" if workers == 1 else f"{workers} {kind}{'es' * (kind[-1] == 's') or 's'}"
        )
        return f"{counted} and {len(self._services)} services" if self._services else counted

    async def _keep(self, kept: Any) -> None:
        keeper = Keeper(kept)
        self._keepers.append(keeper)
        await keeper.start()

    async def _until_ready(self, settings: Settings) -> None:
        deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
        while not await asyncio.to_thread(is_ready, address_of(settings)):
            if any(keeper.deaths >= DEATHS_BEFORE_READY_MAX for keeper in self._keepers):
                raise StartError(
                    "The platform does not come up: a process dies again and again. The lines "
                    "above say why."
                )
            if asyncio.get_running_loop().time() > deadline:
                raise StartError(
                    f"The platform was not ready within {READY_TIMEOUT_S} s. "
                    f"Ask {address_of(settings)}/readyz or look at the lines above for the reason."
                )
            await asyncio.sleep(READY_POLL_S)

    async def _tell(self, settings: Settings) -> None:
        address, key = address_of(settings), settings.home / "admin.key"
        (settings.home / "address").write_text(f"{address}\n", encoding="utf-8")
        shown_key = os.path.relpath(key) if key.is_relative_to(Path.cwd()) else str(key)
        facts = [
            Fact("address", address),
            Fact("docs", f"{address}/docs"),
            Fact("admin key", shown_key),
            Fact("data", os.path.dirname(shown_key)),
        ]
        offer = await asyncio.to_thread(first_offer, address)
        if offer is not None:
            sku, currency = offer
            facts.append(
                Fact("an order", curl_order(address, sku=sku, currency=currency), is_long=True)
            )
        facts.append(
            Fact("all orders", curl(address, "/v1/orders", key_file=shown_key), is_long=True)
        )
        facts.append(Fact("stop", "Ctrl-C"))
        self.narrator.show(f"Tradewind is ready after {self.ready_after_s:.1f} s", facts)

    # -- one at a time

    def _take_lock(self) -> None:
        """Own the home folder. The lock goes with the process, however it ends."""
        home = self.settings.home
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (home / "supervisor.lock").open("a+")
        except OSError as error:
            raise StartError(
                f"The home folder {home} cannot be used: {error.strerror}. "
                "Set TRADEWIND_HOME to a folder of your own."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise StartError(
                f"Tradewind already runs on {home} (process {holder}). Stop that one first, or "
                "set TRADEWIND_HOME and TRADEWIND_PORT to run another beside it."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    @property
    def _web_file(self) -> Path:
        return self.settings.home / "web.json"

    def _remember(self) -> None:
        identities = [web.identity for web in (*self._services, *self._web)]
        processes.remember(self._web_file, [i for i in identities if i is not None])

    async def _end_left_overs(self) -> None:
        """Stop web processes of a supervisor that was killed: its lock is ours, so it is dead."""
        left = processes.recall(self._web_file)
        for identity in left:
            processes.send(identity, signal.SIGKILL)
        await processes.gone(left, LEFT_OVERS_TIMEOUT_S)

    # -- the end

    async def _close(self) -> None:
        if self._lock is None:
            return
        opened = any((self._web, self._simulator, self._database))
        if opened:
            self.narrator.say("Stopping ...")
        for keeper in self._keepers:
            await keeper.let_go()
        await self._close_web()
        if self._simulator is not None:
            await self._simulator.stop(SIMULATOR_STOP_S)
        if self._database is not None:
            await self._database.server.stop(0 if self._hurry.is_set() else DATABASE_STOP_S)
        with suppress(OSError):
            self._web_file.unlink()
        self._lock.close()
        if opened:
            self.narrator.say("Stopped.")

    async def _close_web(self) -> None:
        for one in (*self._sockets, *self._service_sockets.values()):
            # With the web processes' own copies gone too, callers are refused, not left waiting.
            one.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.settings.drain_timeout_s + DRAIN_GRACE_S
        for group in (self._web, self._services):  # what a gateway has begun it asks services for
            for web in group:
                web.send(signal.SIGTERM)
            while any(web.is_running for web in group):
                if self._hurry.is_set() or loop.time() > deadline:
                    for web in group:
                        web.send(signal.SIGKILL)
                await asyncio.sleep(STOP_POLL_S)


def behind(settings: Settings) -> Settings:
    """The settings of a service: links lead to the gateway, and connections are shared by many."""
    return msgspec.structs.replace(
        settings,
        public_url=settings.shop_url,
        connections_max=min(settings.connections_max, SERVICE_CONNECTIONS_MAX),
    )


async def together(*jobs: Awaitable[Any]) -> list[Any]:
    """Run jobs side by side; when one fails the others are cancelled and waited for."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def is_ready(address: str) -> bool:
    """Whether orders can be taken."""
    return fetch(address + "/readyz", timeout_s=READY_ASK_TIMEOUT_S) is not None


def first_offer(address: str) -> tuple[str, str] | None:
    """Sku and currency of something that is for sale."""
    try:
        products = json.loads(fetch(address + "/v1/products?limit=10") or b"{}")["items"]
        for product in products:
            for variant in product["variants"]:
                if variant["availability"] != "out_of_stock":
                    return str(variant["sku"]), str(variant["price"]["currency"])
    except (ValueError, LookupError, TypeError):
        return None
    return None


def fetch(url: str, *, timeout_s: float = 5) -> bytes | None:
    """The body of a 200; None for anything else."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as reply:
            return bytes(reply.read()) if reply.status == 200 else None
    except (OSError, urllib.error.URLError, ValueError):
        return None
