"""What is done to the platform while clients use it, from one seed.

It kills with `kill -9`, pauses with SIGSTOP for longer than a lease, cuts connections, and lays
traps (`platform/faults`): those kill in the windows that a kill at random would hardly ever meet.
"""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import asyncpg

from tradewind.checks.oversell.history import Recorder
from tradewind.checks.oversell.installation import Installation
from tradewind.platform.database import server_processes
from tradewind.platform.faults import PLACES

SPRUNG_WITHIN_S = 4.0
LOOK_EVERY_S = 0.02
# Shorter than the lease of 2 s and the time others need to notice, or surely longer.
PAUSES_S = ((0.3, 1.5), (3.5, 5.0))
BETWEEN_S = (0.5, 3.0)
# One act in so many follows the last one at once, while the platform is still getting up.
AT_ONCE_SHARE = 0.15

# How often it does what.
WEIGHTS = {
    "spring_a_trap": 10,
    "kill_web": 3,
    "kill_postgres": 3,
    "kill_simulator": 1,
    "pause_web": 3,
    "pause_postgres": 1,
    "cut_connections": 2,
}

# Backends of the platform, not our own; one in two.
CUT = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE application_name LIKE 'tradewind%' AND pid <> pg_backend_pid() AND random() < 0.5
"""


class Nemesis:
    """Acts one after the other until it is told to stop; nothing stays paused."""

    def __init__(
        self,
        installation: Installation,
        session: aiohttp.ClientSession,
        recorder: Recorder,
        *,
        dsn: str,
        seed: int,
        acts: Sequence[str] = (),
        windows: Sequence[str] = (),
    ) -> None:
        self.installation = installation
        self.session = session
        self.recorder = recorder
        self.dsn = dsn
        self.random = random.Random(f"nemesis {seed}")
        self.acts = tuple(acts) or tuple(WEIGHTS)
        self.windows = tuple(windows) or tuple(PLACES)
        self._next_window = self._next_paused = 0
        self.over = asyncio.Event()

    async def run(self) -> None:
        """Until `over` is set."""
        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "spring_a_trap": self.spring_a_trap,
            "kill_web": self.kill_web,
            "kill_postgres": self.kill_postgres,
            "kill_simulator": self.kill_simulator,
            "pause_web": self.pause_web,
            "pause_postgres": self.pause_postgres,
            "cut_connections": self.cut_connections,
            "nothing": self.rest,
        }
        weights = [WEIGHTS.get(name, 1) for name in self.acts]
        await self.rest()
        while not self.over.is_set():
            await acts[self.random.choices(self.acts, weights)[0]]()
            if self.random.random() > AT_ONCE_SHARE:
                await self.installation.until_ready(self.session)
                await self.rest()

    async def rest(self) -> None:
        """A while in which clients get on; shorter when it is over."""
        try:
            async with asyncio.timeout(self.random.uniform(*BETWEEN_S)):
                await self.over.wait()
        except TimeoutError:
            return

    async def spring_a_trap(self) -> None:
        """Have a web process die in a window; which one, the traffic decides."""
        window = self.windows[self._next_window % len(self.windows)]
        self._next_window += 1
        trap = self.installation.traps / window
        trap.touch()
        until = time.monotonic() + SPRUNG_WITHIN_S
        while trap.exists() and time.monotonic() < until:
            await asyncio.sleep(LOOK_EVERY_S)
        try:
            trap.unlink()
        except FileNotFoundError:
            self.recorder.act("kill web process", window)

    async def kill_web(self) -> None:
        """kill -9 of one web process, or of all."""
        web = self.installation.web
        count = len(web) if self.random.random() < 0.25 else 1
        for pid in self.random.sample(web, min(count, len(web))):
            self.recorder.act("kill web process")
            server_processes.send(pid, signal.SIGKILL)

    async def kill_postgres(self) -> None:
        """kill -9 of the whole server at once: what was not on the disk is lost."""
        self.recorder.act("kill PostgreSQL")
        for pid in self.installation.postgres:
            server_processes.send(pid, signal.SIGKILL)

    async def kill_simulator(self) -> None:
        """The provider dies; its record does not."""
        for pid in self.installation.simulator:
            self.recorder.act("kill payment simulator")
            server_processes.send(pid, signal.SIGKILL)

    async def pause_web(self) -> None:
        """A process stands still and does not know it when it goes on."""
        web = self.installation.web
        if web:
            # In turn: so also the one that leads, which is the one that was not paused last.
            self._next_paused += 1
            self.recorder.act("pause web process")
            await self.pause([web[self._next_paused % len(web)]])

    async def pause_postgres(self) -> None:
        """As a disk that hangs."""
        self.recorder.act("pause PostgreSQL")
        await self.pause(self.installation.postgres)

    async def pause(self, pids: Sequence[int]) -> None:
        """Stop them, and always let them go on."""
        try:
            for pid in pids:
                server_processes.send(pid, signal.SIGSTOP)
            await asyncio.sleep(self.random.uniform(*self.random.choice(PAUSES_S)))
        finally:
            for pid in pids:
                server_processes.send(pid, signal.SIGCONT)

    async def cut_connections(self) -> None:
        """The database hangs up on half of its callers."""
        self.recorder.act("cut connections")
        try:
            connection = await asyncpg.connect(self.dsn, timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return
        try:
            await connection.execute(CUT, timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return
        finally:
            connection.terminate()
