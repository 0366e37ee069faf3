"""The provider as a client meets it: over HTTP, under whims, through kill -9."""

import asyncio
import json
import signal
import time
from itertools import count
from typing import Any

import aiohttp
import pytest

from tradewind.testing.provider import ProviderProcess, session

NUMBERS = count(1)


def operation(operation: str = "authorise", **changes: Any) -> dict[str, Any]:
    """An authorisation of 10.00 for an order of its own, or as `changes` say."""
    payment = changes.pop("payment", None) or f"pay_{next(NUMBERS)}"
    return {
        "key": f"{payment}:{operation}",
        "operation": operation,
        "amount_minor": 1_000,
        "currency": "GBP",
        "token": "tok_ok",
        "reference": f"{payment}:authorise",
        "order_id": payment.replace("pay", "ord"),
        **changes,
    }


def url_of(provider: ProviderProcess) -> str:
    return f"{provider.url}/v1/operations"


async def test_a_key_never_charges_twice(provider: ProviderProcess) -> None:
    """Sent alone, again, twice in one batch and from two requests at once: one charge."""
    ask = operation()
    first = await provider.send(ask)
    again = await provider.send(ask, ask)
    twins = await asyncio.gather(provider.send(ask), provider.send(ask))
    assert first[0]["status"] == "succeeded"
    assert [*again, *twins[0], *twins[1]] == first * 4
    record = await provider.items("/v1/charges", order_id=ask["order_id"])
    assert [row["key"] for row in record] == [ask["key"]]


async def test_the_same_key_for_another_amount_is_refused(provider: ProviderProcess) -> None:
    ask = operation()
    await provider.send(ask)
    other = await provider.send({**ask, "amount_minor": 2_000})
    assert (other[0]["status"], other[0]["reason"]) == ("refused", "key_reused")


@pytest.mark.parametrize(
    ("done", "asked", "amount_minor", "reason"),
    [
        ([], "capture", 1_000, "no_such_authorisation"),
        (["authorise"], "capture", 1_001, "amount_exceeds_authorisation"),
        (["authorise"], "refund", 1, "not_captured"),
        (["authorise", "capture"], "refund", 1_001, "amount_exceeds_capture"),
        (["authorise", "capture"], "void", 1_000, "already_captured"),
        (["authorise", "capture"], "capture", 1_000, "already_captured"),
        (["authorise", "void"], "capture", 1_000, "voided"),
        (["authorise", "void"], "void", 1_000, "voided"),
    ],
)
async def test_it_refuses_nonsense(
    provider: ProviderProcess, done: list[str], asked: str, amount_minor: int, reason: str
) -> None:
    payment = f"pay_nonsense_{next(NUMBERS)}"
    for name in done:
        assert (await provider.send(operation(name, payment=payment)))[0]["status"] == "succeeded"
    key = f"{payment}:{asked}:again"
    ask = operation(asked, payment=payment, amount_minor=amount_minor, key=key)
    answer = (await provider.send(ask))[0]
    assert (answer["status"], answer["reason"]) == ("refused", reason)


async def test_refunds_add_up_to_the_capture_at_most(provider: ProviderProcess) -> None:
    payment = f"pay_refunds_{next(NUMBERS)}"
    await provider.send(operation(payment=payment), operation("capture", payment=payment))
    refunds = [
        operation("refund", payment=payment, amount_minor=400, key=f"{payment}:refund:{n}")
        for n in range(3)
    ]
    answers = await provider.send(*refunds)
    assert [a["status"] for a in answers] == ["succeeded", "succeeded", "refused"]


@pytest.mark.parametrize(
    ("token", "reason"), [("tok_declined", "card_declined"), ("tok_nobody_knows", "unknown_token")]
)
async def test_cards_are_declined(provider: ProviderProcess, token: str, reason: str) -> None:
    answer = (await provider.send(operation(token=token)))[0]
    assert (answer["status"], answer["reason"]) == ("refused", reason)


async def test_a_slow_card_holds_nobody_back(provider: ProviderProcess) -> None:
    """Answers come as they are ready, whatever the order in the batch."""
    batch = [operation(token="tok_slow"), operation(), operation()]
    started = time.monotonic()
    seen: list[tuple[str, float]] = []
    async with session() as http, http.post(url_of(provider), json=batch) as response:
        async for line in response.content:
            seen.append((json.loads(line)["key"], time.monotonic() - started))
    assert [key for key, _ in seen] == [batch[1]["key"], batch[2]["key"], batch[0]["key"]]
    assert seen[1][1] < 1.0 < 1.9 < seen[2][1]


async def test_a_silent_card_is_never_answered_and_takes_nothing(provider: ProviderProcess) -> None:
    batch = [operation(token="tok_timeout"), operation()]
    lines: list[bytes] = []
    timeout = aiohttp.ClientTimeout(total=1)
    with pytest.raises(TimeoutError):
        async with (
            session() as http,
            http.post(url_of(provider), json=batch, timeout=timeout) as response,
        ):
            async for line in response.content:
                lines.append(line)
    assert [json.loads(line)["key"] for line in lines] == [batch[1]["key"]]
    found = await provider.items("/v1/operations", key=batch[0]["key"])
    assert found == [{"key": batch[0]["key"], "status": "unknown"}]


