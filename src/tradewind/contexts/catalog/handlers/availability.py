"""The availability that shoppers see, as inventory tells it."""

from collections.abc import Sequence
from typing import Any

from tradewind.contexts.catalog.events import sku_key
from tradewind.contexts.catalog.handlers.shelves import AVAILABILITY, LOCK, load_variants
from tradewind.contexts.catalog.rules import products
from tradewind.contexts.catalog.tables import AvailabilityRow, Drawn, ProductRow, VariantRow
from tradewind.contexts.inventory.commands import MAIN
from tradewind.contexts.inventory.events import AvailabilityChanged, StockAdjusted, StockCounted
from tradewind.kernel.messages import NOTHING, Decision, Redraw, Redrawn
from tradewind.platform.database.transaction import Transaction

# Served by the primary keys of both: the products that own one of these skus.
PRODUCTS_OF_SKUS = """
    SELECT p.product_id, p.external_id, p.title, p.description, p.category, p.attributes,
           p.version, p.archived, p.mark, p.options, p.media
      FROM catalog.products p
     WHERE p.product_id IN (SELECT v.product_id FROM catalog.variants v
                             WHERE v.sku_key = ANY($1::text[]))
"""
SAVE_AVAILABILITY = """
    INSERT INTO catalog.availability (sku_key, availability, sequence)
    SELECT u.sku_key, u.availability, u.sequence
      FROM unnest($1::text[], $2::text[], $3::bigint[]) AS u(sku_key, availability, sequence)
        ON CONFLICT (sku_key) DO UPDATE
           SET availability = excluded.availability, sequence = excluded.sequence
"""
SAVE_DOCUMENTS = """
    UPDATE catalog.products p SET mark = u.mark, document = u.document
      FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[])
        AS u(product_id, version, mark_before, mark, document)
     WHERE p.product_id = u.product_id AND p.version = u.version AND p.mark = u.mark_before
"""


def marks_of(event: AvailabilityChanged) -> list[dict[str, Any]]:
    """The row of catalog.availability that the newest word about a sku makes."""
    row = {
        "sku_key": sku_key(event.sku),
        "availability": event.availability,
        "sequence": event.sequence,
    }
    return [row]


async def remember_availability(
    tx: Transaction, events: Sequence[AvailabilityChanged | StockCounted | StockAdjusted]
) -> Decision:
    """Show shoppers what inventory says, and note what it counted. Safe to repeat: only a later
    word about a sku counts.
    """
    await tx.lock(LOCK, {f"sku:{sku_key(event.sku)}" for event in events})
    note_counts(tx, [e for e in events if isinstance(e, StockCounted | StockAdjusted)])
    marks = [event for event in events if isinstance(event, AvailabilityChanged)]
    newest = {sku_key(event.sku): event for event in marks}
    if not newest:
        return NOTHING
    known = {r.sku_key: r for r in await tx.fetch(AVAILABILITY, list(newest), into=AvailabilityRow)}
    later = {
        key: event
        for key, event in newest.items()
        if key not in known or event.sequence > known[key].sequence
    }
    if not later:
        return NOTHING
    tx.write(
        SAVE_AVAILABILITY,
        list(later),
        [event.availability for event in later.values()],
        [event.sequence for event in later.values()],
    )
    rows = await tx.fetch(PRODUCTS_OF_SKUS, list(later), into=ProductRow)
    variants = await load_variants(tx, [row.product_id for row in rows], [])
    availability = {variant.sku_key: variant.availability for variant in variants}
    availability.update({key: event.availability for key, event in later.items()})
    shown = []
    for row in rows:
        product = products.restore(row, [v for v in variants if v.product_id == row.product_id])
        mark = products.mark(product, availability, tx.now)
        if mark != row.mark:
            shown.append((row, mark, products.document(product, availability, tx.now).decode()))
    save_documents(tx, shown)
    return NOTHING


SAVE_COUNTED = """
    INSERT INTO catalog.counts AS c (sku_key, counted, sequence)
    SELECT u.sku_key, u.counted, u.sequence
      FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS u(sku_key, counted, sequence)
        ON CONFLICT (sku_key) DO UPDATE
           SET counted = excluded.counted, sequence = excluded.sequence
         WHERE c.sequence < excluded.sequence
"""


