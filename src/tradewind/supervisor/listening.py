"""The address of the platform: taken once, by the supervisor, and held as long as it runs."""

import socket
import sys

from tradewind.platform.settings import Settings
from tradewind.supervisor.children import StartError

# Callers that may wait while a web process is replaced; the system's own limit may be lower.
BACKLOG = 2_048


def bind(host: str, port: int) -> socket.socket:
    """Take the address, before anything else is started; nobody is accepted yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError):
        raise StartError(
            f"TRADEWIND_HOST is {host!r}, which is no address of this machine. "
            "Use 127.0.0.1 for this machine alone, or 0.0.0.0 for everybody."
        ) from None
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise cannot_listen(host, port, error) from None
    return bound


def bind_all(host: str, port: int, count: int) -> list[socket.socket]:
    """One socket per web process on the same address, among which the system spreads the callers.

    A single socket for all would be fair only at rest: whoever wakes first takes a whole burst of
    connections, and keeps them. Where the system cannot spread, all get the same socket.
    """
    first = bind(host, port)
    if count == 1 or sys.platform != "linux":
        return [first] * count
    # It proved that the address is free, of our own kind too. Only sockets that all say so share.
    family, kind, protocol = first.family, first.type, first.proto
    address = first.getsockname()
    first.close()
    shared: list[socket.socket] = []
    try:
        for _ in range(count):
            shared.append(socket.socket(family, kind, protocol))
            shared[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            shared[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            shared[-1].bind(address)
    except OSError as error:
        for one in shared:
            one.close()
        raise cannot_listen(host, port, error) from None
    return shared


def cannot_listen(host: str, port: int, error: OSError) -> StartError:
    """Why the address cannot be had, and what to do."""
    return StartError(
        f"Tradewind cannot listen on {host} port {port}: {error.strerror}. Stop the program "
        "that is there, or set TRADEWIND_PORT to a free port."
    )


def address_of(settings: Settings) -> str:
    """The address to give to a person of this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
