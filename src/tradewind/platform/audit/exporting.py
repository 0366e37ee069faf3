"""Security events to whoever watches: a file, syslog, or an HTTP endpoint.

Events go in the order of the chain. The place is moved after the target took them, so a process
that dies in between sends some again, with the same `event.id`: at least once. That holds as far as
the target tells: a file and an HTTP endpoint do; syslog over TCP tells what the kernel took, over
UDP nothing.
"""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg

from tradewind import __version__
from tradewind.platform.audit import ecs
from tradewind.platform.audit.events import SecurityNoticed, noticed
from tradewind.platform.audit.sealer import Unsealed, standing
from tradewind.platform.database.pool import Pool
from tradewind.platform.security.addresses import Networks, OutboundRefused
from tradewind.platform.security.files import PRIVATE_FILE, PRIVATE_FOLDER
from tradewind.platform.settings import Settings, without_password
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

ROLE = "tradewind_audit"
# A hundred events are about 60 kB. Ten times a second, 1,000 events a second: floods are counted
# before they come here.
SENT_AT_ONCE_MAX = 100
SENT_WITHIN_S = 10.0
# Longer than a batch may take, so that no second process sends the same meanwhile.
CLAIMED_S = 30.0
PAUSE_S_MAX = 60.0
SYSLOG_PORT = 514
FAULTS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OutboundRefused)

Batch = Sequence[SecurityNoticed]
Send = Callable[[Batch], Awaitable[None]]


class Unaccepted(OSError):
    """The endpoint did not take the events."""


OPEN = """
    INSERT INTO audit.exports (target, position, claimed_until) VALUES ($1, 0, now())
        ON CONFLICT DO NOTHING
"""
CLAIM = """
    UPDATE audit.exports SET claimed_until = now() + make_interval(secs => $2)
     WHERE target = $1 AND claimed_until <= now() RETURNING position, claimed_until
"""
# Only who still holds the claim moves the place: a slow process must not move it back.
MOVE = """
    UPDATE audit.exports SET position = $2, claimed_until = now()
     WHERE target = $1 AND claimed_until = $3
"""
# chain_pkey, then entries_pkey.
BEHIND = """
    SELECT c.position, e.entry_id, e.xid::text::bigint, e.at, e.kind, e.operation, e.notice,
           e.principal, e.object, e.address, e.trace, e.reason, e.before, e.after
      FROM audit.chain c JOIN audit.entries e USING (entry_id)
     WHERE c.position > $1 AND e.notice <> ''
     ORDER BY c.position LIMIT $2
"""


class Exporter:
    """Sends what is sealed to one target; every process has one, one of them works."""

    def __init__(self, pool: Pool, url: str, send: Send, close: Callable[[], Awaitable[None]]):
        self._pool = pool
        self._target = sha256(url.encode()).hexdigest()[:32]
        self._shown = without_password(url)
        self._send = send
        self._close = close
        self._opened = False
        self._faults = 0
        self._not_before = 0.0

    async def send_some(self) -> None:
        """Send all there is. A fault is logged, and tried again after a pause that grows."""
        if time.monotonic() < self._not_before:
            return
        try:
            while await self._once():
                self._faults = 0
        except FAULTS as fault:
            self._faults += 1
            pause_s = min(2.0**self._faults, PAUSE_S_MAX)
            self._not_before = time.monotonic() + pause_s
            logger.warning(
                "audit.export_fault", target=self._shown, fault=repr(fault)[:300], pause_s=pause_s
            )

    async def _once(self) -> bool:
        """One batch; whether there may be more."""
        async with self._pool.lend(ROLE) as connection:
            if not self._opened:
                await connection.execute(OPEN, self._target)
                self._opened = True
            claimed = await connection.fetchrow(CLAIM, self._target, CLAIMED_S)
            if claimed is None:
                return False
            position, until = claimed
            rows = await connection.fetch(BEHIND, position, SENT_AT_ONCE_MAX)
        reached = position
        try:
            if rows:
                events = [noticed(standing(Unsealed(*row[1:])), row[0]) for row in rows]
                async with asyncio.timeout(SENT_WITHIN_S):
                    await self._send(events)
                reached = rows[-1][0]
        finally:
            await self._moved(reached, until)
        return len(rows) == SENT_AT_ONCE_MAX

    async def _moved(self, position: int, until: datetime) -> None:
        async with self._pool.lend(ROLE) as connection:
            await connection.execute(MOVE, self._target, position, until)

    async def close(self) -> None:
        """Let go of what is open."""
        await self._close()


