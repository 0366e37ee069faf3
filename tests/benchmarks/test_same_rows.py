"""B is a fair partner only while it leaves the rows that the platform leaves, no fewer and no less.

When this fails after a change of a table or an event, change benchmarks/sql/same_rows.sql with it.
"""

from typing import Any

import asyncpg
import pytest

from benchmarks import load, partners
from tradewind.testing.shop import Shop

# Starts whole platforms and stops their clocks: not beside other tests.
pytestmark = pytest.mark.alone


ORDERS = 8
# Rows that come and go with time and processes, not with orders; and the feed's, one of which
# numbers the events of many orders under load: B leaves none, which is in its favour.
NOT_PER_ORDER = {
    *("bus.offsets", "bus.processes", "bus.feed_ranges"),
    *("vault.keys", "orders.swept", "vault.swept", "orders.document_series"),
}
# Texts differ in a few bytes (names of traces, digits); more would be other content.
BYTES_APART_MAX = 0.1

Content = dict[str, tuple[int, int]]  # table -> rows, bytes


async def content(dsn: str) -> Content:
    """Rows and bytes of every table of the platform."""
    connection = await asyncpg.connect(dsn)
    try:
        names = await connection.fetch(
            "SELECT schemaname || '.' || relname AS name FROM pg_stat_user_tables"
            " WHERE schemaname NOT IN ('bench', 'tradewind', 'public')"
        )
        found = {}
        for name in sorted(row["name"] for row in names):
            if name not in NOT_PER_ORDER:
                found[name] = tuple(
                    await connection.fetchrow(
                        f"SELECT count(*), coalesce(sum(pg_column_size(t)), 0) FROM {name} AS t"
                    )
                )
        return found
    finally:
        await connection.close()


def per_order(before: Content, after: Content) -> dict[str, tuple[float, float]]:
    """What an order added, by table."""
    return {
        name: ((rows - before[name][0]) / ORDERS, (size - before[name][1]) / ORDERS)
        for name, (rows, size) in after.items()
        if rows != before[name][0]
    }


# What this test reads as staff goes on record; keys of the vault are made once, not for an order.
NOT_OF_ORDERS = ("audit.", "vault.key_versions")


async def fetchval(dsn: str, sql: str) -> Any:
    """One value."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@pytest.fixture
async def left_by_platform(shop: Shop) -> dict[str, tuple[float, float]]:
    """What an order of the load generator leaves."""
    for number in (1, 400, 1000):
        await shop.given_product(f"B{number:04d}", on_hand=1_000, price="9.99")
    await shop.until_idle()
    assert shop.settings.database_url is not None
    before = await content(shop.settings.database_url)
    for number in range(ORDERS):
        body = load.BODY % (b"%016d" % number, 1, 400, 1000)
        answer = await shop.request("POST", "/v1/orders", body, key=f"same-rows-{number}")
        assert answer.status == 201, answer.raw
        await shop.until(answer.json["id"], payment="captured")
    await shop.until_idle()
    left = per_order(before, await content(shop.settings.database_url))
    return {table: found for table, found in left.items() if not table.startswith(NOT_OF_ORDERS)}


async def test_b_leaves_the_rows_of_the_platform(
    left_by_platform: dict[str, tuple[float, float]], dsn: str
) -> None:
    name = dsn.partition("?")[0].rsplit("/", 1)[1]
    partner = partners.B
    await partners.call(
        "psql",
        *("-qX", "-v", "ON_ERROR_STOP=1", "-f", str(partners.SQL / partner.schema)),
        dsn=dsn,
    )
    before = await content(dsn)
    reserved_before = await fetchval(dsn, "SELECT sum(reserved) FROM inventory.stock")
    in_its_database = partners.Partner(
        partner.name, partner.title, name, partner.schema, partner.script, migrated=True
    )
    result = await partners.run(dsn, in_its_database, orders=ORDERS // 2, clients=2)
    assert result.orders == ORDERS
    left = per_order(before, await content(dsn))

    assert {n: rows for n, (rows, _) in left.items()} == {
        n: rows for n, (rows, _) in left_by_platform.items()
    }
    for table, (_, size) in left_by_platform.items():
        assert left[table][1] == pytest.approx(size, rel=BYTES_APART_MAX), f"{table}: other content"
    reserved = await fetchval(dsn, "SELECT sum(reserved) FROM inventory.stock")
    assert reserved - reserved_before == 3 * ORDERS


async def test_the_partners_are_what_they_always_were() -> None:
    """A must stay comparable over years: its files never change."""
    hashes = partners.hashes()
    assert hashes["schema.sql"].startswith("2008b5c19d3a8003")
    assert hashes["pipe.sql"].startswith("ff52016d06f461b2")
