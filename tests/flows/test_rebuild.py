"""What is copied or drawn from events is made again from them, while orders arrive."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tradewind import app
from tradewind.platform.bus.rebuild import AlreadyRebuilding
from tradewind.testing.shop import Shop


async def sql(shop: Shop, statement: str) -> Any:
    connection = await asyncpg.connect(shop.settings.database_url)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


async def rebuild(shop: Shop, name: str) -> str:
    assert shop.settings.database_url is not None
    return await app.rebuild(shop.settings, shop.settings.database_url, name)


async def load(shop: Shop, stop: asyncio.Event) -> int:
    """Orders and changes of products, until told to stop; how many were confirmed."""
    confirmed = round_ = 0
    while not stop.is_set():
        round_ += 1
        price = {"amount": f"{10 + round_ % 5}.00", "currency": "GBP"}
        product = {"title": "Busy", "variants": [{"sku": "busy", "price": price}]}
        told = shop.admin("PUT", "/v1/products/busy", product)
        answers = await asyncio.gather(told, *(shop.place(("calm", 1)) for _ in range(5)))
        confirmed += sum(answer.status == 201 for answer in answers[1:])
        assert {answer.status for answer in answers[1:]} == {201}, answers
    return confirmed


DAMAGE = {
    "orders.offers": (
        "UPDATE orders.offers SET unit_price_e4 = 1 WHERE sku_key LIKE 'P-%' AND sku_key < 'P-3'",
        "DELETE FROM orders.offers WHERE sku_key LIKE 'P-%' AND sku_key > 'P-5'",
        "INSERT INTO orders.offers SELECT 'GHOST', 'GBP', 'ghost', 'prd_ghost', 'Ghost', 1, 1",
    ),
    "catalog.availability": (
        "UPDATE catalog.availability SET availability = 'low' WHERE sku_key LIKE 'P-1%'",
        "DELETE FROM catalog.availability WHERE sku_key LIKE 'P-4%'",
        "INSERT INTO catalog.availability SELECT 'GHOST', 'low', 1",
    ),
    "catalog.documents": (
        "UPDATE catalog.products SET document = '{}' WHERE external_id LIKE 'p-2%'",
        "UPDATE catalog.products SET mark = 'x' WHERE external_id LIKE 'p-3%'",
    ),
}
READ = {
    "orders.offers": "SELECT md5(string_agg(o::text, ',' ORDER BY sku_key)) FROM orders.offers o"
    " WHERE sku_key <> 'BUSY'",
    "catalog.availability": "SELECT md5(string_agg(a::text, ',' ORDER BY sku_key))"
    " FROM catalog.availability a",
    "catalog.documents": "SELECT md5(string_agg(mark || document, ',' ORDER BY product_id))"
    " FROM catalog.products WHERE external_id <> 'busy'",
}


async def test_a_damaged_projection_is_healed_while_orders_arrive(shop: Shop) -> None:
    await asyncio.gather(*(shop.given_product(f"p-{n}", on_hand=n) for n in range(60)))
    await shop.given_product("calm", on_hand=5_000)
    await shop.until_idle()
    stop = asyncio.Event()
    loading = asyncio.create_task(load(shop, stop))
    for name, statements in DAMAGE.items():
        [[sound]] = await sql(shop, READ[name])
        for statement in statements:
            await sql(shop, statement)
        assert (await sql(shop, READ[name]))[0][0] != sound
        told = await rebuild(shop, name)
        print(told)
        assert "mended" in told or "drawn anew" in told
        assert (await sql(shop, READ[name]))[0][0] == sound
        again = await rebuild(shop, name)
        assert ("identical" in again and "mended" not in again) or " 0 drawn anew" in again, again
    stop.set()
    assert await loading > 0
    assert not await sql(shop, "SELECT 1 FROM pg_tables WHERE tablename LIKE 'rebuilt%'")


async def test_an_empty_table_is_filled_again(shop: Shop) -> None:
    """In more transactions than one."""
    [[sound]] = await sql(shop, READ["orders.offers"])
    await sql(shop, "DELETE FROM orders.offers")
    assert "mended" in await rebuild(shop, "orders.offers")
    assert (await sql(shop, READ["orders.offers"]))[0][0] == sound
    assert (await shop.place(("calm", 1))).status == 201


async def test_one_at_a_time(shop: Shop) -> None:
    results = await asyncio.gather(
        *(rebuild(shop, "orders.offers") for _ in range(3)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, AlreadyRebuilding)]
    assert len(refused) < 3
    for result in results:
        assert isinstance(result, str | AlreadyRebuilding), result


def test_whatever_is_declared_is_offered() -> None:
    assert app.rebuildable() == ["orders.offers", "catalog.availability", "catalog.documents"]


async def test_what_is_unknown_is_refused(shop: Shop) -> None:
    with pytest.raises(KeyError):
        await rebuild(shop, "orders.orders")
