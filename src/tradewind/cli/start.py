"""``up``: everything on this machine. It loads little, because a person waits for it."""

import asyncio

from tradewind.cli.refusals import misspelt, settings_in_force


def up() -> None:
    """Start everything and keep it running; Ctrl-C stops it.

    Starts an embedded PostgreSQL (unless TRADEWIND_DATABASE_URL names one), brings the database up
    to date, loads the sample shop the first time, starts the payment simulator and the web
    processes, and starts again whatever dies.

    **Examples**

        tradewind up

        TRADEWIND_PORT=9090 TRADEWIND_HOME=~/shop tradewind up

        TRADEWIND_WORKERS=2 TRADEWIND_SAMPLE=0 tradewind up

        TRADEWIND_DATABASE_URL=postgresql://shop@db.internal/shop tradewind up

        TRADEWIND_TOPOLOGY=services tradewind up      # a gateway, and a process for each context
    """
    from tradewind.platform.telemetry import logs
    from tradewind.supervisor.house import House
    from tradewind.supervisor.narrator import Narrator
    from tradewind.supervisor.preparing import Preparation

    settings = settings_in_force()
    logs.configure(settings, process="supervisor")
    narrator = Narrator()
    for sentence in misspelt():
        narrator.warn(sentence)
    asyncio.run(House(settings, lambda: Preparation(settings), narrator).run())
