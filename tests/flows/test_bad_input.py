"""Input that is wrong in every way we could think of: a clear 4xx, and nothing half done."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.flows.hostile import (
    ORDER,
    PRICE,
    ROUTES,
    SKU,
    WatchedShop,
    address_of,
    all_of,
    body_of,
    body_routes,
    check_harmless,
    query_fields,
    say,
    text_fields,
    watched_shop,
    with_value,
)
from tradewind.kernel.ids import new_id
from tradewind.testing.database import TestServer
from tradewind.testing.shop import Reply

ORDERS = next(route for route in ROUTES if (route.method, route.path) == ("POST", "/v1/orders"))
QUANTITY = ("lines", "*", "quantity")
MEGABYTE = 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(
    server: TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[WatchedShop]:
    """One shop for everything here."""
    async with watched_shop(server, tmp_path_factory.mktemp("bad input")) as shop:
        yield shop


async def refused(shop: WatchedShop, body: Any, status: int, code: str, **options: Any) -> Reply:
    """Place an order that must be refused like this, and leave no order."""
    reply = check_harmless(await say(shop, ORDERS, body, **options), body)
    told = body if isinstance(body, bytes) else json.dumps(body)
    assert (reply.status, reply.json["code"]) == (status, code), (told[:300], reply.raw)
    assert "order_id" not in reply.json
    return reply


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        (QUANTITY, 0, "/lines/0/quantity"),
        (QUANTITY, -1, "/lines/0/quantity"),
        (QUANTITY, 1_000_001, "/lines/0/quantity"),
        (QUANTITY, 2**63, "/lines/0/quantity"),
        (QUANTITY, 10**400, "/lines/0/quantity"),
        (QUANTITY, 1.5, "/lines/0/quantity"),
        (QUANTITY, "1", "/lines/0/quantity"),
        (QUANTITY, True, "/lines/0/quantity"),
        (QUANTITY, None, "/lines/0/quantity"),
        (("lines",), [], "/lines"),
        (("lines",), {}, "/lines"),
        (("lines",), None, "/lines"),
        (("lines",), [{"sku": SKU, "quantity": 1}] * 1_001, "/lines"),
        (("lines",), [{"sku": SKU}], "/lines/0/quantity"),
        (("currency",), "gbp", "/currency"),
        (("currency",), 826, "/currency"),
        (("email",), "nobody", "/email"),
        (("email",), "a@b@c.de", "/email"),
        (("email",), "a b@example.com", "/email"),
        (("email",), "x" * 250 + "@example.com", "/email"),
        (("email",), "nul\0@example.com", "/email"),
        (("email",), "two@example.com\r\nBcc: all@example.com", "/email"),
        (("shipping_address", "name"), "bell\x07", "/shipping_address/name"),
        (("shipping_address", "name"), "\ud800", "/shipping_address/name"),
        (("shipping_address", "name"), "", "/shipping_address/name"),
        (("shipping_address", "country"), "GBR", "/shipping_address/country"),
        (("shipping_address",), "London", "/shipping_address"),
        (("payment", "token"), "4111 1111 1111 1111", "/payment/token"),
        (("expected_total",), {"amount": "NaN", "currency": "GBP"}, "/expected_total/amount"),
        (("expected_total",), {"amount": "1e3", "currency": "GBP"}, "/expected_total/amount"),
        (("expected_total",), {"amount": "-1.00", "currency": "GBP"}, "/expected_total/amount"),
        (("expected_total",), {"amount": "9" * 40, "currency": "GBP"}, "/expected_total/amount"),
        (("expected_total",), {"amount": 10, "currency": "GBP"}, "/expected_total/amount"),
        (("expected_total",), {"amount": "1", "currency": "EUR"}, "/expected_total/currency"),
        (("placed_at",), "yesterday", "/placed_at"),
        (("placed_at",), "9999-12-31T23:59:59Z", "/placed_at"),
        (("placed_at",), "2020-01-01T00:00:00", "/placed_at"),
        (("fees",), [{"code": "x", "amount": {"amount": "1", "currency": "EUR"}}], "/fees/0"),
        (("lines", "*", "unit_price"), {"amount": "1", "currency": "EUR"}, "/lines/0/unit_price"),
        (("admin",), True, ""),
    ],
)
async def test_an_order_with_one_thing_wrong(
    shop: WatchedShop, path: tuple[str, ...], value: Any, pointer: str
) -> None:
    """422, and the place is named."""
    reply = check_harmless(await say(shop, ORDERS, with_value(ORDER, path, value)), path)
    assert reply.status == 422, reply.raw
    assert reply.json["code"].startswith(("invalid_", "card_data_"))
    assert reply.json["errors"][0]["pointer"].startswith(pointer), reply.raw


async def test_what_is_not_sold(shop: WatchedShop) -> None:
    """Every unknown sku is named; a known one in another currency is not sold in it."""
    lines = [{"sku": "no such", "quantity": 1}, {"sku": SKU, "quantity": 1}]
    lines.append({"sku": "nor this", "quantity": 1})
    reply = await refused(shop, {**ORDER, "lines": lines}, 422, "unknown_sku")
    assert [e["pointer"] for e in reply.json["errors"]] == ["/lines/0/sku", "/lines/2/sku"]
    await refused(shop, {**ORDER, "currency": "JPY"}, 422, "unknown_sku")


async def test_the_same_sku_in_several_lines(shop: WatchedShop) -> None:
    """Demand is summed: two lines that fit alone and not together are too much; letter case too."""
    await shop.given_product("Scarce", on_hand=3)
    reply = await shop.place(("Scarce", 2), ("scarce", 2))
    assert (reply.status, reply.json["code"]) == (409, "stock_is_short"), reply.raw
    reply = await shop.place(("Scarce", 2), ("SCARCE", 1))
    assert reply.status == 201, reply.raw
    assert (await shop.stock("scarce"))["available"] == 0


async def test_as_many_lines_as_there_may_be(shop: WatchedShop) -> None:
    """A thousand lines are an order; a total that no ledger can hold is none."""
    lines = [{"sku": SKU, "quantity": 1}] * 1_000
    reply = await say(shop, ORDERS, {**ORDER, "email": "big@example.com", "lines": lines})
    assert reply.status == 202, reply.raw
    order = await shop.until(reply.json["id"], payment="captured")
    assert order["totals"]["total"]["amount"] == "10000.00"
    assert len(order["lines"]) == 1_000


async def test_a_total_that_no_ledger_can_hold(shop: WatchedShop) -> None:
    """The dearest thing that can be sold, a million of it in each of a thousand lines."""
    statuses = []
    for digits in range(20, 0, -1):
        price = {"amount": "9" * digits, "currency": "GBP"}
        variant = {"sku": "dear", "price": price, "on_hand": 10**9}
        product = {"title": "Dear", "variants": [variant]}
        reply = check_harmless(await shop.admin("PUT", "/v1/products/dear", product), digits)
        statuses.append(reply.status)
        if reply.status != 422:
            break
    assert statuses[0] == 422 and statuses[-1] in (200, 201), statuses
    dear = [{"sku": "dear", "quantity": 1_000_000}] * 1_000
    await refused(shop, {**ORDER, "lines": dear}, 422, "invalid_order")


WRONG_TYPES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    1e300,
    "",
    "text",
    [],
    ["text"],
    {},
    {"a": {"b": []}},
)


async def test_a_wrong_type_in_every_place(shop: WatchedShop) -> None:
    """Where a text belongs, and one step above; also in the place of the whole body."""
    places = [
        (route, path)
        for route in body_routes()
        for path in {f[:depth] for f in text_fields(route) for depth in range(len(f) + 1)}
    ]

    async def one(case: Any) -> int:
        (route, path), value = case
        body = with_value(body_of(route), path, value) if path else value
        return check_harmless(await say(shop, route, body), (route.path, path, value)).status

    cases = [(place, value) for place in places for value in WRONG_TYPES]
    statuses = await all_of(cases, one)
    assert statuses.count(422) > len(statuses) / 2


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"email": NaN}',
        b'{"lines": [{"quantity": Infinity}]}',
        b'{"email": -Infinity}',
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b'{"email": "\xc3\x28"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"[" * 5_000 + b"]" * 5_000,
        b'{"email": "a@example.com", "email": "b@example.com"}',
        b'{"shipping_address": {"city": "a", "cit\\u0079": "b"}}',
        b"{} {}",
        b"{'email': 'a@example.com'}",
    ],
    ids=lambda raw: repr(raw[:30]),
)
async def test_what_is_no_json(shop: WatchedShop, raw: bytes) -> None:
    """For every route that reads a body: 400, and why."""
    for route in body_routes():
        reply = check_harmless(await say(shop, route, raw), (route.path, raw[:50]))
        if raw or any(field for field in [route.body] if route.path == "/v1/orders"):
            assert (reply.status, reply.json["code"]) == (400, "invalid_json"), (route.path, raw)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (None, "idempotency_key_required"),
        (b"", "idempotency_key_invalid"),
        (b"x" * 256, "idempotency_key_invalid"),
        ("schlüssel".encode(), "idempotency_key_invalid"),
        (b"tab\there", "idempotency_key_invalid"),
    ],
)
async def test_a_key_that_is_none(shop: WatchedShop, key: bytes | None, code: str) -> None:
    """Wherever an order, a payment or a refund is made."""
    header = b"" if key is None else b"Idempotency-Key: " + key + b"\r\n"
    status, problem = await raw_order(shop, header)
    assert (status, problem["code"]) == (400, code)


async def test_a_key_given_twice(shop: WatchedShop) -> None:
    """Nobody could say which one counts."""
    header = b"Idempotency-Key: one\r\nIdempotency-Key: two\r\n"
    assert (await raw_order(shop, header))[0] == 400


async def raw_order(shop: WatchedShop, header: bytes) -> tuple[int, Any]:
    """Send an order byte by byte as given; status and problem."""
    body = json.dumps(ORDER).encode()
    answer = await raw_request(
        shop,
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n" % len(body) + header + b"\r\n" + body,
    )
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(content)


async def raw_request(shop: WatchedShop, request: bytes, *, half_close: bool = False) -> bytes:
    """Bytes on a connection of their own; all that comes back until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", shop.port)
    try:
        writer.write(request)
        if half_close:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/xml",
        "multipart/form-data",
        "",
        "application/json; charset=latin1",
    ],
)
async def test_another_kind_of_body(shop: WatchedShop, kind: str) -> None:
    """415 for every route that reads JSON."""
    for route in body_routes():
        reply = check_harmless(
            await say(shop, route, body_of(route), headers={"Content-Type": kind}), (route, kind)
        )
        assert reply.status == 415, (route.path, kind, reply.raw)


