"""Carts: read, decided at the desk, saved; a checkout places the order in the same unit.

No lock is taken. A cart's row is written only while it has the version that was read, so of two
units that meet on a cart the slower one decides again, on what the faster one made of it.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from tradewind.contexts.inventory.events import UnitsHeld
from tradewind.contexts.orders.commands import (
    ChangeCart,
    CheckOutCart,
    MergeCarts,
    OpenCart,
    PersonsDiscarded,
    PersonsForgotten,
    PutIn,
)
from tradewind.contexts.orders.handlers.offers import read_offers
from tradewind.contexts.orders.handlers.placing import insert
from tradewind.contexts.orders.rules import Offers
from tradewind.contexts.orders.rules.carts import CartDesk, Patience
from tradewind.contexts.orders.tables.carts import CART_COLUMNS, CART_ROW, CartRow
from tradewind.kernel.messages import Decision
from tradewind.platform.database.literals import text_array
from tradewind.platform.database.transaction import Transaction
from tradewind.platform.settings import Settings

LOOKED_AT_ONCE_MAX = 200
FORGOTTEN_AT_ONCE_MAX = 200

# Served by the primary keys of both.
READ_CARTS = f"""
    SELECT {CART_ROW}
      FROM orders.carts c LEFT JOIN orders.orders o USING (order_id)
     WHERE c.cart_id = ANY($1::text[])
"""


def patience(settings: Settings) -> Patience:
    """How long a cart may be left alone, as it is set."""
    return Patience(
        abandoned=timedelta(hours=settings.cart_abandoned_hours),
        expires=timedelta(days=settings.cart_expires_days),
        held=timedelta(minutes=settings.cart_hold_minutes),
    )


async def open_desk(tx: Transaction, cart_ids: Iterable[str], skus: Iterable[str] = ()) -> CartDesk:
    """The desk with these carts on it, and the offers of what is in them or `skus`."""
    wanted = list(dict.fromkeys(cart_ids))
    rows = await tx.fetch(READ_CARTS, wanted, into=CartRow) if wanted else []
    keys = {sku.upper() for row in rows for sku in row.skus}
    keys.update(sku.upper() for sku in skus)
    offers = await read_offers(tx, sorted(keys)) if keys else []
    return CartDesk(rows, Offers(offers), now=tx.now, patience=patience(tx.settings))


async def open_carts(tx: Transaction, commands: Sequence[OpenCart]) -> Decision:
    """Begin carts. Safe to repeat: the cart's id came with the command."""
    # The second time some may have been there all along: then that is the answer.
    known = [command.cart_id for command in commands] if tx.anew else []
    desk = await open_desk(tx, known, (line.sku for c in commands for line in c.lines))
    return close_desk(tx, desk, [desk.open(command) for command in commands])


async def change_carts(tx: Transaction, commands: Sequence[ChangeCart]) -> Decision:
    """Change carts, one request after the other."""
    put_in = (c.change.sku for c in commands if isinstance(c.change, PutIn))
    desk = await open_desk(tx, (command.cart_id for command in commands), put_in)
    return close_desk(tx, desk, [desk.change(command) for command in commands])


async def merge_carts(tx: Transaction, commands: Sequence[MergeCarts]) -> Decision:
    """Put guests' carts into others. A repeat finds it done."""
    desk = await open_desk(tx, (i for c in commands for i in (c.cart_id, c.guest_id)))
    return close_desk(tx, desk, [desk.merge(command) for command in commands])


async def check_out_carts(tx: Transaction, commands: Sequence[CheckOutCart]) -> Decision:
    """Turn carts into orders: the order's rows, its event and the cart's row in one commit."""
    desk = await open_desk(tx, (command.cart_id for command in commands))
    decision = close_desk(tx, desk, [desk.check_out(command) for command in commands])
    placed = desk.ruling.placed
    if placed:
        insert(tx, placed)
        tx.write(
            INSERT_CHECKOUTS,
            [order.order_id for order, _ in placed],
            [order.cart_id for order, _ in placed],
        )
    causes = {
        order.order_id: f"request of {order.credential or order.cart_id}" for order, _ in placed
    }
    return Decision(events=decision.events, outcomes=decision.outcomes, causes=causes)


