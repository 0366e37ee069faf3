"""The client's patience: what it repeats, for how long, and what it takes for an answer."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer as HttpServer
from aiohttp.test_utils import unused_port

from tradewind.samples import client as client_module
from tradewind.samples.client import AccessDenied, Client, ShopIsGone, UnexpectedAnswer

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Till:
    """A server that answers as the test says, and keeps what it was sent."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.seen: list[tuple[str, str | None, bytes]] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        self.server = HttpServer(app)

    async def answer(self, request: web.Request) -> web.Response:
        key = request.headers.get("Idempotency-Key")
        self.seen.append((request.path_qs, key, await request.read()))
        return self.answers.pop(0)


@pytest_asyncio.fixture(loop_scope="session")
async def till() -> AsyncIterator[Till]:
    till = Till()
    await till.server.start_server()
    yield till
    await till.server.close()


def busy(status: int, code: str = "busy", **headers: str) -> web.Response:
    return web.json_response({"code": code}, status=status, headers=headers)


@pytest.mark.parametrize(
    "first",
    [
        (503, "busy"),
        (429, "rate_limited"),
        (504, "http_504"),
        (409, "idempotency_in_flight"),
        (503, "outcome_unknown"),
    ],
)
async def test_a_busy_server_is_asked_again_under_the_same_key(
    till: Till, first: tuple[int, str]
) -> None:
    till.answers = [busy(*first), web.json_response({"id": "ord_1"}, status=201)]
    async with Client(str(till.server.make_url("")), "key") as client:
        reply = await client.post("/v1/orders", {"a": 1}, idempotency_key="replay-1")
    assert (reply.status, client.retries) == (201, 1)
    assert till.seen == [("/v1/orders", "replay-1", b'{"a":1}')] * 2


@pytest.mark.parametrize("status", [400, 402, 409, 422, 500])
async def test_a_refusal_is_an_answer(till: Till, status: int) -> None:
    till.answers = [busy(status, "stock_is_short")]
    async with Client(str(till.server.make_url("")), "key") as client:
        reply = await client.post("/v1/orders", {}, idempotency_key="k")
    assert (reply.ok, reply.code, client.retries) == (False, "stock_is_short", 0)


@pytest.mark.parametrize("status", [401, 403])
async def test_no_right_is_no_reason_to_go_on(till: Till, status: int) -> None:
    till.answers = [busy(status, "unauthorised")]
    async with Client(str(till.server.make_url("")), "key") as client:
        with pytest.raises(AccessDenied, match=str(status)):
            await client.post("/v1/orders", {}, idempotency_key="k")


async def test_a_server_that_stays_away_is_given_up() -> None:
    async with Client(f"http://127.0.0.1:{unused_port()}", "key", patience_s=0.3) as client:
        with pytest.raises(ShopIsGone, match="did not take GET /v1/orders"):
            await client.get("/v1/orders")
        assert client.retries > 0


async def test_retry_after_longer_than_our_patience_ends_it(till: Till) -> None:
    till.answers = [busy(503, **{"Retry-After": "20"})]
    async with Client(str(till.server.make_url("")), "key", patience_s=5) as client:
        with pytest.raises(ShopIsGone, match="503 busy"):
            await client.get("/v1/orders")


async def test_pages_are_read_to_the_end(till: Till) -> None:
    till.answers = [
        web.json_response({"items": [{"id": "a"}, {"id": "b"}], "next": "c2"}),
        web.json_response({"items": [{"id": "c"}], "next": None}),
    ]
    async with Client(str(till.server.make_url("")), "key") as client:
        assert [order["id"] async for order in client.orders()] == ["a", "b", "c"]
    assert [path for path, _, _ in till.seen] == [
        f"/v1/orders?limit={client_module.PAGE_ITEMS_MAX}",
        f"/v1/orders?limit={client_module.PAGE_ITEMS_MAX}&cursor=c2",
    ]


async def test_a_read_that_fails_is_told(till: Till) -> None:
    till.answers = [busy(404, "order_not_found")]
    async with Client(str(till.server.make_url("")), "key") as client:
        with pytest.raises(UnexpectedAnswer, match="order_not_found"):
            await client.get("/v1/orders/ord_1")


async def test_what_is_no_json_is_shown_as_it_is(till: Till) -> None:
    till.answers = [web.Response(status=400, text="<html>bad</html>")]
    async with Client(str(till.server.make_url("")), "key") as client:
        reply = await client.post("/v1/orders", {}, idempotency_key="k")
    assert (reply.code, reply.body) == ("http_400", "<html>bad</html>")
