"""A shop that keeps what is in a cart for some minutes: nobody else gets it, and it comes back."""

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.flows.test_carts import ask, check_out, ready
from tradewind.checks.evidence import Evidence
from tradewind.checks.proofs import STOCK
from tradewind.checks.replay.run import replay
from tradewind.testing.database import TestServer
from tradewind.testing.shop import Shop, SimulatorProcess

BUYERS = 12


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(
    server: TestServer, simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    """Ten minutes for every cart."""
    dsn = await server.create_database()
    shop = Shop(dsn, tmp_path_factory.mktemp("holds"), simulator.url, cart_hold_minutes=10)
    await shop.start()
    yield shop
    await shop.stop()
    await server.drop_database(dsn)


async def reserved(shop: Shop, sku: str) -> int:
    """The promised units, once all is quiet."""
    await shop.until_idle()
    counts = await shop.stock(sku)
    found: int = counts["reserved"]
    return found


async def test_what_is_in_a_cart_is_kept_and_taken_over(shop: Shop) -> None:
    """Others get what is left; the cart's order gets what was kept; then nothing is kept twice."""
    await shop.given_product("hd-mug", on_hand=5)
    cart = await ready(shop, ("hd-mug", 3))
    assert await reserved(shop, "hd-mug") == 3
    seen = (await ask(shop, cart, "GET")).json
    assert (seen["hold"]["status"], seen["hold"]["short"]) == ("held", [])
    assert (await shop.place(("hd-mug", 3))).json["code"] == "stock_is_short"
    assert (await shop.place(("hd-mug", 2))).status == 201
    assert (await check_out(shop, cart)).status == 201
    assert await reserved(shop, "hd-mug") == 5
    assert "hold" not in (await ask(shop, cart, "GET")).json


async def test_nobody_comes_between_a_cart_and_its_order(shop: Shop) -> None:
    """The last unit lies in a cart; a crowd wants it while the cart is checked out."""
    await shop.given_product("hd-last", on_hand=1)
    cart = await ready(shop, ("hd-last", 1))
    assert await reserved(shop, "hd-last") == 1
    own, *others = await asyncio.gather(
        check_out(shop, cart), *(shop.place(("hd-last", 1)) for _ in range(BUYERS))
    )
    assert own.status == 201, own.raw
    assert {answer.status for answer in others} == {409}
    assert await reserved(shop, "hd-last") == 1


async def test_a_hold_follows_its_cart(shop: Shop) -> None:
    """More, less, what there is not, a refused card, and thrown away."""
    await shop.given_product("hd-move", on_hand=4)
    cart = await ready(shop, ("hd-move", 1))
    await ask(shop, cart, "PATCH", "/lines/1", {"quantity": 3})
    assert await reserved(shop, "hd-move") == 3
    await ask(shop, cart, "PATCH", "/lines/1", {"quantity": 9})
    assert await reserved(shop, "hd-move") == 4
    assert (await ask(shop, cart, "GET")).json["hold"]["short"] == ["hd-move"]
    await ask(shop, cart, "PATCH", "/lines/1", {"quantity": 2})
    assert await reserved(shop, "hd-move") == 2
    assert (await check_out(shop, cart, token="tok_declined")).status == 402
    assert await reserved(shop, "hd-move") == 0, "the order had it, and gave it back"
    await ask(shop, cart, "PATCH", "/lines/1", {"quantity": 1})
    assert await reserved(shop, "hd-move") == 1
    assert (await ask(shop, cart, "DELETE")).status == 204
    assert await reserved(shop, "hd-move") == 0


async def test_a_hold_ends_at_its_time(shop: Shop) -> None:
    """Whoever left the cart finds it again, but perhaps no units."""
    await shop.given_product("hd-time", on_hand=2)
    cart = await ready(shop, ("hd-time", 2))
    assert await reserved(shop, "hd-time") == 2
    owner = await asyncpg.connect(shop.settings.database_url)
    try:
        await owner.execute(
            "UPDATE bus.timers SET due_at = now() WHERE source = 'inventory' AND key = $1",
            cart["id"],
        )
    finally:
        await owner.close()
    until = time.monotonic() + 20
    while await reserved(shop, "hd-time"):
        assert time.monotonic() < until, "it is kept for ever"
        await asyncio.sleep(0.1)
    assert (await shop.place(("hd-time", 2))).status == 201
    late = await check_out(shop, cart)
    assert (late.status, late.json["code"]) == (409, "stock_is_short")


async def test_the_books_are_right(shop: Shop) -> None:
    """Counts are what reservations and holds add up to, and what the events say; last in this
    file, after all that happened.
    """
    await ready(shop, ("hd-mug", 1))
    await shop.given_product("hd-kept", on_hand=7)
    await ready(shop, ("hd-kept", 3))
    assert await reserved(shop, "hd-kept") == 3
    owner = await asyncpg.connect(shop.settings.database_url)
    try:
        for invariant in STOCK:
            proof = await invariant(Evidence(owner, [], None))
            assert proof.holds, (invariant, proof)
    finally:
        await owner.close()
    assert shop.settings.database_url is not None
    replayed = await replay(shop.settings.database_url, shop.settings.home / "archive")
    assert replayed.holds, [table for table in replayed.tables if table.differing]
