"""The application: from an ASGI scope to an answer, by the route table.

The order of checks is fixed, so that a refusal costs little and tells nothing it should not: room
in the queue (asked by the server, before there is a task), room in this process, path and method,
credential (401), rate (429), permission (403, 404), length (413) and type (415) of the body, the
Idempotency-Key, query and body. Nothing has been done when one of
them refuses. Whatever goes wrong afterwards, the answer is a problem with the trace id of the logs.
"""

import asyncio
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any

from tradewind.kernel.answers import Answer, Settled
from tradewind.kernel.messages import Command
from tradewind.kernel.problems import Problem
from tradewind.platform.bus.delivery import PASSING
from tradewind.platform.cache.memory import Memory
from tradewind.platform.gateway import trace
from tradewind.platform.gateway.admission import Admission
from tradewind.platform.gateway.cors import Cors
from tradewind.platform.gateway.doors import Door, note
from tradewind.platform.gateway.endpoint import (
    NO_BODY,
    NO_STORE,
    SECURITY,
    Endpoint,
    Header,
    Response,
    render_refusal,
)
from tradewind.platform.gateway.idempotency import Fingerprints, read_key
from tradewind.platform.gateway.onward import Onward
from tradewind.platform.gateway.opening import with_opened_texts
from tradewind.platform.gateway.parameters import no_query
from tradewind.platform.gateway.paths import Paths
from tradewind.platform.gateway.problems import (
    Busy,
    DatabaseUnavailable,
    DiskIsFull,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    Stopping,
)
from tradewind.platform.gateway.protocol import IN_ONE, AtOnce, InOne
from tradewind.platform.gateway.reasons import HEADER, read_reason
from tradewind.platform.gateway.recall import (
    KnownHolder,
    Recall,
    Remembered,
    never,
    nobody,
    target_of,
)
from tradewind.platform.gateway.receiving import (
    DISCARDED_BYTES_MAX,
    ClientGone,
    Deadlines,
    Receive,
    discard,
    read_body,
    stream_body,
    too_large,
)
from tradewind.platform.gateway.request import Request
from tradewind.platform.security.issuing import Issuer
from tradewind.platform.telemetry import logs, metrics
from tradewind.platform.vault.texts import has_sealed

if TYPE_CHECKING:
    from tradewind.platform.node import Node

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
# Given the path's parameters and the headers. Pages are open to all, and not limited.
Page = Callable[[Mapping[str, str], Mapping[bytes, bytes]], Response]

logger = logs.get(__name__)

# Requests at work in one process. A request holds some 10 kB, so 40 MB; 1,000 of them may wait for
# an order's decision, and the queues behind hold no more than a few thousand.
REQUESTS_MAX = 4_096
SLOW_S = 5.0
# Repeating one of these would make it unclear which one counts.
SINGLE_HEADERS = frozenset(
    {b"authorization", b"content-type", b"content-encoding", b"idempotency-key", b"if-match"}
)
UNROUTED = "(none)"


