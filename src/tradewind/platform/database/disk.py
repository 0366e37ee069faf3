"""How much room the database has left on its disk, if the disk is ours to look at.

PostgreSQL stops when it cannot write its log, and cannot start again before there is room: then
nothing can be read either. So the gateway stops taking writes while some room is left. What was
begun is finished within the reserve, reads go on, and writes are taken again by themselves.
"""

import asyncio
import os
from pathlib import Path

from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

LOOK_EVERY_S = 0.25
ABOVE_MB = 32
MIB = 1024 * 1024


class Disk:
    """The file system of a folder. Without a folder there is always room."""

    def __init__(self, folder: Path, *, reserve_mb: int) -> None:
        self.folder = folder
        self.reserve_mb = reserve_mb
        self.low = False

    def look(self) -> None:
        """Measure; a change is logged."""
        try:
            found = os.statvfs(self.folder)
        except OSError:
            return  # no embedded database here
        free_mb = found.f_bavail * found.f_frsize // MIB
        # Back only with a little more than at the edge: else each order would turn it.
        low = free_mb < self.reserve_mb + (ABOVE_MB if self.low else 0)
        if low and not self.low:
            logger.error("disk.low", free_mb=free_mb, reserve_mb=self.reserve_mb)
        elif self.low and not low:
            logger.info("disk.has_room", free_mb=free_mb)
        self.low = low

    async def run(self) -> None:
        """Look, again and again."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()
