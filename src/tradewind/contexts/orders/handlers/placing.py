"""Placing: baskets become orders, priced by the copy of the offers."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from tradewind.contexts.orders import rules
from tradewind.contexts.orders.commands import PlaceOrder
from tradewind.contexts.orders.events import OrderPlaced
from tradewind.contexts.orders.handlers.desk import ORDER
from tradewind.contexts.orders.handlers.offers import OFFERS_OF, prove, read_offers
from tradewind.contexts.orders.rules import Offers
from tradewind.contexts.orders.rules.documents import TaxRates, tax_rates
from tradewind.contexts.orders.tables import (
    OrderWithLines,
)
from tradewind.kernel.answers import Pending
from tradewind.kernel.messages import Decision
from tradewind.kernel.problems import Problem
from tradewind.platform.database.literals import number_array, text_array
from tradewind.platform.database.transaction import Transaction

encode = msgspec.json.Encoder().encode

# Served by orders_by_external_id.
EXTERNAL_IDS = """
    SELECT o.credential || ' ' || o.external_id FROM orders.orders o
      JOIN unnest($1::text[], $2::text[]) AS w (credential, external_id)
        ON o.credential = w.credential AND o.external_id = w.external_id
"""
INSERT_ORDERS = """
    INSERT INTO orders.orders (order_id, version, status, currency, subtotal_minor, shipping_minor,
           tax_minor, discount_minor, fees_minor, total_minor, customer, contact, payment_id,
           channel, imported, credential, external_id, fees, placed_at, decide_before,
           account)
    SELECT o.order_id, 1, 'placed', o.currency, o.subtotal, o.shipping, o.tax, o.discount, o.fees,
           o.total, o.customer, o.contact, o.payment_id, o.channel, o.imported, o.credential,
           o.external_id, o.fee_list, o.placed_at, $19, o.account
      FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                  $7::bigint[], $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[],
                  $13::bool[], $14::text[], $15::text[], $16::text[], $17::timestamptz[],
                  $18::text[])
        AS o (order_id, currency, subtotal, shipping, tax, discount, fees, total, customer,
              contact, payment_id, channel, imported, credential, external_id, fee_list,
              placed_at, account)
"""
# Arrays of arrays do not fit a parameter, so each order's arrays come as their literals.
INSERT_BASKETS = """
    INSERT INTO orders.baskets (order_id, skus, titles, quantities, unit_prices_e4, totals_minor,
           country, tax_rate_bp)
    SELECT b.order_id, b.skus::text[], b.titles::text[], b.quantities::int[], b.prices::bigint[],
           b.totals::bigint[], b.country, b.tax_rate_bp
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                  $7::text[], $8::int[])
        AS b (order_id, skus, titles, quantities, prices, totals, country, tax_rate_bp)
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
        prove(tx, known)
    if placed:
        insert(tx, placed)
    return Decision(
        events=[event for _, event in placed],
        outcomes=outcomes,
        causes={c.order_id: f"request of {c.credential or 'a guest'}" for c, _ in placed},
    )


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
    rates = tax_rates(tx.settings.tax_rates)
    rows = [new_row(c, e, decide_before, rates) for c, e in placed]
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
        [row.fees for row in rows],
        [e.placed_at for e in events],
        [e.account for e in events],
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
        [row.country for row in rows],
        [row.tax_rate_bp for row in rows],
    )


def new_row(
    command: PlaceOrder, event: OrderPlaced, decide_before: datetime, rates: TaxRates
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
        fees=encode(command.fees).decode() if command.fees else "[]",
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
        country=command.shipping_country,
        tax_rate_bp=rates.of(command.shipping_country),
    )
