"""The simulated payment provider as it is shipped: a process of its own, asked over HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

START_S_MAX = 15.0
STOP_S_MAX = 10.0


class ProviderProcess:
    """A simulator with its record in `home`, on a free port that it keeps over restarts."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        command = [sys.executable, "-m", "tradewind.simulator"]
        command += ["--home", str(self.home), "--port", str(self.port)]
        self.process = subprocess.Popen(command)
        deadline = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, "the simulator ended at once"
            time.sleep(0.02)
        raise AssertionError("the simulator did not start")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal and wait for its end; its exit code."""
        assert self.process is not None, "it was never started"
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        return self.process.wait(timeout=STOP_S_MAX)

    async def send(self, *operations: dict[str, Any]) -> list[dict[str, Any]]:
        """Send one batch; all that was answered when the response ended."""
        url = f"{self.url}/v1/operations"
        async with session() as http, http.post(url, json=operations) as response:
            assert response.status == 200, await response.text()
            return [json.loads(line) for line in (await response.read()).splitlines()]

    async def items(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """The items of one of its lists."""
        async with session() as http, http.get(self.url + path, params=query) as response:
            assert response.status == 200, await response.text()
            items: list[dict[str, Any]] = (await response.json())["items"]
            return items


def session() -> aiohttp.ClientSession:
    """A client that gives up after 10 seconds."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
