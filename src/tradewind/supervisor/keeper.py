"""Keeps one thing running: looks often, starts it again at once, slower when it keeps dying."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Protocol

from tradewind.platform.telemetry import logs

LOOK_EVERY_S = 0.1
# What ran this long is healthy again: its next death is not counted with the earlier ones.
STEADY_S = 10.0
PAUSE_S_MIN = 0.25
PAUSE_S_MAX = 5.0

log = logs.get("supervisor")


class Kept(Protocol):
    """Something that can be started and can die."""

    name: str

    @property
    def is_running(self) -> bool:
        """Whether it lives; cheap, asked ten times a second."""

    @property
    def last_end(self) -> str:
        """How it last ended, in words."""

    def start(self) -> Awaitable[None]:
        """Start it; raises when that is not possible now."""


class Keeper:
    """Watches one `Kept` from its first start until it is told to let go."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.deaths = 0  # in a row
        self.restarts = 0
        self._started_at = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and begin to watch. The first start may raise; later ones are tried again."""
        self._started_at = time.monotonic()
        await self.kept.start()
        self._task = asyncio.create_task(self._watch(), name=f"keep {self.kept.name}")

    async def let_go(self) -> None:
        """Stop watching; what runs goes on running."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self.kept.is_running:
                continue
            lived_s = time.monotonic() - self._started_at
            self.deaths = 1 if lived_s > STEADY_S else self.deaths + 1
            pause_s = pause_after(self.deaths)
            log.warning(
                f"{self.kept.name} {self.kept.last_end}; starting it again",
                lived_s=round(lived_s, 1),
                pause_s=pause_s,
            )
            await asyncio.sleep(pause_s)
            self._started_at = time.monotonic()
            try:
                await self.kept.start()
            except Exception as error:
                log.error(f"{self.kept.name} could not be started: {error}")
                continue
            self.restarts += 1
            log.info(
                f"{self.kept.name} runs again",
                after_s=round(time.monotonic() - self._started_at + pause_s, 2),
            )


def pause_after(deaths: int) -> float:
    """No pause after the first death, then longer and longer."""
    if deaths <= 1:
        return 0.0
    return float(min(PAUSE_S_MAX, PAUSE_S_MIN * 2 ** min(deaths - 2, 10)))
