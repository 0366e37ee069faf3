"""The application under pressure: limits, slow and absent clients, and the way out."""

import asyncio
import time
from typing import Any

import pytest
from msgspec import Struct, structs

from tests.platform.gateway.gateway_shop import (
    ORDERS,
    application,
    call,
)
from tradewind.kernel.answers import Answer
from tradewind.platform.gateway.limits import Class, Limits, Policy
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Anyone, Route
from tradewind.platform.settings import Settings

SECRET = b"s" * 32


def limits(quota: int) -> Limits:
    policy = Policy(quota, 60, quota)
    names = ("standard", "orders", "refused")
    return Limits(SECRET, time.monotonic, classes={name: Class(policy, policy) for name in names})


async def test_limits_are_told_and_kept() -> None:
    app = application(limits=limits(2), routes={"orders": ORDERS})
    replies = [await call(app, "GET", "/v1/orders/ord_1", bearer="holder") for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[0].headers["ratelimit-policy"] == '"standard";q=2;w=60'
    assert replies[0].headers["ratelimit"].startswith('"standard";r=1;t=')
    assert replies[2].code == "too_many_requests"
    assert 1 <= int(replies[2].headers["retry-after"]) <= 60
    assert replies[2].headers["ratelimit"].startswith('"standard";r=0;t=')
    assert (await call(app, "GET", "/v1/orders/ord_1", bearer="clerk")).status == 200
    assert (await call(app, "GET", "/readyz")).status == 200


async def test_guessing_keys_is_slow() -> None:
    app = application(limits=limits(3), routes={"orders": ORDERS})
    statuses = [(await call(app, "GET", "/v1/orders", bearer="guess")).status for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    assert (await call(app, "GET", "/v1/orders", bearer="clerk")).status == 200
    assert (await call(app, "GET", "/v1/orders", bearer="x", client="192.0.2.2")).status == 401


async def test_too_many_at_once_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradewind.platform.gateway.asgi.REQUESTS_MAX", 2)
    app = application()
    headers = {"prefer": "wait=1"}
    first = [asyncio.create_task(call(app, "GET", "/v1/slow", headers=headers)) for _ in range(2)]
    await asyncio.sleep(0.01)
    reply = await call(app, "GET", "/v1/things/1")
    assert (reply.status, reply.code) == (503, "busy")
    assert reply.headers["retry-after"] == "1"
    assert (await call(app, "GET", "/livez")).status == 200
    assert [(await task).status for task in first] == [200, 200]
    assert app.running == 0


async def test_a_cancelled_request_is_told_to_come_back() -> None:
    """The server's time to drain is over: the client hears 503, not a broken connection."""
    app = application()
    task = asyncio.create_task(call(app, "GET", "/v1/slow", headers={"prefer": "wait=20"}))
    await asyncio.sleep(0.01)
    task.cancel()
    assert (await task).code == "stopping"


async def test_a_client_that_hangs_up_is_not_answered() -> None:
    app = application()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/orders",
        "raw_path": b"/v1/orders",
        "query_string": b"",
        "headers": [(b"idempotency-key", b"k"), (b"content-length", b"10")],
        "client": None,
    }
    await app(scope, receive, send)
    assert sent == [] and app.running == 0


async def test_a_body_that_does_not_come_is_408() -> None:
    app = application(structs.replace(Settings(), body_timeout_s=0.1))
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/orders",
        "raw_path": b"/v1/orders",
        "query_string": b"",
        "headers": [(b"idempotency-key", b"k"), (b"content-length", b"10")],
        "client": None,
    }
    began = time.monotonic()
    await app(scope, receive, send)
    assert statuses == [408]
    assert 0.1 <= time.monotonic() - began < 2


async def test_a_body_that_trickles_in_is_408() -> None:
    """A byte now and then does not renew the time."""
    app = application(structs.replace(Settings(), body_timeout_s=0.2))
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/orders",
        "raw_path": b"/v1/orders",
        "query_string": b"",
        "headers": [(b"idempotency-key", b"k"), (b"transfer-encoding", b"chunked")],
        "client": None,
    }
    async with asyncio.timeout(5):
        await app(scope, receive, send)
    assert statuses == [408]


async def test_health_pages_and_drain() -> None:
    reasons: list[str] = []
    app = application(unready=lambda: reasons)
    assert (await call(app, "GET", "/livez")).json == {"status": "alive"}
    assert (await call(app, "GET", "/readyz")).status == 200
    version = (await call(app, "GET", "/version")).json
    assert (version["name"], version["version"]) == ("tradewind", "1.2.3")
    reasons.append("the database does not answer")
    reply = await call(app, "GET", "/readyz")
    assert (reply.status, reply.json["reasons"]) == (503, ["the database does not answer"])
    reasons.clear()
    app.begin_drain()
    node: Any = app.node
    assert node.stopping, "who waits for a decision is answered 202"
    reply = await call(app, "GET", "/readyz")
    assert (reply.status, reply.json["reasons"]) == (503, ["this process is stopping"])
    assert (await call(app, "GET", "/livez")).status == 200
    assert (await call(app, "GET", "/v1/things/1")).status == 200


async def test_the_lifespan_surrounds_the_server() -> None:
    told: list[str] = []
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        told.append(message["type"])

    app = application()
    await app({"type": "lifespan"}, receive, send)
    assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert app.draining


def test_a_body_type_that_drops_fields_is_refused_at_the_start() -> None:
    class Loose(Struct):
        name: str

    async def handler(request: Request) -> Answer:
        return Answer(body=request.body)

    route = Route(
        method="POST",
        path="/v1/loose",
        handler=handler,
        summary="Loose.",
        permission=Anyone(),
        body=Loose,
    )
    with pytest.raises(AssertionError, match="Loose would drop unknown fields"):
        application(routes={"x": (route,)})
    strict = structs.replace(route, body=None, limit="nonsense")
    with pytest.raises(AssertionError, match="no rate-limit class 'nonsense'"):
        application(routes={"x": (strict,)}, limits=limits(1))
