"""A small route table, a node to run it on, and a client that speaks ASGI to it in-process."""

import asyncio
import gzip
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
import pytest
from msgspec import Meta, Struct

from tradewind.kernel.answers import Answer, Settled
from tradewind.kernel.audit import Audited
from tradewind.kernel.messages import Command
from tradewind.kernel.money import Amount
from tradewind.kernel.problems import Problem
from tradewind.kernel.texts import Prose
from tradewind.platform.audit.masking import Mask
from tradewind.platform.database.disk import Disk
from tradewind.platform.gateway import etags, pages
from tradewind.platform.gateway.asgi import Application
from tradewind.platform.gateway.assembly import build_app
from tradewind.platform.gateway.limits import Limits
from tradewind.platform.gateway.request import Credential, Request
from tradewind.platform.gateway.routing import Anyone, Keyed, OrderHolder, Route, Scope
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.settings import Settings, read_settings

SECRETS = Secrets([b"m" * 32])
CLERK = Credential("key_clerk", frozenset({"orders:read", "orders:write", "catalog:write"}))
READER = Credential("key_reader", frozenset({"orders:read"}))
NOBODY = Credential("key_nobody")
HOLDER = Credential("ord_1", order_id="ord_1")
BEARERS = {"clerk": CLERK, "reader": READER, "nobody": NOBODY, "holder": HOLDER}


class Line(Struct, frozen=True, forbid_unknown_fields=True):
    """What is wanted of one sku."""

    sku: Annotated[str, Meta(min_length=1, max_length=64)]
    quantity: Annotated[int, Meta(ge=1, le=100_000)]


class PlaceBody(Struct, frozen=True, forbid_unknown_fields=True):
    """An order as a shopper sends it."""

    email: Annotated[str, Meta(max_length=200)]
    lines: Annotated[list[Line], Meta(min_length=1, max_length=1_000)]
    note: Annotated[Prose, Meta(max_length=2_000)] | None = None
    gift: Literal["none", "box"] = "none"
    attributes: dict[str, dict[str, Annotated[int, Meta(ge=0, le=9)]]] = {}


class OrderShown(Struct, frozen=True):
    """An order as it is read."""

    id: str
    email: str
    count: int
    total: Amount


class ListQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which orders to list."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: str | None = None
    status: Literal["placed", "confirmed"] | None = None


class Page(Struct, frozen=True):
    """A page of orders."""

    items: list[OrderShown]
    next: str | None


class StockIsShort(Problem):
    """Fewer units are free than asked for."""

    status = 409
    code = "stock_is_short"
    title = "There is not enough stock."
    kept = True


class Remember(Command, frozen=True, kw_only=True):
    """A command that the test node answers with itself."""

    text: str = ""


def shown(order_id: str, body: PlaceBody) -> OrderShown:
    return OrderShown(order_id, body.email, len(body.lines), Amount("12.75", "GBP"))


async def post_order(request: Request) -> Answer | Settled:
    """Place an order.

    It is confirmed, or refused: `stock_is_short`.
    """
    if request.body.email == "replayed@example.com":
        return Settled(201, b'{"id":"ord_9"}', {"content-type": "application/json"}, True)
    if request.body.email == "short@example.com":
        raise StockIsShort("Only 2 are left.", available=2, order_id="ord_1")
    if request.body.email == "bug@example.com":
        raise RuntimeError("the secret of the shop")
    if request.body.email == "away@example.com":
        raise FileNotFoundError(2, "No such file or directory", "the socket of a killed server")
    await request.submit(Remember(idempotency=request.idempotency))
    answer = shown("ord_1", request.body)
    return Answer(status=201, body=answer, headers={"Location": "/v1/orders/ord_1"})


async def get_order(request: Request) -> Answer:
    """Read one order."""
    body = PlaceBody(email="ada@example.com", lines=[])
    return etags.tagged(request, etags.strong(3, "low"), shown(request.params["order_id"], body))


async def get_orders(request: Request) -> Answer:
    """List orders."""
    if request.query.cursor:
        pages.decode_cursor(request.query.cursor, int, str)
    return Answer(body=Page([], pages.encode_cursor(request.query.limit, "ord_1")))


