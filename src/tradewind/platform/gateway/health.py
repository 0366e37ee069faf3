"""What machines ask: is it alive, is it ready, which version is it, how is it doing.

`/livez` answers as long as the event loop turns: a supervisor that gets no answer restarts the
process. `/readyz` is for load balancers: 503 while orders cannot be taken, with the reasons.
"""

import platform
from collections.abc import Callable, Mapping, Sequence

import msgspec

from tradewind.platform.gateway.endpoint import NO_STORE, SECURITY, Response
from tradewind.platform.telemetry import metrics

JSON = (b"content-type", b"application/json")

# Reasons why this process cannot take orders; none: it is ready.
Unready = Callable[[], Sequence[str]]


def livez(params: Mapping[str, str], headers: Mapping[bytes, bytes]) -> Response:
    """The process answers."""
    return answered(200, {"status": "alive"})


def readyz(unready: Unready) -> Response:
    """Whether orders can be taken, and why not."""
    reasons = list(unready())
    if reasons:
        return answered(503, {"status": "unready", "reasons": reasons}, retry_after_s=1)
    return answered(200, {"status": "ready"})


def version(number: str) -> Response:
    """What runs here."""
    return answered(
        200,
        {"name": "tradewind", "version": number, "python": platform.python_version()},
    )


def metrics_page(params: Mapping[str, str], headers: Mapping[bytes, bytes]) -> Response:
    """All metrics in the Prometheus text format."""
    media_type = (b"content-type", metrics.MEDIA_TYPE.encode())
    return Response(200, [*SECURITY, NO_STORE, media_type], metrics.exposition())


def answered(status: int, document: Mapping[str, object], *, retry_after_s: int = 0) -> Response:
    """A small JSON document that is never cached."""
    headers = [*SECURITY, NO_STORE, JSON]
    if retry_after_s:
        headers.append((b"retry-after", b"%d" % retry_after_s))
    return Response(status, headers, msgspec.json.encode(document))
