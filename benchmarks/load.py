"""The load generator: a closed loop of orders over raw HTTP/1.1, in a process of its own.

It shares the machine's cores with what it measures, so it does as little as can be done: requests
are filled into prepared bytes, of an answer only the status, the length and one word are read.
It begins at once, counts what is answered within the window it is given, and prints one JSON line.
"""

import argparse
import asyncio
import gc
import json
import random
import resource
import secrets
import time
from array import array
from collections import Counter
from pathlib import Path
from typing import Any, cast

import msgspec
import uvloop
from msgspec import Struct

from tradewind.supervisor.processes import allow_many_files

PRODUCTS = 1_000
SKU_DIGITS = 4
# After the window: connections still in flight may take this long, as long as the server waits.
LAST_ANSWERS_TIMEOUT_S = 15
REFUSED_PAUSE_S = 0.05
CONFIRMED = b'"status":"confirmed"'
BODY = (
    b'{"email":"%s@bench.example","currency":"GBP","lines":[{"sku":"B%04d","quantity":1},'
    b'{"sku":"B%04d","quantity":1},{"sku":"B%04d","quantity":1}],"shipping_address":{"name":'
    b'"Ada Lovelace","line1":"12 St James\'s Square","city":"London","postal_code":"SW1Y 4JH",'
    b'"country":"GB"},"payment":{"token":"tok_ok"}}'
)
HEAD = (
    "POST /v1/orders HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
    "Content-Length: %d\r\nX-Forwarded-For: ADDRESS\r\nIdempotency-Key: "
)


class Window(Struct, frozen=True):
    """When to count, by the machine's monotonic clock; `until` is when to stop sending."""

    begin: float
    end: float
    until: float


class Counted(Struct, frozen=True):
    """What one process saw. `statuses` is of the whole time, `answered` of the window."""

    answered: int
    confirmed: int  # in the whole time
    statuses: dict[str, int]
    lost: int  # connections that broke, or never answered
    last_answer_at: float
    cpu_s: float  # in the window


class Load:
    """All connections of this process, and what they saw."""

    def __init__(
        self,
        host: str,
        port: int,
        window: Window,
        *,
        products: int = PRODUCTS,
        sku_digits: int = SKU_DIGITS,
        hot: bool = False,
    ) -> None:
        self.window = window
        self._hot = hot  # whether everybody wants the same first product
        self._products = products
        self._third = products // 3
        self._body = BODY.replace(b"%04d", b"%%0%dd" % sku_digits)
        body_length = len(self._body % (b"x" * 16, 1, 1, 1))
        self._request = (HEAD.replace("%s", f"{host}:{port}") % body_length).encode().replace(
            b"ADDRESS", b"203.%d.%d.%d"
        ) + b"%s\r\n\r\n%s"
        self._session = secrets.token_hex(4).encode()
        self._number = 0
        self.statuses: Counter[str] = Counter()
        self.latencies_s = array("d")
        self.confirmed = 0
        self.lost = 0
        self.last_answer_at = 0.0
        self.open: set[Connection] = set()
        self.done = asyncio.Event()
        self.bug: BaseException | None = None

    def failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error inside a callback: no count is right any more."""
        self.bug = context.get("exception") or RuntimeError(context["message"])
        self.done.set()

    def next_request(self) -> bytes:
        """An order that was never sent before, by somebody who never ordered before."""
        self._number += 1
        name = b"%s%08x" % (self._session, self._number)
        chance, third = random.random, self._third
        body = self._body % (
            name,
            1 if self._hot else 1 + int(chance() * third),
            1 + third + int(chance() * third),
            1 + 2 * third + int(chance() * (self._products - 2 * third)),
        )
        # With limits on everybody comes from an address of their own, which a trusted proxy tells.
        n = self._number
        return self._request % (n >> 16 & 255, n >> 8 & 255, n & 255, name, body)

    def connection(self) -> "Connection":
        """A customer of this load."""
        return Connection(self)

    def answered(self, answer: bytes, sent_at: float, now: float) -> bool:
        """Count an answer; whether it was an order that went through."""
        window = self.window
        self.last_answer_at = now
        status = answer[9:12].decode()
        self.statuses[status] += 1
        through = status == "201" and CONFIRMED in answer
        self.confirmed += through
        if through and window.begin <= now < window.end:
            self.latencies_s.append(now - sent_at)
        return through

    def left(self, connection: "Connection") -> None:
        """A connection has ended."""
        self.open.discard(connection)
        if not self.open:
            self.done.set()


class Connection(asyncio.Protocol):
    """One customer after the other, each waiting for an answer before the next comes."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._rest = b""
        self._sent_at = 0.0
        self._waiting = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own, which is none
        self._load.open.add(self)
        self._send()

    def _send(self) -> None:
        now = time.monotonic()
        if now >= self._load.window.until:
            self._transport.close()
            return
        self._sent_at = now
        self._waiting = True
        self._transport.write(self.next_request())

    def next_request(self) -> bytes:
        """What this customer asks for."""
        return self._load.next_request()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            self._rest = data
            return
        length = content_length(data[:head_end])
        if len(data) < head_end + 4 + length:
            self._rest = data
            return
        self._rest = b""
        self._waiting = False
        self.answer_seen(data, time.monotonic())

    def answer_seen(self, answer: bytes, now: float) -> None:
        """A whole answer."""
        self.answer_taken(self._load.answered(answer, self._sent_at, now))

    def answer_taken(self, through: bool) -> None:
        """The next customer; a little later if this one was refused."""
        if through:
            self._send()
        else:
            asyncio.get_running_loop().call_later(REFUSED_PAUSE_S, self._send)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost += self._waiting
        self._load.left(self)


