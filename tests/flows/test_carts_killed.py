"""kill -9 while people shop: a click takes effect once, a cart becomes one order."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tradewind.kernel.ids import new_id
from tradewind.testing.platform import Platform

# Starts a whole platform and kills its parts: not beside other tests.
pytestmark = pytest.mark.alone

SHOPPERS = 12
STOCK = 100_000
LOAD_S = 1.0
BACK_WITHIN_S = 20.0
WAIT = {"Prefer": "wait=30"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """One home that is hurt again and again."""
    platform = Platform(tmp_path_factory.mktemp("killed-carts"))
    try:
        await platform.start()
        await platform.given_product("trolley", on_hand=STOCK)
        yield platform
    finally:
        await platform.stop()


class Shopper:
    """Clicks from a cart to an order, each click repeated until it is answered."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.over = asyncio.Event()
        self.done: list[tuple[Any, Any]] = []  # cart and order

    async def click(self, method: str, path: str, body: Any, cart: Any = None) -> Any:
        bearer = None if cart is None else cart["cart_token"]
        answer = await self.platform.ask_until_answered(
            method, path, body, key=new_id("key"), bearer=bearer, headers=WAIT
        )
        assert answer.status in (200, 201), answer.raw
        return answer.json

    async def shop(self) -> None:
        """One cart after the other, of two units that come in one by one."""
        order = self.platform.order(("trolley", 1))
        while not self.over.is_set():
            email = f"{new_id('cus')}@example.com"
            cart = await self.click(
                "POST", "/v1/carts", {"currency": "GBP", "email": email, "lines": order["lines"]}
            )
            path = f"/v1/carts/{cart['id']}"
            filled = await self.click("POST", f"{path}/lines", {"sku": "trolley"}, cart)
            assert filled["lines"][0]["quantity"] == 2, "a click took effect twice, or never"
            told = {"shipping_address": order["shipping_address"]}
            await self.click("PATCH", path, told, cart)
            placed = await self.click(
                "POST", f"{path}/checkout", {"payment": order["payment"]}, cart
            )
            self.done.append((cart, placed))


@pytest.mark.parametrize("part", ["web", "postgres"])
async def test_killed_while_people_shop(platform: Platform, part: str) -> None:
    """Everybody who goes on clicking has exactly the order of their cart in the end."""
    victim = platform.web[0] if part == "web" else platform.postgres
    before = (await platform.stock("trolley"))["reserved"]
    shoppers = [Shopper(platform) for _ in range(SHOPPERS)]
    tasks = [asyncio.create_task(shopper.shop()) for shopper in shoppers]
    try:
        await asyncio.sleep(LOAD_S)
        platform.kill(victim)
        await platform.until_ready(BACK_WITHIN_S)
        await asyncio.sleep(LOAD_S)
    finally:
        for shopper in shoppers:
            shopper.over.set()
        await asyncio.gather(*tasks)
    done = [pair for shopper in shoppers for pair in shopper.done]
    assert len({cart["id"] for cart, _ in done}) == len({o["id"] for _, o in done}) == len(done)
    assert len(done) >= SHOPPERS
    for cart, order in done:
        path, token = f"/v1/carts/{cart['id']}", cart["cart_token"]
        seen = (await platform.request("GET", path, bearer=token)).json
        assert (seen["status"], seen["order"]["id"]) == ("ordered", order["id"])
        assert order["lines"][0]["quantity"] == 2
    await platform.check_invariants()
    assert (await platform.stock("trolley"))["reserved"] == before + 2 * len(done)
    assert platform.error_lines() == []
