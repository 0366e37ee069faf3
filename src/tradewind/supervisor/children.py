"""What the supervisor keeps: web processes, the payment simulator, PostgreSQL."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from tradewind.platform.database.embedded import EmbeddedPostgres
from tradewind.platform.settings import Settings, as_environment, child_environment
from tradewind.supervisor import processes
from tradewind.supervisor.processes import Identity

SIMULATOR_TIMEOUT_S = 15
SIMULATOR_POLL_S = 0.03
LOG_BYTES_MAX = 10 * 1024 * 1024

WORKER = (sys.executable, "-m", "tradewind.supervisor.worker")
SIMULATOR = (sys.executable, "-m", "tradewind.simulator")


class StartError(Exception):
    """Something could not be started; the text is a sentence for the person at the terminal."""


class WebProcess:
    """One web process. It inherits the listening socket and dies with the supervisor.

    It is started first of all and loads the application while PostgreSQL starts. Then it waits at
    its gate, a pipe, for the settings in force: the address of the database is among them.
    """

    def __init__(
        self,
        number: int,
        settings: Settings,
        sockets: Sequence[socket.socket],
        command: Sequence[str],
        *,
        serves: str = "",
    ) -> None:
        self.name = f"the service {serves}" if serves else f"web process {number}"
        self.serves = serves  # which services it is; "": all in one
        self.number = number
        self.settings = settings
        self.sockets = sockets  # its own stands at its number; it helps out at the others
        self.command = command
        self.started: Callable[[], None] = lambda: None  # called after every start
        self._gate = -1
        self._in_force: Settings | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def identity(self) -> Identity | None:
        """The running process."""
        if self._process is None or self._process.poll() is not None:
            return None
        return processes.identify(self._process.pid)

    @property
    def last_end(self) -> str:
        """How it last ended."""
        return processes.how_it_ended((self._process and self._process.returncode) or 0)

    async def start(self) -> None:
        """Start it; that it is ready is seen at ``/readyz``."""
        self._close_gate()
        own = self.sockets[self.number - 1].fileno()
        others = {one.fileno() for one in self.sockets} - {own}
        gate, self._gate = os.pipe()
        self._process = subprocess.Popen(
            [
                *self.command,
                *("--fd", str(own)),
                *("--others", ",".join(map(str, sorted(others)))),
                *("--number", str(self.number)),
                *("--parent", str(os.getpid())),
                *("--gate", str(gate)),
                *(("--serves", self.serves) if self.serves else ()),
            ],
            stdin=subprocess.DEVNULL,
            env=child_environment(self.settings) | self._shared_figures(),
            pass_fds=(own, *others, gate),
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops it in good order
        )
        os.close(gate)
        if self._in_force is not None:
            self.open_gate(self._in_force)
        self.started()

    def open_gate(self, settings: Settings) -> None:
        """Let it begin, now and after every restart, with these settings."""
        self._in_force = settings
        if self._gate >= 0:
            # A few kilobytes: a pipe takes them at once. One that died gets them when restarted.
            with suppress(BrokenPipeError):
                os.write(self._gate, msgspec.json.encode(as_environment(settings)))
            self._close_gate()

    def _close_gate(self) -> None:
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1

    def _shared_figures(self) -> dict[str, str]:
        """Where several web processes put their figures together, so that any can show them all."""
        if self.settings.workers == 1 or len(self.sockets) == 1:
            return {}
        from tradewind.platform.telemetry import metrics  # 50 ms that one process need not wait

        folder = self.settings.home / "metrics"
        if self._process is None and self.number == 1:
            metrics.begin_sharing(folder)
        elif self._process is not None:
            metrics.forget_process(self._process.pid, folder)
        return {"PROMETHEUS_MULTIPROC_DIR": str(folder)}

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it lives."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


class Place(Struct, frozen=True):
    """Where a simulator runs or ran: written into its folder, read by whoever comes next."""

    port: int
    process: Identity | None = None


class Simulator:
    """The payment simulator: a program with a life of its own, started, adopted, stopped by us."""

    name = "the payment simulator"

    def __init__(self, home: Path, port: int, command: Sequence[str]) -> None:
        self.home = home
        self.port = port  # 0: the one it had before, else a free one
        self.command = command
        self.adopted = False
        self._identity: Identity | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether it lives."""
        if self._process is not None:
            return self._process.poll() is None
        return self._identity is not None and processes.lives(self._identity)

    @property
    def last_end(self) -> str:
        """How it last ended."""
        if self._process is None:
            return "is gone"
        return processes.how_it_ended(self._process.returncode or 0)

    async def start(self) -> None:
        """Adopt the one that runs, else start one; returns when it answers."""
        place = await self._last_place()
        if place is not None and await self._adopt(place):
            return
        before = place.port if place else 0
        ports = [self.port] if self.port else [before, 0] if before else [0]
        why = ""
        for port in ports:
            why = await self._launch(port or free_port())
            if not why:
                return
        raise StartError(
            f"The payment simulator cannot be started: {why} See {self._log}, or set "
            "TRADEWIND_SIMULATOR_PORT to a free port."
        )

    async def stop(self, timeout_s: float) -> None:
        """Stop it, kindly and then not."""
        if self._identity is None:
            return
        processes.send(self._identity, signal.SIGTERM)
        if not await processes.gone([self._identity], timeout_s):
            processes.send(self._identity, signal.SIGKILL)
            await processes.gone([self._identity], 1)
        if self._process is not None:
            self._process.wait()
        self._process = self._identity = None

    @property
    def _folder(self) -> Path:
        return self.home / "simulator"

    @property
    def _log(self) -> Path:
        return self._folder / "simulator.log"

    async def _last_place(self) -> Place | None:
        try:
            return msgspec.json.decode((self._folder / "place.json").read_bytes(), type=Place)
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            return None

    async def _adopt(self, place: Place) -> bool:
        if place.process is None or not processes.lives(place.process):
            return False
        fits = self.port in (0, place.port)
        deadline = time.monotonic() + SIMULATOR_TIMEOUT_S
        while fits and processes.lives(place.process) and time.monotonic() < deadline:
            if await asyncio.to_thread(answers, place.port):
                self.port, self._identity, self.adopted = place.port, place.process, True
                self._process = None
                return True
            await asyncio.sleep(SIMULATOR_POLL_S)
        # Alive, but on another port than is wanted now, or deaf.
        self._identity = place.process
        await self.stop(2)
        return False

    async def _launch(self, port: int) -> str:
        """Start one on a port; empty when it answers, else why it does not."""
        if not can_bind(port):
            return f"port {port} is taken by another program."
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shorten(self._log)
        with self._log.open("ab") as output:
            process = subprocess.Popen(
                [*self.command, "--home", str(self.home), "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # it stands for a bank: our fate is not its own
            )
        self._process, self._identity = process, processes.identify(process.pid)
        draft = self._folder / ".place.json"
        draft.write_bytes(msgspec.json.encode(Place(port, self._identity)))
        draft.replace(self._folder / "place.json")
        deadline = time.monotonic() + SIMULATOR_TIMEOUT_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return f"it {processes.how_it_ended(process.returncode)}."
            if await asyncio.to_thread(answers, port):
                self.port, self.adopted = port, False
                return ""
            await asyncio.sleep(SIMULATOR_POLL_S)
        await self.stop(1)
        return f"it did not answer within {SIMULATOR_TIMEOUT_S} s."


class Database:
    """The embedded PostgreSQL, as something that is kept."""

    name = "PostgreSQL"
    last_end = "died"

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server

    @property
    def is_running(self) -> bool:
        """Whether it lives."""
        return self.server.is_running

    async def start(self) -> None:
        """Start it and wait until it answers."""
        await self.server.start()


def answers(port: int) -> bool:
    """Whether something says it is alive on this port of this machine."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/livez", timeout=2) as reply:
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def can_bind(port: int) -> bool:
    """Whether a port of this machine is free."""
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def shorten(file: Path) -> None:
    """Set a log that has become long aside, in place of the one set aside before."""
    try:
        if file.stat().st_size > LOG_BYTES_MAX:
            file.replace(file.with_name(file.name + ".1"))
    except FileNotFoundError:
        return
