"""Answers from memory: remembered behind the checks, given out with the checks that still matter.

An answer of an open route is the same for everybody, so the bytes of its target say what it is:
path, parameters and validity were looked at when it was first given. What differs from one request
to the next is looked at each time: credential, limit, If-None-Match, trace and request id.

There are two ways out. A plain GET is answered by the server as soon as its head is there, without
a task (`Recall.at_once`), of an anonymous caller or of one whose credential this process knows:
that is a third of what a request costs otherwise. Whatever is not plain goes through the
application and meets the same memory there.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from tradewind.platform.cache.memory import Depends, Memory
from tradewind.platform.gateway import trace
from tradewind.platform.gateway.admission import Admission, limit_headers
from tradewind.platform.gateway.endpoint import Endpoint, Header, Response
from tradewind.platform.gateway.etags import is_known
from tradewind.platform.security.credentials import Credential

# With one of these a request is not plain: a body, or something else than an answer.
NOT_PLAIN = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
# Who holds a bearer, where this process knows it without asking anybody.
KnownHolder = Callable[[str], Credential | None]
SURROGATE_KEYS_MAX = 50
OK_LINE = b"HTTP/1.1 200 OK\r\n"
NOT_MODIFIED_LINE = b"HTTP/1.1 304 Not Modified\r\n"


def nobody(bearer: str) -> Credential | None:
    """The holder of a bearer where none is known beforehand."""
    return None


def never(
    target: bytes, heads: Sequence[Header], client: Any, defaults: Sequence[Header]
) -> bytes | None:
    """The whole answer by the head alone where every request takes the long way."""
    return None


class Remembered:
    """An answer as it is kept: with its tag, and in the very bytes that go out."""

    __slots__ = ("body", "endpoint", "headers", "tag", "unchanged", "whole")

    def __init__(
        self, endpoint: Endpoint, response: Response, depends: Depends | None = None
    ) -> None:
        headers = [*response.headers]
        names = dict(headers)
        tag = names.get(b"etag")
        if tag is None:
            tag = b'"%b"' % blake2b(response.body, digest_size=12).hexdigest().encode()
            headers.append((b"etag", tag))
        if depends is not None and names[b"cache-control"].startswith(b"public"):
            headers.append((b"surrogate-key", surrogate_key(endpoint.context, depends)))
        self.endpoint = endpoint
        self.body = response.body
        self.headers = headers
        self.tag = tag.decode("latin-1")
        length = b"content-length: %d\r\n\r\n" % len(response.body)
        self.whole = in_lines(headers), length
        self.unchanged = in_lines(without_body(headers))

    @property
    def size(self) -> int:
        """The bytes that it holds."""
        return len(self.body) + 4 * len(self.whole[0])

    def is_known_by(self, if_none_match: bytes | None) -> bool:
        """Whether the caller has it already."""
        if if_none_match is None:
            return False
        return is_known(if_none_match.decode("latin-1"), self.tag)

    def response(self, headers: Mapping[bytes, bytes]) -> Response:
        """The answer to a request with these headers."""
        if self.is_known_by(headers.get(b"if-none-match")):
            return Response(304, without_body(self.headers), b"")
        return Response(200, self.headers, self.body)


def surrogate_key(context: str, depends: Depends) -> bytes:
    """Under which names a cache before us may drop an answer: the things it is made of, where they
    are few and no other can come in; else all lists of the context; and the whole context.
    """
    if depends.span is None and not depends.deep and not depends.wide:
        names = sorted(depends.keys)[:SURROGATE_KEYS_MAX]
    else:
        names = [f"{context}-lists"]
    return " ".join([*names, context]).encode()


def in_lines(headers: Sequence[Header]) -> bytes:
    """Headers as they are sent."""
    return b"".join([name + b": " + value + b"\r\n" for name, value in headers])


def without_body(headers: Sequence[Header]) -> list[Header]:
    """The headers of a 304."""
    return [header for header in headers if header[0] != b"content-type"]


class Recall:
    """What the gateway asks before it begins to work."""

    def __init__(
        self,
        memories: Mapping[str, Memory],
        admission: Admission,
        holder: KnownHolder,
        *,
        cors: bool,
    ) -> None:
        self.memories = memories
        self._holder = holder
        self._all = tuple(memories.values())
        self._admission = admission
        self._cors = cors

    def memory_of(self, endpoint: Endpoint) -> Memory | None:
        """Where the answers of an endpoint are remembered; None where they are not.

        What depends on who asks is never remembered.
        """
        if endpoint.route.method != "GET" or not endpoint.open:
            return None
        return self.memories.get(endpoint.context)

    def at_once(
        self, target: bytes, heads: Sequence[Header], client: Any, defaults: Sequence[Header]
    ) -> bytes | None:
        """The whole answer to a plain GET, in bytes; None where it takes the long way."""
        remembered: Remembered | None = None
        for memory in self._all:
            remembered = memory.find(target)
            if remembered is not None:
                break
        if remembered is None or self._cors:
            return None
        began = time.perf_counter()
        headers = dict(heads)
        if len(headers) != len(heads) or not NOT_PLAIN.isdisjoint(headers):
            return None
        endpoint = remembered.endpoint
        credential: Credential | None = None
        authorization = headers.get(b"authorization")
        if authorization is not None:
            credential = self._known(authorization)
            if credential is None:
                return None
        limit = b""
        if self._admission.limits is not None:
            address = self._admission.address_of(client, headers)
            verdicts = self._admission.verdicts(endpoint.route.limit, credential, address)
            if not verdicts[-1][1].allowed:
                return None  # counted there once more, and refused
            limit = in_lines(limit_headers(verdicts))
        asked = trace.request_id(headers)
        asked_line = b"x-request-id: %b\r\n" % asked
        if remembered.is_known_by(headers.get(b"if-none-match")):
            status, first, body = 304, NOT_MODIFIED_LINE, b""
            head, rest = remembered.unchanged, b"\r\n"
        else:
            status, first, body = 200, OK_LINE, remembered.body
            head, rest = remembered.whole
        endpoint.count(status).inc()
        endpoint.seconds.observe(time.perf_counter() - began)
        return b"".join([first, in_lines(defaults), head, asked_line, limit, rest, body])

    def _known(self, authorization: bytes) -> Credential | None:
        """The caller, where nothing needs to be looked up and nothing is theirs alone: no prices of
        a group, no certificate to be shown, no quota of the day.
        """
        kind, _, token = authorization.partition(b" ")
        if kind.lower() != b"bearer":
            return None
        found = self._holder(token.strip().decode("latin-1"))
        if found is None or found.customer_group or found.certificate is not None:
            return None
        return None if self._admission.has_quota(found) else found


def target_of(scope: Mapping[str, Any]) -> bytes:
    """What a client wrote behind GET."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path


__all__ = ["KnownHolder", "Recall", "Remembered", "nobody", "target_of"]
