"""HTTP/1.1 as uvicorn speaks it, with limits on what comes before the application sees a request.

The parser in C takes heads of any size, and a client may send one byte a minute. Here a head has at
most `header_bytes_max` bytes and `head_timeout_s` to arrive, a process at most `connections_max`
connections and `per_client_max` of one client, a client that takes nothing of its answer for
`answer_timeout_s` is hung up on, and a body that nobody reads any more (its request was answered
early) ends. What could be read in two ways, so that a proxy before us and we might disagree where a
request ends, is refused: such disagreement is how requests are smuggled. What the
application has no room for is refused here, by method and path: at three times what can be done,
refusing is two thirds of all requests and must cost a tenth of one that is taken.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Protocol

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
)
from uvicorn.server import ServerState

from tradewind.kernel.problems import Problem
from tradewind.platform.gateway import trace
from tradewind.platform.gateway.admission import Admission
from tradewind.platform.gateway.endpoint import Header, Response, render_refusal
from tradewind.platform.gateway.problems import (
    Busy,
    HeadersTooLarge,
    MalformedRequest,
    RequestTimeout,
    TooManyAtOnce,
)
from tradewind.platform.gateway.recall import in_lines
from tradewind.platform.gateway.receiving import DISCARDED_BYTES_MAX
from tradewind.platform.settings import Settings

# Sockets of clients; file descriptors of the database and of files come on top (see the
# supervisor's rlimit). An idle connection holds some 5 kB.
CONNECTIONS_MAX = 8_192

# Where a request's scope has `GuardedProtocol._answer_in_one`, of our server only.
IN_ONE = "tradewind.answer_in_one"

NO_TRACE = b"0" * 32

# Given status, headers and body; whether it was sent.
InOne = Callable[[int, Sequence[Header], bytes], bool]
TurnsAway = Callable[[bytes, bytes], bool]
# Given target, headers, the client's address and the headers of every answer.
AtOnce = Callable[[bytes, Sequence[Header], Any, Sequence[Header]], bytes | None]


class Front(Protocol):
    """What the protocol asks of the application before there is a request."""

    admission: Admission

    @property
    def at_once(self) -> AtOnce:
        """Asked for the whole answer to a GET that needs no work."""

    def turns_away(self, method: bytes, target: bytes) -> bool:
        """Whether a request is to be refused."""


def limited_protocol(settings: Settings, front: Front) -> type["GuardedProtocol"]:
    """The protocol with the limits of these settings: uvicorn's `http` parameter."""
    limits: dict[str, Any] = {
        "header_bytes_max": settings.header_bytes_max,
        "head_timeout_s": settings.head_timeout_s,
        "answer_timeout_s": settings.answer_timeout_s,
        "turns_away": staticmethod(front.turns_away),
        "at_once": staticmethod(front.at_once),
        "by_client": {},
    }
    if front.admission.limits is not None:
        limits["per_client_max"] = settings.connections_per_client_max
        limits["counts_as"] = staticmethod(front.admission.connection_of)
    return type("LimitedProtocol", (GuardedProtocol,), limits)