async def put_thing(request: Request) -> Answer:
    """Change a thing that one has seen."""
    etags.check_match(request, 3, required=True)
    return Answer(body=request.params)


async def post_cancel(request: Request) -> Answer:
    """Cancel; the body may be left out."""
    return Answer(body={"key": request.idempotency, "reason": request.body.reason})


class CancelBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why."""

    reason: Annotated[str, Meta(max_length=200)] = "none"


async def post_import(request: Request) -> Answer:
    """Count the bytes of an import."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return Answer(status=202, body={"bytes": size})


async def get_by_sku(request: Request) -> Answer:
    """Read by sku."""
    return Answer(body={"by": "sku", **request.params})


async def get_thing(request: Request) -> Answer:
    """Read by id."""
    return Answer(body={"by": "id", **request.params}, headers={"X-Trace": request.trace})


async def delete_thing(request: Request) -> Answer:
    """Take it away."""
    return Answer(status=204)


async def get_slow(request: Request) -> Answer:
    """Wait for the decision."""
    await asyncio.sleep(request.prefer_wait_s or 0)
    return Answer(body={"waited": request.prefer_wait_s})


ORDERS = (
    Route(
        method="POST",
        path="/v1/orders",
        handler=cast(Any, post_order),
        summary="Place an order.",
        permission=Anyone(),
        body=PlaceBody,
        answers={201: OrderShown, 202: OrderShown},
        problems=(StockIsShort,),
        keyed=Keyed.REQUIRED,
        queue=Remember,
        limit="orders",
        tag="orders",
    ),
    Route(
        method="GET",
        path="/v1/orders",
        handler=get_orders,
        summary="List orders.",
        permission=Scope("orders:read"),
        query=ListQuery,
        answers={200: Page},
        tag="orders",
    ),
    Route(
        method="GET",
        path="/v1/orders/{order_id}",
        handler=get_order,
        summary="Read an order.",
        permission=OrderHolder("order_id", "orders:read"),
        answers={200: OrderShown},
        tag="orders",
    ),
    Route(
        method="POST",
        path="/v1/orders/{order_id}/cancel",
        handler=post_cancel,
        summary="Cancel an order.",
        permission=Scope("orders:write"),
        body=CancelBody,
        keyed=Keyed.ACCEPTED,
        tag="orders",
    ),
)
THINGS = (
    Route(
        method="GET",
        path="/v1/things/{thing_id}",
        handler=get_thing,
        summary="Read a thing.",
        permission=Anyone(),
        cache="public, max-age=5",
    ),
    Route(
        method="GET",
        path="/v1/things/sku:{sku:path}",
        handler=get_by_sku,
        summary="Read a thing by its sku.",
        permission=Anyone(),
    ),
    Route(
        method="PUT",
        path="/v1/things/{external_id}",
        handler=put_thing,
        summary="Change a thing.",
        permission=Scope("catalog:write"),
    ),
    Route(
        method="DELETE",
        path="/v1/things/{external_id}",
        handler=delete_thing,
        summary="Delete a thing.",
        permission=Scope("catalog:write"),
        answers={204: None},
    ),
    Route(
        method="POST",
        path="/v1/imports",
        handler=post_import,
        summary="Import things.",
        permission=Scope("catalog:write"),
        streamed=True,
        media_types=("application/x-ndjson",),
        body_bytes_max=200_000,
        answers={202: None},
    ),
    Route(
        method="GET",
        path="/v1/slow",
        handler=get_slow,
        summary="Wait.",
        permission=Anyone(),
    ),
)


class TestRecord:
    """The audit of the test shop: it keeps what it is told."""

    __test__ = False

    def __init__(self) -> None:
        self.mask = Mask(SECRETS)
        self.refusals: list[str] = []
        self.entries: list[Audited] = []

    def refused(self, notice: str, *_: str) -> None:
        self.refusals.append(notice)

    async def read(self, audited: Audited) -> None:
        self.entries.append(audited)

    async def did(self, audited: Audited) -> None:
        self.entries.append(audited)


