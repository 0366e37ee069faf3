"""Two web processes: both decide, either may be killed, nothing but the speed changes."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tradewind.kernel.ids import new_id
from tradewind.testing.platform import Platform, runs
from tradewind.testing.shop import Reply

# Starts whole platforms and stops their clocks: not beside other tests.
pytestmark = pytest.mark.alone


BUYERS = 500
UNITS = 100


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """Two web processes on one address."""
    platform = Platform(tmp_path_factory.mktemp("two workers"), workers=2)
    try:
        await platform.start()
        yield platform
    finally:
        await platform.stop()


async def everybody_buys(platform: Platform, sku: str) -> Counter[tuple[int, str]]:
    """All at once; who gets no answer asks again with the same key. How often which outcome."""

    async def buy(buyer: int) -> Reply:
        return await platform.ask_until_answered(
            "POST",
            "/v1/orders",
            platform.order((sku, 1), email=f"{sku}-{buyer}@example.com"),
            key=new_id("key"),
            headers={"Prefer": "wait=30"},
        )

    answers = await asyncio.gather(*(buy(buyer) for buyer in range(BUYERS)))
    return Counter(
        (answer.status, answer.json["status"] if answer.status == 201 else answer.json["code"])
        for answer in answers
    )


EXACTLY = {(201, "confirmed"): 100, (409, "stock_is_short"): 400}


async def worked(platform: Platform, metric: str, **labels: str) -> dict[str, float]:
    """What a metric counted, by worker."""
    by_worker = {}
    for worker in ("1", "2"):
        samples = await platform.metric(metric, worker=worker, **labels)
        by_worker[worker] = sum(samples.values())
    return by_worker


async def test_both_decide_orders(platform: Platform) -> None:
    """A hundred of five hundred, three times; each process placed some and decided some."""
    for round_ in range(3):
        await platform.given_product(f"both-{round_}", on_hand=UNITS)
        assert await everybody_buys(platform, f"both-{round_}") == EXACTLY
    placed = await worked(platform, "tradewind_commands_total", command="PlaceOrder")
    assert sum(placed.values()) == 3 * BUYERS, placed
    decided = await worked(platform, "tradewind_bus_events_total", consumer="orders.decisions")
    assert sum(decided.values()) >= 3 * BUYERS, decided
    assert min(decided.values()) >= 3 * BUYERS / 8, decided


@pytest.mark.parametrize("number", [0, 1])
async def test_either_is_killed_in_the_middle(platform: Platform, number: int) -> None:
    """Exactly a hundred all the same, and the other one answers meanwhile."""
    sku = f"killed-{number}"
    await platform.given_product(sku, on_hand=UNITS)
    victim = platform.web[number]
    buying = asyncio.create_task(everybody_buys(platform, sku))
    await asyncio.sleep(0.4)
    was_in_the_middle = not buying.done()
    platform.kill(victim)
    assert was_in_the_middle
    assert await buying == EXACTLY
    counts = await platform.stock(sku)
    assert (counts["on_hand"], counts["reserved"], counts["available"]) == (100, 100, 0)
    until = asyncio.get_running_loop().time() + 10
    while victim in platform.web or len(platform.web) < 2:
        assert asyncio.get_running_loop().time() < until, "the killed one is not started again"
        await asyncio.sleep(0.05)
    await platform.until_ready()


async def test_all_of_it_holds(platform: Platform) -> None:
    """Stock, money, events: after everything above; the provider captured each order once."""
    await platform.check_invariants()
    captured = [c for c in await platform.provider_charges() if c["operation"] == "capture"]
    assert len({charge["order_id"] for charge in captured}) == len(captured) == 5 * UNITS
    assert platform.error_lines() == []


async def test_told_to_stop_it_answers_who_waits(platform: Platform) -> None:
    """202 with the order's place; within ten seconds nothing runs. The decision comes later."""
    await platform.given_product("waiting", on_hand=50)
    body = platform.order(("waiting", 1), token="tok_slow", email="patient@example.com")
    options: dict[str, Any] = {"key": new_id("key"), "headers": {"Prefer": "wait=30"}}
    waiting = asyncio.create_task(platform.request("POST", "/v1/orders", body, **options))
    while not (await platform.admin("GET", "/v1/orders?email=patient@example.com")).json["items"]:
        await asyncio.sleep(0.02)
    everything = [*platform.web, platform.postgres, platform.simulator]
    assert await platform.stop(signal.SIGTERM) < 10
    assert not any(map(runs, everything))
    answer = await waiting
    assert (answer.status, answer.json["status"]) == (202, "placed"), answer.raw
    assert answer.headers["Location"] == f"/v1/orders/{answer.json['id']}"
    await platform.start()
    again = await platform.ask_until_answered("POST", "/v1/orders", body, **options)
    # The eight seconds an authorisation may take go on while nothing runs: both ends are right.
    assert (again.status, again.json["status"]) in ((201, "confirmed"), (402, 402)), again.raw
    assert again.json.get("order_id", again.json.get("id")) == answer.json["id"]
    await platform.check_invariants()
