"""Requests that are meant to be read in two ways: smuggled ones, injected headers, clever paths."""

import asyncio
import re
from typing import Any
from urllib.parse import quote

import pytest

from tests.platform.gateway import gateway_shop
from tests.platform.gateway.gateway_shop import KEY, application, call, order
from tests.platform.gateway.test_server import running, status_of
from tradewind.kernel.answers import Answer
from tradewind.platform.gateway.routing import Anyone, Route

HOST = b"Host: x\r\n"
# What a proxy that reads the first request otherwise would believe to be part of its body.
SECOND = b"GET /v1/things/smuggled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
BODY = b'{"email":"ada@example.com","lines":[{"sku":"A","quantity":1}]}'


def post(*heads: bytes, body: bytes = b"", line: bytes = b"POST /v1/orders HTTP/1.1") -> bytes:
    json = (b"Content-Type: application/json", b"Idempotency-Key: k")
    return b"\r\n".join([line, b"Host: x", *json, *heads, b"", b""]) + body


# Each is a request whose end two readers may see in different places. A proxy that has passed it on
# sends the rest as another caller's request.
SHAPES: dict[str, bytes] = {
    "length and chunked": post(
        b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SECOND
    ),
    "chunked and length": post(
        b"Transfer-Encoding: chunked", b"Content-Length: 6", body=b"0\r\n\r\nG" + SECOND
    ),
    "two lengths": post(b"Content-Length: 0", b"Content-Length: 44", body=SECOND),
    "two equal lengths": post(b"Content-Length: 5", b"Content-Length: 5", body=b"xxxxx" + SECOND),
    "a list of lengths": post(b"Content-Length: 5, 5", body=b"xxxxx" + SECOND),
    "a signed length": post(b"Content-Length: +5", body=b"xxxxx" + SECOND),
    "a negative length": post(b"Content-Length: -1", body=SECOND),
    "a length in hexadecimal": post(b"Content-Length: 0x5", body=b"xxxxx" + SECOND),
    "a length with a space in it": post(b"Content-Length: 1 0", body=b"xxxxx" + SECOND),
    "an empty length": post(b"Content-Length: ", body=SECOND),
    "a length beyond all numbers": post(b"Content-Length: " + b"9" * 40, body=SECOND),
    "another coding": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + SECOND),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n" + SECOND),
    "chunked, then not": post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + SECOND),
    "two codings": post(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=b"0\r\n\r\n" + SECOND
    ),
    "a tab before": post(b"Transfer-Encoding:\x0bchunked", body=b"0\r\n\r\n" + SECOND),
    "a space before the colon": post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + SECOND),
    "a name with a control": post(b"Transfer\x01-Encoding: chunked", body=b"0\r\n\r\n" + SECOND),
    "a folded line": post(
        b"X: y\r\n Transfer-Encoding: chunked", b"Content-Length: 0", body=SECOND
    ),
    "a folded coding": post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n" + SECOND),
    "a bare line feed": post(b"X: y\nTransfer-Encoding: chunked", body=b"0\r\n\r\n" + SECOND),
    "a bare carriage return": post(b"X: y\rContent-Length: 44", body=SECOND),
    "a nul": post(b"X: y\x00Content-Length: 44", body=SECOND),
    "a chunk of negative size": post(b"Transfer-Encoding: chunked", body=b"-1\r\nx\r\n" + SECOND),
    "a chunk size with 0x": post(b"Transfer-Encoding: chunked", body=b"0x0\r\n\r\n" + SECOND),
    "a chunk size that overflows": post(
        b"Transfer-Encoding: chunked", body=b"10000000000000000\r\nx\r\n0\r\n\r\n" + SECOND
    ),
    "a chunk longer than told": post(
        b"Transfer-Encoding: chunked", body=b"1\r\nxyz\r\n0\r\n\r\n" + SECOND
    ),
    "chunks ended by line feeds": post(b"Transfer-Encoding: chunked", body=b"1\nx\n0\n\n" + SECOND),
    "an old version with chunks": post(
        b"Transfer-Encoding: chunked", line=b"POST /v1/orders HTTP/1.0", body=b"0\r\n\r\n" + SECOND
    ),
    "a request line with a tab": b"GET\t/v1/things/1\tHTTP/1.1\r\nHost: x\r\n\r\n" + SECOND,
    "a request line of two lines": b"GET /v1/things/1\r\nHTTP/1.1\r\nHost: x\r\n\r\n" + SECOND,
    "two hosts": b"GET /v1/things/1 HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + SECOND,
    "no host": b"GET /v1/things/1 HTTP/1.1\r\n\r\n" + SECOND,
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_nothing_is_smuggled_behind_an_ambiguous_request(shape: str) -> None:
    """It is refused and the connection ends: what follows is nobody's request.

    Where only the body turns out to be broken there may be no answer left to give.
    """
    async with running() as at:
        answer = await at.say(SHAPES[shape])
        statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)
        assert b"smuggled" not in answer, answer
        refused = [[b"400"], []] if "chunks " in shape or "a chunk" in shape else [[b"400"]]
        assert statuses in refused, (shape, answer[:300])