async def test_another_method(shop: WatchedShop) -> None:
    """405 with what is allowed; what is no method of HTTP is no HTTP."""
    taken = {(address_of(route), route.method) for route in ROUTES}
    for path in {address_of(route) for route in ROUTES}:
        for method in ("PATCH", "TRACE", "PROPFIND"):
            if (path, method) in taken:
                continue
            reply = check_harmless(await shop.admin(method, path), (method, path))
            assert reply.status == 405, (method, path, reply.raw)
            assert reply.headers["Allow"]
    reply = check_harmless(await shop.admin("BREW", "/v1/orders"), "BREW")
    assert reply.status == 400, reply.raw


CURSORS = ("[]", "null", "e30", "W10", "W251bGwsbnVsbF0", "WyJhIiwiYiJd", "WzFlNDAwLCJhIl0")
ABSURD = [
    *("limit=0", "limit=101", "limit=-1", "limit=ten", "limit=", "limit=1&limit=2", "limit=%FF"),
    *("limit=1%00", "limit=%EF%BC%91", "nothing=1", "%00=1", "&&&&", "=", "a=b=c"),
    *("after=-1", "after=zzz", "placed_after=never", "placed_after=0001-01-01T00:00:00Z"),
    *("status=lost", "topic=no-such", "q=" + "x" * 9_000),
    *("cursor=", "cursor=AAAA", "cursor=%F0%9F"),
    *(f"{name}={cursor}" for name in ("cursor", "after") for cursor in CURSORS),
]


