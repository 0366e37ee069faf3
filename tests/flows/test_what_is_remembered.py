"""Rows that a unit knows from memory are those that it would have read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec
import pytest

from tests.flows.test_an_order_is_called_off import cancel
from tradewind.contexts.inventory.handlers import shelves as inventory
from tradewind.contexts.inventory.rules import Book as StockBook
from tradewind.contexts.inventory.tables import ReservationRow, ShelfRow
from tradewind.contexts.orders.handlers import deciding as orders
from tradewind.contexts.orders.handlers.desk import ORDER, open_desk
from tradewind.contexts.orders.rules import Desk
from tradewind.contexts.payments.handlers import rows as payments
from tradewind.contexts.payments.rules import Book, Case
from tradewind.platform.database.transaction import Transaction
from tradewind.testing.shop import Shop


class Comparison:
    """What was recalled beside what was read in the same unit, by kind."""

    def __init__(self) -> None:
        self.equal: dict[str, int] = {}

    def compare(self, kind: str, version: str, known: Any, read: Any) -> None:
        """Equal, unless somebody was faster: then the guard of the write tells."""
        if getattr(known, version) == getattr(read, version):
            assert msgspec.structs.asdict(known) == msgspec.structs.asdict(read), kind
            self.equal[kind] = self.equal.get(kind, 0) + 1


@pytest.fixture
def comparison(monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """Every unit that recalls reads, too."""
    found = Comparison()
    load, read = payments.load, inventory.read

    async def desk(tx: Transaction, order_ids: Sequence[str], *, recall: bool = False) -> Desk:
        known = tx.recall(ORDER, order_ids) if recall else {}
        for row in (await open_desk(tx, list(known))).rows.values() if known else ():
            found.compare("order", "version", known[row.order_id], row)
        return await open_desk(tx, order_ids, recall=recall)

    async def loaded(
        tx: Transaction, sql: str, ids: Iterable[str], known: Iterable[Case] = ()
    ) -> Book:
        known = list(known)
        ids_known = [case.payment.payment_id for case in known]
        again = await load(tx, payments.BY_PAYMENT, ids_known)
        for case in known:
            read = again.by_payment[case.payment.payment_id]
            found.compare("payment", "version", case.payment, read.payment)
            if case.payment.version == read.payment.version:
                assert case.open == read.open
        return await load(tx, sql, ids, known)

    async def shelves(
        tx: Transaction,
        requests: Any,
        keys: set[str],
        order_ids: Sequence[str],
        known: Mapping[str, ShelfRow] | None = None,
        **more: Any,
    ) -> StockBook:
        for row in await tx.fetch(inventory.READ_SHELVES, list(known or ()), into=ShelfRow):
            assert known is not None
            found.compare("shelf", "reserved", known[row.sku_key], row)
        held = tx.recall(inventory.RESERVATION, order_ids)
        for one in await tx.fetch(inventory.READ_RESERVATIONS, list(held), into=ReservationRow):
            found.compare("reservation", "version", held[one.order_id], one)
        return await read(tx, requests, keys, order_ids, known, **more)

    monkeypatch.setattr(orders, "open_desk", desk)
    monkeypatch.setattr(payments, "load", loaded)
    monkeypatch.setattr(inventory, "read", shelves)
    return found


async def test_what_is_recalled_is_what_is_read(shop: Shop, comparison: Comparison) -> None:
    """Every field of every kind, in every state on the way of an order."""
    await shop.given_product("known", on_hand=40)
    for token in ("tok_ok", "tok_declined", "tok_suspicious", "tok_capture_declined"):
        for quantity in (1, 2):
            await shop.place(("known", quantity), token=token)
    await shop.place(("known", 99))
    for _ in range(3):
        order = (await shop.place(("known", 1))).json
        await shop.until(order["id"], payment="captured")
    await cancel(shop, order["id"])
    await shop.until_idle()
    assert set(comparison.equal) == {"order", "payment", "shelf", "reservation"}
    assert min(comparison.equal.values()) >= 3, comparison.equal


async def test_what_is_at_rest_is_forgotten(shop: Shop) -> None:
    """Memory holds what is on its way, and the shelves."""
    await shop.given_product("at-rest", on_hand=9)
    order = (await shop.place(("at-rest", 1))).json
    await shop.until(order["id"], payment="captured")
    await shop.until_idle()
    names = [name for name in shop.node.workplace.known._rows if name[1] != "AT-REST"]
    assert not [name for name in names if name[1] in (order["id"], order["payment"]["id"])]


async def execute(shop: Shop, sql: str) -> None:
    """Behind the back of the process."""
    connection = await asyncpg.connect(shop.settings.database_url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def test_a_row_that_somebody_else_changed_is_read(shop: Shop) -> None:
    """Memory is out of date: the guard says so, and the order is decided on what is there."""
    await shop.given_product("changed", on_hand=9)
    order = (await shop.place(("changed", 1))).json
    await shop.until(order["id"], payment="captured")
    await execute(shop, "UPDATE inventory.stock SET reserved = 9 WHERE sku_key = 'CHANGED'")
    refused = await shop.place(("changed", 1))
    assert (refused.status, refused.json["code"]) == (409, "stock_is_short")
    await execute(shop, "UPDATE inventory.stock SET reserved = 1 WHERE sku_key = 'CHANGED'")
    assert (await shop.place(("changed", 8))).status == 201
    assert (await shop.place(("changed", 1))).status == 409


async def test_an_order_has_the_price_that_is_there(shop: Shop) -> None:
    """Offers are remembered; the statement that places an order proves that they are still so."""
    await shop.given_product("priced", on_hand=9)
    before = (await shop.place(("priced", 1))).json
    await shop.place(("priced", 1))
    await execute(
        shop, "UPDATE orders.offers SET unit_price_e4 = 2 * unit_price_e4 WHERE sku_key = 'PRICED'"
    )
    after = (await shop.place(("priced", 1))).json
    paid = [float(order["totals"]["total"]["amount"]) for order in (before, after)]
    assert paid[1] == 2 * paid[0]
    await execute(shop, "DELETE FROM orders.offers WHERE sku_key = 'PRICED'")
    assert (await shop.place(("priced", 1))).json["code"] == "unknown_sku"
    await execute(
        shop,
        "INSERT INTO orders.offers (sku_key, currency, sku, product_id, title, unit_price_e4,"
        " version) VALUES ('PRICED', 'GBP', 'priced', 'prd', 'Priced', 10000, 1)",
    )
    assert (await shop.place(("priced", 1))).status == 201


async def opened_elsewhere(shop: Shop, sku: str, location: str, on_hand: int) -> None:
    """Another process counts units of a sku at a second place: this one remembers what it did."""
    known = shop.node.workplace.known._rows
    remembered = dict(known)
    answer = await shop.admin("PUT", f"/v1/locations/{location}", {"name": location})
    assert answer.status == 201, answer.raw
    body = {"on_hand": on_hand, "location": location}
    answer = await shop.admin("PUT", f"/v1/stock/{sku}", body)
    assert answer.status == 200, answer.raw
    known.clear()
    known.update(remembered)


async def test_what_is_given_back_counts_with_what_lies_elsewhere(shop: Shop) -> None:
    """3 free here, 2 elsewhere: one more is no longer low, though 4 would be."""
    await shop.given_product("two-places", on_hand=10)
    await shop.place(("two-places", 6))
    order = (await shop.place(("two-places", 1))).json
    await shop.until(order["id"], payment="captured")
    await opened_elsewhere(shop, "two-places", "beside", 2)
    assert (await cancel(shop, order["id"])).status == 200
    query = "SELECT availability FROM inventory.skus WHERE sku_key = 'TWO-PLACES'"
    connection = await asyncpg.connect(shop.settings.database_url)
    try:
        assert await connection.fetchval(query) == "in_stock"
    finally:
        await connection.close()


async def test_what_another_process_took_elsewhere_is_given_back(shop: Shop) -> None:
    """The place is not known here; that is no fault of the message."""
    await shop.given_product("elsewhere", on_hand=9)
    order = (await shop.place(("elsewhere", 2))).json
    await shop.until(order["id"], payment="captured")
    await opened_elsewhere(shop, "elsewhere", "barn", 5)
    await execute(
        shop,
        f"""
        UPDATE inventory.stock SET reserved = 0 WHERE sku_key = 'ELSEWHERE' AND location = 'main';
        UPDATE inventory.stock SET reserved = 2 WHERE sku_key = 'ELSEWHERE' AND location = 'barn';
        UPDATE inventory.reservations SET locations = '{{barn}}' WHERE order_id = '{order["id"]}';
        """,
    )
    assert (await cancel(shop, order["id"])).status == 200
    assert (await shop.stock("elsewhere"))["available"] == 14


async def test_a_time_is_told_the_same_from_memory(shop: Shop) -> None:
    """History may come with any time zone; the database gives UTC, and so must memory."""
    await shop.given_product("from-afar", on_hand=2)
    body = shop.order(("from-afar", 1), placed_at="2011-01-04T10:00:00+02:00")
    answer = await shop.admin("POST", "/v1/orders", body, key="from-afar")
    assert answer.status == 201, answer.raw
    read = await shop.read_order(answer.json["id"])
    assert answer.json["placed_at"] == read["placed_at"] == "2011-01-04T08:00:00Z"
