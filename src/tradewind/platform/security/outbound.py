"""Where the platform may call to: the rule against being sent into its own house.

A URL that comes from a setting or a caller may name a machine behind the firewall, or the cloud's
metadata service. So a name is resolved once, every address it has is looked at, and the connection
goes to what was looked at: a second answer of the name server cannot change it. Only addresses of
the public internet are called, and networks that the setting `outbound_networks` names. Link-local
addresses are never called. Redirects are not followed by anyone who uses this.
"""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

RESOLVED_WITHIN_S = 5.0
# IPv6 addresses that carry one of IPv4 in their last 32 bits: NAT64.
NAT64 = IPv6Network("64:ff9b::/96")


class OutboundRefused(Exception):
    """The address must not be called; the text says why and what to do."""


class Target(Struct, frozen=True):
    """Where to connect: what the name was resolved to, and looked at."""

    host: str  # as the URL has it: for the Host header and the certificate
    port: int
    addresses: Sequence[str]


def parts_of(url: str, schemes: Sequence[str]) -> SplitResult:
    """A URL taken apart. Raises `OutboundRefused` for one that hides or lacks something."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OutboundRefused(f"{url[:200]!r} is no URL: {error}.") from None
    if parts.scheme not in schemes:
        raise OutboundRefused(f"{url[:200]!r} must begin with one of {', '.join(schemes)}.")
    if not parts.hostname or "%" in parts.hostname or port == 0:
        raise OutboundRefused(f"{url[:200]!r} names no host that could be called.")
    if parts.username is not None or parts.password is not None:
        raise OutboundRefused("A URL must carry no user and no password.")
    return parts


def may_call(address: str, networks: Sequence[str]) -> bool:
    """Whether an address is of the public internet, or of a network that is named."""
    try:
        plain: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    inside = embedded(plain)
    plain = inside if inside is not None else plain
    if plain.is_link_local or plain.is_multicast or plain.is_unspecified:
        return False
    for network in networks:
        allowed = ip_network(network, strict=False)
        if plain.version == allowed.version and plain in allowed:
            return True
    return plain.is_global


def embedded(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that one of IPv6 stands for, if it does."""
    if isinstance(address, IPv4Address):
        return None
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


async def resolve(host: str, port: int, networks: Sequence[str]) -> Target:
    """The addresses of a host. Raises `OutboundRefused` if any of them must not be called."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVED_WITHIN_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise OutboundRefused(f"The name {host} cannot be resolved: {error!r}.") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    refused = [address for address in addresses if not may_call(address, networks)]
    if refused or not addresses:
        raise OutboundRefused(
            f"{host} is at {', '.join(refused) or 'no address'}, which is not of the public "
            "internet. If it is right all the same, name its network in "
            "TRADEWIND_OUTBOUND_NETWORKS."
        )
    return Target(host, port, addresses)
