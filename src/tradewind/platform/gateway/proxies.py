"""Whose request it is where proxies stand in between: the address that limits and logs go by.

Only a peer in the configured networks is believed, and only about the address next to it: the list
in the header is read from its end, past proxies of ours, to the first that is none. What a client
wrote into the header itself stands further to the front and is never reached. One of the two
headers counts, the one that the proxies set: the other may be the client's own.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# More hops than any installation has; the rest of a longer list is not looked at.
HOPS_MAX = 16


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The networks that these texts name. Raises `ValueError`."""
    return tuple(ipaddress.ip_network(text) for text in texts)


class Proxies:
    """Finds the client behind trusted proxies; without any, the peer is the client."""

    def __init__(self, trusted: Sequence[str], header: str) -> None:
        self.trusted = networks(trusted)
        self._header = header.encode()
        self._is_forwarded = header == "forwarded"
        self.trusts = lru_cache(maxsize=4_096)(self._trusts)

    def client(self, peer: str, headers: Mapping[bytes, bytes]) -> str:
        """The client's address. What cannot be read is nobody's word: then it is the last proxy."""
        if not self.trusted or not self.trusts(peer):
            return peer
        told = headers.get(self._header)
        if told is None:
            return peer
        nearest = peer
        for hop in reversed(told.decode("latin-1").split(",")[-HOPS_MAX:]):
            address = address_in(forwarded_for(hop) if self._is_forwarded else hop)
            if address is None:
                return nearest
            nearest = address
            if not self.trusts(address):
                return address
        return nearest

    def _trusts(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self.trusted)


def forwarded_for(element: str) -> str:
    """The `for` of one element of a Forwarded header (RFC 7239)."""
    for pair in element.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return value.strip('"')
    return ""


def address_in(text: str) -> str | None:
    """The address of a hop, without its port; None where it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