def content_length(head: bytes) -> int:
    """The length of the body behind a head. Raises `ValueError` where it is not said."""
    at = head.find(b"content-length: ")
    if at < 0:
        at = head.lower().find(b"content-length: ")
        if at < 0:
            raise ValueError(f"an answer without a length: {head!r}")
    end = head.find(b"\r", at)
    return int(head[at + 16 : end if end > 0 else None])


async def run(load: Load, host: str, port: int, connections: int, latencies: Path) -> Counted:
    """Send requests until the window has passed."""
    loop = asyncio.get_running_loop()
    window = load.window
    loop.set_exception_handler(load.failed)
    marks: list[float] = []
    for at in (window.begin, window.end):
        loop.call_later(max(0.0, at - time.monotonic()), lambda: marks.append(own_cpu_s()))
    for _ in range(connections):
        await loop.create_connection(load.connection, host, port)
    gc.collect()
    gc.freeze()
    await asyncio.sleep(max(0.0, window.until - time.monotonic()))
    try:
        async with asyncio.timeout(LAST_ANSWERS_TIMEOUT_S):
            await load.done.wait()
    except TimeoutError:
        load.lost += len(load.open)
    if load.bug is not None:
        raise load.bug
    with latencies.open("wb") as file:
        load.latencies_s.tofile(file)
    return Counted(
        answered=len(load.latencies_s),
        confirmed=load.confirmed,
        statuses=dict(load.statuses),
        lost=load.lost,
        last_answer_at=load.last_answer_at,
        cpu_s=marks[1] - marks[0],
    )


def own_cpu_s() -> float:
    """The processor time this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every generator of this kind is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--begin", type=float, required=True, help="monotonic seconds")
    parser.add_argument("--end", type=float, required=True)
    parser.add_argument("--until", type=float, required=True)
    parser.add_argument("--latencies", type=Path, required=True, help="file of doubles, seconds")
    return parser


def run_and_print(load: Load, given: argparse.Namespace) -> None:
    """Run, print the count."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        counted = runner.run(run(load, given.host, given.port, given.connections, given.latencies))
    print(json.dumps(msgspec.to_builtins(counted)))


def main() -> None:
    """Read the arguments, run, print the count."""
    allow_many_files()
    parser = arguments(__doc__)
    parser.add_argument("--products", type=int, default=PRODUCTS, help="that are ordered from")
    parser.add_argument("--sku-digits", type=int, default=SKU_DIGITS, help="behind the B")
    parser.add_argument("--hot", action="store_true", help="one product is in every order")
    given = parser.parse_args()
    window = Window(given.begin, given.end, given.until)
    load = Load(
        given.host,
        given.port,
        window,
        products=given.products,
        sku_digits=given.sku_digits,
        hot=given.hot,
    )
    run_and_print(load, given)


if __name__ == "__main__":
    main()
