"""The provider's HTTP side: operations in, one line per result out, as soon as each is ready."""

import asyncio
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType

import msgspec
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from tradewind.simulator import behaviour
from tradewind.simulator.behaviour import Operation, Result
from tradewind.simulator.record import Desk, Record, Verdict

OPERATIONS_MAX = 500
# 500 operations of at most 1.5 kB.
BODY_BYTES_MAX = 1024 * 1024
PAGE_MAX = 1_000
# How long a request that is never answered keeps its connection; clients give up long before.
SILENCE_S_MAX = 60.0
NDJSON = "application/x-ndjson"

ENCODER = msgspec.json.Encoder()
OPERATIONS = msgspec.json.Decoder(list[Operation])


class Till:
    """The provider at work: decides what comes in and remembers who still waits."""

    def __init__(self, desk: Desk, *, latency_s: float = 0.0) -> None:
        self.desk = desk
        self.latency_s = latency_s
        self.stopping = asyncio.Event()
        # Delayed operations go on when their caller hangs up: a real bank would not notice.
        self._delayed: set[asyncio.Task[list[Verdict]]] = set()

    async def answer(self, operations: Sequence[Operation]) -> Response:
        """The response to a batch: plain when all is decided at once, streamed otherwise."""
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        later: dict[float, list[Operation]] = {}
        at_once: list[Operation] = []
        for operation in operations:
            delay_s = behaviour.whim_of(operation.token, operation.operation).delay_s
            (later.setdefault(delay_s, []) if delay_s else at_once).append(operation)
        delayed = [self._delay(delay_s, batch) for delay_s, batch in later.items()]
        verdicts = await self.desk.take(at_once) if at_once else []
        answered = [verdict.result for verdict in verdicts if verdict.reply == "now"]
        silent = any(
            verdict.reply == "never" and verdict.result.status == "unknown" for verdict in verdicts
        )
        if not delayed and not silent:
            if answered and all(result.status == "error" for result in answered):
                return problem(503, "The provider is out of order. Try again with the same keys.")
            return Response(lines(answered), media_type=NDJSON)
        return StreamingResponse(self._stream(answered, delayed, silent=silent), media_type=NDJSON)

    def _delay(self, delay_s: float, operations: list[Operation]) -> asyncio.Task[list[Verdict]]:
        async def later() -> list[Verdict]:
            await asyncio.sleep(delay_s)
            return await self.desk.take(operations)

        task = asyncio.create_task(later())
        self._delayed.add(task)
        task.add_done_callback(self._delayed.discard)
        return task

    async def _stream(
        self,
        answered: list[Result],
        delayed: Sequence[asyncio.Task[list[Verdict]]],
        *,
        silent: bool,
    ) -> AsyncIterator[bytes]:
        """What is ready now, what comes later, and then, for some, nothing at all."""
        if answered:
            yield lines(answered)
        for finished in asyncio.as_completed([asyncio.shield(task) for task in delayed]):
            verdicts = await finished
            yield lines([verdict.result for verdict in verdicts if verdict.reply == "now"])
        if silent:
            try:
                await asyncio.wait_for(self.stopping.wait(), SILENCE_S_MAX)
            except TimeoutError:
                return

    async def close(self) -> None:
        """Drop what has not happened yet; nobody was told that it would."""
        for task in self._delayed:
            task.cancel()
        await asyncio.gather(*self._delayed, return_exceptions=True)
        self.desk.close()


def lines(results: Sequence[Result]) -> bytes:
    """Results as NDJSON."""
    return b"".join(ENCODER.encode(result) + b"\n" for result in results)


def problem(status: int, detail: str) -> Response:
    """A refusal of the whole request."""
    return Response(
        ENCODER.encode({"status": status, "detail": detail}),
        status_code=status,
        media_type="application/problem+json",
    )


def listing(items: object, **more: object) -> Response:
    """A list, as the API of the platform writes it."""
    return Response(ENCODER.encode({"items": items, **more}), media_type="application/json")


def create_app(folder: Path, *, latency_s: float = 0.0) -> Starlette:
    """The provider as an ASGI application, with its record in `folder`."""
    till = Till(Desk(Record(folder / "record.sqlite3")), latency_s=latency_s)

    async def post_operations(request: Request) -> Response:
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    return problem(413, f"A batch has at most {BODY_BYTES_MAX} bytes.")
        except ClientDisconnect:
            return problem(400, "The body is incomplete.")
        try:
            operations = OPERATIONS.decode(bytes(body))
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            return problem(400, str(error))
        if not 0 < len(operations) <= OPERATIONS_MAX:
            return problem(400, f"A batch has 1 to {OPERATIONS_MAX} operations.")
        return await till.answer(operations)

    async def get_operations(request: Request) -> Response:
        keys = request.query_params.getlist("key")
        if not 0 < len(keys) <= OPERATIONS_MAX:
            return problem(400, f"Ask for 1 to {OPERATIONS_MAX} keys.")
        found = await till.desk.ask(lambda: till.desk.record.results(keys))
        return listing(
            [
                found[key][0] if key in found else Result(key=key, status="unknown")
                for key in dict.fromkeys(keys)
            ]
        )

    async def get_charges(request: Request) -> Response:
        record = till.desk.record
        order_id = request.query_params.get("order_id")
        if order_id is not None:
            return listing(await till.desk.ask(lambda: record.charges_of(order_id)))
        after = request.query_params.get("after", "0")
        limit = request.query_params.get("limit", str(PAGE_MAX))
        if not (after.isascii() and after.isdigit() and limit.isascii() and limit.isdigit()):
            return problem(400, "after and limit are whole numbers.")
        count_max = min(max(int(limit), 1), PAGE_MAX)
        number = min(int(after), 2**62)
        items = await till.desk.ask(lambda: record.charges_after(number, count_max))
        return listing(items, next=items[-1].number if len(items) == count_max else None)

    async def get_totals(request: Request) -> Response:
        return listing(await till.desk.ask(till.desk.record.totals))

    async def get_livez(request: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await till.close()

    app = Starlette(
        routes=[
            Route("/v1/operations", guarded(post_operations), methods=["POST"]),
            Route("/v1/operations", guarded(get_operations), methods=["GET"]),
            Route("/v1/charges", guarded(get_charges), methods=["GET"]),
            Route("/v1/totals", guarded(get_totals), methods=["GET"]),
            Route("/livez", get_livez, methods=["GET"]),
        ],
        lifespan=lifespan,
    )
    app.state.till = till
    return app


def guarded(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint whose record may be out of order (a full disk): 500, and nothing was promised."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (OSError, sqlite3.Error) as error:
            return problem(500, f"The record cannot be written: {error}")

    return answer


class Server(uvicorn.Server):
    """A server that lets go of requests it would never answer when it is told to stop."""

    def __init__(self, app: ASGIApp, stopping: asyncio.Event, *, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                access_log=False,
                log_level="warning",
                timeout_graceful_shutdown=3,
                ws="none",
            )
        )
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wake the silent, then stop as usual."""
        self._stopping.set()
        await super().shutdown(sockets)


def serve(home: Path, port: int, *, latency_s: float = 0.0) -> None:
    """Run until SIGTERM or Ctrl-C, on loopback only: it has no authentication."""

    async def run() -> None:
        app = create_app(home / "simulator", latency_s=latency_s)
        await Server(app, app.state.till.stopping, host="127.0.0.1", port=port).serve()

    # uvicorn raises the signal that stopped it once more when all is done: then we leave with 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    uvloop.run(run())


def leave(number: int, frame: FrameType | None) -> None:
    """End the process: everything promised is on the disk."""
    sys.exit(0)