class GuardedProtocol(HttpToolsProtocol):
    """One connection. See `limited_protocol`."""

    header_bytes_max = 16_384
    head_timeout_s = 10.0
    answer_timeout_s = 30.0
    connections_max = CONNECTIONS_MAX
    per_client_max = CONNECTIONS_MAX
    counts_as: Callable[[Any], str] = staticmethod(lambda peer: "")  # "": not counted
    by_client: dict[str, int] = {}  # of one server  # noqa: RUF012
    turns_away: TurnsAway = staticmethod(lambda method, target: False)
    at_once: AtOnce = staticmethod(lambda target, heads, client, defaults: None)

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_bytes = 0
        self._in_head = True
        self._head_too_large = False
        self._unread_bytes = 0
        self._answered = False  # the request whose body comes was answered by its head
        self._idle_since = 0.0
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._client = ""
        self._hosts = 0
        self._odd_coding = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected: it must send a head soon."""
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            self._refuse(Busy(), b"503 Service Unavailable")
            return
        self._client = client = self.counts_as(self.client)
        if client:
            count = self.by_client.get(client, 0) + 1
            self.by_client[client] = count
            if count > self.per_client_max:
                problem = TooManyAtOnce(f"At most {self.per_client_max} connections of one client.")
                problem.headers["retry-after"] = "1"
                self._refuse(problem, b"429 Too Many Requests")
                return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._forget_head()
        self._forget_stall()
        if self._client:
            left = self.by_client[self._client] - 1
            if left:
                self.by_client[self._client] = left
            else:
                del self.by_client[self._client]
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take what was written: it must go on soon."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self.answer_timeout_s, self._stalled)

    def resume_writing(self) -> None:
        """It goes on."""
        self._forget_stall()
        super().resume_writing()

    def _stalled(self) -> None:
        self._stall_timer = None
        self.transport.abort()

    def _forget_stall(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def data_received(self, data: bytes) -> None:
        """Bytes came. What belongs to a head is counted; the parser does the rest."""
        if self._in_head:
            self._head_bytes += len(data)
        # As in the class above, but the timer of an idle connection is left alone: setting and
        # cancelling one for each request costs more than looking what to do when it fires.
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        if not self._in_head or self.transport is None or self.transport.is_closing():
            return
        if self._head_bytes > self.header_bytes_max:
            self._refuse_head()
        elif self._head_bytes and self._head_timer is None:
            self._expect_head()

    def on_message_begin(self) -> None:
        """The first byte of a request came."""
        self._hosts = 0
        self._odd_coding = False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """As in the class above, and what it does not look at."""
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"transfer-encoding":
            self._odd_coding = value.strip(b" \t").lower() != b"chunked"
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole: the application may have it, unless it is too large, or unclear."""
        self._in_head = False
        self._forget_head()
        if self._odd_coding or (self._hosts != 1 and not self._is_old()):
            raise ValueError("whose request it is, or where it ends, is not clear")
        if self._head_bytes > self.header_bytes_max:
            # The count may hold some of the body: now that they are apart, count exactly.
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.header_bytes_max:
                self._head_too_large = True
                raise ValueError("the head is too large")  # ends the parser; see below
        if self.cycle is None or self.cycle.response_complete:
            method = self.parser.get_method()
            if method == b"GET" and self._answer_at_once():
                return
            if self.turns_away(method, self.url):
                self._turn_away()
                return
        self._unset_keepalive_if_required()
        cycle = self.cycle
        super().on_headers_complete()
        if self.cycle is not cycle:  # its task has not begun
            scope: dict[str, Any] = self.cycle.scope  # type: ignore[assignment]
            scope[IN_ONE] = partial(self._answer_in_one, self.cycle)

    def _is_old(self) -> bool:
        """Whether it is of a time when requests named no host, and names none."""
        return not self._hosts and self.parser.get_http_version() == "1.0"

    def _answer_in_one(
        self, cycle: Any, status: int, headers: Sequence[Header], body: bytes
    ) -> bool:
        """Send a whole answer with one write, as the cycle does with two; whether that was done.

        Each write is a call of the system, a packet, and wakes the client.
        """
        if cycle.response_started or cycle.disconnected or not cycle.keep_alive:
            return False
        if self.flow.write_paused or self.transport.is_closing():
            return False
        names = b" ".join([name for name, _ in headers])
        values = b" ".join([value for _, value in headers])
        if b"connection" in names or HEADER_VALUE_RE.search(values) or b"\n" in names:
            return False  # the long way hangs up, or says what is wrong
        head = in_lines([*self.server_state.default_headers, *headers])
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self.transport.write(b"".join([STATUS_LINE[status], head, b"\r\n", body]))
        cycle.message_event.set()
        cycle.on_response()
        return True

    def on_body(self, body: bytes) -> None:
        """A piece of a body came."""
        if self._answered or self.cycle.response_complete:
            self._unread_bytes += len(body)
            if self._unread_bytes > DISCARDED_BYTES_MAX:
                self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole; what comes next is a head."""
        self._in_head = True
        self._head_bytes = self._unread_bytes = 0
        if self._answered:
            self._answered = False
            return
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """The parser gave up."""
        if self._head_too_large:
            self._refuse_head()
        else:
            self._refuse(MalformedRequest("This is not HTTP/1.1."), b"400 Bad Request")

    def _turn_away(self) -> None:
        """Refuse what there is no room for; the connection stays, the body is read past."""
        self._answered = True
        if self.transport.is_closing():
            return
        # Who asks whether to send the body is told not to: then none comes, and no next request.
        closes = self.expect_100_continue or not self.parser.should_keep_alive()
        answer = turned_away(tuple(self.server_state.default_headers), closes=closes)
        self.transport.write(answer.replace(NO_TRACE, os.urandom(16).hex().encode()))
        if closes:
            self.transport.close()
        else:
            self._idle()

    def _answer_at_once(self) -> bool:
        """Answer from memory, where nothing but bytes is wanted; whether that was done."""
        transport = self.transport
        if self.flow.write_paused or transport.is_closing():
            return False
        parser = self.parser
        if not parser.should_keep_alive() or parser.get_http_version() != "1.1":
            return False
        state = self.server_state
        answer = self.at_once(self.url, self.headers, self.client, state.default_headers)
        if answer is None:
            return False
        self._answered = True
        transport.write(answer)
        state.total_requests += 1
        self._idle()
        return True

    def _idle(self) -> None:
        """From now on the client has `timeout_keep_alive` for its next request."""
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """The time of an idle connection is over, unless it was used since."""
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s <= 0 and not self._head_bytes:
            super().timeout_keep_alive_handler()
            return
        left_s = max(left_s, 1.0)  # in the middle of a head, whose own time is shorter
        self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._head_overdue)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_overdue(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._head_bytes and (self.cycle is None or self.cycle.response_complete):
            problem = RequestTimeout(f"The head did not arrive within {self.head_timeout_s:g} s.")
            self._refuse(problem, b"408 Request Timeout")
        else:
            self.transport.close()

    def _refuse_head(self) -> None:
        problem = HeadersTooLarge(
            f"Request line and headers may have {self.header_bytes_max} bytes together."
        )
        self._refuse(problem, b"431 Request Header Fields Too Large")

    def _refuse(self, problem: Problem, status_line: bytes) -> None:
        """Answer without the application, and hang up."""
        if self.cycle is not None and not self.cycle.response_complete:
            # An answer to an earlier request is on its way: ours must not stand in the middle.
            self.transport.close()
            return
        response = render_refusal(problem, trace.begin(None).trace_id)
        defaults = self.server_state.default_headers
        self.transport.write(answer_in_bytes(response, status_line, defaults, closes=True))
        self.transport.close()


def answer_in_bytes(
    response: Response, status_line: bytes, defaults: Sequence[Header], *, closes: bool
) -> bytes:
    """A whole answer, without the application."""
    lines = [b"HTTP/1.1 " + status_line]
    for name, value in [*defaults, *response.headers]:
        lines.append(name + b": " + value)
    lines.append(b"content-length: %d" % len(response.body))
    lines.append(b"connection: close\r\n\r\n" if closes else b"\r\n")
    return b"\r\n".join(lines) + response.body


@lru_cache(maxsize=4)
def turned_away(defaults: tuple[Header, ...], *, closes: bool) -> bytes:
    """The answer of this second to whoever is turned away, `NO_TRACE` where the trace id goes."""
    response = render_refusal(Busy(), NO_TRACE.decode())
    return answer_in_bytes(response, b"503 Service Unavailable", defaults, closes=closes)