async def test_what_is_plain_is_still_taken() -> None:
    """The shapes above differ from these in nothing but what makes them ambiguous."""
    async with running() as at:
        plain = post(b"Content-Length: %d" % len(BODY), body=BODY) + SECOND
        assert re.findall(rb"HTTP/1\.1 (\d{3}) ", await at.say(plain)) == [b"201", b"200"]
        chunk = b"%x;ext=1\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
        chunked = post(b"Transfer-Encoding: chunked", body=chunk) + SECOND
        assert re.findall(rb"HTTP/1\.1 (\d{3}) ", await at.say(chunked)) == [b"201", b"200"]
        capital = post(b"transfer-encoding:   Chunked  ", body=chunk) + SECOND
        assert re.findall(rb"HTTP/1\.1 (\d{3}) ", await at.say(capital)) == [b"201", b"200"]


async def test_a_body_that_nobody_reads_is_no_request() -> None:
    """A GET may have a body; what is in it is not the next request."""
    async with running() as at:
        head = b"GET /v1/things/1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        answer = await at.say(head % len(SECOND) + SECOND + SECOND.replace(b"smuggled", b"next"))
        assert answer.count(b"HTTP/1.1 200 ") == 2
        assert b"smuggled" not in answer and b'"thing_id":"next"' in answer


@pytest.mark.parametrize(
    "evil", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "a\x00b", "é\u2028"]
)
async def test_nothing_that_is_told_becomes_a_header(evil: str) -> None:
    """In a path, a parameter, a header, a body: wherever an answer might repeat it."""
    app = application()
    told = quote(evil, safe="")
    replies = [
        await call(app, "GET", f"/v1/things/{told}"),
        await call(app, "GET", f"/v1/things/sku:{told}"),
        await call(app, "GET", f"/v1/orders?cursor={told}", bearer="reader"),
        await call(app, "GET", f"/v1/things/1?{told}={told}"),
        await call(app, "POST", "/v1/orders", body=order(email=evil), headers=KEY),
        await call(app, "POST", "/v1/orders", body=order(note=evil), headers=KEY),
        await call(app, "GET", f"/problems/{told}"),
    ]
    try:
        evil.encode("latin-1")
    except UnicodeEncodeError:
        pass
    else:
        for name in ("x-request-id", "traceparent", "origin", "prefer", "authorization", "accept"):
            replies.append(await call(app, "GET", "/v1/things/1", headers={name: evil}))
    for reply in replies:
        assert reply.status < 500
        for name, value in reply.heads:
            assert name != "x-evil"
            assert "\r" not in value and "\n" not in value and "\x00" not in value, (name, value)


