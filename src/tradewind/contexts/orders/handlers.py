"""Load, decide, save: placing, news about orders, cancelling, deadlines, the copy of the offers.

No handler here takes a lock. An order's row is changed only if it still is as it was read, so two
units that meet on an order are put in line by the row; the loser decides again. The version alone
would not tell: what orders only notes (how the money stands, that the stock is free) announces
nothing and leaves the version as it is.
"""

import copy
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tradewind.contexts.catalog.events import ProductChanged
from tradewind.contexts.fraud.events import PaymentBlocked, PaymentCleared, PaymentHeld
from tradewind.contexts.inventory.events import StockRefused, StockReleased
from tradewind.contexts.orders import rules
from tradewind.contexts.orders.commands import CancelOrder, PlaceOrder
from tradewind.contexts.orders.events import OrderPlaced
from tradewind.contexts.orders.rules import Desk, Offers, ReviewDue
from tradewind.contexts.orders.tables import (
    BASKET_COLUMNS,
    ORDER_COLUMNS,
    OfferRow,
    OrderWithLines,
)
from tradewind.contexts.payments.events import (
    CaptureRefused,
    PaymentCaptured,
    PaymentDeclined,
    PaymentFailed,
    PaymentRefunded,
    PaymentVoided,
)
from tradewind.kernel.answers import Pending
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Decision, Reconciled
from tradewind.kernel.problems import Problem
from tradewind.platform.database.literals import number_array, text_array
from tradewind.platform.database.transaction import Transaction

encode = msgspec.json.Encoder().encode
SWEPT_AT_ONCE_MAX = 500
OFFERS_OF = "orders.offers"  # what the offers of a sku are remembered as
ORDER = "orders.order"  # what `OrderWithLines` are remembered as

# Served by the primary key.
OFFERS = """
    SELECT sku_key, currency, sku, title, unit_price_e4
      FROM orders.offers WHERE sku_key = ANY($1::text[])
"""
# Served by the primary key. The offers that are as they were remembered: seen by the same statement
# that inserts the orders.
SAME_OFFERS = """
    SELECT 1 FROM orders.offers o
      JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
           AS k (sku_key, currency, sku, title, unit_price_e4)
        ON o.sku_key = k.sku_key AND o.currency = k.currency
     WHERE o.sku = k.sku AND o.title = k.title AND o.unit_price_e4 = k.unit_price_e4
"""
# Served by orders_by_external_id.
EXTERNAL_IDS = """
    SELECT o.credential || ' ' || o.external_id FROM orders.orders o
      JOIN unnest($1::text[], $2::text[]) AS w (credential, external_id)
        ON o.credential = w.credential AND o.external_id = w.external_id
"""
INSERT_ORDERS = """
    INSERT INTO orders.orders (order_id, version, status, currency, subtotal_minor, shipping_minor,
           tax_minor, discount_minor, fees_minor, total_minor, customer, contact, payment_id,
           channel, imported, credential, external_id, fees, placed_at, decide_before)
    SELECT o.order_id, 1, 'placed', o.currency, o.subtotal, o.shipping, o.tax, o.discount, o.fees,
           o.total, o.customer, o.contact, o.payment_id, o.channel, o.imported, o.credential,
           o.external_id, o.fee_list, o.placed_at, $18
      FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                  $7::bigint[], $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[],
                  $13::bool[], $14::text[], $15::text[], $16::text[], $17::timestamptz[])
        AS o (order_id, currency, subtotal, shipping, tax, discount, fees, total, customer,
              contact, payment_id, channel, imported, credential, external_id, fee_list,
              placed_at)
"""
# Arrays of arrays do not fit a parameter, so each order's arrays come as their literals.
INSERT_BASKETS = """
    INSERT INTO orders.baskets (order_id, skus, titles, quantities, unit_prices_e4, totals_minor)
    SELECT b.order_id, b.skus::text[], b.titles::text[], b.quantities::int[], b.prices::bigint[],
           b.totals::bigint[]
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
        AS b (order_id, skus, titles, quantities, prices, totals)
"""


async def place_orders(tx: Transaction, commands: Sequence[PlaceOrder]) -> Decision:
    """Take baskets as orders, priced now. Safe to repeat: the order id came with the command."""
    keys = sorted({line.sku.upper() for c in commands for line in c.lines})
    taken = await external_ids(tx, commands)
    known = tx.recall(OFFERS_OF, keys)
    rows = [row for rows in known.values() for row in rows]
    if unknown := [key for key in keys if key not in known]:
        rows += await read_offers(tx, unknown)
    placed, outcomes = price(tx, commands, Offers(rows), set(taken))
    if known and len(placed) < len(commands):
        # Nobody is refused by what is only known: perhaps it is sold by now.
        tx.unrecall(OFFERS_OF)
        known = {}
        rows = await read_offers(tx, keys)
        placed, outcomes = price(tx, commands, Offers(rows), set(taken))
    if known:
        same = [row for rows in known.values() for row in rows]
        tx.write(
            SAME_OFFERS,
            [row.sku_key for row in same],
            [row.currency for row in same],
            [row.sku for row in same],
            [row.title for row in same],
            [row.unit_price_e4 for row in same],
            expect=len(same),
        )
        tx.vouch(OFFERS_OF, known)
    if placed:
        insert(tx, placed)
    return Decision(
        events=[event for _, event in placed],
        outcomes=outcomes,
        causes={c.order_id: f"request of {c.credential or 'a guest'}" for c, _ in placed},
    )


