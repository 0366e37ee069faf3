"""Cross-origin requests: which web pages may call the API from a browser (setting `cors_origins`).

Credentials travel in a header that a page must set itself, never in cookies, so an allowed origin
gains what its user's key gives it and nothing more. ``*`` allows every origin.
"""

from collections.abc import Iterable, Mapping, Sequence

Header = tuple[bytes, bytes]

REQUEST_HEADERS = (
    b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, "
    b"traceparent, X-Request-Id"
)
# What scripts may read of an answer, beyond the few headers that are always visible.
VISIBLE_HEADERS = (
    b"ETag, Idempotent-Replayed, Link, Location, Preference-Applied, RateLimit, "
    b"RateLimit-Policy, Retry-After, X-Request-Id"
)
# Browsers keep a preflight's answer this long (the most that any of them honours is two hours).
PREFLIGHT_KEPT_S = b"7200"


class Cors:
    """Answers to the Origin header."""

    def __init__(self, origins: Sequence[str]) -> None:
        self.origins = frozenset(origin.rstrip("/").encode() for origin in origins)
        self._any = b"*" in self.origins

    def headers(self, sent: Iterable[Header]) -> list[Header]:
        """The headers of an answer. Caches must keep answers to different origins apart."""
        for name, origin in sent:
            if name == b"origin" and self._allows(origin):
                return [
                    (b"access-control-allow-origin", origin),
                    (b"access-control-expose-headers", VISIBLE_HEADERS),
                    (b"vary", b"Origin"),
                ]
        return [(b"vary", b"Origin")]

    def preflight(self, headers: Mapping[bytes, bytes], allow: str) -> list[Header]:
        """The headers of the answer to OPTIONS that `headers` does not give already."""
        if not self._allows(headers.get(b"origin", b"")):
            return []
        return [
            (b"access-control-allow-methods", allow.encode()),
            (b"access-control-allow-headers", REQUEST_HEADERS),
            (b"access-control-max-age", PREFLIGHT_KEPT_S),
        ]

    def _allows(self, origin: bytes) -> bool:
        return bool(origin) and (self._any or origin in self.origins)
