"""The HTTP server: uvicorn with our limits, our log and our way to stop."""

import asyncio
import math
import signal
import socket
from types import FrameType
from typing import Any

import uvicorn

from tradewind.platform.gateway.asgi import Application
from tradewind.platform.gateway.protocol import limited_protocol
from tradewind.platform.settings import Settings

BACKLOG = 2_048
# libuv takes one connection from a listening socket per turn of the loop. Under load a turn takes
# 5 to 50 ms, and whoever is new would wait for seconds, a readiness probe too. Each copy of the
# socket is asked once per turn as well; one that finds nobody costs a microsecond.
ACCEPTED_PER_TURN = 16
# ... and ten times a second whoever is left is taken at once.
ACCEPTED_PER_TICK = 512


def configuration(app: Application, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves the application under these settings."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=limited_protocol(settings, app),
        ws="none",
        lifespan="on",
        # Logging is set up by the program; an access line per request is what metrics are for.
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        date_header=True,
        backlog=BACKLOG,
        timeout_keep_alive=math.ceil(settings.idle_timeout_s),
        timeout_graceful_shutdown=max(1, math.ceil(settings.drain_timeout_s)),
    )


class Server(uvicorn.Server):
    """A server that is "not ready" from the moment it is told to stop."""

    def __init__(self, app: Application, settings: Settings) -> None:
        super().__init__(configuration(app, settings))
        self._app = app
        self._copies: list[socket.socket] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, on several copies of each socket that was handed in."""
        self._copies = [one.dup() for one in sockets or () for _ in range(ACCEPTED_PER_TURN - 1)]
        for copy in self._copies:
            copy.setblocking(False)
        await super().startup(sockets if sockets is None else [*sockets, *self._copies])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or Ctrl-C: finish what was begun, at most `drain_timeout_s`."""
        self._app.begin_drain()
        super().handle_exit(sig, frame)

    def stop(self) -> None:
        """Begin to stop, from inside the process."""
        self.handle_exit(signal.SIGTERM, None)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end."""
        if self._copies and not self.should_exit:
            await self.accept(self._copies[0], count_max=ACCEPTED_PER_TICK)
        return await super().on_tick(counter)

    async def accept(self, listening: socket.socket, *, count_max: int) -> None:
        """Take connections that wait at a socket, which does not block, together."""
        loop = asyncio.get_running_loop()
        taken = []
        for _ in range(count_max):
            try:
                connection, _ = listening.accept()
            except OSError:  # nobody waits
                break
            taken.append(loop.connect_accepted_socket(self._protocol, connection))
        # Who hung up meanwhile is nobody's concern.
        await asyncio.gather(*taken, return_exceptions=True)

    def _protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = kind(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )
        return protocol

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Whatever ended the loop: who waits is answered before connections are waited for."""
        self._app.begin_drain()
        await super().shutdown(sockets if sockets is None else [*sockets, *self._copies])