async def read_offers(tx: Transaction, keys: Sequence[str]) -> list[OfferRow]:
    """The offers of these skus, remembered until one of them is another."""
    rows = await tx.fetch(OFFERS, keys, into=OfferRow)
    found: dict[str, list[OfferRow]] = {}
    for row in rows:
        found.setdefault(row.sku_key, []).append(row)
    tx.remember(OFFERS_OF, found)
    return rows


def price(
    tx: Transaction, commands: Sequence[PlaceOrder], offers: Offers, taken: set[str]
) -> tuple[list[tuple[PlaceOrder, OrderPlaced]], list[Pending | Problem]]:
    """The orders that these baskets become, and an outcome for each."""
    placed: list[tuple[PlaceOrder, OrderPlaced]] = []
    outcomes: list[Pending | Problem] = []
    for command in commands:
        name = f"{command.credential} {command.external_id}"
        known = command.external_id is not None and name in taken
        result = rules.place(command, offers, external_taken=known, now=tx.now)
        if isinstance(result, Problem):
            outcomes.append(result)
            continue
        if command.external_id is not None:
            taken.add(name)
        placed.append((command, result))
        outcomes.append(Pending(command.order_id))
    return placed, outcomes


async def external_ids(tx: Transaction, commands: Sequence[PlaceOrder]) -> set[str]:
    """Which of the external ids are in use."""
    named = [(c.credential, c.external_id) for c in commands if c.external_id is not None]
    if not named:
        return set()
    rows = await tx.fetch_values(EXTERNAL_IDS, [c for c, _ in named], [e for _, e in named])
    return set(rows)


def insert(tx: Transaction, placed: Sequence[tuple[PlaceOrder, OrderPlaced]]) -> None:
    """Queue the rows of new orders."""
    events = [event for _, event in placed]
    decide_before = tx.now + timedelta(seconds=tx.settings.decide_within_s)
    fees = [encode(c.fees).decode() for c, _ in placed]
    rows = (new_row(c, e, f, decide_before) for (c, e), f in zip(placed, fees, strict=True))
    tx.remember(ORDER, {row.order_id: row for row in rows})
    tx.write(
        INSERT_ORDERS,
        [e.order_id for e in events],
        [e.currency for e in events],
        [e.subtotal_minor for e in events],
        [e.shipping_minor for e in events],
        [e.tax_minor for e in events],
        [e.discount_minor for e in events],
        [e.fees_minor for e in events],
        [e.total_minor for e in events],
        [c.customer for c, _ in placed],
        [c.contact for c, _ in placed],
        [c.payment_id for c, _ in placed],
        [e.channel for e in events],
        [c.imported for c, _ in placed],
        [c.credential for c, _ in placed],
        [c.external_id for c, _ in placed],
        fees,
        [e.placed_at for e in events],
        decide_before,
    )
    tx.write(
        INSERT_BASKETS,
        [e.order_id for e in events],
        [text_array([line.sku for line in e.lines]) for e in events],
        [text_array([line.title for line in e.lines]) for e in events],
        [number_array([line.quantity for line in e.lines]) for e in events],
        [number_array([line.unit_price_e4 for line in e.lines]) for e in events],
        [number_array([line.total_minor for line in e.lines]) for e in events],
    )


def new_row(
    command: PlaceOrder, event: OrderPlaced, fees: str, decide_before: datetime
) -> OrderWithLines:
    """A new order as a later unit would read it."""
    lines = event.lines
    return OrderWithLines(
        order_id=event.order_id,
        version=1,
        status="placed",
        currency=event.currency,
        subtotal_minor=event.subtotal_minor,
        shipping_minor=event.shipping_minor,
        tax_minor=event.tax_minor,
        discount_minor=event.discount_minor,
        fees_minor=event.fees_minor,
        total_minor=event.total_minor,
        customer=command.customer,
        contact=command.contact,
        payment_id=command.payment_id,
        payment_status="pending",
        stock_released=False,
        channel=event.channel,
        imported=command.imported,
        external_id=command.external_id,
        fees=fees,
        placed_at=event.placed_at,
        decide_before=decide_before,
        review_before=None,
        decided_at=None,
        rejection_code=None,
        skus=[line.sku for line in lines],
        titles=[line.title for line in lines],
        quantities=[line.quantity for line in lines],
        unit_prices_e4=[line.unit_price_e4 for line in lines],
        totals_minor=[line.total_minor for line in lines],
    )


