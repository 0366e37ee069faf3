"""Every invariant holds of a healthy shop, and fails, alone, on the damage that it is there for."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.checks.damages import DAMAGES, Damage
from tests.checks.healthy_world import CHARGES, build, charge
from tradewind.checks.evidence import OFFENCES_SHOWN
from tradewind.checks.proofs import INVARIANTS, Proved, plain_words, prove, under_way
from tradewind.testing.database import TestServer


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def database(server: TestServer) -> AsyncIterator[str]:
    dsn = await server.create_database()
    yield dsn
    await server.drop_database(dsn)


@pytest_asyncio.fixture(loop_scope="session")
async def world(database: str) -> AsyncIterator[Any]:
    """A connection that sees the healthy world, and whatever a test does to it; nothing is kept."""
    connection = await asyncpg.connect(database)
    transaction = connection.transaction()
    await transaction.start()
    await build(connection)
    yield connection
    await transaction.rollback()
    await connection.close()


def broken(proved: list[Proved]) -> dict[str, Proved]:
    return {one.name: one for one in proved if not one.proof.holds}


async def test_a_healthy_shop_is_proved(world: Any) -> None:
    proved = await prove(world, CHARGES)
    assert not broken(proved), broken(proved)
    assert all(one.proof.checked > 0 for one in proved), "an invariant that looks at nothing"
    assert (await under_way(world)).quiet


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.about)
async def test_damage_is_found(world: Any, damage: Damage) -> None:
    await world.execute(damage.sql or "SELECT 1")
    found = broken(await prove(world, damage.charges))
    assert set(found) == set(damage.breaks)
    offences = {offence.id for one in found.values() for offence in one.proof.first}
    assert damage.id in offences
    assert all(offence.detail for one in found.values() for offence in one.proof.first)


def test_no_invariant_is_without_its_damage() -> None:
    names = {plain_words(one) for group in INVARIANTS.values() for one in group}
    assert names == {name for damage in DAMAGES for name in damage.breaks}


async def test_only_the_first_offences_are_named_and_all_are_counted(world: Any) -> None:
    await world.execute("DELETE FROM bus.feed_ranges")
    found = broken(await prove(world, CHARGES))["the feed holds every event"]
    assert found.proof.broken == 32
    assert len(found.proof.first) == OFFENCES_SHOWN


@pytest.mark.parametrize(
    ("sql", "still"),
    [
        ("UPDATE bus.offsets SET number = 0 WHERE partition = -1", "33 events to be read"),
        (
            "ALTER TABLE orders.orders DROP CONSTRAINT decided_has_a_time;"
            "UPDATE orders.orders SET status = 'placed' WHERE order_id = 'ord_held'",
            "1 orders to be decided",
        ),
        (
            "INSERT INTO payments.under_way (key, payment_id, operation, amount_minor, status,"
            " attempt, claim, claimed, due_at, requested_at) VALUES"
            " ('k', 'pay_held', 'void', 250, 'unknown', 1, 1, true, now(), now())",
            "1 operations at the provider",
        ),
    ],
)
async def test_a_shop_at_work_is_not_quiet(world: Any, sql: str, still: str) -> None:
    await world.execute(sql)
    moving = await under_way(world)
    assert not moving.quiet
    assert still in str(moving)


LATE_SUCCESS = """
INSERT INTO payments.payments
       (payment_id, order_id, amount_minor, currency, token, terms, status, wanted, sequence,
        version, created_at, updated_at)
VALUES ('pay_rejected', 'ord_rejected', 24750, 'GBP', 'tok_slow', '{{}}', 'failed', 'nothing', 1, 2,
        now(), now());
INSERT INTO payments.under_way
       (payment_id, key, operation, amount_minor, status, attempt, claim, claimed, due_at,
        requested_at)
VALUES ('pay_rejected', 'k', 'authorise', 24750, 'unknown', 3, 4, false, now(),
        now() - interval '{age}');
"""


@pytest.mark.parametrize(("age", "holds"), [("1 min", True), ("4 min", False)])
async def test_a_late_success_that_is_looked_for_is_no_blocked_money(
    world: Any, age: str, holds: bool
) -> None:
    await world.execute(LATE_SUCCESS.format(age=age))
    charges = (*CHARGES, charge(8, "authorise", "ord_rejected", 24750))
    name = "no money stays blocked for an order that ended"
    assert (name not in broken(await prove(world, charges))) == holds
