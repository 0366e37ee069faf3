"""The copy of what the catalog sells: kept, read, remembered."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tradewind.contexts.catalog.events import GroupPrice, ProductChanged
from tradewind.contexts.orders.tables import (
    END_OF_TIME_MS,
    OfferRow,
)
from tradewind.kernel.messages import Decision
from tradewind.platform.database.transaction import Transaction

OFFERS_OF = "orders.offers"  # what the offers of a sku are remembered as

# Served by the primary key.
OFFERS = """
    SELECT sku_key, currency, sku, title, unit_price_e4, version, customer_group, list_id, from_ms,
           until_ms
      FROM orders.offers WHERE sku_key = ANY($1::text[])
"""
# Served by the primary key. The offers that are as they were remembered: seen by the same statement
# that inserts the orders. A change of a product writes all its offers, so that an offer that is
# new shows in those that were there.
SAME_OFFERS = """
    SELECT 1 FROM orders.offers o
      JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
                  $7::bigint[])
           AS k (sku_key, currency, customer_group, list_id, from_ms, version, unit_price_e4)
        ON o.sku_key = k.sku_key AND o.currency = k.currency
       AND o.customer_group = k.customer_group AND o.list_id = k.list_id AND o.from_ms = k.from_ms
     WHERE o.version = k.version AND o.unit_price_e4 = k.unit_price_e4
"""


def prove(tx: Transaction, known: Mapping[str, Sequence[OfferRow]]) -> None:
    """Queue the proof that these offers still are as they were remembered."""
    same = [row for rows in known.values() for row in rows]
    tx.write(
        SAME_OFFERS,
        [row.sku_key for row in same],
        [row.currency for row in same],
        [row.customer_group for row in same],
        [row.list_id for row in same],
        [row.from_ms for row in same],
        [row.version for row in same],
        [row.unit_price_e4 for row in same],
        expect=len(same),
    )
    tx.vouch(OFFERS_OF, known)


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
           (sku_key, currency, customer_group, list_id, from_ms, until_ms, sku, product_id, title,
            unit_price_e4, version)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
                         $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bigint[])
    ON CONFLICT (sku_key, currency, customer_group, list_id, from_ms) DO UPDATE
       SET sku = excluded.sku, product_id = excluded.product_id, title = excluded.title,
           unit_price_e4 = excluded.unit_price_e4, version = excluded.version,
           until_ms = excluded.until_ms
"""
# Served by offers_by_product. What a product no longer offers.
DELETE_OFFERS = """
    DELETE FROM orders.offers o
     WHERE o.product_id = ANY($1::text[]) AND NOT EXISTS (
           SELECT 1 FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
                      AS k (sku_key, currency, customer_group, list_id, from_ms)
            WHERE k.sku_key = o.sku_key AND k.currency = o.currency
              AND k.customer_group = o.customer_group AND k.list_id = o.list_id
              AND k.from_ms = o.from_ms)
"""
KEY_COLUMNS = 5


async def copy_offers(tx: Transaction, events: Sequence[ProductChanged]) -> Decision:
    """Keep the copy of what is sold at which price. The newest change of a product wins."""
    newest = {event.product_id: event for event in events}
    rows = [tuple(row.values()) for product in newest.values() for row in offers_of(product)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    keys = columns[:KEY_COLUMNS] if rows else [[] for _ in range(KEY_COLUMNS)]
    tx.write(DELETE_OFFERS, list(newest), *keys)
    if rows:
        tx.write(UPSERT_OFFERS, *columns)
    skus = {v.sku.upper() for product in newest.values() for v in product.variants}
    tx.remember(OFFERS_OF, dict.fromkeys(skus))
    return Decision()


def offers_of(product: ProductChanged) -> list[dict[str, Any]]:
    """The rows of orders.offers that a product makes, as it now is: the key first."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for variant in product.variants:
        if product.archived or variant.archived:
            continue
        for price in (*variant.prices, *variant.group_prices):
            row = {
                "sku_key": variant.sku.upper(),
                "currency": price.currency,
                "customer_group": price.group if isinstance(price, GroupPrice) else "",
                "list_id": price.list_id if isinstance(price, GroupPrice) else "",
                "from_ms": milliseconds(price.valid_from) if price.valid_from else 0,
                "until_ms": milliseconds(price.valid_until)
                if price.valid_until
                else END_OF_TIME_MS,
                "sku": variant.sku,
                "product_id": product.product_id,
                "title": variant.title or product.title,
                "unit_price_e4": price.amount_e4,
                "version": product.version,
            }
            rows[tuple(row.values())[:KEY_COLUMNS]] = row
    return list(rows.values())


def milliseconds(instant: datetime) -> int:
    """An instant as offers are compared by it."""
    return int(instant.timestamp() * 1_000)