INSERT_CHECKOUTS = """
    INSERT INTO orders.checkouts (order_id, cart_id) SELECT * FROM unnest($1::text[], $2::text[])
"""
INSERT_CARTS = """
    INSERT INTO orders.carts (cart_id, version, currency, credential, customer, person, contact,
           shipping_country, billing_country, shipping_option, order_id, ended, merged_into,
           lines_made, announced, last_change, hold_asked, hold_until, created_at, touched_at,
           look_at, numbers, skus, titles, quantities, prices_then, prices_shown,
           customer_group)
    SELECT n.cart_id, n.version, n.currency, n.credential, n.customer, n.person, n.contact,
           n.shipping_country, n.billing_country, n.shipping_option, n.order_id, n.ended,
           n.merged_into, n.lines_made, n.announced, n.last_change, n.hold_asked, n.hold_until,
           n.created_at, n.touched_at, n.look_at, n.numbers::int[], n.skus::text[],
           n.titles::text[], n.quantities::int[], n.prices_then::bigint[], n.prices_shown::bigint[],
           n.customer_group
      FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[],
                  $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                  $13::text[], $14::int[], $15::int[], $16::text[], $17::int[],
                  $18::timestamptz[], $19::timestamptz[], $20::timestamptz[], $21::timestamptz[],
                  $22::text[], $23::text[], $24::text[], $25::text[], $26::text[], $27::text[],
                  $28::text[])
        AS n (cart_id, version, currency, credential, customer, person, contact,
              shipping_country, billing_country, shipping_option, order_id, ended, merged_into,
              lines_made, announced, last_change, hold_asked, hold_until, created_at, touched_at,
              look_at, numbers, skus, titles, quantities, prices_then, prices_shown,
              customer_group)
"""
# Served by the primary key. What was only shown or announced leaves the version as it is.
UPDATE_CARTS = """
    UPDATE orders.carts c
       SET version = n.version, customer = n.customer, person = n.person, contact = n.contact,
           shipping_country = n.shipping_country, billing_country = n.billing_country,
           shipping_option = n.shipping_option, order_id = n.order_id, ended = n.ended,
           merged_into = n.merged_into, lines_made = n.lines_made, announced = n.announced,
           last_change = n.last_change, hold_asked = n.hold_asked, hold_until = n.hold_until,
           touched_at = n.touched_at, look_at = n.look_at,
           numbers = n.numbers::int[], skus = n.skus::text[], titles = n.titles::text[],
           quantities = n.quantities::int[], prices_then = n.prices_then::bigint[],
           prices_shown = n.prices_shown::bigint[]
      FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[],
                  $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                  $13::text[], $14::int[], $15::int[], $16::text[], $17::int[],
                  $18::timestamptz[], $19::timestamptz[], $20::timestamptz[], $21::timestamptz[],
                  $22::text[], $23::text[], $24::text[], $25::text[], $26::text[], $27::text[],
                  $28::int[], $29::int[])
        AS n (cart_id, version, currency, credential, customer, person, contact,
              shipping_country, billing_country, shipping_option, order_id, ended, merged_into,
              lines_made, announced, last_change, hold_asked, hold_until, created_at, touched_at,
              look_at, numbers, skus, titles, quantities, prices_then, prices_shown,
              version_before, announced_before)
     WHERE c.cart_id = n.cart_id AND c.version = n.version_before
       AND c.announced = n.announced_before
"""
# Served by the primary key.
DELETE_CARTS = """
    DELETE FROM orders.carts c USING unnest($1::text[], $2::int[]) AS n (cart_id, version)
     WHERE c.cart_id = n.cart_id AND c.version = n.version
"""
DISCARD_PERSONS = """
    INSERT INTO orders.discarded_persons (person) SELECT * FROM unnest($1::text[])
    ON CONFLICT (person) DO NOTHING
"""


