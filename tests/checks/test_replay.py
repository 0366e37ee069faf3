"""The events reproduce the rows: of a shop that did everything once, while it works, and never of
a shop in which somebody changed a row by hand."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tradewind.checks.replay.run import Replayed, replay
from tradewind.checks.replay.terminal import sentences
from tradewind.kernel.ids import new_id
from tradewind.testing.shop import Shop


async def replayed(shop: Shop) -> Replayed:
    assert shop.settings.database_url is not None
    return await replay(shop.settings.database_url, shop.settings.home / "archive")


async def change(shop: Shop, sql: str) -> None:
    connection = await asyncpg.connect(shop.settings.database_url)
    await connection.execute(sql)
    await connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def busy(shop: Shop) -> AsyncIterator[Shop]:
    """Orders in every state there is, from two locations."""
    await shop.given_product("mug", on_hand=50)
    await shop.given_product("pot", on_hand=1)
    location = {"name": "Annex", "priority": 200}
    assert (await shop.admin("PUT", "/v1/locations/annex", location)).status == 201
    count = {"on_hand": 5, "location": "annex"}
    assert (await shop.admin("PUT", "/v1/stock/pot", count)).status == 200
    tokens = ("tok_ok", "tok_declined", "tok_suspicious", "tok_capture_declined", "tok_unknown")
    placed = await asyncio.gather(*(shop.place(("mug", 2), ("MUG", 1), token=t) for t in tokens))
    split = await shop.place(("pot", 3))
    assert split.status == 201
    assert (await shop.place(("pot", 99))).status == 409
    await shop.until(split.json["id"], payment="captured")
    await shop.until(placed[0].json["id"], payment="captured")
    refund = {"amount": {"amount": "5.00", "currency": "GBP"}, "reason": "chipped"}
    path = f"/v1/payments/{split.json['payment']['id']}/refunds"
    assert (await shop.admin("POST", path, refund, key=new_id("key"))).status == 201
    for order in (placed[0].json, placed[2].json):
        path = f"/v1/orders/{order['id']}/cancel"
        answer = await shop.admin("POST", path, {"reason": "no"}, key=new_id("key"))
        assert answer.status == 200, answer.raw
    assert (await shop.admin("PUT", "/v1/stock/mug", {"on_hand": 7})).status == 200
    broken = {"kind": "write_off", "quantity": -3, "reason": "damages", "location": "annex"}
    path = "/v1/stock/pot/movements"
    assert (await shop.admin("POST", path, broken, key=new_id("key"))).status == 201
    found = {"kind": "found", "quantity": 12, "reason": "behind the shelf"}
    path = "/v1/stock/lid/movements"
    assert (await shop.admin("POST", path, found, key=new_id("key"))).status == 201
    await shop.until_idle()
    yield shop


async def test_the_events_reproduce_every_row(busy: Shop) -> None:
    result = await replayed(busy)
    print("\n".join(sentences(result)))
    assert result.holds, "\n".join(sentences(result))
    compared = {table.name: table.compared for table in result.tables}
    assert compared["orders.orders"] == compared["orders.lines"] == 7
    assert compared["payments.payments"] == 6
    assert compared["payments.ledger"] == 3
    assert compared["inventory.stock"] == 4


async def test_it_holds_at_any_moment_of_a_shop_that_works(busy: Shop) -> None:
    """What a context copies from others is as old as what its consumer has read."""
    await busy.given_product("pin", on_hand=500)
    load = asyncio.gather(*(busy.place(("pin", 1)) for _ in range(120)))
    moments = 0
    while not load.done():
        result = await replayed(busy)
        assert result.holds, "\n".join(sentences(result))
        moments += 1
    await load
    assert moments > 0


@pytest.mark.parametrize(
    ("sql", "table", "detail"),
    [
        (
            "UPDATE orders.orders SET payment_status = 'voided' WHERE payment_status = 'captured'",
            "orders.orders",
            "payment_status is 'voided', its events say",
        ),
        (
            "UPDATE inventory.stock SET on_hand = on_hand + 1 WHERE sku_key = 'MUG'",
            "inventory.stock",
            "on_hand is 8, its events say 7",
        ),
        (
            "UPDATE inventory.reservations SET locations = NULL WHERE locations IS NOT NULL",
            "inventory.reservations",
            "parts is",
        ),
        (
            "INSERT INTO payments.ledger (at, payment_id, order_id, kind, debit, credit,"
            " amount_minor, currency) SELECT now(), payment_id, order_id, 'fee', 'fees',"
            " 'receivable', 1, 'GBP' FROM payments.payments WHERE status = 'declined'",
            "payments.ledger",
            "is there, and no event says so",
        ),
        (
            "DELETE FROM bus.log WHERE type = 'payments.payment_refunded.v1'",
            "payments.payments",
            "refunded_minor is",
        ),
        (
            "DELETE FROM inventory.reservations WHERE status = 'refused'",
            "inventory.reservations",
            "is not there",
        ),
    ],
)
async def test_a_row_that_was_changed_by_hand_is_named(
    busy: Shop, sql: str, table: str, detail: str
) -> None:
    before = {one.name: one.differing for one in (await replayed(busy)).tables}
    await change(busy, sql)
    result = await replayed(busy)
    assert not result.holds
    found = next(one for one in result.tables if one.name == table)
    assert found.differing > before[table]
    assert detail in "\n".join(sentences(result))
