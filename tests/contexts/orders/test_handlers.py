"""Orders on a real database: rows, guards, deadlines, the copy of the offers."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from tests.contexts.orders.test_rules import command, wanted
from tradewind.contexts.catalog.events import Price, ProductChanged, VariantChanged
from tradewind.contexts.fraud.events import PaymentCleared, PaymentHeld
from tradewind.contexts.inventory.events import StockRefused
from tradewind.contexts.orders import handlers, queries
from tradewind.contexts.orders.commands import CancelOrder, PlaceOrder, WantedLine
from tradewind.contexts.orders.problems import ExternalIdTaken, OrderNotFound
from tradewind.contexts.payments.events import PaymentRefunded
from tradewind.kernel.answers import Pending
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Decision
from tradewind.platform.database.transaction import Transaction
from tradewind.testing.database import UnitRunner


def product(sku: str, *, version: int = 1, price_e4: int = 20_000, **more: Any) -> ProductChanged:
    """A product with one variant."""
    variant = VariantChanged(
        sku=sku, title="", prices=(Price(currency="GBP", amount_e4=price_e4),), archived=False
    )
    fields: dict[str, Any] = {"variants": (variant,), "archived": False, **more}
    return ProductChanged(
        sequence=version,
        product_id=f"prd_{sku}",
        external_id=sku,
        title=f"Product {sku}",
        category=None,
        version=version,
        **fields,
    )


async def sell(unit: UnitRunner, *skus: str) -> None:
    """Have orders know these skus."""
    await unit.run("orders", handlers.copy_offers, [product(sku) for sku in skus])


async def place(unit: UnitRunner, *commands: PlaceOrder) -> Sequence[Any]:
    """Place baskets in one batch; their outcomes."""
    decision: Decision = await unit.run("orders", handlers.place_orders, commands)
    return decision.outcomes


def cleared(order_id: str) -> PaymentCleared:
    """Fraud has nothing against it."""
    return PaymentCleared(sequence=1, order_id=order_id, payment_id="pay_x", score=0, reasons=())


async def status(unit: UnitRunner, order_id: str) -> str:
    """How an order stands."""
    async with unit.reading("orders") as db:
        found = await queries.order(db, order_id)
    assert found is not None
    return found[0].status


async def test_a_batch_is_placed(unit: UnitRunner) -> None:
    """Good ones are placed, bad ones refused, in one unit."""
    await sell(unit, "h-mug")
    good, bad, imported = (
        command(wanted("H-MUG", 2)),
        command(wanted("h-nothing", 1)),
        command(WantedLine(sku="h-mug", quantity=1, unit_price_e4=99_900), imported=True),
    )
    outcomes = await place(unit, good, bad, imported)
    assert outcomes[0] == Pending(good.order_id) and outcomes[2] == Pending(imported.order_id)
    assert outcomes[1].code == "unknown_sku"
    async with unit.reading("orders") as db:
        found = await queries.order(db, imported.order_id)
        nothing = await queries.order(db, bad.order_id)
    assert nothing is None and found is not None
    assert found[0].total_minor == 999
    assert [(line.sku, line.quantity) for line in found[1]] == [("h-mug", 1)]


async def test_external_ids_are_unique_per_credential(unit: UnitRunner) -> None:
    """Within a batch and after it."""
    await sell(unit, "h-ext")
    one, same, other = (
        command(wanted("h-ext", 1), credential=credential, external_id="A-1")
        for credential in ("key_1", "key_1", "key_2")
    )
    outcomes = await place(unit, one, same, other)
    assert isinstance(outcomes[1], ExternalIdTaken)
    assert isinstance(outcomes[2], Pending)
    later = command(wanted("h-ext", 1), credential="key_1", external_id="A-1")
    assert isinstance((await place(unit, later))[0], ExternalIdTaken)


async def test_news_is_folded_once(unit: UnitRunner) -> None:
    """The same batch of news again changes nothing and announces nothing."""
    await sell(unit, "h-news")
    orders = [command(wanted("h-news", 1)) for _ in range(3)]
    await place(unit, *orders)
    news = [
        cleared(orders[0].order_id),
        PaymentHeld(
            sequence=1, order_id=orders[1].order_id, payment_id="p", score=80, reasons=("x",)
        ),
        StockRefused(sequence=1, order_id=orders[2].order_id, short=()),
    ]
    first: Decision = await unit.run("orders", handlers.decide_orders, news)
    again: Decision = await unit.run("orders", handlers.decide_orders, news)
    assert [event.type for event in first.events] == [
        "orders.order_confirmed.v1",
        "orders.order_held.v1",
        "orders.order_rejected.v1",
    ]
    assert not again.events and not again.answers
    assert [await status(unit, o.order_id) for o in orders] == ["confirmed", "held", "rejected"]


async def test_a_stale_decision_is_taken_again(unit: UnitRunner) -> None:
    """A cancellation slips in between reading and writing: the confirmation sees it."""
    await sell(unit, "h-stale")
    order = command(wanted("h-stale", 1))
    await place(unit, order)
    slipped: list[Decision] = []

    async def interrupted(tx: Transaction, news: Sequence[Any]) -> Decision:
        decision = await handlers.decide_orders(tx, news)
        if not slipped:
            cancel = CancelOrder(order_id=order.order_id, reason="now", by="key_1")
            slipped.append(await unit.run("orders", handlers.cancel_orders, [cancel]))
        return decision

    decision = await unit.run("orders", interrupted, [cleared(order.order_id)])
    assert [event.type for event in slipped[0].events] == ["orders.order_cancelled.v1"]
    assert not decision.events
    assert await status(unit, order.order_id) == "cancelled"
    versions = await unit.sql(
        "SELECT sequence FROM bus.log WHERE subject = $1 ORDER BY xid, number", order.order_id
    )
    assert [row["sequence"] for row in versions] == [1, 2]


async def test_a_note_is_not_lost_to_a_cancellation_that_read_before_it(unit: UnitRunner) -> None:
    """A note announces nothing and has no version of its own; whoever read before decides again."""
    await sell(unit, "h-note")
    order = command(wanted("h-note", 1))
    await place(unit, order)
    await unit.run("orders", handlers.decide_orders, [cleared(order.order_id)])
    refunded = PaymentRefunded(
        sequence=3,
        order_id=order.order_id,
        payment_id=order.payment_id,
        refund_id="ref_1",
        amount_minor=200,
        currency="GBP",
        refunded_minor=200,
        captured_minor=200,
    )
    noted: list[Decision] = []

    async def interrupted(tx: Transaction, commands: Sequence[Any]) -> Decision:
        decision = await handlers.cancel_orders(tx, commands)
        if not noted:
            noted.append(await unit.run("orders", handlers.decide_orders, [refunded]))
        return decision

    cancel = CancelOrder(order_id=order.order_id, reason="now", by="key_1")
    await unit.run("orders", interrupted, [cancel])
    async with unit.reading("orders") as db:
        found = await queries.order(db, order.order_id)
    assert found is not None
    assert (found[0].status, found[0].payment_status) == ("cancelled", "refunded")


async def test_cancelling_nothing(unit: UnitRunner) -> None:
    """There is no such order."""
    decision = await unit.run(
        "orders",
        handlers.cancel_orders,
        [CancelOrder(order_id=new_id("ord"), reason="x", by="key_1")],
    )
    assert isinstance(decision.outcomes[0], OrderNotFound)


async def test_lost_orders_expire(unit: UnitRunner) -> None:
    """Those past their deadline, once, and no others."""
    await sell(unit, "h-lost")
    now = unit.workplace.clock.now()
    past = now - timedelta(hours=1)
    lost = command(wanted("h-lost", 1), order_id=new_id("ord", at=past))
    fresh = command(wanted("h-lost", 1))
    await place(unit, lost, fresh)
    await unit.sql(
        "UPDATE orders.orders SET decide_before = $2 WHERE order_id = $1", lost.order_id, past
    )

    async def sweep(tx: Transaction, messages: Sequence[Any]) -> Decision:
        return await handlers.expire_orders(tx)

    decision = await unit.run("orders", sweep, ())
    assert [event.subject for event in decision.events] == [lost.order_id]
    assert [(one.case, one.id) for one in decision.reconciled] == [("overdue_order", lost.order_id)]
    assert await status(unit, lost.order_id) == "rejected"
    assert await status(unit, fresh.order_id) == "placed"
    assert not (await unit.run("orders", sweep, ())).events


async def test_the_copy_of_the_offers_follows_the_catalog(unit: UnitRunner) -> None:
    """The newest change wins; what is no longer sold is gone; a repeat changes nothing."""

    async def offers(sku: str) -> list[tuple[str, int]]:
        rows = await unit.sql(
            "SELECT sku, unit_price_e4 FROM orders.offers WHERE product_id = $1", f"prd_{sku}"
        )
        return [tuple(row) for row in rows]

    changes = [product("h-copy"), product("h-copy", version=2, price_e4=30_000)]
    for _ in range(2):
        await unit.run("orders", handlers.copy_offers, changes)
        assert await offers("h-copy") == [("h-copy", 30_000)]
    gone = msgspec.structs.replace(changes[1], version=3, sequence=3, archived=True)
    await unit.run("orders", handlers.copy_offers, [gone])
    assert await offers("h-copy") == []
