"""The rows of stock: read or recalled, and written only if they still are what was read."""

from collections.abc import Mapping, Sequence

from tradewind.contexts.inventory import rules
from tradewind.contexts.inventory.commands import MAIN
from tradewind.contexts.inventory.rules import Book, HeldUnits, Request, Reservation, Shelf, Sku
from tradewind.contexts.inventory.tables import (
    HoldRow,
    Location,
    RecordedRow,
    ReservationRow,
    ShelfRow,
)
from tradewind.platform.database.literals import number_array, text_array
from tradewind.platform.database.transaction import Transaction

# What rows are remembered as.
SHELVES = "inventory.shelves"
RESERVATION = "inventory.reservation"

# Both served by their primary keys.
READ_SHELVES = """
    SELECT k.sku_key, k.sku, k.availability, k.sequence, k.product, k.product_sequence,
           s.location, s.on_hand, s.reserved, s.short
      FROM inventory.skus k JOIN inventory.stock s ON s.sku_key = k.sku_key
     WHERE k.sku_key = ANY($1::text[])
"""

# Served by the primary key.
READ_RESERVATIONS = """
    SELECT order_id, status, version, sku_keys, quantities, locations
      FROM inventory.reservations WHERE order_id = ANY($1::text[])
"""

# The whole table: at most LOCATIONS_MAX rows.
READ_LOCATIONS = "SELECT id, code, name, priority FROM inventory.locations ORDER BY priority, code"


# Served by movements_by_external_id.
READ_RECORDED = """
    SELECT m.cause, m.external_id FROM inventory.movements m
      JOIN unnest($1::text[], $2::text[]) AS w (cause, external_id)
        ON m.cause = w.cause AND m.external_id = w.external_id
"""


# Served by the primary key.
READ_HOLDS = """
    SELECT cart_id, asked, version, status, expires_at, sku_keys, quantities, locations
      FROM inventory.holds WHERE cart_id = ANY($1::text[])
"""


async def read_holds(tx: Transaction, carts: Sequence[str]) -> list[HoldRow]:
    """What is kept for these carts."""
    return await tx.fetch(READ_HOLDS, carts, into=HoldRow)


def recall_shelves(tx: Transaction, keys: set[str]) -> dict[str, ShelfRow]:
    """The shelves of these skus as this process left them: of those that lie in one place."""
    return tx.recall(SHELVES, keys)


async def read(
    tx: Transaction,
    requests: Sequence[Request],
    keys: set[str],
    orders: Sequence[str],
    known: Mapping[str, ShelfRow] | None = None,
    *,
    holds: Sequence[HoldRow] = (),
) -> Book:
    """The rows that the requests may touch, but for shelves that are known.

    Locations are read only where there is a choice.
    """
    shelves = list(known.values()) if known else []
    if unknown := [key for key in keys if not known or key not in known]:
        shelves += await tx.fetch(READ_SHELVES, unknown, into=ShelfRow)
    held = tx.recall(RESERVATION, orders)
    reservations = list(held.values())
    if unheld := [order_id for order_id in orders if order_id not in held]:
        reservations += await tx.fetch(READ_RESERVATIONS, unheld, into=ReservationRow)
    priorities: dict[str, int] | None = None
    if any(row.location != MAIN for row in shelves) or any(
        isinstance(request, rules.Count | rules.Adjust | rules.Restock) and request.location != MAIN
        for request in requests
    ):
        locations = await tx.fetch(READ_LOCATIONS, into=Location)
        priorities = {location.code: location.priority for location in locations}
    named = [r for r in requests if isinstance(r, rules.Adjust) and r.external_id is not None]
    recorded: list[RecordedRow] = []
    if named:
        causes, names = [r.cause for r in named], [r.external_id for r in named]
        recorded = await tx.fetch(READ_RECORDED, causes, names, into=RecordedRow)
    return rules.open_book(
        shelves,
        reservations,
        main=MAIN,
        low_stock_quantity=tx.settings.low_stock_quantity,
        priorities=priorities,
        recorded=[(row.cause, row.external_id) for row in recorded],
        holds=holds,
    )


