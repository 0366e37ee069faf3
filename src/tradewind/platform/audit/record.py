"""The record as a process sees it: what it adds, seals and sends to a security system."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg

from tradewind.kernel.audit import Audited
from tradewind.kernel.ids import new_id
from tradewind.platform.audit import entries, exporting
from tradewind.platform.audit.entries import WRITE, Entry, columns, side
from tradewind.platform.audit.heads import WRITTEN_EVERY_S, Head, Heads
from tradewind.platform.audit.masking import Mask
from tradewind.platform.audit.notices import Kind, Notices
from tradewind.platform.audit.sealer import Sealer
from tradewind.platform.database.clock import Clock
from tradewind.platform.database.pool import Connection, Pool
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.settings import Settings
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

ROLE = "tradewind_audit"
LOOK_EVERY_S = 1.0
# A program that reads one thing again and again is recorded once in so long.
READ_AGAIN_S = 60.0
READS_REMEMBERED_MAX = 10_000
WRITTEN_AT_ONCE_MAX = 500
# What is written while the database is away; older notices give way to newer ones.
KEPT_MAX = 5_000
FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


class Record:
    """The audit of one process. `run` until the process stops, then `close`."""

    def __init__(self, pool: Pool, clock: Clock, secrets: Secrets, settings: Settings) -> None:
        self.mask = Mask(secrets)
        self.heads = Heads(secrets, settings.home)
        self.sealer = Sealer(self.heads)
        self._pool = pool
        self._clock = clock
        self._notices = Notices(clock.now)
        self._unwritten: deque[Entry] = deque(maxlen=KEPT_MAX)
        self._reads: dict[tuple[str, str, str], float] = {}
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._exporter = exporting.exporter(pool, settings)

    # -- what is recorded

    def refused(self, notice: str, operation: str, principal: str, client: str, trace: str) -> None:
        """Somebody was refused. Counted here, written within a second, floods as one."""
        kind = Kind(notice, operation, principal, self.mask.address(client))
        self._notices.note(kind, trace)

    async def read(self, audited: Audited) -> None:
        """Somebody is about to be shown personal data: returns once that is on record.

        The same caller reading the same thing again within a minute is not recorded again.
        """
        key = (audited.principal, audited.operation, audited.object)
        now = time.monotonic()
        if now - self._reads.get(key, -READ_AGAIN_S) < READ_AGAIN_S:
            return
        entry = entries.of_action(audited, None, self._clock.now())
        await self.add([entries.as_read(entry)])
        while len(self._reads) >= READS_REMEMBERED_MAX:
            del self._reads[next(iter(self._reads))]
        self._reads.pop(key, None)
        self._reads[key] = now

    async def did(self, audited: Audited) -> None:
        """Something was done that has no unit of work: returns once it is on record."""
        await self.add([entries.of_action(audited, None, self._clock.now())])

    async def add(self, added: Sequence[Entry]) -> None:
        """Write entries; those that come at the same time share a commit. Raises if it cannot."""
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in added]
        self._waiting += zip(added, futures, strict=True)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        # Shielded: a caller that hangs up must not take the commit from the others.
        await asyncio.gather(*(asyncio.shield(future) for future in futures))

    async def _write(self) -> None:
        while self._waiting:
            batch = self._waiting[:WRITTEN_AT_ONCE_MAX]
            del self._waiting[:WRITTEN_AT_ONCE_MAX]
            try:
                async with self._pool.lend(ROLE) as connection:
                    await connection.execute(WRITE, *columns([entry for entry, _ in batch]))
            except Exception as error:
                for _, future in batch:
                    future.set_exception(error)
                    future.exception()  # the caller may have gone; then nobody else reads it
            else:
                for _, future in batch:
                    if not future.done():
                        future.set_result(None)

    # -- what runs beside the requests

    async def run(self) -> None:
        """Write what was refused, put heads outside, send what a security system waits for."""
        heads_at = 0.0
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._flush(all_of_them=False)
            if time.monotonic() - heads_at >= WRITTEN_EVERY_S:
                heads_at = time.monotonic()
                await asyncio.to_thread(self._write_head)
            if self._exporter is not None:
                await self._exporter.send_some()

    async def sealed(self, heads: Sequence[Head]) -> None:
        """Told after a commit of the sealer."""
        self.sealer.sealed(heads)

    async def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            await asyncio.gather(self._writer, return_exceptions=True)
        await self._flush(all_of_them=True)
        self._write_head()
        if self._exporter is not None:
            await self._exporter.close()

    async def _flush(self, *, all_of_them: bool) -> None:
        self._unwritten.extend(self._notices.take(all_of_them=all_of_them))
        while self._unwritten:
            batch = [self._unwritten.popleft() for _ in range(min(len(self._unwritten), 500))]
            try:
                async with self._pool.lend(ROLE) as connection:
                    await connection.execute(WRITE, *columns(batch))
            except FAULTS as fault:
                # A second try writes nothing twice: the entries keep their ids.
                self._unwritten.extendleft(reversed(batch))
                logger.warning("audit.fault", fault=repr(fault)[:300])
                return

    def _write_head(self) -> None:
        try:
            self.heads.write()
        except OSError as fault:
            logger.error("audit.head_not_written", fault=repr(fault)[:300])


async def write_with(connection: Connection, audited: Audited | None, clock: Clock) -> None:
    """Write an entry in the transaction that a connection is in."""
    if audited is not None:
        await connection.execute(WRITE, *columns([entries.of_action(audited, None, clock.now())]))


async def announce_tampering(connection: Connection, found: str) -> None:
    """Put on record, and so tell the security system, that the record was changed."""
    await note(connection, "tampering_found", "tradewind audit verify", side({"found": found}))


async def note_export(connection: Connection) -> None:
    """Put on record that somebody took the record out."""
    await note(connection, "audit_read", "tradewind audit export", None)


async def note(connection: Connection, notice: str, operation: str, after: str | None) -> None:
    """An entry about what was done on the machine itself, by whoever may reach its database."""
    entry = Entry(
        entry_id=new_id("aud"),
        at=datetime.now(UTC),
        kind="notice",
        operation=operation,
        notice=notice,
        principal="",
        object="audit",
        address="",
        trace="",
        reason="",
        after=after,
    )
    await connection.execute(WRITE, *columns([entry]))


__all__ = ["Record", "announce_tampering", "note_export", "write_with"]