# Served by the primary keys of both.
ORDERS = f"""
    SELECT {ORDER_COLUMNS}, {BASKET_COLUMNS}
      FROM orders.orders o JOIN orders.baskets b USING (order_id)
     WHERE o.order_id = ANY($1::text[])
"""
# HOT: no indexed column changes.
UPDATE_ORDERS = """
    UPDATE orders.orders o
       SET version = u.version, status = u.status, payment_status = u.payment_status,
           stock_released = u.stock_released, review_before = u.review_before,
           decided_at = u.decided_at, rejection_code = u.rejection_code
      FROM unnest($1::text[], $2::int[], $3::int[], $4::text[], $5::text[], $6::bool[],
                  $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[], $11::bool[])
        AS u (order_id, version_before, version, status, payment_status, stock_released,
              review_before, decided_at, rejection_code, payment_status_before,
              stock_released_before)
     WHERE o.order_id = u.order_id AND o.version = u.version_before
       AND o.payment_status = u.payment_status_before
       AND o.stock_released = u.stock_released_before
"""


async def open_desk(tx: Transaction, order_ids: Sequence[str], *, recall: bool = False) -> Desk:
    """The desk with these orders and their lines on it; `recall`: those that are known as known."""
    known = tx.recall(ORDER, order_ids) if recall else {}
    rows = [copy.copy(row) for row in known.values()]
    unknown = [order_id for order_id in order_ids if order_id not in known]
    if unknown:
        rows += await tx.fetch(ORDERS, unknown, into=OrderWithLines)
    within = timedelta(seconds=tx.settings.review_within_s)
    return Desk(rows, {row.order_id: row.lines() for row in rows}, now=tx.now, review_within=within)


def close_desk(
    tx: Transaction,
    desk: Desk,
    *,
    outcomes: Sequence[Any] = (),
    causes: Mapping[str, str] | None = None,
) -> Decision:
    """Queue what the desk changed; `causes` by order, where no event led to it."""
    ruling = desk.ruling
    if ruling.changed:
        rows = list(ruling.changed.values())
        tx.write(
            UPDATE_ORDERS,
            [row.order_id for row in rows],
            [ruling.read[row.order_id].version for row in rows],
            [row.version for row in rows],
            [row.status for row in rows],
            [row.payment_status for row in rows],
            [row.stock_released for row in rows],
            [row.review_before for row in rows],
            [row.decided_at for row in rows],
            [row.rejection_code for row in rows],
            [ruling.read[row.order_id].payment_status for row in rows],
            [ruling.read[row.order_id].stock_released for row in rows],
            expect=len(rows),
        )
        tx.vouch(ORDER, ruling.changed)
        # One that is paid, or ended, is usually not looked at again.
        tx.remember(ORDER, {r.order_id: None if rules.is_at_rest(r) else r for r in rows})
    return Decision(
        events=ruling.events,
        answers=ruling.answers,
        timers=list(ruling.timers.values()),
        outcomes=outcomes,
        causes=causes or {},
    )


News = (
    StockRefused
    | StockReleased
    | PaymentDeclined
    | PaymentFailed
    | PaymentCleared
    | PaymentHeld
    | PaymentBlocked
    | PaymentCaptured
    | CaptureRefused
    | PaymentVoided
    | PaymentRefunded
    | ReviewDue
)


async def decide_orders(tx: Transaction, news: Sequence[News]) -> Decision:
    """Fold what inventory, payments and fraud report into the orders. A repeat changes nothing."""
    desk = await open_desk(tx, list(dict.fromkeys(item.order_id for item in news)), recall=True)
    for item in news:
        fold(desk, item)
    return close_desk(tx, desk)


def fold(desk: Desk, item: News) -> None:
    """One piece of news."""
    order_id = item.order_id
    match item:
        case StockRefused():
            written = {line.sku.upper(): line.sku for line in desk.lines.get(order_id, ())}
            short = [
                {"sku": written.get(s.sku, s.sku), "wanted": s.wanted, "available": s.available}
                for s in item.short
            ]
            desk.reject(order_id, "stock_is_short", payment_status="voided", short=short)
            desk.note_released(order_id)  # nothing was taken, so nothing has to come back
        case StockReleased():
            desk.note_released(order_id)
        case PaymentDeclined():
            desk.reject(order_id, "payment_declined", payment_status="declined", reason=item.reason)
            desk.note_payment(order_id, "declined")
        case PaymentFailed():
            code = "payment_timeout" if item.reason == "timeout" else "payment_failed"
            desk.reject(order_id, code, payment_status="failed")
            desk.note_payment(order_id, "failed")
        case PaymentCleared():
            desk.confirm(order_id)
        case PaymentHeld():
            desk.hold(order_id, item.reasons)
        case PaymentBlocked():
            desk.reject(order_id, "fraud_blocked")
        case PaymentCaptured():
            desk.note_payment(order_id, "captured")
        case CaptureRefused():
            desk.cancel(order_id, "capture_failed", f"The capture was refused: {item.reason}.")
        case PaymentVoided():
            desk.note_payment(order_id, "voided")
        case PaymentRefunded():
            full = item.refunded_minor >= item.captured_minor
            desk.note_payment(order_id, "refunded" if full else "partially_refunded")
        case ReviewDue():
            desk.expire_review(order_id)


