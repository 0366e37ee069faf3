"""URLs that somebody else gave us: nothing that is not public is ever connected to."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from tradewind.platform.security.addresses import Networks, OutboundRefused
from tradewind.platform.security.outbound import ANSWER_BYTES_MAX, Outbound

LOOPBACK = ("127.0.0.0/8",)


class Names(AbstractResolver):
    """A name server that says what it is told to; each answer once, the last one for ever."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        address = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)
        ]

    async def close(self) -> None:
        pass


class Inside:
    """A server on the loopback address that must not be reached."""

    def __init__(self, port: int, seen: list[Any]) -> None:
        self.port = port
        self.seen = seen


@asynccontextmanager
async def inside() -> AsyncIterator[Inside]:
    seen: list[Any] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((request.path, dict(request.headers)))
        if request.path == "/away":
            raise web.HTTPFound(request.query["to"])
        if request.path == "/long":
            return web.Response(body=b"x" * (ANSWER_BYTES_MAX + 5_000))
        if request.path == "/never":
            await asyncio.sleep(60)
        return web.Response(text="secrets of the house")

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server: Any = site._server
    try:
        yield Inside(server.sockets[0].getsockname()[1], seen)
    finally:
        await runner.cleanup()


async def refused(outbound: Outbound, url: str, **options: Any) -> None:
    with pytest.raises(OutboundRefused):
        await outbound.call("GET", url, **options)
    await outbound.close()


NOT_PUBLIC = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",  # where clouds keep their secrets
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[2002:7f00:1::]",
    "[64:ff9b::7f00:1]",
    "[2001:db8::1]",
    "[ff02::1]",
    "[2001:0:7f00:1::]",
]


@pytest.mark.parametrize("host", NOT_PUBLIC)
async def test_no_spelling_of_an_address_that_is_not_public(host: str) -> None:
    outbound = Outbound()
    with pytest.raises(OutboundRefused):
        outbound.check(f"https://{host}/")
    await refused(outbound, f"https://{host}:8443/latest/meta-data/")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "unix:///run/docker.sock",
        "//example.com/",
        "example.com",
        "",
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://example.com\\@127.0.0.1/",
        "https://127.0.0.1#@example.com/",
        "https://example.com/\r\nX-Evil: 1",
        "https://example.com/ x",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://[::1",
        "https://admin.localhost/",
        "https://example.com/" + "a" * 3_000,
    ],
)
async def test_what_is_no_url_to_call(url: str) -> None:
    with pytest.raises(OutboundRefused):
        Outbound().check(url)


@pytest.mark.parametrize(
    "url", ["https://example.com/hook?x=1#y", "https://1.1.1.1/", "https://[2606:4700::1]/"]
)
def test_what_is_one(url: str) -> None:
    assert Outbound().check(url) == url


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "fd00::1"])
async def test_a_name_that_leads_inside(address: str) -> None:
    """What counts is where it would connect to; nobody is connected to."""
    async with inside() as server:
        url = f"https://partner.example:{server.port}/"
        await refused(Outbound(resolver=Names(address)), url)
        assert server.seen == []


async def test_a_name_that_leads_elsewhere_the_second_time() -> None:
    """Looked at when it was registered it was public; when it is called it is not."""
    async with inside() as server:
        names = Names("93.184.215.14", "127.0.0.1")
        outbound = Outbound(resolver=names)
        [first] = await names.resolve("partner.example")
        assert first["host"] == "93.184.215.14"
        await refused(outbound, f"https://partner.example:{server.port}/")
        assert names.asked == 2
        assert server.seen == []


async def test_without_tls_only_what_is_configured_is_called() -> None:
    """A public name over http: neither without networks nor with them."""
    await refused(Outbound(), "http://partner.example/")
    await refused(Outbound(LOOPBACK, resolver=Names("93.184.215.14")), "http://partner.example/")


async def test_a_network_that_is_configured_may_be_called() -> None:
    async with inside() as server:
        outbound = Outbound(LOOPBACK)
        answer = await outbound.call("GET", f"http://127.0.0.1:{server.port}/")
        assert (answer.status, answer.body) == (200, b"secrets of the house")
        long = await outbound.call("GET", f"http://127.0.0.1:{server.port}/long")
        assert len(long.body) == ANSWER_BYTES_MAX
        with pytest.raises(TimeoutError):
            await outbound.call("GET", f"http://127.0.0.1:{server.port}/never", timeout_s=0.2)
        await outbound.close()


@pytest.mark.parametrize(
    "to",
    [
        "http://169.254.169.254/latest/",
        "https://10.0.0.1/",
        "file:///etc/passwd",
        "//[::1]/",
        "http://user@127.0.0.1/",
    ],
)
async def test_a_redirect_that_leads_inside(to: str) -> None:
    """The first hop may be called, what it points to may not."""
    async with inside() as server:
        url = f"http://127.0.0.1:{server.port}/away?to={to}"
        await refused(Outbound(LOOPBACK), url, redirects_max=3)
        assert [path for path, _ in server.seen] == ["/away"]


async def test_redirects_are_followed_only_so_far_and_without_secrets() -> None:
    async with inside() as server:
        here = f"http://127.0.0.1:{server.port}"
        outbound = Outbound(LOOPBACK)
        plain = await outbound.call("GET", f"{here}/away?to=/x")
        assert plain.status == 302
        secret = {"Authorization": "Bearer secret"}
        other = f"http://127.0.0.2:{server.port}/x"
        with pytest.raises(aiohttp.ClientConnectorError):  # nobody listens there
            await outbound.call("GET", f"{here}/away?to={other}", headers=secret, redirects_max=1)
        same = await outbound.call("GET", f"{here}/away?to=/x", headers=secret, redirects_max=1)
        assert same.status == 200
        assert server.seen[-1][1]["Authorization"] == "Bearer secret"
        localhost = f"http://localhost:{server.port}/x"
        outbound_by_name = Outbound(LOOPBACK, resolver=Names("127.0.0.1"))
        target = f"{here}/away?to={localhost}"
        assert (
            await outbound_by_name.call("GET", target, headers=secret, redirects_max=1)
        ).status == 200
        assert "Authorization" not in server.seen[-1][1]
        loop = f"{here}/away?to={here}/away?to=/away"
        with pytest.raises((OutboundRefused, aiohttp.ClientError)):
            await outbound.call("GET", loop, redirects_max=1)
        await outbound.close()
        await outbound_by_name.close()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "::1"],
)
async def test_every_spelling_of_loopback_is_refused(host: str) -> None:
    """What the system's resolver makes of it is what is looked at, so spelling is no way round."""
    with pytest.raises(OutboundRefused):
        await Networks().resolve(host, 80)


async def test_one_address_inside_refuses_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a public and a private address would be called at either."""

    async def both(*_: Any, **__: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
            for address in ("8.8.8.8", "127.0.0.1")
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both, raising=False)
    with pytest.raises(OutboundRefused, match=r"127\.0\.0\.1"):
        await Networks().resolve("both.example", 80)


async def test_what_is_named_is_resolved_and_link_local_never_is() -> None:
    assert await Networks(LOOPBACK).resolve("127.0.0.1", 80) == "127.0.0.1"
    with pytest.raises(OutboundRefused):
        await Networks(("0.0.0.0/0",)).resolve("169.254.169.254", 80)
    with pytest.raises(OutboundRefused):
        Outbound(("0.0.0.0/0",)).check("http://169.254.169.254/")
