"""Units that come and go without an order, on real PostgreSQL."""

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest

from tests.contexts.inventory.units import (
    adjust,
    assert_proven,
    count,
    fresh_sku,
    keep,
    movement,
    numbers,
    placed,
    set_stock,
    types,
)
from tradewind.contexts.inventory import queries
from tradewind.contexts.inventory.events import (
    StockRefused,
)
from tradewind.contexts.inventory.problems import (
    ExternalIdTaken,
    StockWouldBeNegative,
)
from tradewind.contexts.inventory.tables import MovementMade
from tradewind.kernel.ids import new_id
from tradewind.testing.database import UnitRunner


async def test_movements_stand_in_the_ledger_with_their_reason(unit: UnitRunner) -> None:
    sku, old = fresh_sku(), datetime(2011, 5, 4, 10, 30, tzinfo=UTC)
    await count(unit, set_stock(sku, 9))
    first, second = (
        movement(sku, -4, "write_off", external_id=sku, at=old),
        movement(sku, 2, "found"),
    )
    outcomes = await adjust(unit, first, second, movement(sku, -8, "given_away"))
    assert [getattr(o, "status", 0) for o in outcomes] == [201, 201, 409]
    made = outcomes[0].body  # type: ignore[attr-defined]
    assert isinstance(made, MovementMade) and made.at == old and made.stock.on_hand == 5
    assert isinstance(outcomes[2], StockWouldBeNegative) and outcomes[2].members["on_hand"] == 7
    async with unit.reading("inventory") as snapshot:
        moved = await queries.movements(snapshot, sku.upper(), before=2**63 - 1, count_max=10)
    assert [(m.kind, m.on_hand_delta, m.id, m.reason) for m in moved] == [
        ("found", 2, second.movement_id, "dropped"),
        ("write_off", -4, first.movement_id, "dropped"),
        ("opening", 9, None, None),
    ]
    assert (moved[1].external_id, moved[1].at) == (sku, old)
    (again,) = await adjust(unit, movement(sku, -4, "write_off", external_id=sku))
    assert isinstance(again, ExternalIdTaken)
    assert await numbers(unit, sku) == (7, 0, 7, 0)
    await assert_proven(unit)


async def test_many_movements_at_once_are_all_counted(unit: UnitRunner) -> None:
    """Units that meet on a shelf take turns; of twins under one name one is recorded."""
    sku = fresh_sku()
    await count(unit, set_stock(sku, 100))
    names = [f"{sku} {n % 10}" for n in range(20)]
    orders = asyncio.gather(*(keep(unit, placed(new_id("ord"), (sku, 1))) for _ in range(10)))
    parts = await asyncio.gather(
        *(adjust(unit, movement(sku, -1), movement(sku, -2)) for _ in range(15)),
        *(adjust(unit, movement(sku, -1, external_id=name)) for name in names),
    )
    await orders
    taken = [o for part in parts for o in part if isinstance(o, ExternalIdTaken)]
    assert len(taken) == 10
    assert await numbers(unit, sku) == (45, 10, 35, 0)
    log = await unit.sql(
        "SELECT sequence FROM bus.log WHERE subject = $1 ORDER BY xid, number",
        "sku:" + sku.upper(),
    )
    assert [row["sequence"] for row in log] == list(range(1, len(log) + 1))
    await assert_proven(unit)


async def test_a_movement_below_what_is_promised_leaves_units_short(unit: UnitRunner) -> None:
    sku = fresh_sku()
    await count(unit, set_stock(sku, 5))
    await keep(unit, placed(new_id("ord"), (sku, 4)))
    await adjust(unit, movement(sku, -3, "write_off"))
    assert await numbers(unit, sku) == (2, 4, 0, 2)
    assert types(await keep(unit, placed(new_id("ord"), (sku, 1)))) == [StockRefused]
    await assert_proven(unit)


@pytest.mark.parametrize(
    ("kind", "units"),
    [("write_off", 1), ("given_away", 1), ("fulfilment", 1), ("found", -1), ("return", -1)],
)
async def test_the_ledger_refuses_what_goes_the_wrong_way(
    unit: UnitRunner, kind: str, units: int
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await unit.sql(
            "INSERT INTO inventory.movements (sku_key, location, kind, on_hand_delta, cause, at)"
            " VALUES ('X', 'main', $1, $2, 'key_1', now())",
            kind,
            units,
        )
