"""Where the platform may call to, and where no URL can send it."""

import asyncio
import socket
from typing import Any

import pytest

from tradewind.platform.security.outbound import OutboundRefused, may_call, parts_of, resolve

HTTP = ("http", "https")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.5.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "no address",
    ],
)
def test_nothing_inside_a_house_is_called(address: str) -> None:
    assert not may_call(address, ())


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8"])
def test_the_internet_is(address: str) -> None:
    assert may_call(address, ())


def test_a_network_that_is_named_may_be_called_and_link_local_never() -> None:
    assert may_call("10.1.2.3", ("10.1.0.0/16",))
    assert may_call("::ffff:10.1.2.3", ("10.1.0.0/16",))
    assert not may_call("10.2.2.3", ("10.1.0.0/16",))
    assert not may_call("169.254.169.254", ("0.0.0.0/0",))
    assert not may_call("fe80::1", ("::/0",))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "http:///nowhere",
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://example.com:99999/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "example.com",
        "",
    ],
)
def test_a_url_that_hides_or_lacks_something_is_refused(url: str) -> None:
    with pytest.raises(OutboundRefused):
        parts_of(url, HTTP)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "::1"],
)
async def test_every_spelling_of_loopback_is_refused(host: str) -> None:
    """What the system's resolver makes of it is what is looked at, so spelling is no way round."""
    with pytest.raises(OutboundRefused):
        await resolve(host, 80, ())


async def test_one_address_inside_refuses_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a public and a private address would be called at either."""

    async def both(*_: Any, **__: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
            for address in ("8.8.8.8", "127.0.0.1")
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both, raising=False)
    with pytest.raises(OutboundRefused, match=r"127\.0\.0\.1"):
        await resolve("both.example", 80, ())


async def test_what_is_named_is_resolved() -> None:
    target = await resolve("127.0.0.1", 80, ("127.0.0.0/8",))
    assert target.addresses == ["127.0.0.1"]
