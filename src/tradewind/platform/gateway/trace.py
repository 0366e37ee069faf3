"""The W3C trace context of a request: taken over from the caller, or begun here."""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
NO_TRACE = b"0" * 32
NO_SPAN = b"0" * 16
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,64}")
# What the logs may call a request by: an id that a machine made, and no word of anybody's.
MACHINE_MADE = re.compile(rb"[0-9A-Fa-f-]{20,64}|[0-9A-Z]{26}")
# Chance is asked for in pieces of this size: a call of the system costs more than all else here.
CHANCE_BYTES = 24 * 256


class Chance:
    """Random bytes, some in stock. One thread takes from it."""

    def __init__(self) -> None:
        self._stock = b""
        self._at = 0

    def take(self, count: int) -> str:
        """So many random bytes, as hexadecimal digits."""
        at = self._at
        if at + count > len(self._stock):
            self._stock, at = os.urandom(CHANCE_BYTES), 0
        self._at = at + count
        return self._stock[at : at + count].hex()


chance = Chance()


class Trace(NamedTuple):
    """Where a request stands in a trace. `parent` goes on to commands, events and calls."""

    trace_id: str  # 32 hex digits
    parent: str  # a traceparent whose span is this request


def begin(traceparent: bytes | None) -> Trace:
    """The caller's trace with a span of our own; a new one where the header is missing or wrong."""
    if traceparent is not None:
        found = TRACEPARENT.fullmatch(traceparent.strip())
        if found and found[1] != NO_TRACE and found[2] != NO_SPAN:
            trace_id = found[1].decode()
            flags = "01" if int(found[3], 16) & 1 else "00"
            return Trace(trace_id, f"00-{trace_id}-{chance.take(8)}-{flags}")
    digits = chance.take(24)
    return Trace(digits[:32], f"00-{digits[:32]}-{digits[32:]}-00")


def name_in_logs(asked: bytes, begun: Trace) -> str:
    """What the logs call a request: its id, unless that may say something, then its trace's."""
    return (asked if MACHINE_MADE.fullmatch(asked) else begun.trace_id.encode()).decode()


def request_id(headers: Mapping[bytes, bytes], begun: Trace | None = None) -> bytes:
    """The caller's X-Request-Id where it is harmless, else the id of the trace: of `begun`, or of
    what would begin now.
    """
    given = headers.get(b"x-request-id")
    if given is not None and REQUEST_ID.fullmatch(given):
        return given
    if begun is None:
        begun = begin(headers.get(b"traceparent"))
    return begun.trace_id.encode()
