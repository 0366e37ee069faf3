"""The inside of a web process: the gateway's server on a socket that the supervisor holds open.

The socket outlives the process, so callers wait in its queue while a killed one is replaced. A web
process whose supervisor is gone finishes what it began and ends.
"""

import gc
import os
import resource
import signal
import socket
import sys
from types import FrameType

import msgspec

from tradewind.platform.gateway.asgi import Application
from tradewind.platform.gateway.server import Server
from tradewind.platform.settings import Settings, read_settings


class WebServer(Server):
    """The gateway's server, which also ends when `parent` (a process id) is not its parent."""

    def __init__(self, application: Application, settings: Settings, *, parent: int) -> None:
        super().__init__(application, settings)
        self._parent = parent
        self._gc_freeze = settings.gc_freeze

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; what is loaded by then stays, so the garbage collector need not look at it."""
        await super().startup(sockets)
        if self._gc_freeze:
            gc.collect()
            gc.freeze()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end."""
        if self._parent and os.getppid() != self._parent and not self.should_exit:
            self.stop()
        return await super().on_tick(counter)


def serve(
    application: Application, settings: Settings, listening: socket.socket, *, parent: int = 0
) -> None:
    """Run until SIGTERM or Ctrl-C, or until `parent` is gone; 0: whoever the parent is."""
    allow_many_files()
    # uvicorn raises the signal that stopped it once more when all is done: then we leave with 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    WebServer(application, settings, parent=parent).run(sockets=[listening])


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


def allow_many_files() -> None:
    """Every connection is a file; most systems allow far more of them than they do by default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return


def leave(number: int, frame: FrameType | None) -> None:
    """End the process: everything acknowledged is on the disk."""
    sys.exit(0)
