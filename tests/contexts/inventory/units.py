"""Messages to inventory, units of work that take them, and the proof that the rows are true."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count as counting

from tradewind.contexts.catalog.events import Price, ProductChanged, VariantChanged
from tradewind.contexts.inventory import handlers, queries
from tradewind.contexts.inventory.commands import MAIN, AdjustStock, SetStock
from tradewind.contexts.inventory.events import (
    MovementKind,
)
from tradewind.contexts.inventory.tables import StockLevel
from tradewind.contexts.orders.events import (
    OrderCancelled,
    OrderConfirmed,
    OrderLine,
    OrderPlaced,
    OrderRejected,
)
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Event
from tradewind.kernel.terms import PaymentTerms
from tradewind.testing.database import UnitRunner

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS: Iterator[int] = counting(1)


def fresh_sku() -> str:
    return f'Mug "{next(NUMBERS)}" \\ {{,}}'


def placed(order_id: str, *lines: tuple[str, int]) -> OrderPlaced:
    return OrderPlaced(
        sequence=1,
        order_id=order_id,
        lines=tuple(
            OrderLine(sku=sku, quantity=n, unit_price_e4=10_000, total_minor=100 * n, title=sku)
            for sku, n in lines
        ),
        currency="GBP",
        subtotal_minor=100,
        shipping_minor=0,
        tax_minor=0,
        discount_minor=0,
        fees_minor=0,
        total_minor=100,
        channel="web",
        payment=PaymentTerms(
            order_id=order_id,
            payment_id=new_id("pay"),
            amount_minor=100,
            currency="GBP",
            token="tok_ok",
            customer=new_id("prs"),
            contact=None,
            guest=True,
            imported=False,
            shipping_country="GB",
            billing_country=None,
            placed_at=NOW,
        ),
        placed_at=NOW,
    )


def confirmed(order_id: str) -> OrderConfirmed:
    return OrderConfirmed(
        sequence=2,
        order_id=order_id,
        payment_id=new_id("pay"),
        total_minor=100,
        currency="GBP",
        customer=new_id("prs"),
        contact=None,
        confirmed_at=NOW,
    )


def cancelled(order_id: str, *skus: str) -> OrderCancelled:
    return OrderCancelled(
        sequence=3,
        order_id=order_id,
        code="cancelled",
        reason="changed my mind",
        payment_id=new_id("pay"),
        customer=new_id("prs"),
        contact=None,
        total_minor=100,
        currency="GBP",
        skus=tuple(sku.upper() for sku in skus),
    )


def rejected(order_id: str, *skus: str) -> OrderRejected:
    return OrderRejected(
        sequence=2,
        order_id=order_id,
        code="payment_declined",
        payment_id=new_id("pay"),
        skus=tuple(sku.upper() for sku in skus),
    )


def changed(product_id: str, version: int, **on_hand: int | None) -> ProductChanged:
    return ProductChanged(
        sequence=version,
        product_id=product_id,
        external_id=product_id,
        title="A thing",
        category=None,
        version=version,
        archived=False,
        variants=tuple(
            VariantChanged(
                sku=sku,
                title=sku,
                prices=(Price(currency="GBP", amount_e4=10_000),),
                archived=False,
                on_hand=units,
            )
            for sku, units in on_hand.items()
        ),
    )


def set_stock(
    sku: str, on_hand: int, location: str = MAIN, *, expected: int | None = None
) -> SetStock:
    return SetStock(
        sku=sku,
        location=location,
        on_hand=on_hand,
        expected_quantity=expected,
        counted_by="key_1",
    )


def movement(
    sku: str,
    quantity: int,
    kind: MovementKind = "correction",
    *,
    external_id: str | None = None,
    at: datetime | None = None,
) -> AdjustStock:
    return AdjustStock(
        movement_id=new_id("mov"),
        sku=sku,
        location=MAIN,
        kind=kind,
        quantity=quantity,
        reason="dropped",
        external_id=external_id,
        at=at,
        told_by="key_1",
    )


async def adjust(unit: UnitRunner, *commands: AdjustStock) -> list[object]:
    decision = await unit.run("inventory", handlers.adjust_stock, commands, keyed=True)
    return list(decision.outcomes)


async def count(unit: UnitRunner, *commands: SetStock) -> list[object]:
    decision = await unit.run("inventory", handlers.set_stock, commands, keyed=True)
    return list(decision.outcomes)


async def keep(unit: UnitRunner, *events: Event) -> list[Event]:
    decision = await unit.run("inventory", handlers.keep_stock, events)
    return list(decision.events)


async def level(unit: UnitRunner, sku: str) -> StockLevel:
    async with unit.reading("inventory") as snapshot:
        found = await queries.level(snapshot, sku.upper())
    assert found is not None
    return found


async def numbers(unit: UnitRunner, sku: str) -> tuple[int, int, int, int]:
    found = await level(unit, sku)
    return found.on_hand, found.reserved, found.available, found.short


# Both ledgers against the rows they must sum to; shelves that do not fit.
UNPROVEN = """
    WITH moved AS (
        SELECT sku_key, location, sum(on_hand_delta)::bigint AS on_hand
          FROM inventory.movements GROUP BY sku_key, location
    ), held AS (
        SELECT h.sku_key, coalesce(r.locations[h.place], 'main') AS location,
               sum(r.quantities[h.place])::bigint AS reserved
          FROM inventory.reservations r,
               unnest(r.sku_keys) WITH ORDINALITY AS h (sku_key, place)
         WHERE r.status IN ('reserved', 'allocated')
         GROUP BY 1, 2
    ), proven AS (
        SELECT sku_key, location, coalesce(s.on_hand, 0) AS on_hand,
               coalesce(m.on_hand, 0) AS on_hand_moved, coalesce(s.reserved, 0) AS reserved,
               coalesce(h.reserved, 0) AS reserved_held, coalesce(s.short, 0) AS short
          FROM inventory.stock s
          FULL JOIN moved m USING (sku_key, location)
          FULL JOIN held h USING (sku_key, location)
    )
    SELECT sku_key, location, on_hand, on_hand_moved, reserved, reserved_held, short
      FROM proven
     WHERE on_hand <> on_hand_moved OR reserved <> reserved_held OR on_hand < 0 OR reserved < 0
        OR short <> greatest(reserved - on_hand, 0)
"""


async def assert_proven(unit: UnitRunner) -> None:
    assert await unit.sql(UNPROVEN) == []
    assert await unit.sql("SELECT count(*) > 0 AS any FROM inventory.stock") == [(True,)]


def types(events: Sequence[Event]) -> list[object]:
    return [type(event) for event in events]
