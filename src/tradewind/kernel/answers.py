"""What a command answers, before anything is sent: a status, a body, headers."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Answer(Struct, frozen=True, kw_only=True):
    """An answer to a request. `body` is a Struct (encoded field by field, so always to the same
    bytes), bytes (sent as they are), an async iterator of bytes (sent piece by piece), or None.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = {}
    media_type: str = "application/json"


class Idempotency(Struct, frozen=True):
    """Under which key a command came. The key row commits with what the command did."""

    scope: str  # credential + method + route
    key: str
    fingerprint: bytes  # keyed hash of the canonical body


class Pending(Struct, frozen=True):
    """A command was taken, its answer comes later: under this resource's id (an order's)."""

    resource: str


class Settled(Struct, frozen=True):
    """An answer as it was fixed in the transaction that decided it: status and exact bytes.

    `replayed` tells a later request with the same key from the one that caused it.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    replayed: bool = False
    shown: Any = None  # what `body` was encoded from, where this process did so; shared
