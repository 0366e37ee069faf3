"""Lists of orders, by status: each in its order, once, also where one is rare among many."""

from datetime import UTC, datetime

import pytest

from tests.contexts.orders.test_handlers import cleared, place, sell
from tests.contexts.orders.test_rules import command, wanted
from tradewind.contexts.fraud.events import PaymentHeld
from tradewind.contexts.inventory.events import StockRefused
from tradewind.contexts.orders import handlers, queries
from tradewind.contexts.orders.commands import CancelOrder
from tradewind.kernel.ids import new_id
from tradewind.testing.database import UnitRunner

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
SCANNED = 4


@pytest.fixture
def few_are_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if ten thousand were four."""
    for name, many, few in (
        ("LIST_AMONG", f"LIMIT {queries.SCANNED_MAX}", f"LIMIT {SCANNED}"),
        ("SCANNED", f"OFFSET {queries.PASSED_OVER}", f"OFFSET {SCANNED - 1}"),
    ):
        text = getattr(queries, name)
        assert many in text
        monkeypatch.setattr(queries, name, text.replace(many, few))


async def listed(unit: UnitRunner, status: str | None, count_max: int = 2) -> list[str]:
    """Every page of a list: the ids."""
    found: list[str] = []
    place_: queries.Place | None = queries.NEWEST
    while place_ is not None:
        async with unit.reading("orders") as db:
            page = await queries.orders(
                db,
                before=place_,
                placed_after=BEGINNING,
                status=status,
                contact=None,
                count_max=count_max,
            )
        assert all(status in (None, order.status) for order, _ in page.items)
        assert all(lines for _, lines in page.items)
        found += [order.order_id for order, _ in page.items]
        place_ = page.next
    return found


async def test_each_status_lists_its_orders_newest_first(
    unit: UnitRunner, few_are_scanned: None
) -> None:
    """Whatever few orders have it: none is passed over between two pages."""
    await sell(unit, "MUG")
    ids = [new_id("ord") for _ in range(24)]
    for order_id in ids:
        await place(unit, command(wanted("MUG", 1), order_id=order_id))
    held, rejected, cancelled = ids[1], ids[4], ids[0]
    confirmed = [order_id for n, order_id in enumerate(ids) if n not in (1, 4)]
    await unit.run("orders", handlers.decide_orders, [cleared(each) for each in confirmed])
    reviewed = PaymentHeld(sequence=1, order_id=held, payment_id="pay_x", score=90, reasons=())
    await unit.run("orders", handlers.decide_orders, [reviewed])
    refused = StockRefused(sequence=1, order_id=rejected, short=())
    await unit.run("orders", handlers.decide_orders, [refused])
    cancel = CancelOrder(order_id=cancelled, reason="no", by="key_a")
    await unit.run("orders", handlers.cancel_orders, [cancel])

    async with unit.reading("orders") as db:
        ordered = await db.fetch_values(
            "SELECT order_id FROM orders.orders ORDER BY placed_at DESC, order_id DESC"
        )
    assert len(ordered) == len(ids)
    assert await listed(unit, None, count_max=5) == ordered
    assert await listed(unit, "held") == [held]
    assert await listed(unit, "rejected") == [rejected]
    assert await listed(unit, "cancelled") == [cancelled]
    assert await listed(unit, "fulfilled") == []
    assert await listed(unit, "confirmed", count_max=3) == [
        each for each in ordered if each not in (held, rejected, cancelled)
    ]
