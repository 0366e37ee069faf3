"""The inside of a web process: uvicorn on a socket that the supervisor holds open.

The socket outlives the process, so callers wait in its queue while a killed one is replaced. A web
process whose supervisor is gone finishes what it began and ends.
"""

import gc
import math
import os
import resource
import signal
import socket
import sys
from types import FrameType
from typing import Any, Protocol

import uvicorn

from tradewind.platform.settings import Settings
from tradewind.supervisor.listening import BACKLOG

# Longer than the sixty seconds after which most proxies give an idle connection up.
KEEP_ALIVE_S = 75


class Application(Protocol):
    """An ASGI application that can be told that the end is near."""

    def begin_drain(self) -> None:
        """Say no at ``/readyz``, answer those who wait; go on with what was begun."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""


class Server(uvicorn.Server):
    """uvicorn, which drains the application first and notices when its supervisor is gone."""

    def __init__(
        self, config: uvicorn.Config, application: Application, settings: Settings
    ) -> None:
        super().__init__(config)
        self._application = application
        self._settings = settings
        self._parent = 0

    def follow(self, parent: int) -> None:
        """End when this process is not the parent any more."""
        self._parent = parent

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; what is loaded by then stays, so the garbage collector need not look at it."""
        await super().startup(sockets)
        if self._settings.gc_freeze:
            gc.collect()
            gc.freeze()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end."""
        if self._parent and os.getppid() != self._parent:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer who waits, then close as usual."""
        self._application.begin_drain()
        await super().shutdown(sockets)


def serve(
    application: Application,
    settings: Settings,
    listening: socket.socket,
    *,
    parent: int = 0,
    http: Any = "httptools",
) -> None:
    """Run until SIGTERM or Ctrl-C, or until `parent` (a process id) is gone.

    `http` is the protocol class of the gateway, with its limits on request heads.
    """
    allow_many_files()
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http=http,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # who calls is who connects, until a proxy is named in the settings
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout_s),
    )
    server = Server(config, application, settings)
    server.follow(parent)
    # uvicorn raises the signal that stopped it once more when all is done: then we leave with 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    server.run(sockets=[listening])


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