def save(tx: Transaction, book: Book) -> None:
    """Queue what the fold changed: on the usual path two or three statements, whatever the size."""
    save_reservations(tx, book)
    save_skus(tx, book)
    save_shelves(tx, book)
    written = {key: sku for key, sku in book.skus.items() if is_written(sku)}
    tx.vouch(SHELVES, written)
    tx.remember(SHELVES, {key: remembered(sku) for key, sku in written.items()})
    if book.moves:
        record_moves(tx, book)
    if book.holds:
        save_holds(tx, book)


# A hold that is there already was not read: all is decided again.
INSERT_HOLDS = """
    INSERT INTO inventory.holds
           (cart_id, asked, version, status, expires_at, sku_keys, quantities, locations)
    SELECT h.cart_id, h.asked, h.version, h.status, h.expires_at, h.sku_keys::text[],
           h.quantities::bigint[], h.locations::text[]
      FROM unnest($1::text[], $2::bigint[], $3::int[], $4::text[], $5::timestamptz[], $6::text[],
                  $7::text[], $8::text[])
        AS h (cart_id, asked, version, status, expires_at, sku_keys, quantities, locations)
    ON CONFLICT (cart_id) DO NOTHING
"""
# Served by the primary key.
UPDATE_HOLDS = """
    UPDATE inventory.holds h
       SET asked = n.asked, version = n.version, status = n.status, expires_at = n.expires_at,
           sku_keys = n.sku_keys::text[], quantities = n.quantities::bigint[],
           locations = n.locations::text[]
      FROM unnest($1::text[], $2::bigint[], $3::int[], $4::text[], $5::timestamptz[], $6::text[],
                  $7::text[], $8::text[], $9::bigint[], $10::int[])
        AS n (cart_id, asked, version, status, expires_at, sku_keys, quantities, locations,
              asked_before, version_before)
     WHERE h.cart_id = n.cart_id AND h.asked = n.asked_before AND h.version = n.version_before
"""
# Served by the primary key.
FORGET_HOLDS = """
    DELETE FROM inventory.holds h USING unnest($1::text[], $2::bigint[]) AS n (cart_id, asked)
     WHERE h.cart_id = n.cart_id AND h.asked = n.asked AND h.status = 'ended'
"""


def save_holds(tx: Transaction, book: Book) -> None:
    """Queue what is kept for carts, and what need not be remembered any more."""
    forgotten = [h for h in book.holds.values() if h.gone and not h.changed]
    made = [h for h in book.holds.values() if h.new]
    moved = [h for h in book.holds.values() if h.changed and not h.new]
    if made:
        tx.write(INSERT_HOLDS, *columns(list(map(hold_row, made))), expect=len(made))
    if moved:
        rows = [(*hold_row(h), h.asked_before, h.version_before) for h in moved]
        tx.write(UPDATE_HOLDS, *columns(rows), expect=len(moved))
    if forgotten:
        tx.write(FORGET_HOLDS, *columns([(h.cart_id, h.asked) for h in forgotten]))


def hold_row(held: HeldUnits) -> tuple[object, ...]:
    """What is kept for a cart, as a row."""
    return (
        *(held.cart_id, held.asked, held.version, held.status, held.expires_at),
        *(text_array(held.sku_keys), number_array(held.quantities), text_array(held.locations)),
    )


# An order that is there already was not looked for: it is read, and all decided again.
# Arrays of arrays do not fit a parameter, so each order's arrays come as their literals.
INSERT_RESERVATIONS = """
    INSERT INTO inventory.reservations
           (order_id, status, version, sku_keys, quantities, locations, reason,
            created_at, changed_at)
    SELECT r.order_id, r.status, r.version, r.sku_keys::text[], r.quantities::bigint[],
           r.locations::text[], r.reason, $8::timestamptz, $8
      FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[],
                  $7::text[])
        AS r (order_id, status, version, sku_keys, quantities, locations, reason)
"""