async def test_a_header_with_a_line_break_in_it_is_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Should a route ever make one: the server would rather fail."""

    async def evil(request: Any) -> Answer:
        return Answer(body={}, headers={"X-Told": "a\r\nX-Evil: 1"})

    route = Route(method="GET", path="/v1/evil", handler=evil, summary="Evil.", permission=Anyone())
    monkeypatch.setattr(gateway_shop, "THINGS", (*gateway_shop.THINGS, route))
    async with running() as at:
        answer = await at.say(b"GET /v1/evil HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"\r\nx-evil" not in answer.lower(), answer


SECRET = "/v1/orders"  # needs a scope: nobody without one is answered 200 there
TRICKS = [
    "//v1/orders",
    "/v1//orders",
    "/v1/./orders",
    "/v1/things/../orders",
    "/v1/things/%2e%2e/orders",
    "/v1/things/..%2forders",
    "/v1/things%2f..%2forders",
    "/v1/orders/",
    "/v1/orders/.",
    "/v1/orders;a=b",
    "/v1/orders%00",
    "/v1/orders%0a",
    "/v1/orders%20",
    "/V1/ORDERS",
    "/v1/%6frders",
    "/v1/%256frders",
    "/v1/orders%3flimit=1",
    "/v1/orders%23",
    "\\v1\\orders",
    "/v1\\orders",
    "/v1/orders\\",
    "http://other.example/v1/orders",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/things/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/%c0%ae%c0%ae/etc/passwd",
    "/v1/things/%ff",
    "/v1/things/%",
    "/v1/things/%zz",
    "/v1/things/%u002f",
    "/v1/\uff0e\uff0e/orders",
]


@pytest.mark.parametrize("target", TRICKS)
async def test_no_spelling_of_a_path_gets_past_its_permission(target: str) -> None:
    """What is served is what stands in the table, once decoded, and that is what is asked for.

    Wherever a trick does lead to a route it leads to its checks, too.
    """
    async with running() as at:
        for method in ("GET", "HEAD"):
            line = f"{method} {target} HTTP/1.1\r\n".encode()
            answer = await at.say(line + HOST + b"Connection: close\r\n\r\n")
            assert status_of(answer) in (200, 302, 400, 401, 404), answer[:200]
            assert b'"items"' not in answer and b"root:" not in answer
            if status_of(answer) == 200:  # a thing by this very name, and no other
                assert b"thing_id" in answer or b'"by":"sku"' in answer or method == "HEAD"


async def test_methods_that_are_none_do_nothing() -> None:
    """And headers that would make one of another are not looked at."""
    app = application()
    for headers in (
        {"x-http-method-override": "DELETE"},
        {"x-http-method": "DELETE"},
        {"x-method-override": "DELETE"},
        {"x-original-url": SECRET},
        {"x-rewrite-url": SECRET},
        {"x-forwarded-host": "evil.example", "x-forwarded-prefix": "/evil"},
    ):
        reply = await call(app, "GET", "/v1/things/1", headers=headers)
        assert (reply.status, reply.json["by"]) == (200, "id")
        assert b"evil" not in reply.body
        assert not any("evil" in value for _, value in reply.heads)
    for method in ("TRACE", "CONNECT", "TRACK", "PROPFIND"):
        assert (await call(app, method, "/v1/things/1")).status == 405


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 500_000,
        b'{"a":' * 100_000,
        b'{"email":"a@b.c","lines":' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"attributes":' + b'{"a":' * 65 + b"1" + b"}" * 65 + b"}",
        b'{"email":' + b'"' + b"\\" * 200_001,
        b'{"lines":[' + b"{}," * 100_000 + b"{}]}",
        b"-" * 500_000,
        b"1" * 500_000,
        b'{"email":"' + b"\\u0041" * 80_000 + b'"}',
        b'{"' + b"a" * 500_000 + b'":1}',
    ],
    ids=lambda body: repr(body[:12]),
)
async def test_deep_and_wide_bodies_are_refused_quickly(body: bytes) -> None:
    """Neither the stack nor a second of time is spent on them; the process goes on."""
    app = application()
    async with asyncio.timeout(20):
        reply = await call(
            app,
            "POST",
            "/v1/orders",
            body=body,
            headers={**KEY, "content-type": "application/json"},
        )
    assert reply.status in (400, 422), reply.status
    assert (await call(app, "POST", "/v1/orders", body=order(), headers=KEY)).status == 201
