"""The W3C trace context of a request: taken over from the caller, or begun here."""

import os
import re
from typing import NamedTuple

TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
NO_TRACE = b"0" * 32
NO_SPAN = b"0" * 16


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
            return Trace(trace_id, f"00-{trace_id}-{os.urandom(8).hex()}-{flags}")
    digits = os.urandom(24).hex()
    return Trace(digits[:32], f"00-{digits[:32]}-{digits[32:]}-00")
