"""Bodies as they arrive: bounded in bytes and in time.

`asyncio.timeout` sets and cancels a timer per request, which costs more than decoding the body it
guards (12 us against 3 us). So one sweep per process looks for bodies that are overdue.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from tradewind.platform.gateway.problems import BodyTooLarge, RequestTimeout

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# A body that is too large is still read up to here, and thrown away: a client that is cut off in
# the middle of sending sees a broken connection and not the 413 that says why.
DISCARDED_BYTES_MAX = 32 * 1024 * 1024
SWEEPS_PER_TIMEOUT = 8
# Slower than any line that carries an import: a client that drips would hold it for days.
STREAM_BYTES_PER_S_MIN = 1_000


class ClientGone(Exception):
    """The client hung up; there is nobody to answer."""


class Deadlines:
    """Cancels tasks that wait for a client longer than `timeout_s` (and at most an eighth more)."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._overdue: set[asyncio.Task[Any]] = set()
        self._sweep_planned = False

    def start(self, task: asyncio.Task[Any]) -> None:
        """From now on the task waits for its client."""
        loop = asyncio.get_running_loop()
        self._waiting[task] = loop.time()
        if not self._sweep_planned:
            self._sweep_planned = True
            loop.call_later(self.timeout_s / SWEEPS_PER_TIMEOUT, self._sweep, loop)

    def stop(self, task: asyncio.Task[Any]) -> bool:
        """The task has what it waited for, or was cancelled: by us, if the result is True."""
        self._waiting.pop(task, None)
        if task in self._overdue:
            self._overdue.discard(task)
            return True
        return False

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        oldest = loop.time() - self.timeout_s
        for task in [task for task, since in self._waiting.items() if since <= oldest]:
            del self._waiting[task]
            self._overdue.add(task)
            task.cancel()
        self._sweep_planned = bool(self._waiting)
        if self._sweep_planned:
            loop.call_later(self.timeout_s / SWEEPS_PER_TIMEOUT, self._sweep, loop)


async def next_chunk(receive: Receive, deadlines: Deadlines) -> tuple[bytes, bool]:
    """The next piece of the body, and whether there is more. Raises `ClientGone` too."""
    task = asyncio.current_task()
    assert task is not None
    deadlines.start(task)
    try:
        message = await receive()
    except asyncio.CancelledError:
        if deadlines.stop(task):
            task.uncancel()
            raise RequestTimeout(
                f"The body did not arrive within {deadlines.timeout_s:g} s. Nothing was done."
            ) from None
        raise
    finally:
        deadlines.stop(task)
    if message["type"] != "http.request":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def read_body(receive: Receive, deadlines: Deadlines, *, bytes_max: int) -> bytes:
    """The whole body."""
    chunk, more = await next_chunk(receive, deadlines)
    if not more and len(chunk) <= bytes_max:
        return chunk
    # A client that sends a byte at a time must not renew its time with each of them.
    loop = asyncio.get_running_loop()
    overdue_at = loop.time() + deadlines.timeout_s
    chunks = [chunk]
    size = len(chunk)
    while more and size <= bytes_max:
        if loop.time() > overdue_at:
            raise RequestTimeout(
                f"The body did not arrive within {deadlines.timeout_s:g} s. Nothing was done."
            )
        chunk, more = await next_chunk(receive, deadlines)
        chunks.append(chunk)
        size += len(chunk)
    if size > bytes_max:
        if more:
            await discard(receive, deadlines, bytes_max=DISCARDED_BYTES_MAX - size)
        raise too_large(bytes_max)
    return b"".join(chunks)


async def stream_body(
    receive: Receive, deadlines: Deadlines, *, bytes_max: int
) -> AsyncIterator[bytes]:
    """The body in chunks: each must arrive in time; all may take as long as they do, as long as
    the client is not the one who is waited for at less than `STREAM_BYTES_PER_S_MIN`.
    """
    loop = asyncio.get_running_loop()
    size, waited_s = 0, 0.0
    more = True
    while more:
        asked_at = loop.time()
        chunk, more = await next_chunk(receive, deadlines)
        waited_s += loop.time() - asked_at
        size += len(chunk)
        if more and waited_s > deadlines.timeout_s + size / STREAM_BYTES_PER_S_MIN:
            raise RequestTimeout(
                f"Less than {STREAM_BYTES_PER_S_MIN} bytes a second arrived. What came before "
                "counts; send the rest again."
            )
        if size > bytes_max:
            raise too_large(bytes_max)
        if chunk:
            yield chunk


async def discard(receive: Receive, deadlines: Deadlines, *, bytes_max: int) -> None:
    """Read and forget the rest of a body, as far as that is reasonable."""
    overdue_at = asyncio.get_running_loop().time() + deadlines.timeout_s
    more = True
    while more and bytes_max > 0 and asyncio.get_running_loop().time() < overdue_at:
        chunk, more = await next_chunk(receive, deadlines)
        bytes_max -= len(chunk)


def too_large(bytes_max: int) -> BodyTooLarge:
    """The refusal of a body, with the limit in words."""
    if bytes_max % (1024 * 1024) == 0:
        limit = f"{bytes_max // (1024 * 1024)} MiB"
    else:
        limit = f"{bytes_max} bytes"
    return BodyTooLarge(
        f"The body may have at most {limit}. Nothing was done.", bytes_max=bytes_max
    )
