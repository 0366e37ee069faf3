"""More than the platform can do, connections that do nothing, a provider that does not answer.

No times are judged here (`python -m benchmarks.pressure` does that): only that every answer is
right, that refusals say when to come back, and that nothing is lost or left behind.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tradewind.kernel.ids import new_id
from tradewind.testing.platform import Platform
from tradewind.testing.shop import Reply

# Whole platforms, pressed hard: not beside other tests.
pytestmark = pytest.mark.alone

QUEUE = 64
CROWD = 600
IDLE = 1_500
STALLED = 60


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """With a short queue, so that a crowd is more than it can do on any machine."""
    folder = tmp_path_factory.mktemp("pressed")
    platform = Platform(folder, batch_queue_max=QUEUE)
    try:
        await platform.start()
        yield platform
    finally:
        await platform.stop()


def told(answer: Reply) -> tuple[int, str]:
    """Status, and the status of the order or the code of the refusal."""
    return answer.status, answer.json.get("code") or answer.json["status"]


async def buy(platform: Platform, sku: str, **more: Any) -> Reply:
    return await platform.request(
        "POST",
        "/v1/orders",
        platform.order((sku, 1), **more),
        key=new_id("key"),
        headers={"Prefer": "wait=30"},
    )


async def test_the_excess_is_told_to_come_back(platform: Platform) -> None:
    """Everybody is served or refused; who is refused has no order; who comes back is served."""
    await platform.given_product("pressed", on_hand=10_000)
    answers = await asyncio.gather(*(buy(platform, "pressed") for _ in range(CROWD)))
    counts = Counter(map(told, answers))
    assert set(counts) == {(201, "confirmed"), (503, "busy")}, counts
    refused = [answer for answer in answers if answer.status == 503]
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert (await platform.stock("pressed"))["reserved"] == counts[201, "confirmed"]
    again = await asyncio.gather(
        *(
            platform.ask_until_answered(
                "POST", "/v1/orders", platform.order(("pressed", 1)), key=new_id("key")
            )
            for _ in refused
        )
    )
    assert Counter(map(told, again)) == {(201, "confirmed"): len(refused)}
    assert (await platform.stock("pressed"))["reserved"] == CROWD
    await platform.check_invariants()


async def test_refused_twins_are_the_same_order_later(platform: Platform) -> None:
    """A key that was refused as busy is not used up, one that was taken is not taken twice."""
    await platform.given_product("twins", on_hand=10_000)
    orders = [(platform.order(("twins", 1)), new_id("key")) for _ in range(CROWD // 3)]
    answers = await asyncio.gather(
        *(
            platform.ask_until_answered("POST", "/v1/orders", body, key=key)
            for body, key in orders * 2
        )
    )
    firsts, seconds = answers[: len(orders)], answers[len(orders) :]
    assert [answer.raw for answer in firsts] == [answer.raw for answer in seconds]
    assert {told(answer) for answer in firsts} == {(201, "confirmed")}
    assert (await platform.stock("twins"))["reserved"] == len(orders)


async def test_connections_that_say_nothing_do_no_harm(platform: Platform) -> None:
    """Fifteen hundred: some silent, some in the middle of a head, some in the middle of a body."""
    await platform.given_product("crowded", on_hand=10_000)
    starts = (
        b"",
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\n",
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\n"
        b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{",
    )
    writers = []
    try:
        for number in range(IDLE):
            _, writer = await asyncio.open_connection("127.0.0.1", platform.port)
            writer.write(starts[number % len(starts)])
            writers.append(writer)
        answers = [await buy(platform, "crowded") for _ in range(10)]
        assert {told(answer) for answer in answers} == {(201, "confirmed")}
        at_once = await asyncio.gather(*(buy(platform, "crowded") for _ in range(QUEUE // 2)))
        assert {told(answer) for answer in at_once} == {(201, "confirmed")}
    finally:
        for writer in writers:
            writer.close()
    assert told(await buy(platform, "crowded")) == (201, "confirmed")


async def test_a_stalled_provider_holds_up_only_its_own_orders(platform: Platform) -> None:
    """Others are confirmed before the stalled ones are decided, and those are decided, too."""
    await platform.given_product("stalled", on_hand=10_000)
    await platform.given_product("paid", on_hand=10_000)
    stalled = [
        asyncio.create_task(buy(platform, "stalled", token=token))
        for token in ("tok_timeout", "tok_slow")
        for _ in range(STALLED // 2)
    ]
    listed = "/v1/orders?status=placed&limit=100"
    while len((await platform.admin("GET", listed)).json["items"]) < STALLED // 2:
        await asyncio.sleep(0.05)
    answers = [await buy(platform, "paid") for _ in range(20)]
    assert {told(answer) for answer in answers} == {(201, "confirmed")}
    assert not any(task.done() for task in stalled[: STALLED // 2])
    ends = Counter(told(answer) for answer in await asyncio.gather(*stalled))
    assert ends == {(402, "payment_timeout"): STALLED // 2, (201, "confirmed"): STALLED // 2}
    assert (await platform.stock("paid"))["reserved"] == 20
    await platform.check_invariants()


async def test_it_is_as_it_was(platform: Platform) -> None:
    """Ready, quiet, and nothing in the log that a person must look at."""
    async with platform.session.get(f"{platform.url}/readyz") as answer:
        assert answer.status == 200
    assert platform.error_lines() == []
