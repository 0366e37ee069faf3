"""What a checkout asks of the database: counted at the driver, without what an idle shop asks."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.contexts.identity import people
from tests.flows.test_carts import ADDRESS, ask, check_out, guest
from tradewind.kernel.ids import new_id
from tradewind.testing.shop import Shop

IDLE_S = 3.0
SHOPPERS = 8
# Measured: 19.5 for an order placed at once, until all is quiet, and 36 for a checkout. Others
# of its kind take 350 to 570 (docs/performance.md).
ORDER_MAX, CHECKOUT_MAX = 26, 45


class Asked:
    """Every statement that goes to the server, by its text."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: Counter[str] = Counter()
        for name in ("fetch", "fetchrow", "fetchval", "execute"):
            monkeypatch.setattr(asyncpg.Connection, name, self.counted(name))

    def counted(self, name: str) -> Callable[..., Awaitable[object]]:
        """A method of a connection that counts."""
        method = getattr(asyncpg.Connection, name)

        async def call(connection: object, sql: str, *args: object, **more: object) -> object:
            self.texts[sql] += 1
            return await method(connection, sql, *args, **more)

        return call

    async def during(self, work: Callable[[], Awaitable[object]], but: set[str]) -> float:
        """Statements of a piece of work, those of an idle shop left out."""
        self.texts.clear()
        for _ in range(SHOPPERS):
            await work()
        return sum(count for sql, count in self.texts.items() if sql not in but) / SHOPPERS


async def test_what_a_checkout_asks_of_the_database(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few statements a click; an order of a cart costs what an order costs."""
    for sku in ("cost-a", "cost-b", "cost-c"):
        await shop.given_product(sku, on_hand=1_000)
    lines = (("cost-a", 1), ("cost-b", 1), ("cost-c", 1))

    async def place(bearer: str | None = None) -> None:
        answer = await shop.place(*lines, bearer=bearer)
        assert answer.status == 201
        await shop.until_idle()

    async def click() -> None:
        cart = await guest(shop, *lines)
        told = {"email": f"{new_id('cus')}@example.com", "shipping_address": ADDRESS}
        await ask(shop, cart, "PATCH", "", told, key=new_id("key"))
        await ask(shop, cart, "GET", "/shipping-options")
        await ask(shop, cart, "PATCH", "", {"shipping_option": "standard"}, key=new_id("key"))
        assert (await check_out(shop, cart)).status == 201
        await shop.until_idle()

    email = f"{new_id('cus')}@example.com"
    await people.account(shop, email)
    await place()
    await click()
    asked = Asked(monkeypatch)
    await asyncio.sleep(IDLE_S)
    idle = set(asked.texts)
    order = await asked.during(place, idle)
    of_guests = set(asked.texts)
    checkout = await asked.during(click, idle)
    assert order <= ORDER_MAX, asked.texts

    session = await people.signed_in(shop, email)
    await place(session)
    asked.texts.clear()
    for _ in range(4):  # what was revoked is asked for twice a second, whatever is read
        await shop.request("GET", "/v1/products", bearer=session)
        await asyncio.sleep(0.5)
    idle |= set(asked.texts)
    await asked.during(lambda: place(session), idle)
    # What is asked for each of them, and never for a guest; how often the rest is asked is chance.
    more = {sql for sql, count in asked.texts.items() if count >= SHOPPERS} - of_guests - idle
    assert not more, "who is signed in is known without asking"
    assert order < checkout <= CHECKOUT_MAX, asked.texts