class TestNode:
    """What the gateway needs of a node: settings, secrets, and commands that are remembered."""

    __test__ = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.secrets = SECRETS
        self.submitted: list[Command] = []
        self.stopping = False
        self.room = True
        self.disk = Disk(Path("nowhere"), reserve_mb=0)
        self.audit = TestRecord()
        self.coming = 0

    def has_room(self, command: type[Command]) -> bool:
        return self.room

    def comes(self, command: type[Command], count: int) -> None:
        self.coming += count

    def begin_stop(self) -> None:
        self.stopping = True

    async def submit(self, command: Command) -> Any:
        self.submitted.append(command)
        return command

    @asynccontextmanager
    async def reading(self, context: str) -> AsyncIterator[str]:
        yield context


async def authenticate(bearer: str) -> Credential | None:
    return BEARERS.get(bearer)


def application(
    settings: Settings | None = None,
    *,
    limits: Limits | None = None,
    routes: Mapping[str, Sequence[Route]] | None = None,
    unready: Callable[[], Sequence[str]] = tuple,
) -> Application:
    """The test shop on a node of its own."""
    node = TestNode(settings or Settings())
    return build_app(
        routes or {"orders": ORDERS, "catalog": THINGS},
        cast(Any, node),
        authenticate=authenticate,
        limits=limits,
        version="1.2.3",
        unready=unready,
    )


class Reply:
    """An answer as a client sees it."""

    def __init__(self, status: int, heads: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.heads = [(name.decode(), value.decode("latin-1")) for name, value in heads]
        self.headers = dict(self.heads)
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        assert self.headers["content-type"] == "application/problem+json", self.body
        document = self.json
        assert document["status"] == self.status
        assert document["type"] == f"/problems/{document['code']}"
        assert len(document["trace_id"]) == 32
        assert document["title"] and document["detail"]
        return str(document["code"])

    @property
    def pointer(self) -> str:
        return str(self.json["errors"][0]["pointer"])


async def call(
    app: Callable[..., Awaitable[None]],
    method: str,
    target: str,
    *,
    body: Any = b"",
    chunks: Sequence[bytes] | None = None,
    bearer: str | None = None,
    headers: Mapping[str, str] | None = None,
    client: str = "192.0.2.1",
) -> Reply:
    """One request. A body that is not bytes goes out as JSON; `chunks` go out without a length."""
    sent = {name.lower(): value for name, value in (headers or {}).items()}
    if not isinstance(body, bytes):
        body = msgspec.json.encode(body)
        sent.setdefault("content-type", "application/json")
    if chunks is None:
        chunks = [body]
        if body:
            sent.setdefault("content-length", str(len(body)))
    else:
        sent.setdefault("transfer-encoding", "chunked")
    if bearer is not None:
        sent["authorization"] = f"Bearer {bearer}"
    raw_path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": _unquoted(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode("latin-1"),
        "headers": [(n.encode(), v.encode("latin-1")) for n, v in sent.items()],
        "client": (client, 1234),
    }
    waiting = list(chunks)
    started: dict[str, Any] = {}
    received = bytearray()

    async def receive() -> dict[str, Any]:
        if not waiting:
            return {"type": "http.disconnect"}
        chunk = waiting.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        else:
            received.extend(message["body"])

    await app(scope, receive, send)
    return Reply(started["status"], started["headers"], bytes(received))


def _unquoted(raw_path: str) -> str:
    from urllib.parse import unquote

    return unquote(raw_path)


def order(**changes: Any) -> dict[str, Any]:
    """A good order, with changes."""
    return {"email": "ada@example.com", "lines": [{"sku": "MUG", "quantity": 2}], **changes}


KEY = {"idempotency-key": "k-1"}


def hostile(name: str) -> list[dict[str, Any]]:
    """The cases of a file of hostile inputs; skips the test by name where they are not there."""
    path: Path = read_settings(os.environ).data_folder / "hostile-inputs" / name
    if not path.exists():
        pytest.skip(f"no {path.name}: set TRADEWIND_DATA to the folder of the large data sets")
    with gzip.open(path) as file:
        return [json.loads(line) for line in file]