async def test_absurd_queries(shop: WatchedShop) -> None:
    """400 that names the parameter; never a 5xx, for every list there is."""
    routes = list({route.path: route for route, _ in query_fields()}.values())
    for route in routes:
        for query in ABSURD:
            reply = await say(shop, route, None, path=f"{address_of(route)}?{query}")
            check_harmless(reply, (route.path, query))
            name = query.partition("=")[0]
            if name == "limit" and "limit" in route.query.__struct_fields__:  # type: ignore[union-attr]
                assert reply.status == 400, (route.path, query, reply.raw[:200])
                assert reply.json["errors"][0]["pointer"] == "limit"


async def test_another_lists_cursor(shop: WatchedShop) -> None:
    """A cursor of one list is broken for the others, not a place in them."""
    for number in range(2):
        await shop.given_product(f"listed-{number}", on_hand=1)
        assert (await shop.place((f"listed-{number}", 1))).status == 201
    pages = {}
    for path in ("/v1/orders", "/v1/products", "/v1/stock", "/v1/ledger/entries", "/v1/mailbox"):
        page = (await shop.admin("GET", f"{path}?limit=1")).json
        assert page["next"], path
        pages[path] = page["next"]
    for path in pages:
        for other, cursor in pages.items():
            reply = check_harmless(await shop.admin("GET", f"{path}?cursor={cursor}"), other)
            if path == other:
                assert reply.status == 200


