"""The real thing: `tradewind up` in a process of its own, in a home of its own.

Tests kill its processes, one by one and by their numbers, and ask it over HTTP what it still knows.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tradewind.platform.database import server_processes
from tradewind.platform.database.server_processes import PidFile
from tradewind.supervisor import processes
from tradewind.testing.shop import Reply, Storefront, free_port

READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 15.0
CHECKED_WITHIN_S = 90.0
LOOK_EVERY_S = 0.02
CHARGES_PAGE = 1_000
# What a client sees of a server that is killed or not there, in place of an answer.
UNANSWERED = (aiohttp.ClientError, OSError, TimeoutError)


class Platform(Storefront):
    """An installation under a supervisor. `start()` it, kill parts of it, `stop()` all of it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.home = folder / "home"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_key = ""
        self.output = folder / "output.txt"
        chosen = {
            "home": self.home,
            "port": self.port,
            "sample": "0",
            "limits": "off",
            "log_format": "json",
            **settings,
        }
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TRADEWIND_")}
        ours = {f"TRADEWIND_{name.upper()}": str(value) for name, value in chosen.items()}
        self._environment = {**inherited, **ours}
        self._supervisor: subprocess.Popen[bytes] | None = None

    # -- life

    async def start(self) -> None:
        """Start it, or start it again in the same home; returns when it takes orders."""
        with self.output.open("ab") as output:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-m", "tradewind", "up"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # Every request its own connection: one to a killed process must not be used again.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self.session = aiohttp.ClientSession(connector=connector)
        await self.until_ready()
        self.admin_key = (self.home / "admin.key").read_text().strip()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """End all of it, in good order if it can; how long that took."""
        began = time.monotonic()
        assert self._supervisor is not None, "it was never started"
        if self._supervisor.poll() is None:
            self._supervisor.send_signal(number)
        try:
            await asyncio.to_thread(self._supervisor.wait, STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()
        took_s = time.monotonic() - began
        await self.session.close()
        await self._bury_the_rest()
        return took_s

    async def _bury_the_rest(self) -> None:
        """Kill what outlives the supervisor: nothing should, but nothing of a test may stay."""
        left = [pid for pid in (*self.web, self.simulator) if pid and runs(pid)]
        postgres = self.home / "postgres"
        for pid in [*left, *server_processes.of_folder(postgres)]:
            server_processes.send(pid, signal.SIGKILL)
        until = time.monotonic() + STOPPED_WITHIN_S
        while any(map(runs, left)) or server_processes.of_folder(postgres):
            assert time.monotonic() < until, "something cannot be killed"
            await asyncio.sleep(LOOK_EVERY_S)

    async def until_ready(self, within_s: float = READY_WITHIN_S) -> float:
        """Wait for a 200 of ``/readyz``; how long it took."""
        began = time.monotonic()
        patience = aiohttp.ClientTimeout(total=2)
        while True:
            assert self._supervisor is not None, "it was never started"
            assert self._supervisor.poll() is None, f"the supervisor ended:\n{self.text}"
            try:
                async with self.session.get(f"{self.url}/readyz", timeout=patience) as answer:
                    if answer.status == 200:
                        return time.monotonic() - began
            except UNANSWERED:
                pass  # nobody listens yet
            assert time.monotonic() - began < within_s, f"it is not ready:\n{self.text}"
            await asyncio.sleep(LOOK_EVERY_S)

    # -- its processes

    @property
    def text(self) -> str:
        """Everything its processes printed until now."""
        return self.output.read_text()

    @property
    def web(self) -> Sequence[int]:
        """The web processes."""
        return [identity.pid for identity in processes.recall(self.home / "web.json")]

    @property
    def postgres(self) -> int:
        """The PostgreSQL server; 0 while there is none."""
        found = PidFile.read(self.home / "postgres")
        return found.pid if found else 0

    @property
    def simulator(self) -> int:
        """The payment simulator; 0 while there is none."""
        place = self._place()
        return int(place["process"]["pid"]) if place and place.get("process") else 0

    def _place(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(
                (self.home / "simulator" / "place.json").read_bytes()
            )
        except (OSError, ValueError):
            return None
        return found

    def kill(self, pid: int) -> None:
        """kill -9 one of its processes."""
        assert pid in (*self.web, self.postgres, self.simulator), f"{pid} is none of ours"
        os.kill(pid, signal.SIGKILL)

    # -- what a client does

    async def ask_until_answered(
        self, method: str, path: str, body: Any = None, *, within_s: float = 60, **options: Any
    ) -> Reply:
        """A request, repeated as it is until it is answered: what a careful client does.

        No answer, 202 and 503 mean "not known yet"; with the same Idempotency-Key that is safe.
        """
        until = time.monotonic() + within_s
        while True:
            try:
                answer = await self.request(method, path, body, **options)
                if answer.status not in (202, 503):
                    return answer
                seen = f"{answer.status} {answer.raw[:300]!r}"
            except UNANSWERED as error:
                seen = repr(error)
            assert time.monotonic() < until, f"no answer after {within_s} s, only {seen}"
            await asyncio.sleep(0.1)

    # -- what others say about it

    async def provider_charges(self) -> list[dict[str, Any]]:
        """The provider's own record, asked without us in between."""
        place = self._place()
        assert place is not None, "there is no simulator"
        url = f"http://127.0.0.1:{place['port']}/v1/charges"
        charges: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            params = {"after": str(after), "limit": str(CHARGES_PAGE)}
            async with self.session.get(url, params=params) as answer:
                page = await answer.json()
            charges += page["items"]
            after = page["next"]
        return charges

    async def check_invariants(self, wait_s: float = 60) -> str:
        """Run ``tradewind check invariants``; what it printed. Fails where something is broken."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tradewind", "check", "invariants", "--wait", str(wait_s)),
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(wait_s + CHECKED_WITHIN_S):
                printed, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, printed.decode()
        return printed.decode()

    async def metric(self, name: str, **labels: str) -> dict[str, float]:
        """The samples of a metric that have these labels: the rest of the labels -> the value."""
        async with self.session.get(f"{self.url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        found = {}
        for line in lines:
            sample, _, value = line.rpartition(" ")
            if sample.split("{")[0] == name and all(want in sample for want in wanted):
                found[sample] = float(value)
        return found

    def error_lines(self) -> list[str]:
        """Log lines that tell of a bug: errors, and whatever holds a traceback."""
        lines = self.text.splitlines()
        return [line for line in lines if '"level":"error"' in line or "Traceback" in line]


def runs(pid: int) -> bool:
    """Whether a process is alive."""
    return processes.identify(pid) is not None
