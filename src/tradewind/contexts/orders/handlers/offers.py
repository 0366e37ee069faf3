"""The copy of what the catalog sells: kept, read, remembered."""

from collections.abc import Sequence
from typing import Any

from tradewind.contexts.catalog.events import ProductChanged
from tradewind.contexts.orders.tables import (
    OfferRow,
)
from tradewind.kernel.messages import Decision
from tradewind.platform.database.transaction import Transaction

OFFERS_OF = "orders.offers"  # what the offers of a sku are remembered as

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


async def read_offers(tx: Transaction, keys: Sequence[str]) -> list[OfferRow]:
    """The offers of these skus, remembered until one of them is another."""
    rows = await tx.fetch(OFFERS, keys, into=OfferRow)
    found: dict[str, list[OfferRow]] = {}
    for row in rows:
        found.setdefault(row.sku_key, []).append(row)
    tx.remember(OFFERS_OF, found)
    return rows


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
