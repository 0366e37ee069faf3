"""The address of the platform: taken once, by the supervisor, and held as long as it runs."""

import socket

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
        raise StartError(
            f"Tradewind cannot listen on {host} port {port}: {error.strerror}. Stop the program "
            "that is there, or set TRADEWIND_PORT to a free port."
        ) from None
    return bound


def address_of(settings: Settings) -> str:
    """The address to give to a person of this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