# Served by the primary key. HOT: no indexed column changes.
UPDATE_RESERVATIONS = """
    UPDATE inventory.reservations r
       SET status = c.status, version = c.version, reason = c.reason, changed_at = $5::timestamptz
      FROM unnest($1::text[], $2::text[], $3::int[], $4::text[])
        AS c (order_id, status, version, reason)
     WHERE r.order_id = c.order_id AND r.version < c.version
"""


def save_reservations(tx: Transaction, book: Book) -> None:
    """Queue new reservations, and the steps of those that were there."""
    made = [r for r in book.reservations.values() if r.new]
    if made:
        tx.write(
            INSERT_RESERVATIONS,
            [r.order_id for r in made],
            [r.status for r in made],
            [r.version for r in made],
            [text_array(r.sku_keys) for r in made],
            [number_array(r.quantities) for r in made],
            [None if r.locations is None else text_array(r.locations) for r in made],
            [r.reason for r in made],
            tx.now,
            expect=len(made),
        )
    moved: list[Reservation] = [r for r in book.reservations.values() if r.changed and not r.new]
    if moved:
        tx.write(
            UPDATE_RESERVATIONS,
            [r.order_id for r in moved],
            [r.status for r in moved],
            [r.version for r in moved],
            [r.reason for r in moved],
            tx.now,
            expect=len(moved),
        )
    tx.vouch(RESERVATION, (r.order_id for r in moved))
    # What is allocated or released is rarely looked at again.
    tx.remember(
        RESERVATION,
        {
            r.order_id: ReservationRow(
                r.order_id, r.status, r.version, r.sku_keys, r.quantities, r.locations
            )
            if r.status == "reserved"
            else None
            for r in (*made, *moved)
        },
    )


# A sku that somebody else made known in this moment is read, and all decided again.
OPEN_SKUS = """
    INSERT INTO inventory.skus (sku_key, sku, availability, sequence, product, product_sequence)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[],
                         $6::bigint[])
"""

# Served by the primary key.
SAVE_SKUS = """
    UPDATE inventory.skus k
       SET availability = c.availability, sequence = c.sequence, product = c.product,
           product_sequence = c.product_sequence
      FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::text[],
                  $7::bigint[])
        AS c (sku_key, sequence_before, product_sequence_before, availability, sequence, product,
              product_sequence)
     WHERE k.sku_key = c.sku_key AND k.sequence = c.sequence_before
       AND k.product_sequence = c.product_sequence_before
"""


def save_skus(tx: Transaction, book: Book) -> None:
    """Queue new skus, marks that were crossed and versions of products that were counted."""
    dirty = sorted((sku for sku in book.skus.values() if sku.dirty), key=lambda sku: sku.key)
    opened = [
        (s.key, s.sku, s.availability, s.sequence, s.product, s.product_sequence)
        for s in dirty
        if s.new
    ]
    changed = [
        (
            *(s.key, s.sequence_before, s.product_sequence_before, s.availability),
            *(s.sequence, s.product, s.product_sequence),
        )
        for s in dirty
        if not s.new
    ]
    if opened:
        tx.write(OPEN_SKUS, *columns(opened), expect=len(opened))
    if changed:
        tx.write(SAVE_SKUS, *columns(changed), expect=len(changed))


# Served by the primary keys. HOT. It names no `short`, so it can not take more than is free,
# whatever numbers it is given: constraint never_oversold. A shelf that was opened somewhere else
# meanwhile has moved the sku's sequence.
TAKE = """
    UPDATE inventory.stock s SET reserved = s.reserved + t.quantity
      FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
        AS t (sku_key, location, on_hand_before, reserved_before, sequence_before, quantity)
     WHERE s.sku_key = t.sku_key AND s.location = t.location
       AND s.on_hand = t.on_hand_before AND s.reserved = t.reserved_before
       AND EXISTS (SELECT FROM inventory.skus k
                    WHERE k.sku_key = t.sku_key AND k.sequence = t.sequence_before)
"""

