"""The inside of a web process: the gateway's server on a socket that the supervisor holds open.

The socket outlives the process, so callers wait in its queue while a killed one is replaced. A web
process whose supervisor is gone finishes what it began and ends.
"""

import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType

import msgspec

from tradewind.platform.gateway.asgi import Application
from tradewind.platform.gateway.server import Server
from tradewind.platform.settings import Settings, read_settings
from tradewind.supervisor import garbage
from tradewind.supervisor.processes import allow_many_files

# Connections taken from a sister's queue at a time: the rest may be hers again a moment later.
HELPED_OUT_MAX = 16


class WebServer(Server):
    """The gateway's server in company.

    It ends when `parent` (a process id) is not its parent any more. `others` are the listening
    sockets of its sister processes: who waits there for a tenth of a second, because the sister is
    dead or busy, is served here.
    """

    def __init__(
        self,
        application: Application,
        settings: Settings,
        *,
        parent: int,
        others: Sequence[socket.socket],
    ) -> None:
        super().__init__(application, settings)
        self._application = application
        self._parent = parent
        self._others = others
        self._gc_freeze = settings.gc_freeze

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; what is loaded by then stays, so the garbage collector need not look at it."""
        await super().startup(sockets)
        garbage.begin()
        if self._gc_freeze:
            gc.collect()
            gc.freeze()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end."""
        if self._parent and os.getppid() != self._parent and not self.should_exit:
            self.stop()
        if not self._application.running:
            garbage.look()
        for other in () if self.should_exit else self._others:
            await self.accept(other, count_max=HELPED_OUT_MAX)
        return await super().on_tick(counter)


def serve(
    application: Application,
    settings: Settings,
    listening: socket.socket,
    *,
    parent: int = 0,
    others: Sequence[socket.socket] = (),
) -> None:
    """Run until SIGTERM or Ctrl-C, or until `parent` is gone; 0: whoever the parent is."""
    allow_many_files()
    # uvicorn raises the signal that stopped it once more when all is done: then we leave with 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    for other in others:
        other.setblocking(False)
    WebServer(application, settings, parent=parent, others=others).run(sockets=[listening])


def wait_at_gate(gate: int) -> Settings:
    """The settings in force, from the pipe to the supervisor, as soon as it sends them."""
    with os.fdopen(gate, "rb") as pipe:
        sent = pipe.read()
    if not sent:
        sys.exit(1)  # it is gone, or stopping
    return read_settings(msgspec.json.decode(sent, type=dict[str, str]))


def inherited(descriptor: int) -> socket.socket:
    """The listening socket that the supervisor passed on."""
    return socket.socket(fileno=descriptor)


def leave(number: int, frame: FrameType | None) -> None:
    """End the process: everything acknowledged is on the disk."""
    sys.exit(0)
