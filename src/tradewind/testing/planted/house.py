"""`tradewind up` with one planted bug: ``python -m tradewind.testing.planted.house BUG``."""

import asyncio
import os
import sys

from tradewind import app
from tradewind.platform.settings import read_settings
from tradewind.platform.telemetry import logs
from tradewind.supervisor.house import House, Prepare, Programs
from tradewind.supervisor.narrator import Narrator


def load() -> Prepare:
    """What prepares the database, as always."""
    return app.prepare


def main(bug: str) -> None:
    """Start everything; the web processes have the bug."""
    settings = read_settings(os.environ)
    logs.configure(settings, process="supervisor")
    programs = Programs(web=(sys.executable, "-m", "tradewind.testing.planted.web", bug))
    asyncio.run(House(settings, load, Narrator(), programs).run())


if __name__ == "__main__":
    main(sys.argv[1])