async def cancel_orders(tx: Transaction, commands: Sequence[CancelOrder]) -> Decision:
    """Call orders off. The answer follows when stock and money are given back."""
    desk = await open_desk(tx, list(dict.fromkeys(c.order_id for c in commands)))
    outcomes: list[Pending | Problem] = []
    for command in commands:
        refused = rules.cancel(desk, command)
        outcomes.append(refused or Pending(rules.cancellation(command.order_id)))
    causes = {command.order_id: f"request of {command.by}" for command in commands}
    return close_desk(tx, desk, outcomes=outcomes, causes=causes)


# Served by the primary key: ids are in the order of time, so each order is looked at once.
OVERDUE = """
    SELECT order_id FROM orders.orders
     WHERE order_id > (SELECT order_id FROM orders.swept WHERE name = 'decide') AND order_id < $1
     ORDER BY order_id LIMIT $2
"""
SWEPT = "UPDATE orders.swept SET order_id = $1 WHERE name = 'decide' AND order_id < $1"


async def expire_orders(tx: Transaction) -> Decision:
    """Reject what was placed, got lost on its way and is past its deadline."""
    bound = id_bound(tx)
    order_ids = await tx.fetch_values(OVERDUE, bound, SWEPT_AT_ONCE_MAX)
    if not order_ids:
        return Decision()
    desk = await open_desk(tx, order_ids)
    for order_id in order_ids:
        desk.expire_decision(order_id)
    tx.write(SWEPT, order_ids[-1])
    decision = close_desk(tx, desk, causes=dict.fromkeys(order_ids, "deadline decide_before"))
    overdue = [
        Reconciled(case="overdue_order", id=order_id, order_id=order_id)
        for order_id in desk.ruling.changed
    ]
    return msgspec.structs.replace(decision, reconciled=overdue)


def id_bound(tx: Transaction) -> str:
    """An id that every order past its deadline sorts before."""
    before = tx.now - timedelta(seconds=tx.settings.decide_within_s + 1)
    return new_id("ord", at=before)


UPSERT_OFFERS = """
    INSERT INTO orders.offers AS o
           (sku_key, currency, sku, product_id, title, unit_price_e4, version)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                         $7::bigint[])
    ON CONFLICT (sku_key, currency) DO UPDATE
       SET sku = excluded.sku, product_id = excluded.product_id, title = excluded.title,
           unit_price_e4 = excluded.unit_price_e4, version = excluded.version
"""
# Served by offers_by_product. What a product no longer offers.
DELETE_OFFERS = """
    DELETE FROM orders.offers o
     WHERE o.product_id = ANY($1::text[]) AND NOT EXISTS (
           SELECT 1 FROM unnest($2::text[], $3::text[]) AS k (sku_key, currency)
            WHERE k.sku_key = o.sku_key AND k.currency = o.currency)
"""


async def copy_offers(tx: Transaction, events: Sequence[ProductChanged]) -> Decision:
    """Keep the copy of what is sold at which price. The newest change of a product wins."""
    newest = {event.product_id: event for event in events}
    rows = [tuple(row.values()) for product in newest.values() for row in offers_of(product)]
    tx.write(DELETE_OFFERS, list(newest), [row[0] for row in rows], [row[1] for row in rows])
    if rows:
        tx.write(UPSERT_OFFERS, *map(list, zip(*rows, strict=True)))
    tx.remember(OFFERS_OF, dict.fromkeys(row[0] for row in rows))
    return Decision()


def offers_of(product: ProductChanged) -> list[dict[str, Any]]:
    """The rows of orders.offers that a product makes, as it now is."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for variant in product.variants:
        if product.archived or variant.archived:
            continue
        for price in variant.prices:
            rows[variant.sku.upper(), price.currency] = {
                "sku_key": variant.sku.upper(),
                "currency": price.currency,
                "sku": variant.sku,
                "product_id": product.product_id,
                "title": variant.title or product.title,
                "unit_price_e4": price.amount_e4,
                "version": product.version,
            }
    return list(rows.values())
