"""The application in-process: the order of checks, each refusal, what is passed on."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from msgspec import structs

from tests.platform.gateway.gateway_shop import (
    CLERK,
    KEY,
    Reply,
    TestNode,
    application,
    call,
    hostile,
    order,
)
from tradewind.platform.settings import Settings


async def place(**more: Any) -> Reply:
    more = {"body": order(), "headers": KEY, **more}
    return await call(application(), "POST", "/v1/orders", **more)


async def test_an_order_is_placed_and_the_answer_is_complete() -> None:
    reply = await place()
    assert reply.status == 201
    assert reply.json["total"] == {"amount": "12.75", "currency": "GBP"}
    assert reply.headers["location"] == "/v1/orders/ord_1"
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert len(reply.headers["x-request-id"]) == 32
    assert "server" not in reply.headers and "date" not in reply.headers, "the server adds a date"
    names = [name for name, _ in reply.heads]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("method", "target", "more", "status", "code"),
    [
        ("GET", "/nothing", {}, 404, "not_found"),
        ("GET", "/v1/orders/", {"bearer": "clerk"}, 404, "not_found"),
        ("DELETE", "/v1/orders", {}, 405, "method_not_allowed"),
        ("POST", "/readyz", {}, 405, "method_not_allowed"),
        ("BREW", "/v1/orders", {}, 405, "method_not_allowed"),
        ("GET", "/v1/orders", {}, 401, "unauthenticated"),
        ("GET", "/v1/orders", {"bearer": "stranger"}, 401, "unauthenticated"),
        ("GET", "/v1/things/1", {"bearer": "stranger"}, 401, "unauthenticated"),
        ("GET", "/v1/things/1", {"headers": {"authorization": "Basic YTpi"}}, 401, None),
        ("GET", "/v1/things/1", {"headers": {"authorization": "Bearer"}}, 401, None),
        ("GET", "/v1/things/1", {"headers": {"authorization": ""}}, 401, None),
        ("GET", "/v1/orders", {"bearer": "nobody"}, 403, "forbidden"),
        ("GET", "/v1/orders", {"bearer": "holder"}, 403, "forbidden"),
        ("GET", "/v1/orders/ord_1", {}, 401, "unauthenticated"),
        ("GET", "/v1/orders/ord_2", {"bearer": "holder"}, 404, "not_found"),
        ("GET", "/v1/orders/ord_1", {"bearer": "nobody"}, 404, "not_found"),
        ("GET", "/v1/orders?limit=0", {"bearer": "clerk"}, 400, "invalid_query"),
        ("GET", "/v1/orders?limit=101", {"bearer": "clerk"}, 400, "invalid_query"),
        ("GET", "/v1/orders?cursor=x", {"bearer": "clerk"}, 400, "invalid_query"),
        ("GET", "/v1/orders?nope=1", {"bearer": "clerk"}, 400, "invalid_query"),
        ("GET", "/v1/orders/ord_1?nope=1", {"bearer": "clerk"}, 400, "invalid_query"),
        ("POST", "/v1/orders", {"body": order()}, 400, "idempotency_key_required"),
        ("POST", "/v1/orders", {"body": b"{", "headers": KEY}, 400, "invalid_json"),
        ("POST", "/v1/orders", {"body": b"", "headers": KEY}, 400, "invalid_json"),
        ("POST", "/v1/orders", {"body": order(lines=[]), "headers": KEY}, 422, "invalid_body"),
        ("POST", "/v1/orders", {"body": order(extra=1), "headers": KEY}, 422, "invalid_body"),
        ("POST", "/v1/orders", {"body": b" " * 1_048_577, "headers": KEY}, 413, "body_too_large"),
        (
            "POST",
            "/v1/orders",
            {"body": order(email="short@example.com"), "headers": KEY},
            409,
            "stock_is_short",
        ),
        ("PUT", "/v1/things/1", {"bearer": "clerk"}, 428, "precondition_required"),
        (
            "PUT",
            "/v1/things/1",
            {"bearer": "clerk", "headers": {"if-match": '"2"'}},
            412,
            "precondition_failed",
        ),
        ("GET", "/problems/nothing", {}, 404, "not_found"),
    ],
)
async def test_every_refusal_is_a_problem(
    method: str, target: str, more: dict[str, Any], status: int, code: str | None
) -> None:
    reply = await call(application(), method, target, **more)
    assert (reply.status, reply.code) == (status, code or "unauthenticated")
    if status == 401:
        assert reply.headers["www-authenticate"].startswith("Bearer")
    if status == 405:
        assert "GET" in reply.headers["allow"]


@pytest.mark.parametrize("key", ["", " ", "a" * 256, "tab\tkey", "ümlaut", " k", "k "])
async def test_an_idempotency_key_that_cannot_be_one(key: str) -> None:
    reply = await place(headers={"idempotency-key": key})
    assert (reply.status, reply.code) == (400, "idempotency_key_invalid")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ('Application/JSON; charset="UTF-8"', 201),
        (None, 201),
        ("application/json; charset=latin-1", 415),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("", 415),
    ],
)
async def test_the_type_of_a_body(content_type: str | None, status: int) -> None:
    raw = json.dumps(order()).encode()
    headers = KEY if content_type is None else {**KEY, "content-type": content_type}
    assert (await place(body=raw, headers=headers)).status == status


async def test_a_compressed_body_is_415() -> None:
    reply = await place(headers={**KEY, "content-encoding": "gzip"})
    assert (reply.status, reply.code) == (415, "unsupported_media_type")


async def test_a_body_that_grows_too_large_is_413_and_a_long_one_in_chunks_is_taken() -> None:
    chunks = [b" " * 100_000] * 11
    assert (await place(chunks=chunks)).code == "body_too_large"
    raw = json.dumps(order()).encode()
    assert (await place(chunks=[raw[:10], raw[10:], b""])).status == 201


async def test_a_huge_body_is_refused_without_reading_it() -> None:
    reply = await place(body=b"x", headers={**KEY, "content-length": str(10**12)})
    assert reply.code == "body_too_large"
    assert reply.headers["connection"] == "close"


async def test_a_streamed_body_is_counted_and_bounded() -> None:
    more: dict[str, Any] = {
        "bearer": "clerk",
        "headers": {"content-type": "application/x-ndjson"},
    }
    app = application()
    reply = await call(app, "POST", "/v1/imports", chunks=[b"a" * 1_000] * 150, **more)
    assert (reply.status, reply.json) == (202, {"bytes": 150_000})
    reply = await call(app, "POST", "/v1/imports", chunks=[b"a" * 1_000] * 201, **more)
    assert reply.code == "body_too_large"


async def test_checks_come_in_their_order() -> None:
    """Who is not allowed learns nothing about what would have been wrong with the rest."""
    bad: dict[str, Any] = {"body": b"{", "headers": {"content-type": "text/plain"}}
    reply = await call(application(), "POST", "/v1/orders/o/cancel", bearer="no", **bad)
    assert reply.status == 401
    reply = await call(application(), "POST", "/v1/orders/o/cancel", bearer="reader", **bad)
    assert reply.status == 403
    reply = await call(application(), "POST", "/v1/orders/o/cancel", bearer="clerk", **bad)
    assert reply.status == 415


async def test_headers_that_stand_twice() -> None:
    app = application()

    async def twice(name: bytes, values: list[bytes]) -> int:
        sent: list[Any] = []
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/things/1",
            "raw_path": b"/v1/things/1",
            "query_string": b"",
            "headers": [(name, value) for value in values],
            "client": ("192.0.2.1", 1),
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)
        return int(sent[0]["status"])

    assert await twice(b"accept", [b"a", b"b"]) == 200
    assert await twice(b"authorization", [b"Bearer clerk", b"Bearer clerk"]) == 400


async def test_a_bug_is_500_and_tells_nothing() -> None:
    reply = await place(body=order(email="bug@example.com"))
    assert (reply.status, reply.code) == (500, "internal_error")
    assert b"secret" not in reply.body and b"RuntimeError" not in reply.body


async def test_without_a_database_it_is_503_and_no_bug() -> None:
    """While a killed server starts again its socket is missing: every read met that as a 500."""
    reply = await place(body=order(email="away@example.com"))
    assert (reply.status, reply.code) == (503, "database_unavailable")
    assert reply.headers["retry-after"] == "1"


async def test_a_kept_answer_is_sent_again_to_the_byte() -> None:
    reply = await place(body=order(email="replayed@example.com"))
    assert (reply.status, reply.body) == (201, b'{"id":"ord_9"}')
    assert reply.headers["idempotent-replayed"] == "true"


def idempotency_of(app: Any) -> Any:
    node: TestNode = app.node
    return node.submitted[-1].idempotency


async def test_the_fingerprint_sees_the_meaning_of_a_body_and_not_its_spelling() -> None:
    app = application()

    async def given(raw: str, **more: Any) -> Any:
        reply = await call(
            app,
            "POST",
            "/v1/orders",
            body=raw.encode(),
            headers={**KEY, "content-type": "application/json"},
            **more,
        )
        assert reply.status == 201, reply.body
        return idempotency_of(app)

    lines = '"lines":[{"sku":"MUG","quantity":2}]'
    first = await given('{"email":"Ada@Example.com",' + lines + "}")
    assert first.key == "k-1"
    assert "ada" not in first.scope.lower(), "the scope holds no address"
    assert first.scope.endswith(" POST /v1/orders")
    spelt = '{ "attributes":{}, "lines": [{"quantity":2, "sku":"M\\u0055G"}],\n'
    again = await given(spelt + '"email" : "Ada@Example.com" , "note": null}')
    assert again == first
    assert (await given('{"email":" ada@example.com ",' + lines + "}")).scope == first.scope
    other = await given('{"email":"Ada@Example.com","lines":[{"sku":"MUG","quantity":3}]}')
    assert other.scope == first.scope and other.fingerprint != first.fingerprint
    keyed = await given('{"email":"Ada@Example.com",' + lines + "}", bearer="clerk")
    assert keyed.scope == f"{CLERK.id} POST /v1/orders"
    assert keyed.fingerprint == first.fingerprint


async def test_path_parameters_are_part_of_the_fingerprint() -> None:
    app = application()
    keys = []
    for order_id in ("o1", "o2"):
        reply = await call(
            app, "POST", f"/v1/orders/{order_id}/cancel", bearer="clerk", headers=KEY
        )
        assert reply.status == 200, "the body may be left out: every field has a default"
        assert reply.json["reason"] == "none"
        keys.append(reply.json["key"])
    assert keys[0]["scope"] == keys[1]["scope"]
    assert keys[0]["fingerprint"] != keys[1]["fingerprint"]
    reply = await call(app, "POST", "/v1/orders/o1/cancel", bearer="clerk")
    assert reply.json["key"] is None


async def test_commands_travel_under_the_trace_of_their_request() -> None:
    app = application()
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await call(app, "POST", "/v1/orders", body=order(), headers={**KEY, "traceparent": parent})
    node: Any = app.node
    assert node.submitted[-1].trace.startswith(parent[:36])
    reply = await call(app, "GET", "/nothing", headers={"traceparent": parent})
    assert reply.json["trace_id"] == parent[3:35]
    assert reply.headers["x-request-id"] == parent[3:35]


async def test_a_request_id_is_echoed_where_it_is_harmless() -> None:
    reply = await call(application(), "GET", "/livez", headers={"x-request-id": "job-7/a"})
    assert reply.headers["x-request-id"] == "job-7/a"
    reply = await call(application(), "GET", "/livez", headers={"x-request-id": "a\x00b<script>"})
    assert len(reply.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("prefer", "waited"),
    [
        (None, None),
        ("wait=0", 0),
        ("respond-async, wait=0", 0),
        ("WAIT = 0; foo", 0),
        ("wait=-1", None),
        ("wait=soon", None),
        ("await=0", None),
        ("wait=99999", 0.01),
    ],
)
async def test_prefer_wait_is_read_and_bounded(prefer: str | None, waited: float | None) -> None:
    app = application(structs.replace(Settings(), wait_max_s=0.01, wait_default_s=0.0))
    reply = await call(app, "GET", "/v1/slow", headers={} if prefer is None else {"prefer": prefer})
    assert reply.json == {"waited": waited}


async def test_head_options_and_empty_answers() -> None:
    app = application()
    got, head = [await call(app, method, "/v1/things/1") for method in ("GET", "HEAD")]
    assert head.status == 200 and head.body == b""
    assert head.headers["content-length"] == str(len(got.body))
    assert got.headers["cache-control"] == "public, max-age=5"
    options = await call(app, "OPTIONS", "/v1/things/1")
    assert (options.status, options.body) == (204, b"")
    assert options.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"
    assert "access-control-allow-origin" not in options.headers
    gone = await call(app, "DELETE", "/v1/things/1", bearer="clerk")
    assert (gone.status, gone.body) == (204, b"")
    assert "content-length" not in gone.headers and "content-type" not in gone.headers
    reply = await call(app, "GET", "/v1/orders/o", bearer="clerk")
    again = await call(
        app,
        "GET",
        "/v1/orders/o",
        bearer="clerk",
        headers={"if-none-match": reply.headers["etag"]},
    )
    assert (again.status, again.body) == (304, b"")


async def test_the_better_of_two_paths_is_taken() -> None:
    app = application()
    assert (await call(app, "GET", "/v1/things/sku:A%2FB")).json == {"by": "sku", "sku": "A/B"}
    assert (await call(app, "GET", "/v1/things/sku")).json == {"by": "id", "thing_id": "sku"}
    reply = await call(app, "PUT", "/v1/things/sku:A", bearer="clerk", headers={"if-match": '"3"'})
    assert reply.json == {"external_id": "sku:A"}


async def test_cors_answers_allowed_origins_only() -> None:
    settings = structs.replace(Settings(), cors_origins=("https://shop.example",))
    app = application(settings)
    origin = {"origin": "https://shop.example"}
    reply = await call(app, "GET", "/v1/things/1", headers=origin)
    assert reply.headers["access-control-allow-origin"] == "https://shop.example"
    assert "ETag" in reply.headers["access-control-expose-headers"]
    assert reply.headers["vary"] == "Origin"
    asked = {**origin, "access-control-request-method": "PUT"}
    preflight = await call(app, "OPTIONS", "/v1/things/1", headers=asked)
    assert preflight.status == 204
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert "Idempotency-Key" in preflight.headers["access-control-allow-headers"]
    other = await call(app, "GET", "/v1/things/1", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    refused = await call(app, "GET", "/v1/orders", headers=origin)
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"


async def test_metrics_count_by_route_and_never_by_path() -> None:
    app = application()
    await call(app, "GET", "/v1/things/some-very-special-id")
    await call(app, "GET", "/some-very-special-path")
    await call(app, "some-very-special-method", "/v1/orders")
    text = (await call(app, "GET", "/metrics")).body.decode()
    line = 'tradewind_http_requests_total{method="GET",route="/v1/things/{thing_id}",status="200"}'
    assert line in text
    assert "tradewind_http_request_seconds_bucket" in text
    assert "some-very-special" not in text


async def test_hostile_texts_in_every_place_never_break_anything() -> None:
    """In the path, a parameter, a header, a field: refused or taken as they are, never 5xx."""
    app = application()
    for case in hostile("naughty_strings.jsonl.gz"):
        text = case["s"]
        quoted = quote(text, safe="", errors="surrogatepass")
        reply = await call(app, "GET", f"/v1/things/{quoted}")
        assert reply.status in (200, 404), text
        if reply.status == 200:
            assert reply.json["thing_id"] == text
        reply = await call(app, "GET", f"/v1/orders?cursor={quoted}&{quoted}=1", bearer="clerk")
        assert reply.status == 400
        reply = await place(body=order(email=text[:200], note=text))
        assert reply.status in (201, 422), text
        if reply.status == 201:
            assert reply.json["email"] == text[:200]
        header = text.encode().decode("latin-1")
        reply = await place(headers={"idempotency-key": header, "prefer": header})
        assert reply.status in (201, 400), text
        reply = await call(app, "GET", "/v1/things/1", headers={"authorization": header})
        assert reply.status == 401, text