class Application:
    """The ASGI application. `begin_drain` is called when the process is told to stop."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        node: "Node",
        admission: Admission,
        door: Door,
        *,
        pages: Sequence[tuple[str, Page]],
        lifespan: Callable[[], AbstractAsyncContextManager[None]] | None,
        memories: Mapping[str, Memory] | None = None,
        issuer: Issuer | None = None,
        holder: KnownHolder = nobody,
        onward: Onward | None = None,
        behind: bool = False,
    ) -> None:
        self.endpoints = endpoints
        self.node = node
        self.draining = False
        self.running = 0
        self.admission = admission
        self._door = door
        self._onward = onward
        self._issuer = issuer
        self._lifespan = lifespan
        self._fingerprints = Fingerprints(node.secrets)
        self._deadlines = Deadlines(node.settings.body_timeout_s)
        # Behind a gateway nothing is answered before the door has seen its token.
        self._cors = Cors(() if behind else node.settings.cors_origins)
        self.memories = memories or {}
        self._recall = Recall(self.memories, self.admission, holder, cors=bool(self._cors.origins))
        self.at_once: AtOnce = never if behind else self._recall.at_once
        methods = sorted({endpoint.route.method for endpoint in endpoints})
        self._tables = {
            method: Paths([(e.route.path, e) for e in endpoints if e.route.method == method])
            for method in methods
        }
        if "GET" in self._tables:
            self._tables["HEAD"] = self._tables["GET"]
        self._pages = Paths(pages)
        # A browser of another origin may read only what has the right headers: not refused early.
        self._queued = {
            (e.route.method.encode(), e.route.path.encode()): e
            for e in endpoints
            if e.route.queue is not None and not (self._cors.origins or behind or onward)
        }

    def begin_drain(self) -> None:
        """From now on ``/readyz`` says no; requests are still answered, those at work finished."""
        if self.draining:
            return
        self.draining = True
        self.node.begin_stop()

    def turns_away(self, method: bytes, target: bytes) -> bool:
        """Whether a request is to be refused as busy, by its head: its queue is full.

        The server asks before a request becomes a task. Counts the refusal.
        """
        endpoint = self._queued.get((method, target))
        if endpoint is None or endpoint.route.queue is None:
            return False
        if self.node.has_room(endpoint.route.queue):
            return False
        endpoint.count(Busy.status).inc()
        metrics.HTTP_REFUSED.labels(Busy.code).inc()
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the server's lifespan."""
        if scope["type"] == "http":
            # Taken out: scope and cycle would hold each other, and each request leave garbage that
            # only the collector finds. Our own server takes an answer whole, any other by ASGI.
            await self._http(scope, receive, send, scope.pop(IN_ONE, None))
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _live(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            await receive()
            try:
                if self._lifespan is not None:
                    await stack.enter_async_context(self._lifespan())
            except Exception as error:
                logger.exception("gateway.start_failed")
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.begin_drain()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send, in_one: InOne | None) -> None:
        began = time.perf_counter()
        heads: list[Header] = scope["headers"]
        headers = dict(heads)
        begun = trace.begin(headers.get(b"traceparent"))
        asked = trace.request_id(headers, begun)
        extra: list[Header] = [(b"x-request-id", asked)]
        # Each request is a task of its own, so this ends with it.
        logs.bind(request_id=trace.name_in_logs(asked, begun), trace_id=begun.trace_id)
        table = self._tables.get(scope["method"])
        found = table.find(scope["path"], scope.get("raw_path")) if table is not None else None
        endpoint = found[0] if found is not None else None
        self.running += 1
        try:
            if len(headers) != len(heads):
                headers = joined(heads)
            if found is None:
                response = self._elsewhere(scope, headers)
            else:
                response = await self._serve(found, (headers, begun), scope, receive, extra)
        except ClientGone:
            return
        except Problem as problem:
            metrics.HTTP_REFUSED.labels(problem.code).inc()
            response = render_refusal(problem, begun.trace_id)
            if problem.status == RequestTimeout.status:
                extra.append((b"connection", b"close"))  # the rest of the body may still come
        except asyncio.CancelledError:
            # The server's time to drain is over. The client shall hear it; nobody awaits the task.
            response = render_refusal(Stopping(), begun.trace_id)
        except PASSING as fault:
            logger.warning("gateway.fault", fault=repr(fault)[:300])
            response = render_refusal(DatabaseUnavailable(), begun.trace_id)
        except Exception as error:
            response = failed(error, scope["method"], endpoint, begun.trace_id)
        finally:
            self.running -= 1
        self._measure(endpoint, response.status, time.perf_counter() - began)
        await self._send(scope, send, response, extra, in_one)

    def _measure(self, endpoint: Endpoint | None, status: int, seconds: float) -> None:
        if endpoint is None:
            # The method may be any word of the client's: it must not make a new series.
            metrics.HTTP_REQUESTS.labels("*", UNROUTED, str(status)).inc()
            return
        endpoint.count(status).inc()
        endpoint.seconds.observe(seconds)
        if seconds > SLOW_S:
            logger.info("gateway.slow", route=endpoint.route.path, status=status, seconds=seconds)

    async def _send(
        self,
        scope: Scope,
        send: Send,
        response: Response,
        extra: list[Header],
        in_one: InOne | None,
    ) -> None:
        status, headers, body, pieces = response
        headers = [*headers, *extra]
        if self._cors.origins:
            headers.extend(self._cors.headers(scope["headers"]))
        if status not in NO_BODY and pieces is None:
            headers.append((b"content-length", b"%d" % len(body)))
        if scope["method"] == "HEAD":
            body = b""
        if in_one is not None and pieces is None and in_one(status, headers, body):
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if pieces is not None and scope["method"] != "HEAD":
            # What breaks in the middle breaks the connection: nobody takes a part for the whole.
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": body})

    async def _serve(
        self,
        found: tuple[Endpoint, Mapping[str, str]],
        head: tuple[Mapping[bytes, bytes], trace.Trace],
        scope: Scope,
        receive: Receive,
        extra: list[Header],
    ) -> Response:
        """Everything between the path and the answer. Headers for any outcome go to `extra`."""
        if self.running > REQUESTS_MAX:
            raise Busy
        endpoint, params = found
        if self.node.disk.low and endpoint.route.method != "GET":
            raise DiskIsFull
        headers, begun = head
        peer = scope.get("client")
        request = Request(
            endpoint.route,
            endpoint.context,
            self.node,
            begun,
            fingerprints=self._fingerprints,
            headers=headers,
            client=self.admission.address_of(peer, headers),
            admission=self.admission,
        )
        request.params = params
        request.memory = self._recall.memories.get(endpoint.context)
        request.issuer = self._issuer
        request.peer = peer[0] if peer else ""
        await self._door.admit(endpoint, request, extra)
        caller = self.admission.begin(request)
        try:
            if self._onward is not None:
                return await self._pass_on(endpoint, request, scope, receive, extra)
            return await self._admitted(endpoint, request, scope, receive, extra)
        finally:
            self.admission.end(caller)

    async def _admitted(
        self,
        endpoint: Endpoint,
        request: Request,
        scope: Scope,
        receive: Receive,
        extra: list[Header],
    ) -> Response:
        """The rest, for who was let in."""
        headers = request.raw_headers
        raw = b""
        if endpoint.reads_body:
            await self._check_body(endpoint, headers, receive, extra)
        if endpoint.keyed:
            request.key = read_key(headers.get(b"idempotency-key"), endpoint.route.keyed)
        bytes_max = endpoint.route.body_bytes_max
        if endpoint.route.streamed:
            request.chunks = stream_body(receive, self._deadlines, bytes_max=bytes_max)
        elif endpoint.reads_body:
            raw = await read_body(receive, self._deadlines, bytes_max=bytes_max)
        query_string = scope["query_string"]
        if endpoint.query is not None:
            request.query = endpoint.query.read(query_string)
        elif query_string:
            no_query(query_string)
        if endpoint.body is not None:
            request.body = endpoint.body.read(raw)
        if request.on_record:
            required = endpoint.route.needs_reason and request.is_staff
            request.reason = read_reason(headers.get(HEADER), request.body, required=required)
        try:
            if endpoint.route.queue is not None:
                return endpoint.render(await self._queue(endpoint.route.queue, request))
            response = await self._answer(endpoint, request, headers, target_of(scope))
        except Problem as refusal:
            note(self.node, refusal.notice, request)
            raise
        if endpoint.opens_texts and has_sealed(response.body):
            return await with_opened_texts(response, self.node.vault)
        return response

    async def _pass_on(
        self,
        endpoint: Endpoint,
        request: Request,
        scope: Scope,
        receive: Receive,
        extra: list[Header],
    ) -> Response:
        """What the service says that answers this."""
        assert self._onward is not None
        body: bytes | AsyncIterator[bytes] = b""
        if endpoint.reads_body:
            await self._check_body(endpoint, request.raw_headers, receive, extra)
            bytes_max = endpoint.route.body_bytes_max
            if endpoint.route.streamed:
                body = stream_body(receive, self._deadlines, bytes_max=bytes_max)
            else:
                body = await read_body(receive, self._deadlines, bytes_max=bytes_max)
        return await self._onward.ask(endpoint, request, target_of(scope), body)

    async def _answer(
        self, endpoint: Endpoint, request: Request, headers: Mapping[bytes, bytes], target: bytes
    ) -> Response:
        """What the handler says, or said a moment ago where that still holds."""
        memory = self._recall.memory_of(endpoint)
        if request.credential is not None and request.credential.customer_group:
            memory = None  # they may be shown prices of their own
        if memory is not None:
            remembered: Remembered | None = memory.find(target)
            if remembered is not None:
                return remembered.response(headers)
            memory.missed()
        mark = memory.mark() if memory is not None else 0
        answer: Answer | Settled = await endpoint.route.handler(request)
        if request.on_record:
            await request.leave_record(answer.status)
        response = endpoint.render(answer)
        if not endpoint.shared or response.status != 200 or response.pieces is not None:
            return response
        fresh = Remembered(endpoint, response, request.depends)
        if memory is not None and request.depends is not None:
            memory.keep(target, fresh, fresh.size, request.depends, mark=mark)
        return fresh.response(headers)

    async def _queue(self, command: type[Command], request: Request) -> Answer | Settled:
        """The work of a route whose command must have room. Raises `Busy`."""
        if not self.node.has_room(command):  # it had when the head came
            raise Busy
        request.comes(command)
        try:
            answer: Answer | Settled = await request.route.handler(request)
            if request.on_record:
                await request.leave_record(answer.status)
            return answer
        finally:
            request.came()

    async def _check_body(
        self,
        endpoint: Endpoint,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        extra: list[Header],
    ) -> None:
        """Refuse a body by its head: too long, or of a type that the route does not read."""
        length = int(headers.get(b"content-length", b"0"))
        if length > endpoint.route.body_bytes_max:
            if length > DISCARDED_BYTES_MAX:
                extra.append((b"connection", b"close"))
            else:
                await discard(receive, self._deadlines, bytes_max=length)
            raise too_large(endpoint.route.body_bytes_max)
        if length or b"transfer-encoding" in headers:
            endpoint.check_media_type(
                headers.get(b"content-type"), headers.get(b"content-encoding")
            )

    def _elsewhere(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Response:
        """What is no route of the API: pages, preflights, wrong methods, and nothing."""
        method, path, raw_path = scope["method"], scope["path"], scope.get("raw_path")
        allowed = {name for name, table in self._tables.items() if table.find(path, raw_path)}
        page = self._pages.find(path, raw_path)
        if page is not None:
            if method in ("GET", "HEAD"):
                return page[0](page[1], headers)
            allowed |= {"GET", "HEAD"}
        if not allowed:
            raise NotFound(f"There is nothing at {path[:200]}.")
        allow = ", ".join(sorted(allowed | {"OPTIONS"}))
        if method == "OPTIONS":
            preflight = self._cors.preflight(headers, allow)
            return Response(204, [*SECURITY, NO_STORE, (b"allow", allow.encode()), *preflight], b"")
        problem = MethodNotAllowed(f"This path takes {allow}.")
        problem.headers["allow"] = allow
        raise problem


def failed(error: Exception, method: str, endpoint: Endpoint | None, trace_id: str) -> Response:
    """The answer to a request that met a bug: what happened goes to the log, its id goes out."""
    logger.error(
        "gateway.failed",
        method=method,
        route=endpoint.route.path if endpoint else UNROUTED,
        exc_info=error,
    )
    problem = InternalError("This is our fault, not yours. Name the trace_id when you report it.")
    return render_refusal(problem, trace_id)


def joined(heads: Sequence[Header]) -> dict[bytes, bytes]:
    """Repeated headers as one, separated by commas; some must not be repeated."""
    headers: dict[bytes, bytes] = {}
    for name, value in heads:
        if name not in headers:
            headers[name] = value
        elif name in SINGLE_HEADERS:
            raise MalformedRequest(f"The header {name.decode('latin-1')} stands twice.")
        else:
            headers[name] += b", " + value
    return headers
