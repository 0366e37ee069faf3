"""Under which key a request came, and what it is recognised by.

A key belongs to a caller and a route: two callers may use the same key. The fingerprint covers what
the request asks for (parameters and body, in a canonical form), so that white space and the order
of keys in an object do not make another request of it, and another amount does.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from tradewind.kernel.answers import Idempotency
from tradewind.platform.gateway.problems import IdempotencyKeyInvalid, IdempotencyKeyRequired
from tradewind.platform.gateway.routing import Keyed
from tradewind.platform.security.secrets import Secrets

KEY = re.compile(rb"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")
KEY_CHARACTERS_MAX = 255
FINGERPRINT_BYTES = 32
PURPOSE = "idempotency"

# Fields of a Struct come in their order, keys of maps sorted.
_canonical = msgspec.json.Encoder(order="deterministic").encode


class Fingerprints:
    """Keyed hashes of requests. Keyed, since a short body could otherwise be guessed from one."""

    def __init__(self, secrets: Secrets) -> None:
        self._key = secrets.purpose_key(PURPOSE)

    def of_request(self, params: Mapping[str, str], query: Any, body: Any) -> bytes:
        """What tells two requests with one key apart."""
        canonical = _canonical((params, query, body))
        return blake2b(canonical, key=self._key, digest_size=FINGERPRINT_BYTES).digest()

    def of_email(self, email: str) -> str:
        """A name for an anonymous caller that does not hold the address."""
        text = b"email\0" + email.strip().casefold().encode()
        return "anon_" + blake2b(text, key=self._key, digest_size=16).hexdigest()


def read_key(header: bytes | None, keyed: Keyed) -> str | None:
    """The Idempotency-Key of a request, or None. Raises where it is needed or not usable."""
    if header is None:
        if keyed is Keyed.REQUIRED:
            raise IdempotencyKeyRequired(
                "Send an Idempotency-Key header: a new random value per request, the same one "
                "when you repeat it."
            )
        return None
    if KEY.fullmatch(header) is None:
        raise IdempotencyKeyInvalid(
            "An Idempotency-Key is 1 to 255 printable ASCII characters, without blanks around it."
        )
    return header.decode("ascii")


def scoped(caller: str, method: str, path: str, key: str, fingerprint: bytes) -> Idempotency:
    """The key in its scope: a caller's, on one route."""
    return Idempotency(f"{caller} {method} {path}", key, fingerprint)
