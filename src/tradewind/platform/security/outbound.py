"""The one way to call a URL that somebody else gave us: a webhook, an issuer, a log receiver.

Invariants: no connection is made to an address that is not public, unless its network is configured
(`TRADEWIND_OUTBOUND_NETWORKS`); what decides is the address that the socket is about to connect to,
so neither a name that resolves differently the second time (DNS rebinding), nor a redirect, nor a
clever spelling of an address gets past it. Only https, and http inside a configured network.
Answers are bounded in bytes and time; proxies and cookies of the environment are not used.
Who needs it imports it late: the client takes half a second to load.
"""

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from msgspec import Struct

from tradewind.platform.security.addresses import (
    AMBIGUOUS,
    URL_LENGTH_MAX,
    Networks,
    OutboundRefused,
    address_of,
)

ANSWER_BYTES_MAX = 1024 * 1024
TIMEOUT_S = 10.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class ForbiddenAddress(OSError):
    """A socket was about to connect to an address that is not public."""


class Answered(Struct, frozen=True):
    """What the other side said; of a long body the beginning."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outbound:
    """Calls URLs that are not ours. One per process; `close` it. `inside` are networks to allow."""

    def __init__(
        self, inside: Sequence[str] = (), *, resolver: AbstractResolver | None = None
    ) -> None:
        self._networks = Networks(inside)
        self._resolver = resolver
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    def check(self, url: str) -> str:
        """The URL, where it may be called as far as its text tells: when somebody registers it.

        Raises `OutboundRefused`. The address is looked at when it is called.
        """
        if len(url) > URL_LENGTH_MAX or not url.isprintable() or not AMBIGUOUS.isdisjoint(url):
            raise OutboundRefused("The URL is too long, or holds characters that no URL has.")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise OutboundRefused("This is not a URL.") from None
        if parts.username is not None or parts.password is not None or "@" in parts.netloc:
            raise OutboundRefused("Leave user and password out of the URL.")
        if not host or port == 0 or host.endswith(".localhost"):
            raise OutboundRefused("The URL names no host.")
        address = address_of(host)
        if address is not None and not self._networks.allow(address):
            raise OutboundRefused("The address is not public.")
        if parts.scheme != "https" and (parts.scheme != "http" or not self._networks.inside):
            raise OutboundRefused("Only https is called.")
        return url

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        redirects_max: int = 0,
        timeout_s: float = TIMEOUT_S,
    ) -> Answered:
        """Call a URL. Raises `OutboundRefused`, and `aiohttp.ClientError`, `TimeoutError`.

        Redirects are not followed unless asked for, and then only by GET; to another host neither
        headers nor body go along.
        """
        assert not redirects_max or method == "GET", "a body is not sent on to a stranger"
        told = dict(headers or {})
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        for left in range(redirects_max, -1, -1):
            self.check(url)
            session = self._session(urlsplit(url).scheme)
            try:
                async with session.request(
                    method, url, headers=told, data=body, timeout=timeout, allow_redirects=False
                ) as answer:
                    location = answer.headers.get("location")
                    if answer.status not in REDIRECTS or location is None or not redirects_max:
                        content = await beginning(answer.content)
                        return Answered(answer.status, dict(answer.headers), content)
            except aiohttp.ClientConnectorError as error:
                if isinstance(error.os_error, ForbiddenAddress):
                    raise OutboundRefused("The address is not public.") from None
                raise
            if not left:
                break
            following = urljoin(url, location)
            if urlsplit(following).netloc != urlsplit(url).netloc:
                told = {}
            url = following
        raise OutboundRefused(f"The URL redirects more than {redirects_max} times.")

    async def close(self) -> None:
        """End the connections."""
        for session in self._sessions.values():
            await session.close()

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        found = self._sessions.get(scheme)
        if found is None:
            connector = aiohttp.TCPConnector(
                resolver=self._resolver,
                socket_factory=partial(self._socket, scheme),
                use_dns_cache=False,
                limit=32,
                limit_per_host=4,
            )
            found = self._sessions[scheme] = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return found

    def _socket(self, scheme: str, target: tuple[Any, ...]) -> socket.socket:
        """A socket for an address that is about to be connected to: the last moment to say no."""
        family, kind, protocol, _, place = target
        address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        networks = self._networks
        if not (networks.allow(address) if scheme == "https" else networks.have(address)):
            raise ForbiddenAddress(f"{scheme} to {address}")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


async def beginning(content: aiohttp.StreamReader) -> bytes:
    """As much of a body as is looked at."""
    found = bytearray()
    while len(found) < ANSWER_BYTES_MAX:
        piece = await content.read(ANSWER_BYTES_MAX - len(found))
        if not piece:
            break
        found += piece
    return bytes(found)
