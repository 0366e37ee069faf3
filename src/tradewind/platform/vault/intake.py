"""New records on their way into the vault: one statement for all that arrive together.

No timer: while one batch is being written arrivals queue, and all of them go in the next. Alone, a
record is written at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from tradewind.kernel.problems import Problem

# One statement: 128 records of 400 bytes are 50 kB on the wire and 2-4 ms in PostgreSQL.
BATCH_MAX = 128


class VaultIsBusy(Problem):
    """More personal data is waiting to be written than is written in a few hundred milliseconds."""

    status = 503
    code = "busy"
    title = "Too much is going on right now."


class Kept(Struct, frozen=True):
    """The tokens of a record that was kept: all that the rest of the platform gets to see."""

    person: str  # "prs_..."
    contact: str | None  # "ctc_...", the same for every record with this e-mail; None without one


class NewRecord(Struct, frozen=True):
    """A sealed record, and the contact it will belong to if its address is new.

    Its key is wrapped and its address hashed when it is written: the keys for that may change
    while it waits.
    """

    person: str
    holder: str
    key: bytes | None  # None: it is sealed under its owner's
    content: bytes
    email: str | None
    contact: str | None
    owner: str | None = None


Write = Callable[[Sequence[NewRecord]], Awaitable[Sequence[Kept]]]


class Intake:
    """Writes records in natural batches through one slot. `close` waits for what is queued."""

    def __init__(self, write: Write, *, queue_max: int) -> None:
        self._write = write
        self._queue_max = queue_max
        self._queue: deque[tuple[NewRecord, asyncio.Future[Kept]]] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def put(self, record: NewRecord) -> Kept:
        """Write one record; returns when it is committed. Raises `VaultIsBusy`."""
        if len(self._queue) >= self._queue_max:
            raise VaultIsBusy("Try again in a second.", headers={"Retry-After": "1"})
        future: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        self._queue.append((record, future))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        return await future

    async def close(self) -> None:
        """Wait until everything queued is written or refused."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _write_all(self) -> None:
        queue = self._queue
        while queue:
            batch = [queue.popleft() for _ in range(min(len(queue), BATCH_MAX))]
            try:
                kept = await self._write([record for record, _ in batch])
            except BaseException as error:
                for _, future in batch:
                    if not future.done():  # done: the caller hung up
                        if isinstance(error, Exception):
                            future.set_exception(error)
                        else:
                            future.cancel()
                if not isinstance(error, Exception):
                    raise
            else:
                for (_, future), result in zip(batch, kept, strict=True):
                    if not future.done():
                        future.set_result(result)
