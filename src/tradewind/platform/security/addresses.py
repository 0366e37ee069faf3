"""Which addresses the platform may connect to: those of the public internet, and named networks.

A URL or a host that somebody else gave us may name a machine behind the firewall, or a cloud's
metadata service. Networks that are meant all the same are named (`TRADEWIND_OUTBOUND_NETWORKS`).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from tradewind.kernel.problems import Problem

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

URL_LENGTH_MAX = 2_000
RESOLVED_WITHIN_S = 5.0
# Prefixes of IPv6 addresses behind which a translator finds an IPv4 address in the last 32 bits.
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# With these characters a URL is read differently by different readers.
AMBIGUOUS = frozenset("\\ \t\r\n\x00")


class OutboundRefused(Problem):
    """The platform does not call this URL: not https, not public, or not to be read clearly."""

    status = 422
    code = "url_refused"
    title = "The platform does not call this URL."


class Networks:
    """The networks off the public internet that may be called."""

    def __init__(self, inside: Sequence[str] = ()) -> None:
        self.inside = [ipaddress.ip_network(network, strict=False) for network in inside]

    def have(self, address: Address) -> bool:
        """Whether an address lies in one of them. Where clouds keep their secrets is in none."""
        if address.is_link_local or address.is_multicast or address.is_unspecified:
            return False
        return any(address in network for network in self.inside)

    def allow(self, address: Address) -> bool:
        """Whether an address may be connected to."""
        if self.have(address):
            return True
        return all(is_public(one) for one in (address, *addresses_inside(address)))

    async def resolve(self, host: str, port: int) -> str:
        """An address of a host, to connect to that and no other. Raises `OutboundRefused` if any
        of the addresses that the name has must not be called.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVED_WITHIN_S):
                entries = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise OutboundRefused(f"The name {host} cannot be resolved: {error!r}.") from None
        found = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        plain = [ipaddress.ip_address(one.partition("%")[0]) for one in found]
        if not found or not all(map(self.allow, plain)):
            raise OutboundRefused(
                f"{host} is at {', '.join(found) or 'no address'}, which is not of the public "
                "internet. If it is right all the same, name its network in "
                "TRADEWIND_OUTBOUND_NETWORKS."
            )
        return found[0]


def address_of(host: str) -> Address | None:
    """The address that a host is, in any spelling a system call would take: 0x7f.1, 2130706433."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def is_public(address: Address) -> bool:
    """Whether anybody in the world would reach the same machine there."""
    return address.is_global and not (
        address.is_multicast
        or address.is_reserved
        or address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_unspecified
    )


def addresses_inside(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[Address] = [
        inner for inner in (address.ipv4_mapped, address.sixtofour) if inner is not None
    ]
    if address.teredo is not None:
        found += address.teredo
    if address in NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found