# Served by the primary key. HOT. For shelves that were counted or given back to in this batch, and
# for those beside a changed one: what is free of a sku is decided over all its shelves, those that
# were opened meanwhile included.
ADJUST = """
    UPDATE inventory.stock s
       SET on_hand = s.on_hand + a.on_hand, reserved = s.reserved + a.reserved, short = a.short
      FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                  $7::bigint[], $8::bigint[])
        AS a (sku_key, location, on_hand_before, reserved_before, sequence_before, on_hand,
              reserved, short)
     WHERE s.sku_key = a.sku_key AND s.location = a.location
       AND s.on_hand = a.on_hand_before AND s.reserved = a.reserved_before
       AND EXISTS (SELECT FROM inventory.skus k
                    WHERE k.sku_key = a.sku_key AND k.sequence = a.sequence_before)
"""

OPEN = """
    INSERT INTO inventory.stock (sku_key, location, on_hand, reserved, short)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
"""


def save_shelves(tx: Transaction, book: Book) -> None:
    """Queue what was taken, adjusted and opened, in the order of skus; each in one of the three."""
    taken: list[tuple[str, str, int, int, int, int]] = []
    adjusted: list[tuple[str, str, int, int, int, int, int, int]] = []
    opened: list[tuple[str, str, int, int, int]] = []
    for key in sorted(book.skus):
        sku = book.skus[key]
        for shelf in sku.shelves if is_written(sku) else ():
            on_hand = shelf.on_hand - shelf.on_hand_before
            reserved = shelf.reserved - shelf.reserved_before
            place = (key, shelf.location)
            before = (shelf.on_hand_before, shelf.reserved_before, sku.sequence_before)
            if shelf.new:
                opened.append((*place, shelf.on_hand, shelf.reserved, shelf.short))
            elif shelf.taken_only and reserved:
                taken.append((*place, *before, reserved))
            else:
                adjusted.append((*place, *before, on_hand, reserved, shelf.short))
    if taken:
        tx.write(TAKE, *columns(taken), expect=len(taken))
    if adjusted:
        tx.write(ADJUST, *columns(adjusted), expect=len(adjusted))
    if opened:
        tx.write(OPEN, *columns(opened), expect=len(opened))


def is_written(sku: Sku) -> bool:
    """Whether all shelves of a sku are written: each is, where the fold changed one."""
    return any(is_touched(shelf) for shelf in sku.shelves)


def remembered(sku: Sku) -> ShelfRow | None:
    """The only shelf of a sku as it is once it is written; None where there are several."""
    if len(sku.shelves) != 1 or sku.shelves[0].location != MAIN or sku.availability is None:
        return None
    shelf = sku.shelves[0]
    return ShelfRow(
        sku.key,
        sku.sku,
        sku.availability,
        sku.sequence,
        sku.product,
        sku.product_sequence,
        shelf.location,
        shelf.on_hand,
        shelf.reserved,
        shelf.short,
    )


def is_touched(shelf: Shelf) -> bool:
    """Whether the fold changed a shelf."""
    return shelf.new or not shelf.taken_only or shelf.reserved != shelf.reserved_before


def columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    """Rows as columns, for unnest."""
    return [list(column) for column in zip(*rows, strict=True)]


RECORD_MOVES = """
    INSERT INTO inventory.movements (sku_key, location, kind, on_hand_delta, cause, reason,
           movement_id, external_id, at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[],
                         $7::text[], $8::text[], $9::timestamptz[])
"""


def record_moves(tx: Transaction, book: Book) -> None:
    """Queue the entries of the ledger, in the order in which they happened."""
    rows = [
        (
            *(m.sku_key, m.location, m.kind, m.on_hand_delta, m.cause),
            *(m.reason, m.movement_id, m.external_id, m.at or tx.now),
        )
        for m in book.moves
    ]
    tx.write(RECORD_MOVES, *columns(rows))