async def test_ten_megabytes(shop: WatchedShop) -> None:
    """413 and not a byte stored, announced or not; slow and steady is no way around the limit."""
    heavy = json.dumps({**ORDER, "email": "x" * 10 * MEGABYTE}).encode()
    for route in body_routes():
        reply = check_harmless(await say(shop, route, heavy), route.path)
        assert (reply.status, reply.json["code"]) == (413, "body_too_large"), route.path

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * (MEGABYTE // 4)
            await asyncio.sleep(0.005)

    url = f"{shop.url}/v1/orders"
    headers = {"Idempotency-Key": new_id("key"), "Content-Type": "application/json"}
    async with shop.session.post(url, data=slowly(), headers=headers) as answer:
        assert answer.status == 413
    async with shop.session.post(
        f"{shop.url}/v1/imports/products",
        data=slowly(),
        headers={
            "Authorization": f"Bearer {shop.admin_key}",
            "Content-Type": "application/x-ndjson",
        },
    ) as answer:
        report = await answer.json()
        assert answer.status == 202
        assert (report["accepted"], report["rejected"]) == (0, 1), report


async def test_heads_that_are_too_large(shop: WatchedShop) -> None:
    """A line without end, a hundred thousand headers: 4xx or a closed door."""
    for request in (
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/products HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 100_000 + b"\r\n",
        b"GET /v1/products HTTP/1.1\r\nHost: x\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
        b"GET /v1/products HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ):
        try:
            answer = await raw_request(shop, request, half_close=True)
        except ConnectionError:
            continue  # the door was closed while we were still talking
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), (request[:60], answer[:200])


async def test_connections_that_say_nothing(shop: WatchedShop) -> None:
    """Silent, half-closed and broken off in the middle: others are served meanwhile."""
    body = json.dumps({**ORDER, "email": "half@example.com"}).encode()
    head = b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += b"Idempotency-Key: half\r\nContent-Length: %d\r\n\r\n" % len(body)
    beginnings = [b"", b"GET", head, head + body[:50]]
    open_ones = []
    for number in range(400):
        _, writer = await asyncio.open_connection("127.0.0.1", shop.port)
        writer.write(beginnings[number % len(beginnings)])
        open_ones.append(writer)
    answer = await shop.place((SKU, 1))
    assert answer.status == 201
    for number, writer in enumerate(open_ones):
        if number % 2:
            writer.transport.abort()
        else:
            writer.close()
    listed = await shop.admin("GET", "/v1/orders?email=half@example.com")
    assert listed.json["items"] == []
    whole = head.replace(b"Host: x", b"Host: x\r\nConnection: close") + body
    raw = await raw_request(shop, whole, half_close=True)
    assert raw == b"" or raw.startswith(b"HTTP/1.1 20"), raw[:200]


async def test_a_bad_row_in_an_import(shop: WatchedShop) -> None:
    """It alone is refused, with its number, its code and the reason; the others are sold."""
    good = {"title": "Good", "variants": [{"sku": "row-1", "price": PRICE, "on_hand": 2}]}
    rows: list[Any] = [
        {**good, "external_id": "row-1"},
        b"{broken",
        {
            **good,
            "external_id": "row-3",
            "variants": [{"sku": "row-3", "price": {"amount": "x", "currency": "GBP"}}],
        },
        {**good, "external_id": "row-4", "title": "nul\0"},
        {**good, "external_id": "row-5", "variants": [{"sku": "row-5", "on_hand": -1}]},
        {**good, "external_id": "row-6"},
        {**good},
        b'{"external_id": "row-8", "external_id": "row-9"}',
        b"\xff\xff",
        {**good, "external_id": "row-10", "variants": [{"sku": "row-10", "price": PRICE}]},
    ]
    raw = b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)
    reply = await shop.admin("POST", "/v1/imports/products", raw)
    assert reply.status == 202, reply.raw
    report = (await shop.admin("GET", f"/v1/imports/{reply.json['id']}")).json
    assert (report["accepted"], report["rejected"]) == (2, 8), report
    assert [error["line"] for error in report["errors"]] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert all(error["code"] and error["message"] for error in report["errors"])
    assert report["errors"][4]["code"] == "sku_taken"
    assert (await shop.place(("row-1", 2))).status == 201
    for number in (3, 4, 5):
        found = await shop.request("GET", f"/v1/products/sku:row-{number}")
        assert found.status == 404


async def test_nothing_is_echoed_unescaped(shop: WatchedShop) -> None:
    """Not in pages, not in problems: whatever comes back is JSON or does not hold it."""
    attack = "<script>alert(1)</script>"
    for path in (f"/docs/{attack}", f"/{attack}", f"/v1/orders/{attack}", f"/docs?q={attack}"):
        answer = await raw_request(
            shop, f"GET {path} HTTP/1.1\r\nHost: {attack}\r\nConnection: close\r\n\r\n".encode()
        )
        head, _, content = answer.partition(b"\r\n\r\n")
        if b"text/html" in head:
            assert attack.encode() not in content
        else:
            assert b"nosniff" in head, answer[:300]


async def test_the_shop_is_unharmed(shop: WatchedShop) -> None:
    """Nothing half done, no error in the log, and it goes on selling."""
    await shop.check_unharmed()