async def test_a_flaky_card_fails_twice_and_then_works(provider: ProviderProcess) -> None:
    """Alone it fails as HTTP does; among others the line says so and the others are done."""
    ask = operation(token="tok_flaky")
    async with session() as http, http.post(url_of(provider), json=[ask]) as response:
        assert response.status == 503
    second = await provider.send(ask, operation())
    assert [answer["status"] for answer in second] == ["error", "succeeded"]
    assert (await provider.send(ask))[0]["status"] == "succeeded"


async def test_a_lost_reply_is_found_by_key(provider: ProviderProcess) -> None:
    """The money is taken, the answer is not sent; asking again takes no more."""
    ask = operation(token="tok_unknown")
    assert await provider.send(ask) == []
    found = await provider.items("/v1/operations", key=ask["key"])
    assert found[0]["status"] == "succeeded"
    assert (await provider.send(ask))[0]["status"] == "succeeded"
    assert len(await provider.items("/v1/charges", order_id=ask["order_id"])) == 1


@pytest.mark.parametrize(
    ("token", "name", "answers"),
    [
        ("tok_capture_declined", "capture", ["refused"]),
        ("tok_capture_unknown", "capture", []),
        ("tok_refund_declined", "refund", ["refused"]),
        ("tok_refund_unknown", "refund", []),
        ("tok_void_unknown", "void", []),
    ],
)
async def test_whims_of_later_operations(
    provider: ProviderProcess, token: str, name: str, answers: list[str]
) -> None:
    """The card that was authorised decides, not the token of the later request."""
    payment = f"pay_{token}"
    await provider.send(operation(payment=payment, token=token))
    if name == "refund":
        await provider.send(operation("capture", payment=payment, token=token))
    got = await provider.send(operation(name, payment=payment))
    assert [answer["status"] for answer in got] == answers


async def test_nothing_answered_is_lost_by_kill_9(provider: ProviderProcess) -> None:
    """A dead provider that comes back knows every answer it gave, under load too."""
    asked = [operation() for _ in range(400)]
    answered: list[str] = []

    async def one(start: int) -> None:
        for index in range(start, len(asked), 8):
            try:
                answers = await provider.send(asked[index])
            except (aiohttp.ClientError, TimeoutError):
                return
            answered.extend(answer["key"] for answer in answers)

    async def killer() -> None:
        while len(answered) < 40:
            await asyncio.sleep(0.001)
        provider.stop(signal.SIGKILL)

    await asyncio.gather(killer(), *(one(start) for start in range(8)))
    assert len(answered) < len(asked), "killed before it was done"
    provider.start()
    found = await provider.items("/v1/operations", key=answered[:400])
    assert {row["status"] for row in found} == {"succeeded"}
    assert len(found) == len(answered)
    for ask in asked[:100]:
        await provider.send(ask)
    keys = [row["key"] for row in await provider.items("/v1/charges", after="0")]
    assert len(keys) == len(set(keys))


async def test_totals_are_the_sum_of_the_charges(provider: ProviderProcess) -> None:
    await provider.send(operation(currency="SEK"), operation(currency="SEK", amount_minor=5))
    totals = await provider.items("/v1/totals")
    mine = [row for row in totals if row["currency"] == "SEK"]
    assert mine == [
        {"operation": "authorise", "currency": "SEK", "count": 2, "amount_minor": 1_005}
    ]
    rows = await provider.items("/v1/charges", after="0", limit="1000")
    assert sum(row["count"] for row in totals) == len(rows)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"[1]",
        b"\xff\xfe",
        b'[{"key": "k"}]',
        json.dumps([operation(amount_minor=-1)]).encode(),
        json.dumps([operation(amount_minor=1.5)]).encode(),
        json.dumps([operation(currency="gbp")]).encode(),
        json.dumps([operation("steal")]).encode(),
        json.dumps([operation() for _ in range(501)]).encode(),
    ],
)
async def test_a_broken_batch_is_refused_whole(provider: ProviderProcess, body: bytes) -> None:
    async with session() as http, http.post(url_of(provider), data=body) as response:
        assert response.status == 400
        assert (await response.json(content_type=None))["detail"]


async def test_it_lives_and_it_stops(provider: ProviderProcess) -> None:
    """SIGTERM ends it at once and cleanly, though somebody still waits for a silent card."""
    async with session() as http, http.get(f"{provider.url}/livez") as response:
        assert response.status == 200
    waiting = asyncio.create_task(provider.send(operation(token="tok_timeout")))
    await asyncio.sleep(0.2)
    started = time.monotonic()
    code = await asyncio.to_thread(provider.stop)
    assert code == 0
    assert time.monotonic() - started < 3
    assert await waiting == []
    provider.start()
