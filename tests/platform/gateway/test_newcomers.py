"""New connections on a loop that is never idle."""

import asyncio
import contextlib
import socket
import time

import uvloop

from tests.platform.gateway.gateway_shop import application
from tests.platform.gateway.test_server import SETTINGS
from tradewind.platform.gateway.server import Server


def test_newcomers_are_taken_in_crowds() -> None:
    """A loop that always has work takes more than one new connection per turn."""
    crowd = 200
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    turns = 0

    async def serve() -> None:
        nonlocal turns
        server = Server(application(), SETTINGS)
        serving = asyncio.create_task(server._serve([listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        with contextlib.ExitStack() as stack:
            for _ in range(crowd):
                client = stack.enter_context(socket.socket())
                client.connect(listening.getsockname())
            until = time.monotonic() + 20
            while len(server.server_state.connections) < crowd and time.monotonic() < until:
                turns += 1
                await asyncio.sleep(0)
            assert len(server.server_state.connections) == crowd
        server.should_exit = True
        await serving

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
    # Sixteen a turn; and all that wait, ten times a second, which on a busy machine is sooner.
    assert turns < crowd / 4, f"{turns} turns for {crowd} connections"