def close_desk(tx: Transaction, desk: CartDesk, outcomes: Sequence[Any] = ()) -> Decision:
    """Queue what the desk changed."""
    ruling = desk.ruling
    made = [row for key, row in ruling.rows.items() if key not in ruling.read]
    kept = [row for key, row in ruling.rows.items() if key in ruling.read]
    if made:
        tx.write(INSERT_CARTS, *columns(made), [row.customer_group for row in made])
    if kept:
        before = [ruling.read[row.cart_id] for row in kept]
        tx.write(
            UPDATE_CARTS,
            *columns(kept),
            [row.version for row in before],
            [row.announced for row in before],
            expect=len(kept),
        )
    if ruling.gone:
        gone = ruling.gone
        tx.write(DELETE_CARTS, [row.cart_id for row in gone], [row.version for row in gone])
    if ruling.discarded:
        tx.write(DISCARD_PERSONS, list(ruling.discarded))
    return Decision(events=ruling.events, outcomes=outcomes)


NUMBERS = frozenset({"numbers", "quantities", "prices_then", "prices_shown"})
TEXTS = frozenset({"skus", "titles"})


def columns(rows: Sequence[CartRow]) -> list[list[Any]]:
    """Carts as columns, for unnest; arrays of arrays as their literals."""
    found = []
    for name in CART_COLUMNS:
        column = [getattr(row, name) for row in rows]
        if name in TEXTS:
            column = [text_array(texts) for texts in column]
        elif name in NUMBERS:
            column = [price_array(prices) for prices in column]
        found.append(column)
    return found


def price_array(prices: Sequence[int | None]) -> str:
    """The literal of a bigint[] in which some may be null."""
    return "{" + ",".join(["NULL" if price is None else str(price) for price in prices]) + "}"


# Served by carts_by_look.
DUE = f"""
    SELECT {CART_ROW}
      FROM (SELECT * FROM orders.carts WHERE look_at <= $1 ORDER BY look_at LIMIT $2) c
      LEFT JOIN orders.orders o USING (order_id)
"""


async def look_at_carts(tx: Transaction) -> Decision:
    """Announce the carts that were left, end those that were left for long, delete the ended."""
    rows = await tx.fetch(DUE, tx.now, LOOKED_AT_ONCE_MAX, into=CartRow)
    desk = CartDesk(rows, Offers([]), now=tx.now, patience=patience(tx.settings))
    for row in rows:
        desk.look(row)
    decision = close_desk(tx, desk)
    causes = {event.subject: "clock of the cart" for event in decision.events}
    return Decision(events=decision.events, causes=causes)


# The whole table: it is emptied all the time.
DISCARDED = "SELECT person FROM orders.discarded_persons LIMIT $1"


async def find_discarded(tx: Transaction) -> Decision:
    """Have records destroyed that carts do not point to any more; till then it finds them."""
    persons = await tx.fetch_values(DISCARDED, FORGOTTEN_AT_ONCE_MAX)
    return Decision(signals=[PersonsDiscarded(tuple(persons))] if persons else [])


# Served by the primary key.
FORGOTTEN = "DELETE FROM orders.discarded_persons WHERE person = ANY($1::text[])"


async def note_forgotten(tx: Transaction, commands: Sequence[PersonsForgotten]) -> Decision:
    """What was destroyed need not be destroyed again."""
    tx.write(FORGOTTEN, sorted({person for c in commands for person in c.persons}))
    return Decision(outcomes=[None] * len(commands))


# Served by the primary key. News that is older than what is known changes nothing.
NOTE_HOLDS = """
    UPDATE orders.carts c SET hold_told = n.asked, hold_short = n.short::text[]
      FROM unnest($1::text[], $2::int[], $3::text[]) AS n (cart_id, asked, short)
     WHERE c.cart_id = n.cart_id AND c.hold_told < n.asked
"""


async def note_holds(tx: Transaction, events: Sequence[UnitsHeld]) -> Decision:
    """Remember what inventory keeps for carts. A repeat changes nothing."""
    newest = {event.cart_id: event for event in events}.values()
    tx.write(
        NOTE_HOLDS,
        [event.cart_id for event in newest],
        [event.asked for event in newest],
        [text_array([line.sku for line in event.short]) for event in newest],
    )
    return Decision()
