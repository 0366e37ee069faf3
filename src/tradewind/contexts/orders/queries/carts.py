"""Reads of carts."""

from collections.abc import Sequence
from datetime import timedelta

from msgspec import Struct

from tradewind.contexts.orders.queries import customers_in_use as orders_customers
from tradewind.contexts.orders.rules import Offers
from tradewind.contexts.orders.rules.cart_rows import standing_of
from tradewind.contexts.orders.rules.cart_views import etag_of, prices_now, shipping_options, view
from tradewind.contexts.orders.tables import OfferRow
from tradewind.contexts.orders.tables.carts import CART_ROW, CartRow, CartView
from tradewind.platform.database.transaction import Snapshot

__all__ = ["SeenCart", "cart", "of_customer", "persons_in_use", "row_of", "shipping_options"]

# Served by the primary keys of both.
CARTS = f"""
    SELECT {CART_ROW}
      FROM orders.carts c LEFT JOIN orders.orders o USING (order_id)
"""
ONE = f"{CARTS} WHERE c.cart_id = $1"
# Served by the primary key.
OFFERS = """
    SELECT sku_key, currency, sku, title, unit_price_e4, version, customer_group, list_id, from_ms,
           until_ms
      FROM orders.offers WHERE sku_key = ANY($1::text[])
"""


class SeenCart(Struct, frozen=True):
    """A cart as it is to be shown, and what whoever shows it has to know."""

    row: CartRow
    view: CartView
    etag: str
    prices: tuple[tuple[int, int | None], ...]

    @property
    def is_news(self) -> bool:
        """Whether the shopper was not shown these prices yet."""
        shown = list(zip(self.row.numbers, self.row.prices_shown, strict=True))
        return self.view.status == "open" and list(self.prices) != shown


async def row_of(db: Snapshot, cart_id: str) -> CartRow | None:
    """A cart's row, or None; one that was deleted is none."""
    row = await db.fetch_one(ONE, cart_id, into=CartRow)
    return None if row is None or row.ended == "deleted" else row


async def cart(db: Snapshot, cart_id: str, *, expires: timedelta) -> SeenCart | None:
    """A cart priced at this moment, or None."""
    row = await row_of(db, cart_id)
    return None if row is None else (await seen(db, [row], expires=expires))[0]


async def seen(db: Snapshot, rows: list[CartRow], *, expires: timedelta) -> list[SeenCart]:
    """Carts priced at this moment."""
    keys = sorted({sku.upper() for row in rows for sku in row.skus})
    offers = Offers(await db.fetch(OFFERS, keys, into=OfferRow) if keys else [])
    found = []
    for row in rows:
        shown = view(row, offers, standing_of(row), expires=expires, at=db.now)
        found.append(SeenCart(row, shown, etag_of(shown), prices_now(row, offers, db.now)))
    return found


# Served by carts_by_customer.
OF_CUSTOMER = f"""{CARTS}
     WHERE c.customer = $1 AND c.cart_id < $2 AND c.ended IS DISTINCT FROM 'deleted'
     ORDER BY c.cart_id DESC LIMIT $3
"""


async def of_customer(
    db: Snapshot, customer: str, *, before: str, count_max: int, expires: timedelta
) -> list[SeenCart]:
    """The carts of a customer from an id on, newest first."""
    rows = await db.fetch(OF_CUSTOMER, customer, before, count_max, into=CartRow)
    return await seen(db, rows, expires=expires)


# Served by the primary key.
ACCOUNT_OF = """
    SELECT customer FROM orders.carts WHERE cart_id = $1 AND ended IS DISTINCT FROM 'deleted'"""


async def account_of(db: Snapshot, cart_id: str) -> str | None:
    """Whose a cart is, in the word of the shop: of who is signed in, the account."""
    customer: str | None = await db.fetch_value(ACCOUNT_OF, cart_id)
    return customer


# Served by carts_by_person.
IN_USE = "SELECT person FROM orders.carts WHERE person = ANY($1::text[])"


async def persons_in_use(db: Snapshot, persons: Sequence[str]) -> set[str]:
    """Which of the vault's records an order or a cart points to."""
    return await orders_customers(db, persons) | set(await db.fetch_values(IN_USE, list(persons)))
