"""Inventory's units of work on real PostgreSQL: what they save, and what the database refuses."""

import asyncio
from itertools import count as counting

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contexts.inventory.units import (
    NUMBERS,
    adjust,
    assert_proven,
    cancelled,
    changed,
    confirmed,
    count,
    fresh_sku,
    keep,
    level,
    movement,
    numbers,
    placed,
    rejected,
    set_stock,
    types,
)
from tradewind.contexts.inventory import handlers, queries
from tradewind.contexts.inventory.commands import KeepLocation
from tradewind.contexts.inventory.events import (
    AvailabilityChanged,
    StockAllocated,
    StockCounted,
    StockRefused,
    StockReleased,
    StockReserved,
)
from tradewind.contexts.inventory.problems import (
    QuantityChanged,
)
from tradewind.contexts.inventory.tables import StockLevel
from tradewind.contexts.orders.events import (
    OrderConfirmed,
)
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Event
from tradewind.testing.database import UnitRunner


async def test_the_life_of_a_confirmed_order(unit: UnitRunner) -> None:
    sku, order_id = fresh_sku(), new_id("ord")
    await count(unit, set_stock(sku, 20))
    order = placed(order_id, (sku, 2), (sku.lower(), 1))
    assert await keep(unit, order) == [
        StockReserved(sequence=1, order_id=order_id, payment=order.payment)
    ]
    assert await numbers(unit, sku) == (20, 3, 17, 0)
    assert await keep(unit, confirmed(order_id)) == [StockAllocated(sequence=2, order_id=order_id)]
    assert await numbers(unit, sku) == (20, 3, 17, 0)
    assert await keep(unit, cancelled(order_id, sku)) == [
        StockReleased(sequence=3, order_id=order_id, reason="cancelled")
    ]
    assert await numbers(unit, sku) == (20, 0, 20, 0)
    await assert_proven(unit)


async def test_a_rejected_order_gives_its_units_back_once(unit: UnitRunner) -> None:
    sku, order_id = fresh_sku(), new_id("ord")
    await count(unit, set_stock(sku, 3))
    await keep(unit, placed(order_id, (sku, 3)))
    told: list[object] = [StockReleased, AvailabilityChanged]
    assert types(await keep(unit, rejected(order_id, sku))) == told
    assert await keep(unit, rejected(order_id, sku), placed(order_id, (sku, 3))) == []
    assert await numbers(unit, sku) == (3, 0, 3, 0)


async def test_orders_of_one_batch_are_served_first_come_first_served(unit: UnitRunner) -> None:
    sku = fresh_sku()
    await count(unit, set_stock(sku, 5))
    ids = [new_id("ord") for _ in range(4)]
    wants = [4, 2, 1, 1]
    events = await keep(unit, *[placed(i, (sku, n)) for i, n in zip(ids, wants, strict=True)])
    assert types(events) == [
        StockReserved,
        StockRefused,
        StockReserved,
        StockRefused,
        AvailabilityChanged,
    ]
    assert await numbers(unit, sku) == (5, 5, 0, 0)


async def test_many_units_at_once_never_promise_more_than_there_is(unit: UnitRunner) -> None:
    """140 buyers in simultaneous units, a count in between: exactly the sixty units are promised,
    and every event about the sku stands in the log in its order.
    """
    sku, other = fresh_sku(), fresh_sku()
    await count(unit, set_stock(sku, 30), set_stock(other, 1_000))

    async def buy() -> list[Event]:
        orders = [placed(new_id("ord"), (other, 1), (sku, 1)) for _ in range(5)]
        return await keep(unit, *orders)

    first = await asyncio.gather(*[buy() for _ in range(10)])
    recount = asyncio.create_task(count(unit, set_stock(sku, 60, expected=30)))
    second = await asyncio.gather(*[buy() for _ in range(10)])
    await recount
    late = await asyncio.gather(*[buy() for _ in range(8)])
    served = [e for units in (*first, *second, *late) for e in units]
    assert sum(isinstance(event, StockReserved) for event in served) == 60
    assert await numbers(unit, sku) == (60, 60, 0, 0)
    log = await unit.sql(
        "SELECT sequence FROM bus.log WHERE subject = $1 ORDER BY xid, number",
        "sku:" + sku.upper(),
    )
    assert [row["sequence"] for row in log] == list(range(1, len(log) + 1))
    await assert_proven(unit)


