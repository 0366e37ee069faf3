"""The load generator of the pressure drills: an open loop, orders at a rate whatever the answers.

A closed loop waits for the server and so never asks more than it gives. Here orders arrive like
people: on a free connection, or on a new one. Prints one JSON line, like benchmarks.load.
"""

import argparse
import asyncio
import gc
import json
import signal
import time
from array import array
from typing import Any, cast

import msgspec
import uvloop
from msgspec import Struct

from benchmarks.load import LAST_ANSWERS_TIMEOUT_S, Connection, Load, Window, own_cpu_s
from tradewind.supervisor.processes import allow_many_files

TICK_S = 0.005
RETRY_AFTER = b"\r\nretry-after: "


class Flooded(Struct, frozen=True):
    """What the flood saw. `sent` to `unsent` of the whole time, milliseconds of the window."""

    sent: int
    statuses: dict[str, int]
    confirmed: int
    lost: int  # connections that broke, or never answered
    unsent: int  # arrivals for which there was no connection left
    bare: int  # 503 without Retry-After
    connections: int  # the most there were
    last_answer_at: float
    accepted_p50_ms: float
    accepted_p95_ms: float
    accepted_p99_ms: float
    refused: int  # in the window, on connections that were there
    refused_p50_ms: float
    refused_p99_ms: float
    newcomers: int  # of the refused: whose connection was new
    newcomers_p99_ms: float
    cpu_s: float


class Flood(Load):
    """Arrivals at a rate."""

    def __init__(self, host: str, port: int, window: Window, connections_max: int) -> None:
        super().__init__(host, port, window)
        self.idle: list[FloodConnection] = []
        self.connections_max = connections_max
        self.host, self.port = host, port
        self.opened = self.sent = self.unsent = self.bare = self.opening = 0
        self.refused_s = array("d")
        self.newcomers_s = array("d")
        self.is_new = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def answered(self, answer: bytes, sent_at: float, now: float) -> bool:
        """Count an answer, and how long a refusal took."""
        if answer[9:12] == b"503":
            self.bare += RETRY_AFTER not in answer[: answer.find(b"\r\n\r\n")].lower()
            if self.window.begin <= now < self.window.end:
                (self.newcomers_s if self.is_new else self.refused_s).append(now - sent_at)
        return super().answered(answer, sent_at, now)

    def arrive(self) -> None:
        """Somebody wants to order."""
        if self.idle:
            self.idle.pop().send()
        elif len(self.open) + self.opening < self.connections_max:
            self.opening += 1
            task = asyncio.create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self.unsent += 1

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: FloodConnection(self), self.host, self.port)
        except OSError:
            self.lost += 1
        finally:
            self.opening -= 1

    def end(self) -> None:
        """Nobody comes any more: whoever does not wait for an answer goes."""
        for connection in self.idle:
            connection.leave()
        if not self.open:
            self.done.set()


class FloodConnection(Connection):
    """A connection that sends when it is told to, and then is idle."""

    _load: Flood

    def __init__(self, load: Flood) -> None:
        super().__init__(load)
        self._load = load
        self._is_new = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._load.open.add(self)
        self._load.opened = max(self._load.opened, len(self._load.open))
        self.send()

    def send(self) -> None:
        """One order."""
        self._load.sent += 1
        self._sent_at = time.monotonic()
        self._waiting = True
        self._transport.write(self._load.next_request())

    def leave(self) -> None:
        """Hang up."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._load.is_new = self._is_new
        super().data_received(data)
        self._is_new = False

    def answer_taken(self, through: bool) -> None:
        """Free for the next."""
        if time.monotonic() >= self._load.window.until:
            self.leave()
        else:
            self._load.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._load.idle:
            self._load.idle.remove(self)
        super().connection_lost(exc)


async def run(host: str, port: int, rate: float, connections_max: int, window: Window) -> Flooded:
    """Send at the rate until the window has passed, then wait for the answers."""
    loop = asyncio.get_running_loop()
    flood = Flood(host, port, window, connections_max)
    loop.set_exception_handler(flood.failed)
    marks: list[float] = []
    for at in (window.begin, window.end):
        loop.call_later(max(0.0, at - time.monotonic()), lambda: marks.append(own_cpu_s()))
    gc.freeze()
    began, arrived = time.monotonic(), 0
    # Told to end it ends as if the window had passed, and prints what it saw.
    told = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    while (now := time.monotonic()) < window.until and not told.is_set():
        due = int((now - began) * rate)
        for _ in range(due - arrived):
            flood.arrive()
        arrived = due
        await asyncio.sleep(TICK_S)
    flood.window = Window(window.begin, window.end, time.monotonic())
    flood.end()
    try:
        async with asyncio.timeout(LAST_ANSWERS_TIMEOUT_S):
            await flood.done.wait()
    except TimeoutError:
        flood.lost += len(flood.open)
    if flood.bug is not None:
        raise flood.bug
    accepted, refused = sorted(flood.latencies_s), sorted(flood.refused_s)
    newcomers = sorted(flood.newcomers_s)
    return Flooded(
        sent=flood.sent,
        statuses=dict(flood.statuses),
        confirmed=flood.confirmed,
        lost=flood.lost,
        unsent=flood.unsent,
        bare=flood.bare,
        connections=flood.opened,
        last_answer_at=flood.last_answer_at,
        accepted_p50_ms=share_ms(accepted, 0.50),
        accepted_p95_ms=share_ms(accepted, 0.95),
        accepted_p99_ms=share_ms(accepted, 0.99),
        refused=len(refused),
        refused_p50_ms=share_ms(refused, 0.50),
        refused_p99_ms=share_ms(refused, 0.99),
        newcomers=len(newcomers),
        newcomers_p99_ms=share_ms(newcomers, 0.99),
        cpu_s=(marks[1] if len(marks) > 1 else own_cpu_s()) - marks[0],
    )


def share_ms(ordered: list[float], share: float) -> float:
    """The value that this share of all does not exceed, in milliseconds."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1_000 if ordered else 0.0


def main() -> None:
    """Read the arguments, run, print the count."""
    allow_many_files()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="orders a second")
    parser.add_argument("--connections", type=int, default=4_000, help="at most")
    parser.add_argument("--begin", type=float, required=True, help="monotonic seconds")
    parser.add_argument("--end", type=float, required=True)
    parser.add_argument("--until", type=float, required=True)
    given = parser.parse_args()
    window = Window(given.begin, given.end, given.until)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        flooded = runner.run(run(given.host, given.port, given.rate, given.connections, window))
    print(json.dumps(msgspec.to_builtins(flooded)))


if __name__ == "__main__":
    main()