def exporter(pool: Pool, settings: Settings) -> Exporter | None:
    """What sends security events where the setting says; None where nobody is to be told."""
    url = settings.security_export
    if not url:
        return None
    scheme, _, rest = url.partition("://")
    if scheme == "file":
        path = Path(unquote(rest))
        sink: Any = ToFile(path if path.is_absolute() else settings.home / path)
    elif scheme.startswith("syslog"):
        sink = ToSyslog(url, settings.outbound_networks)
    else:
        sink = ToHttp(url, settings.outbound_networks)
    return Exporter(pool, url, sink.send, sink.close)


class ToFile:
    """Lines of JSON at the end of a file, on the disk before they count as sent."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def send(self, events: Batch) -> None:
        """Append them."""
        text = b"".join(ecs.line(event, __version__) + b"\n" for event in events)
        await asyncio.to_thread(self._append, text)

    def _append(self, text: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
        try:
            with os.fdopen(descriptor, "ab", closefd=False) as file:
                file.write(text)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    async def close(self) -> None:
        """Nothing stays open."""


class ToSyslog:
    """Messages of RFC 5424: one datagram each, or counted in octets on a stream (RFC 6587)."""

    def __init__(self, url: str, networks: Sequence[str]) -> None:
        parts = urlsplit(url)
        self._is_stream = parts.scheme == "syslog+tcp"
        self._host = parts.hostname or ""
        self._port = parts.port or SYSLOG_PORT
        self._networks = Networks(networks)
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, events: Batch) -> None:
        """Send them; over TCP, return when the kernel has taken them all."""
        host, process = socket.gethostname(), os.getpid()
        messages = [
            ecs.syslog(event, ecs.line(event, __version__), host=host, process=process)
            for event in events
        ]
        if self._is_stream:
            await self._write(b"".join(b"%d %b" % (len(text), text) for text in messages))
            return
        address = await self._networks.resolve(self._host, self._port)
        await asyncio.to_thread(self._datagrams, address, messages)

    def _datagrams(self, address: str, messages: Sequence[bytes]) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as out:
            for message in messages:
                out.sendto(message, (address, self._port))

    async def _write(self, content: bytes) -> None:
        if self._stream is not None and self._stream[0].at_eof():
            await self.close()  # the other side went away while we had nothing to say
        if self._stream is None:
            address = await self._networks.resolve(self._host, self._port)
            self._stream = await asyncio.open_connection(address, self._port)
        try:
            self._stream[1].write(content)
            await self._stream[1].drain()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the stream."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream[1].close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await stream[1].wait_closed()


class ToHttp:
    """Lines of JSON in a POST; any 2xx takes them. Redirects are refused."""

    def __init__(self, url: str, networks: Sequence[str]) -> None:
        from tradewind.platform.security.outbound import Outbound  # only who exports so pays for it

        self._url = url
        self._outbound = Outbound(networks)

    async def send(self, events: Batch) -> None:
        """Send them; return when they were taken. Raises `Unaccepted`, `OutboundRefused`."""
        import aiohttp

        body = b"".join(ecs.line(event, __version__) + b"\n" for event in events)
        headers = {"Content-Type": "application/x-ndjson"}
        try:
            answer = await self._outbound.call("POST", self._url, headers=headers, body=body)
        except aiohttp.ClientError as error:
            raise Unaccepted(repr(error)) from error
        if not 200 <= answer.status < 300:
            raise Unaccepted(f"{urlsplit(self._url).hostname} answered {answer.status}")

    async def close(self) -> None:
        """End its connections."""
        await self._outbound.close()