async def test_a_whole_life_in_one_batch(unit: UnitRunner) -> None:
    """A reservation is inserted where its steps led it, and is known as a repeat later."""
    sku, order_id = fresh_sku(), new_id("ord")
    await count(unit, set_stock(sku, 9))
    life = [placed(order_id, (sku, 2)), confirmed(order_id), cancelled(order_id, sku)]
    assert types(await keep(unit, *life)) == [StockReserved, StockAllocated, StockReleased]
    assert await keep(unit, *life) == []
    assert await numbers(unit, sku) == (9, 0, 9, 0)


async def test_a_count_below_what_is_promised_is_kept_as_short(unit: UnitRunner) -> None:
    sku, order_id = fresh_sku(), new_id("ord")
    await count(unit, set_stock(sku, 10))
    await keep(unit, placed(order_id, (sku, 8)))
    (found,) = await count(unit, set_stock(sku, 5))
    assert isinstance(found, StockLevel)
    assert (found.on_hand, found.reserved, found.available, found.short) == (5, 8, 0, 3)
    assert types(await keep(unit, placed(new_id("ord"), (sku, 1)))) == [StockRefused]
    await keep(unit, cancelled(order_id, sku), placed(new_id("ord"), (sku, 4)))
    assert await numbers(unit, sku) == (5, 4, 1, 0)
    await assert_proven(unit)


async def test_counts_arrive_with_products(unit: UnitRunner) -> None:
    """A variant without a count leaves the stock alone; a version seen again changes nothing."""
    one, two, product = f"P{next(NUMBERS)}", f"P{next(NUMBERS)}", new_id("prd")
    events = await keep(unit, changed(product, 1, **{one: 7, two: None}))
    assert types(events) == [StockCounted, AvailabilityChanged]
    assert await numbers(unit, one) == (7, 0, 7, 0)
    await count(unit, set_stock(one, 4))
    assert await keep(unit, changed(product, 1, **{one: 7})) == []
    assert await numbers(unit, one) == (4, 0, 4, 0)
    await keep(unit, changed(product, 2, **{one: 9, two: 1}))
    assert await numbers(unit, one) == (9, 0, 9, 0)
    assert await numbers(unit, two) == (1, 0, 1, 0)


async def test_an_expected_quantity_is_compared_in_its_turn(unit: UnitRunner) -> None:
    sku = fresh_sku()
    outcomes = await count(
        unit,
        set_stock(sku, 3, expected=0),
        set_stock(sku, 4, expected=2),
        set_stock(sku, 5, expected=3),
    )
    assert [isinstance(outcome, QuantityChanged) for outcome in outcomes] == [False, True, False]
    assert await numbers(unit, sku) == (5, 0, 5, 0)
    async with unit.reading("inventory") as snapshot:
        moved = await queries.movements(snapshot, sku.upper(), before=2**63 - 1, count_max=10)
    assert [(m.kind, m.on_hand_delta) for m in moved] == [("count", 2), ("opening", 3)]


async def test_an_order_is_split_over_locations_by_priority(unit: UnitRunner) -> None:
    sku, order_id = fresh_sku(), new_id("ord")
    opened = [
        KeepLocation(location_id=new_id("loc"), code=code, name="", priority=priority)
        for code, priority in (("far", 900), ("near", 800))
    ]
    decision = await unit.run("inventory", handlers.keep_locations, opened, keyed=True)
    assert [answer.status for answer in decision.outcomes] == [201, 201]
    await count(unit, set_stock(sku, 2), set_stock(sku, 3, "far"), set_stock(sku, 4, "near"))
    await keep(unit, placed(order_id, (sku, 8)))
    found = await level(unit, sku)
    assert [(p.location, p.reserved) for p in found.locations] == [
        ("main", 2),
        ("near", 4),
        ("far", 2),
    ]
    await assert_proven(unit)
    await keep(unit, cancelled(order_id, sku))
    assert await numbers(unit, sku) == (9, 0, 9, 0)


