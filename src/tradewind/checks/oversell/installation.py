"""A platform of its own for the check: `tradewind up` in a folder of its own, on a free port."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from tradewind.platform.database import server_processes

READY_WITHIN_S = 90.0
STOPPED_WITHIN_S = 15.0
LOOK_EVERY_S = 0.05
# Short times, so that a paused process loses its leases, and a silent card its patience, soon.
SETTINGS = {
    "host": "127.0.0.1",
    "sample": "0",
    "limits": "off",
    "log_format": "json",
    "lease_s": "2",
    "drain_timeout_s": "2",
    "authorise_attempt_timeout_s": "1",
    "authorise_total_timeout_s": "4",
}


class NotReady(Exception):
    """The platform did not come up, or not back; the text says more."""


class Installation:
    """What is killed: a supervisor, its web processes, PostgreSQL, the payment simulator."""

    def __init__(self, folder: Path, command: Sequence[str], settings: Mapping[str, str]) -> None:
        self.home = folder / "home"
        self.traps = folder / "traps"
        self.output = folder / "output.txt"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.admin_key = ""
        self._command = command
        chosen = {**SETTINGS, **settings, "home": str(self.home), "port": str(port)}
        chosen["faults"] = str(self.traps)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TRADEWIND_")}
        self.environment = inherited | {f"TRADEWIND_{k.upper()}": v for k, v in chosen.items()}
        self._supervisor: subprocess.Popen[bytes] | None = None

    async def start(self, session: aiohttp.ClientSession) -> None:
        """Start all of it; returns when it takes orders."""
        self.traps.mkdir(parents=True)
        with self.output.open("ab") as output:
            self._supervisor = subprocess.Popen(
                self._command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        await self.until_ready(session)
        self.admin_key = (self.home / "admin.key").read_text().strip()

    async def until_ready(self, session: aiohttp.ClientSession) -> float:
        """Wait until it takes orders; how long that took. Raises `NotReady`."""
        began = time.monotonic()
        while time.monotonic() - began < READY_WITHIN_S:
            if self._supervisor is None or self._supervisor.poll() is not None:
                raise NotReady(f"The supervisor ended; see {self.output}.")
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                patience = aiohttp.ClientTimeout(total=2)
                async with session.get(f"{self.url}/readyz", timeout=patience) as answer:
                    if answer.status == 200:
                        return time.monotonic() - began
            await asyncio.sleep(LOOK_EVERY_S)
        raise NotReady(f"It takes no orders after {READY_WITHIN_S:.0f} s; see {self.output}.")

    async def stop(self) -> None:
        """End all of it, kindly and then not; nothing stays."""
        if self._supervisor is None:
            return
        left = [*self.web, *self.simulator]
        self._supervisor.terminate()
        try:
            await asyncio.to_thread(self._supervisor.wait, STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()
            for pid in left:
                server_processes.send(pid, signal.SIGKILL)
        for pid in self.postgres:
            server_processes.send(pid, signal.SIGKILL)

    @property
    def web(self) -> list[int]:
        """The web processes."""
        return [identity["pid"] for identity in self._read("web.json") or ()]

    @property
    def postgres(self) -> list[int]:
        """Every process of the database server."""
        return server_processes.of_folder(self.home / "postgres")

    @property
    def simulator(self) -> list[int]:
        """The payment simulator."""
        place = self._read("simulator/place.json")
        return [place["process"]["pid"]] if place and place.get("process") else []

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self.home / name).read_bytes())
        except (OSError, ValueError):
            return None

    def errors(self) -> list[str]:
        """What it logged that tells of a bug. That somebody died is the supervisor's to say, loudly
        where what it starts again is killed again before it stands.
        """
        lines = self.output.read_text(errors="replace").splitlines()
        return [
            line
            for line in lines
            if "Traceback" in line
            or ('"level":"error"' in line and '"process":"supervisor"' not in line)
        ]
