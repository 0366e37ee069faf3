"""The program of a web process: ``python -m tradewind.supervisor.worker``.

The supervisor starts it and tells it by arguments which sockets are its own. It is not a command of
``tradewind``, because a process that nobody types need not load what draws tables and help texts:
that is half a second of every start.
"""

import argparse
import asyncio
import gc
from collections.abc import Sequence

import msgspec

from tradewind import app, services
from tradewind.platform import faults
from tradewind.platform.database import reach
from tradewind.platform.database.embedded import database_url
from tradewind.platform.settings import Settings
from tradewind.platform.telemetry import logs, metrics
from tradewind.supervisor import web
from tradewind.supervisor.listening import BACKLOG, bind


def serve_alone(settings: Settings, *, serves: Sequence[str] = (), number: int = 1) -> None:
    """Be a web process that nobody supervises, on the address of the settings: of these services,
    or of all.
    """
    url = database_url(settings)
    settings = msgspec.structs.replace(settings, database_url=url)
    listening = bind(settings.host, settings.port)
    asyncio.run(reach.check(services.home_of(settings, serves) if serves else url))
    be(number, settings, serves)
    application = services.create(settings, serves)
    listening.listen(BACKLOG)
    web.serve(application, settings, listening)


def be(number: int, settings: Settings, serves: Sequence[str]) -> None:
    """Take a name, for logs and figures."""
    logs.configure(settings, process=f"{'+'.join(serves) or 'web'}-{number}")
    metrics.be_worker(number)
    faults.switch_on(settings.faults)


def main(arguments: Sequence[str] | None = None) -> None:
    """Be one of the supervisor's web processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, required=True, help="which web process this is")
    parser.add_argument("--fd", type=int, required=True, help="its listening socket")
    parser.add_argument("--others", default="", help="the listening sockets of the others")
    parser.add_argument("--parent", type=int, required=True, help="end when this is not the parent")
    parser.add_argument("--serves", default="", help="which services it is; none: all in one")
    parser.add_argument("--gate", type=int, required=True, help="a pipe that brings the settings")
    given = parser.parse_args(arguments)
    gc.disable()  # nothing that is loaded is garbage; the server collects once when it starts
    app.load_contexts()  # the long part, done by the time the supervisor knows the rest
    settings = web.wait_at_gate(given.gate)
    serves = [name for name in given.serves.split(",") if name]
    be(given.number, settings, serves)
    sisters = [web.inherited(int(other)) for other in given.others.split(",") if other]
    web.serve(
        services.create(settings, serves),
        settings,
        web.inherited(given.fd),
        parent=given.parent,
        others=sisters,
    )


if __name__ == "__main__":
    main()