async def test_a_location_is_changed_in_place(unit: UnitRunner) -> None:
    first = KeepLocation(location_id=new_id("loc"), code="barn", name="Barn", priority=700)
    second = KeepLocation(location_id=new_id("loc"), code="barn", name="Big barn", priority=701)
    decision = await unit.run("inventory", handlers.keep_locations, [first, second], keyed=True)
    assert [answer.status for answer in decision.outcomes] == [201, 200]
    async with unit.reading("inventory") as snapshot:
        barn = next(loc for loc in await queries.locations(snapshot) if loc.code == "barn")
    assert (barn.id, barn.name, barn.priority) == (first.location_id, "Big barn", 701)


@pytest.mark.parametrize(
    "set_clause",
    ["reserved = reserved + 4", "reserved = -1", "on_hand = -1", "short = 1", "on_hand = 1"],
)
async def test_the_database_refuses_to_oversell(unit: UnitRunner, set_clause: str) -> None:
    """Three units are free: whatever a broken program writes, a fourth is never promised."""
    sku = fresh_sku()
    await count(unit, set_stock(sku, 5))
    await keep(unit, placed(new_id("ord"), (sku, 2)))
    with pytest.raises(asyncpg.CheckViolationError):
        await unit.sql(f"UPDATE inventory.stock SET {set_clause} WHERE sku_key = $1", sku.upper())
    assert await numbers(unit, sku) == (5, 2, 3, 0)


async def test_a_short_shelf_takes_no_reservation_at_all(unit: UnitRunner) -> None:
    sku = fresh_sku()
    await count(unit, set_stock(sku, 5))
    await keep(unit, placed(new_id("ord"), (sku, 5)))
    await count(unit, set_stock(sku, 3))
    with pytest.raises(asyncpg.CheckViolationError):
        await unit.sql(
            "UPDATE inventory.stock SET reserved = reserved + 1 WHERE sku_key = $1", sku.upper()
        )


@pytest.mark.parametrize("statement", ["DELETE FROM", "TRUNCATE"])
async def test_the_ledger_only_grows(unit: UnitRunner, statement: str) -> None:
    await count(unit, set_stock(fresh_sku(), 5))
    with pytest.raises(asyncpg.RestrictViolationError):
        await unit.sql(f"{statement} inventory.movements")


async def test_stock_is_listed_in_the_order_of_its_keys(unit: UnitRunner) -> None:
    await count(unit, set_stock("~zz-b", 1), set_stock("~ZZ-a", 2), set_stock("~zz-c", 3))
    async with unit.reading("inventory") as snapshot:
        page = await queries.levels_after(snapshot, after="~ZZ", count_max=2)
        rest = await queries.levels_after(snapshot, after=page[-1][0], count_max=2)
    assert [(key, found.sku) for key, found in page] == [("~ZZ-A", "~ZZ-a"), ("~ZZ-B", "~zz-b")]
    assert [(key, found.on_hand) for key, found in rest] == [("~ZZ-C", 3)]


story = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["placed", "placed", "confirmed", "cancelled", "rejected", "count", "came", "went"]
            ),
            st.integers(0, 5),
            st.integers(0, 2),
            st.integers(1, 6),
        ),
        min_size=1,
        max_size=6,
    ),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(story)
async def test_any_story_leaves_ledgers_that_prove_the_stock(
    unit: UnitRunner, batches: list[list[tuple[str, int, int, int]]]
) -> None:
    """Whatever is placed, confirmed, called off and counted, however batched: rows stay true."""
    skus = [f"S{next(NUMBERS)}" for _ in range(3)]
    ids, product, versions = [new_id("ord") for _ in range(6)], new_id("prd"), counting(1)
    await count(unit, *[set_stock(sku, 6) for sku in skus])
    for batch in batches:
        events: list[Event] = []
        moves = [
            movement(skus[sku], units if kind == "came" else -units)
            for kind, _, sku, units in batch
            if kind in ("came", "went")
        ]
        for kind, order, sku, units in batch:
            match kind:
                case "placed":
                    events.append(placed(ids[order], (skus[sku], units), (skus[0], 1)))
                case "confirmed":
                    events.append(confirmed(ids[order]))
                case "cancelled":
                    events.append(cancelled(ids[order], *skus))
                case "rejected":
                    events.append(rejected(ids[order], *skus))
                case "count":
                    events.append(changed(product, next(versions), **{skus[sku]: units}))
        await keep(unit, *events)
        if moves:
            await adjust(unit, *moves)
        assert await keep(unit, *[e for e in events if not isinstance(e, OrderConfirmed)]) == []
    await assert_proven(unit)
