"""The short way out keeps the limits, and what is kept there is only what is the same for all."""

import asyncio
from typing import Any

import pytest

from tradewind.kernel.answers import Answer
from tradewind.platform.cache.memory import Depends, Memory, Seen
from tradewind.platform.gateway.admission import Admission
from tradewind.platform.gateway.endpoint import Endpoint, Response
from tradewind.platform.gateway.limits import Class, Limits, Policy
from tradewind.platform.gateway.quotas import Quotas
from tradewind.platform.gateway.recall import KnownHolder, Recall, Remembered, nobody
from tradewind.platform.gateway.routing import Anyone, Route, Scope
from tradewind.platform.security.credentials import Credential
from tradewind.platform.settings import Settings

TARGET = b"/v1/things/1"
CLIENT = ("192.0.2.1", 5)


async def nothing(request: Any) -> Answer:
    return Answer()


async def look(since: str | None) -> Seen:
    return Seen("here")


def endpoint(**changes: Any) -> Endpoint:
    fields: dict[str, Any] = {
        "method": "GET",
        "path": "/v1/things/{id}",
        "handler": nothing,
        "summary": "Read a thing.",
        "permission": Anyone(),
        **changes,
    }
    return Endpoint(Route(**fields), "things")


async def remembering(
    *,
    cors: bool = False,
    limits: Limits | None = None,
    holder: KnownHolder = nobody,
    quotas: Quotas | None = None,
) -> Recall:
    """A memory that holds one answer."""
    memory = Memory(look, bytes_max=100_000)
    memory.find(TARGET)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    response = Response(200, [(b"content-type", b"application/json"), (b"etag", b'"1"')], b"{}")
    kept = Remembered(endpoint(), response)
    assert memory.keep(TARGET, kept, kept.size, Depends(), mark=memory.mark())
    return Recall({"things": memory}, Admission(Settings(), limits, quotas), holder, cors=cors)


async def test_an_anonymous_caller_is_counted_and_stopped() -> None:
    """As on the long way: told where he stands, and, once over, left to it to be refused."""
    one = Policy(2, 60, 2)
    limits = Limits(b"secret", lambda: 1_000.0, classes={"standard": Class(one, one)})
    recall = await remembering(limits=limits)
    first = recall.at_once(TARGET, [], CLIENT, [])
    assert first is not None
    assert b'ratelimit-policy: "standard";q=2;w=60\r\n' in first
    assert b'ratelimit: "standard";r=1;t=' in first
    assert recall.at_once(TARGET, [], CLIENT, []) is not None
    assert recall.at_once(TARGET, [], CLIENT, []) is None
    assert recall.at_once(TARGET, [], ("192.0.2.2", 5), []) is not None


KNOWN = Credential("key_1")
BEARER = (b"authorization", b"Bearer one")


async def test_a_caller_who_is_known_is_answered_and_counted_by_name() -> None:
    one = Policy(1, 60, 1)
    limits = Limits(b"secret", lambda: 1_000.0, classes={"standard": Class(one, one)})
    recall = await remembering(limits=limits, holder={"one": KNOWN}.get)
    assert recall.at_once(TARGET, [], CLIENT, []) is not None, "counted by address"
    assert recall.at_once(TARGET, [BEARER], CLIENT, []) is not None
    assert recall.at_once(TARGET, [BEARER], ("192.0.2.2", 5), []) is None, "one key, one budget"


@pytest.mark.parametrize(
    "found",
    [
        None,
        Credential("key_1", customer_group="trade"),
        Credential("key_1", certificate="thumbprint"),
        Credential("key_1", limits="partner"),
    ],
)
async def test_who_is_not_as_everybody_takes_the_long_way(found: Credential | None) -> None:
    """Unknown, with prices of their own, bound to a certificate, or with a quota of the day."""
    quotas: Any = object()
    recall = await remembering(holder=lambda bearer: found, quotas=quotas)
    assert recall.at_once(TARGET, [BEARER], CLIENT, []) is None
    basic = (b"authorization", b"Basic one")
    recall = await remembering(holder=lambda bearer: KNOWN)
    assert recall.at_once(TARGET, [basic], CLIENT, []) is None


async def test_what_is_not_plain_takes_the_long_way() -> None:
    recall = await remembering()
    assert recall.at_once(TARGET, [(b"host", b"shop")], CLIENT, []) is not None
    for head in (b"authorization", b"content-length", b"transfer-encoding", b"expect", b"upgrade"):
        assert recall.at_once(TARGET, [(head, b"1")], CLIENT, []) is None
    assert recall.at_once(TARGET, [(b"accept", b"a"), (b"accept", b"b")], CLIENT, []) is None
    assert recall.at_once(b"/v1/things/2", [], CLIENT, []) is None
    assert (await remembering(cors=True)).at_once(TARGET, [], CLIENT, []) is None


async def test_only_open_reads_of_a_context_with_a_memory_are_kept() -> None:
    """What depends on who asks must never be given to somebody else."""
    recall = await remembering()
    assert recall.memory_of(endpoint()) is not None
    assert recall.memory_of(endpoint(permission=Scope("things:read"))) is None
    assert recall.memory_of(endpoint(method="DELETE")) is None
    other = Endpoint(endpoint().route, "others")
    assert recall.memory_of(other) is None