def note_counts(tx: Transaction, events: Sequence[StockCounted | StockAdjusted]) -> None:
    """Queue what lies at the default location: an import that says the same says nothing new."""
    newest = {sku_key(event.sku): event for event in events if event.location == MAIN}
    if newest:
        tx.write(
            SAVE_COUNTED,
            list(newest),
            [event.on_hand for event in newest.values()],
            [event.sequence for event in newest.values()],
        )


def save_documents(tx: Transaction, shown: Sequence[tuple[ProductRow, str, str]]) -> None:
    """Queue marks and documents of products that still are as they were read."""
    if shown:
        tx.write(
            SAVE_DOCUMENTS,
            [row.product_id for row, _, _ in shown],
            [row.version for row, _, _ in shown],
            [row.mark for row, _, _ in shown],
            [mark for _, mark, _ in shown],
            [document for _, _, document in shown],
            expect=len(shown),
        )


# Served by the primary key, in its order.
NEXT_PRODUCTS = """
    SELECT product_id, external_id, title, description, category, attributes, version, archived,
           mark, options, media
      FROM catalog.products WHERE product_id > $1 ORDER BY product_id LIMIT $2
"""
DOCUMENTS = """
    SELECT product_id, document FROM catalog.products WHERE product_id = ANY($1::text[])
"""
REDRAWN_AT_ONCE = 200


async def redraw_documents(tx: Transaction, messages: Sequence[Redraw]) -> Decision:
    """Draw what shoppers see from the rows, and save what differs. Safe to repeat, at any time:
    a product that changes meanwhile is drawn again.
    """
    [redraw] = messages
    rows = await tx.fetch(NEXT_PRODUCTS, redraw.after, REDRAWN_AT_ONCE, into=ProductRow)
    ids = [row.product_id for row in rows]
    there = {row.product_id: row.document for row in await tx.fetch(DOCUMENTS, ids, into=Drawn)}
    variants = await load_variants(tx, ids, [])
    availability = {variant.sku_key: variant.availability for variant in variants}
    by_product: dict[str, list[VariantRow]] = {}
    for variant in variants:
        by_product.setdefault(variant.product_id, []).append(variant)
    shown = []
    for row in rows:
        product = products.restore(row, by_product.get(row.product_id, ()))
        mark = products.mark(product, availability, tx.now)
        document = products.document(product, availability, tx.now).decode()
        if (mark, document) != (row.mark, there[row.product_id]):
            shown.append((row, mark, document))
    save_documents(tx, shown)
    after = ids[-1] if len(ids) == REDRAWN_AT_ONCE else None
    return Decision(outcomes=[Redrawn(after, len(rows), len(shown))])


# Served by products_by_redraw.
DUE = """
    SELECT product_id, external_id, title, description, category, attributes, version, archived,
           mark, options, media
      FROM catalog.products WHERE redraw_at <= $1 ORDER BY redraw_at LIMIT $2
"""
REDRAWN = """
    UPDATE catalog.products p SET mark = u.mark, document = u.document, redraw_at = u.redraw_at
      FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
        AS u(product_id, version, mark_before, mark, document, redraw_at)
     WHERE p.product_id = u.product_id AND p.version = u.version AND p.mark = u.mark_before
"""
DUE_AT_ONCE = 100


async def redraw_due(tx: Transaction) -> Decision:
    """Show the prices that began, and no more those that ended. Orders look at the clock itself."""
    rows = await tx.fetch(DUE, tx.now, DUE_AT_ONCE, into=ProductRow)
    if not rows:
        return NOTHING
    variants = await load_variants(tx, [row.product_id for row in rows], [])
    availability = {variant.sku_key: variant.availability for variant in variants}
    shown = []
    for row in rows:
        product = products.restore(row, [v for v in variants if v.product_id == row.product_id])
        mark = products.mark(product, availability, tx.now)
        document = products.document(product, availability, tx.now).decode()
        shown.append((row, mark, document, products.redraw_at(product, tx.now)))
    tx.write(
        REDRAWN,
        [row.product_id for row, *_ in shown],
        [row.version for row, *_ in shown],
        [row.mark for row, *_ in shown],
        [mark for _, mark, _, _ in shown],
        [document for *_, document, _ in shown],
        [again for *_, again in shown],
        expect=len(shown),
    )
    return NOTHING
