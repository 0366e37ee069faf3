"""kill -9, under load, of everything that can be killed: nothing is lost, nothing is doubled."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from tradewind.kernel.ids import new_id
from tradewind.testing.platform import UNANSWERED, Platform
from tradewind.testing.shop import Reply

# Starts whole platforms and stops their clocks: not beside other tests.
pytestmark = pytest.mark.alone


CONNECTIONS = 32
SKUS = [f"part-{number}" for number in range(50)]
STOCK = 100_000
# Before and after each kill; the load goes on in between.
LOAD_S = 1.0
BACK_WITHIN_S = 20.0  # a second or two on a machine that does nothing else


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """One home that is hurt again and again."""
    platform = Platform(tmp_path_factory.mktemp("killed"))
    try:
        await platform.start()
        for sku in SKUS:
            await platform.given_product(sku, on_hand=STOCK)
        yield platform
    finally:
        await platform.stop()


class Load:
    """Buyers on 32 connections. Who is not answered keeps the order and its key for later."""

    def __init__(self, platform: Platform, seed: int) -> None:
        self.platform = platform
        self.random = random.Random(seed)
        self.answered: list[tuple[dict[str, Any], str, Reply]] = []
        self.unanswered: list[tuple[dict[str, Any], str]] = []
        self.reasons: set[str] = set()
        self.over = asyncio.Event()

    async def look(self) -> None:
        """What ``/readyz`` says from time to time."""
        while not self.over.is_set():
            with contextlib.suppress(*UNANSWERED):
                answer = await self.platform.request("GET", "/readyz")
                self.reasons.update(answer.json.get("reasons", ()))
            await asyncio.sleep(0.02)

    async def buy(self) -> None:
        """One buyer after the other, each with a basket of one to three products."""
        while not self.over.is_set():
            lines = [
                (sku, self.random.randint(1, 3))
                for sku in self.random.sample(SKUS, self.random.randint(1, 3))
            ]
            body, key = self.platform.order(*lines), new_id("key")
            try:
                answer = await self.send(body, key)
            except UNANSWERED:
                self.unanswered.append((body, key))
                await asyncio.sleep(0.1)
                continue
            if answer.status in (202, 503):
                self.unanswered.append((body, key))
                await asyncio.sleep(0.1)
            else:
                self.answered.append((body, key, answer))

    async def send(self, body: dict[str, Any], key: str) -> Reply:
        """Place an order."""
        return await self.platform.request(
            "POST", "/v1/orders", body, key=key, headers={"Prefer": "wait=30"}
        )

    async def ask_again(self) -> None:
        """Repeat what was not answered, with the same keys, until it is."""

        async def one(body: dict[str, Any], key: str) -> None:
            answer = await self.platform.ask_until_answered(
                "POST", "/v1/orders", body, key=key, headers={"Prefer": "wait=30"}
            )
            self.answered.append((body, key, answer))

        waiting, self.unanswered = self.unanswered, []
        for start in range(0, len(waiting), CONNECTIONS):
            await asyncio.gather(*(one(*w) for w in waiting[start : start + CONNECTIONS]))


async def under_load(platform: Platform, seed: int, hurt: Callable[[], Any]) -> tuple[Load, int]:
    """Let buyers in, hurt the platform while they buy, let them go on; all are answered at last.

    Also how many had been confirmed when it happened.
    """
    load = Load(platform, seed)
    buyers = [asyncio.create_task(load.buy()) for _ in range(CONNECTIONS)]
    buyers.append(asyncio.create_task(load.look()))
    try:
        await asyncio.sleep(LOAD_S)
        before = len(load.answered)
        hurt()
        back_s = await platform.until_ready(BACK_WITHIN_S)
        await asyncio.sleep(LOAD_S)
    finally:
        load.over.set()
        await asyncio.gather(*buyers)
    assert back_s < BACK_WITHIN_S
    await load.ask_again()
    return load, before


async def all_orders(platform: Platform) -> dict[str, dict[str, Any]]:
    """Every order there is, page by page; none stands on two pages."""
    found: dict[str, dict[str, Any]] = {}
    cursor = ""
    while True:
        page = (await platform.admin("GET", f"/v1/orders?limit=100{cursor}")).json
        for order in page["items"]:
            assert order["id"] not in found
            found[order["id"]] = order
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


async def nothing_lost_nothing_doubled(platform: Platform, load: Load) -> None:
    """What buyers were told, what the shop knows and what the provider did are the same."""
    assert {answer.status for _, _, answer in load.answered} == {201}
    await platform.check_invariants()
    orders = await all_orders(platform)
    emails = Counter(order["email"] for order in orders.values())
    assert set(emails.values()) == {1}, "somebody's order was placed twice"
    captured = Counter(
        charge["order_id"]
        for charge in await platform.provider_charges()
        if charge["operation"] == "capture"
    )
    for body, _, answer in load.answered:
        order = orders[answer.json["id"]]
        assert (order["status"], order["payment"]["status"]) == ("confirmed", "captured")
        assert order["email"] == body["email"]
        assert captured[order["id"]] == 1
    assert set(captured) == set(orders)
    reserved: Counter[str] = Counter()
    for order in orders.values():
        for line in order["lines"]:
            reserved[line["sku"]] += line["quantity"]
    for sku in SKUS:
        counts = await platform.stock(sku)
        assert counts["reserved"] == reserved[sku], sku
        assert counts["available"] == STOCK - reserved[sku], sku
    body, key, answer = load.answered[0]
    replayed = await load.send(body, key)
    assert (replayed.status, replayed.raw) == (answer.status, answer.raw)


@pytest.mark.parametrize("part", ["web", "postgres", "simulator"])
async def test_killed_under_load(platform: Platform, part: str) -> None:
    """It is back within seconds; who was not answered asks again and is served once."""
    victim = platform.web[0] if part == "web" else getattr(platform, part)
    load, before = await under_load(platform, 7, lambda: platform.kill(victim))
    assert before, "no order had been decided when it was killed"
    assert len(load.answered) > before, "none was decided afterwards"
    now = platform.web[0] if part == "web" else getattr(platform, part)
    assert now != victim
    if part == "postgres":
        assert "the database does not answer" in load.reasons
    await nothing_lost_nothing_doubled(platform, load)


async def test_all_of_it_is_still_there_after_a_restart(platform: Platform) -> None:
    """Stop and start: the same orders, the same stock, the same answer to the same key."""
    body, key = platform.order((SKUS[0], 1)), new_id("key")
    first = await platform.request("POST", "/v1/orders", body, key=key)
    cancelled = await platform.admin(
        "POST", f"/v1/orders/{first.json['id']}/cancel", {"reason": "no"}, key=new_id("key")
    )
    assert cancelled.status == 200, cancelled.raw
    orders, stock = await all_orders(platform), await platform.stock(SKUS[0])
    await platform.stop()
    await platform.start()
    again = await platform.request("POST", "/v1/orders", body, key=key)
    assert (again.status, again.raw) == (201, first.raw)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await all_orders(platform) == orders
    assert await platform.stock(SKUS[0]) == stock


async def test_no_bug_was_met(platform: Platform) -> None:
    """Whatever was killed, no error and no traceback went to the log."""
    assert platform.error_lines() == []
