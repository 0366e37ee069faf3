"""More requests than there is room for: refused by their head, the connection lives on."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from msgspec import structs

from tests.platform.gateway.gateway_shop import KEY, TestNode, application, call, order
from tests.platform.gateway.test_server import SETTINGS, Running, running

BODY = json.dumps(order()).encode()
HEAD = (
    b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n"
)
ORDER = HEAD % len(BODY) + b"\r\n" + BODY
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
LAST = GET + b"Connection: close\r\n\r\n"


def node_of(at: Running) -> TestNode:
    return cast(TestNode, at.app.node)


def statuses(raw: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", raw)]


@pytest.fixture
async def full() -> AsyncIterator[Running]:
    """A server whose queue of orders is full."""
    async with running() as at:
        node_of(at).room = False
        yield at


async def test_an_order_is_refused_and_the_connection_goes_on(full: Running) -> None:
    raw = await full.say(ORDER, ORDER, LAST, pause_s=0.02)
    assert statuses(raw) == [503, 503, 200]
    assert raw.lower().count(b"\r\nretry-after: 1\r\n") == 2
    refusal = raw.split(b"HTTP/1.1 ")[1]
    problem = json.loads(refusal.partition(b"\r\n\r\n")[2])
    assert (problem["status"], problem["code"]) == (503, "busy")
    assert re.fullmatch("[0-9a-f]{32}", problem["trace_id"])
    assert b"connection: close" not in refusal
    assert node_of(full).submitted == []


async def test_in_one_packet_with_what_follows(full: Running) -> None:
    assert statuses(await full.say(ORDER + GET + b"\r\n" + ORDER + LAST)) == [503, 200, 503, 200]


async def test_once_there_is_room_the_same_connection_is_served(full: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", full.port)
    try:
        for room, status in ((False, b"503"), (True, b"201"), (False, b"503")):
            node_of(full).room = room
            writer.write(ORDER)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.split()[1] == status
            length = re.search(rb"content-length: (\d+)", head)
            assert length
            await reader.readexactly(int(length[1]))
    finally:
        writer.close()
    assert node_of(full).coming == 0


async def test_the_body_of_a_refused_order_is_read_past(full: Running) -> None:
    """In pieces, after the answer; it is no next request."""
    raw = await full.say(HEAD % len(BODY) + b"\r\n", BODY[:10], BODY[10:] + LAST, pause_s=0.02)
    assert statuses(raw) == [503, 200]


async def test_who_asks_before_sending_a_body_is_hung_up_on(full: Running) -> None:
    raw = await full.say(HEAD % len(BODY) + b"Expect: 100-continue\r\n\r\n")
    assert statuses(raw) == [503]
    assert b"connection: close" in raw


async def test_other_routes_are_served(full: Running) -> None:
    get = b"GET /v1/orders/ord_1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer holder\r\n"
    assert statuses(await full.say(get + b"Connection: close\r\n\r\n")) == [200]


async def test_a_browser_of_another_origin_can_read_the_refusal() -> None:
    async with running(structs.replace(SETTINGS, cors_origins=("https://shop.example",))) as at:
        node_of(at).room = False
        raw = await at.say(
            HEAD % len(BODY) + b"Origin: https://shop.example\r\nConnection: close\r\n\r\n" + BODY
        )
        assert statuses(raw) == [503]
        assert b"access-control-allow-origin: https://shop.example" in raw.lower()
        assert b"retry-after: 1" in raw.lower()


async def test_who_is_on_the_way_to_the_queue_is_counted() -> None:
    """From the whole body until it is in the queue, or refused on the way."""
    app = application()
    node = cast(TestNode, app.node)
    seen = []
    submit = node.submit

    async def watched(command: Any) -> Any:
        seen.append(node.coming)
        return await submit(command)

    node.submit = watched  # type: ignore[method-assign]
    assert (await call(app, "POST", "/v1/orders", body=order(), headers=KEY)).status == 201
    assert seen == [0], "what is in the queue is not on its way any more"
    short = order(email="short@example.com")
    assert (await call(app, "POST", "/v1/orders", body=short, headers=KEY)).status == 409
    assert node.coming == 0
    node.room = False
    assert (await call(app, "POST", "/v1/orders", body=order(), headers=KEY)).code == "busy"
