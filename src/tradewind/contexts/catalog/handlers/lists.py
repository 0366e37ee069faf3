"""Price lists, and how their prices come into products: some at a time, in units of their own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tradewind.contexts.catalog.commands import (
    ApplyPrices,
    KeepPriceList,
    RemovePriceList,
    SetListPrices,
)
from tradewind.contexts.catalog.handlers.shelves import load, save
from tradewind.contexts.catalog.problems import PriceListNotFound
from tradewind.contexts.catalog.rules import lists, products
from tradewind.contexts.catalog.tables import ListPriceRow, PriceList
from tradewind.kernel.answers import Answer
from tradewind.kernel.audit import Change
from tradewind.kernel.messages import NOTHING, Decision
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction

LOCK = "catalog price list"
APPLIED_AT_ONCE = 50

# Served by the primary key.
LISTS = """
    SELECT list_id, name, customer_group, currency, valid_from, valid_until, archived, version
      FROM catalog.price_lists WHERE list_id = ANY($1::text[])
"""
SAVE_LISTS = """
    INSERT INTO catalog.price_lists
           (list_id, name, customer_group, currency, valid_from, valid_until, archived, version)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[],
                         $6::timestamptz[], $7::boolean[], $8::bigint[])
        ON CONFLICT (list_id) DO UPDATE
           SET name = excluded.name, customer_group = excluded.customer_group,
               valid_from = excluded.valid_from, valid_until = excluded.valid_until,
               archived = excluded.archived, version = excluded.version
"""
# Served by the primary key.
KNOWN_SKUS = "SELECT sku_key FROM catalog.variants WHERE sku_key = ANY($1::text[])"
# Served by the primary key. Those that a whole list no longer names.
OTHERS = """
    SELECT sku_key FROM catalog.list_prices
     WHERE list_id = $1 AND NOT removed AND NOT sku_key = ANY($2::text[])
"""
SAVE_PRICES = """
    INSERT INTO catalog.list_prices AS p (list_id, sku_key, amount_e4, removed, list_version)
    SELECT u.list_id, u.sku_key, coalesce(u.amount_e4, 0), u.amount_e4 IS NULL, 0
      FROM unnest($1::text[], $2::text[], $3::bigint[]) AS u(list_id, sku_key, amount_e4)
        ON CONFLICT (list_id, sku_key) DO UPDATE
           SET amount_e4 = CASE WHEN excluded.removed THEN p.amount_e4 ELSE excluded.amount_e4 END,
               removed = excluded.removed, list_version = 0
         WHERE p.removed <> excluded.removed
            OR NOT excluded.removed AND p.amount_e4 <> excluded.amount_e4
"""


async def load_lists(tx: Transaction, list_ids: Iterable[str]) -> dict[str, PriceList]:
    """Lists by their id."""
    rows = await tx.fetch(LISTS, sorted(set(list_ids)), into=PriceList)
    return {row.id: row for row in rows}


async def keep_lists(tx: Transaction, commands: Sequence[KeepPriceList]) -> Decision:
    """Make or change lists. Safe to repeat: what is as it was stays in its version."""
    await tx.lock(LOCK, [command.list_id for command in commands])
    known = await load_lists(tx, [command.list_id for command in commands])
    skus = await known_skus(tx, [p.sku for c in commands for p in c.body.prices or ()])
    changed: dict[str, PriceList] = {}
    prices: dict[tuple[str, str], int | None] = {}
    outcomes: list[Answer | Problem] = []
    changes: dict[int, Change] = {}
    for command in commands:
        before = changed.get(command.list_id) or known.get(command.list_id)
        kept = lists.keep(command, before)
        amounts = lists.amounts(command.body.prices or (), skus)
        if isinstance(kept, Problem) or isinstance(amounts, Problem):
            outcomes.append(kept if isinstance(kept, Problem) else amounts)  # type: ignore[arg-type]
            continue
        if kept is not before and kept != before:
            changed[kept.id] = kept
        if command.body.prices is not None:
            gone = await tx.fetch_values(OTHERS, command.list_id, list(amounts))
            gone += [key for list_id, key in prices if list_id == command.list_id]
            amounts.update(dict.fromkeys(key for key in gone if key not in amounts))
        prices.update({(command.list_id, key): value for key, value in amounts.items()})
        if command.body.prices is None:
            changes[len(outcomes)] = Change(kept.id, standing(before), standing(kept))
        outcomes.append(Answer(status=200 if before else 201, body=kept))
    save_lists(tx, list(changed.values()))
    save_prices(tx, prices)
    return Decision(outcomes=outcomes, changes=changes)


def standing(row: PriceList | None) -> dict[str, Any] | None:
    """How a list stands, for the record."""
    return None if row is None else {"version": row.version, "archived": row.archived}


async def set_prices(tx: Transaction, commands: Sequence[SetListPrices]) -> Decision:
    """Change some prices of lists. Safe to repeat."""
    await tx.lock(LOCK, [command.list_id for command in commands])
    known = await load_lists(tx, [command.list_id for command in commands])
    skus = await known_skus(tx, [p.sku for c in commands for p in c.prices])
    prices: dict[tuple[str, str], int | None] = {}
    outcomes: list[Answer | Problem] = []
    changes: dict[int, Change] = {}
    for command in commands:
        found = known.get(command.list_id)
        amounts = lists.amounts(command.prices, skus)
        if found is None or found.archived:
            outcomes.append(PriceListNotFound())
        elif isinstance(amounts, Problem):
            outcomes.append(amounts)
        else:
            prices.update({(command.list_id, key): value for key, value in amounts.items()})
            after = {"amounts_e4": dict(amounts)}
            changes[len(outcomes)] = Change(command.list_id, None, after)
            outcomes.append(Answer(body=found))
    save_prices(tx, prices)
    return Decision(outcomes=outcomes, changes=changes)


async def remove_lists(tx: Transaction, commands: Sequence[RemovePriceList]) -> Decision:
    """Let lists count no more. They are archived: their ids stay theirs."""
    ids = [command.list_id for command in commands]
    await tx.lock(LOCK, ids)
    known = await load_lists(tx, ids)
    changed: dict[str, PriceList] = {}
    for row in known.values():
        if not row.archived:
            changed[row.id] = msgspec.structs.replace(row, archived=True, version=row.version + 1)
    save_lists(tx, list(changed.values()))
    outcomes = [Answer(status=204) if i in known else PriceListNotFound() for i in ids]
    return Decision(outcomes=outcomes)


async def known_skus(tx: Transaction, skus: Sequence[str]) -> frozenset[str]:
    """Which of these a product has, by their keys."""
    keys = sorted({sku.upper() for sku in skus})
    return frozenset(await tx.fetch_values(KNOWN_SKUS, keys)) if keys else frozenset()


def save_lists(tx: Transaction, rows: Sequence[PriceList]) -> None:
    """Queue lists."""
    if rows:
        tx.write(SAVE_LISTS, *map(list, zip(*map(msgspec.structs.astuple, rows), strict=True)))


def save_prices(tx: Transaction, prices: Mapping[tuple[str, str], int | None]) -> None:
    """Queue prices; None takes one from its list, once its product has let it go."""
    if prices:
        tx.write(
            SAVE_PRICES,
            [list_id for list_id, _ in prices],
            [key for _, key in prices],
            list(prices.values()),
        )


# Served by list_prices_by_version: the prices that are behind their list.
PENDING = """
    SELECT p.list_id, p.sku_key, p.amount_e4, p.removed, p.list_version
      FROM catalog.price_lists l CROSS JOIN LATERAL (
           SELECT * FROM catalog.list_prices b
            WHERE b.list_id = l.list_id AND b.list_version < l.version
            ORDER BY b.list_version, b.sku_key LIMIT $1) p
     ORDER BY p.sku_key LIMIT $1
"""
# Served by the primary key of variants.
OWNERS = """
    SELECT DISTINCT p.external_id
      FROM catalog.variants v JOIN catalog.products p ON p.product_id = v.product_id
     WHERE v.sku_key = ANY($1::text[])
"""
# Served by list_prices_by_sku.
PRICES = """
    SELECT list_id, sku_key, amount_e4, removed, list_version
      FROM catalog.list_prices WHERE sku_key = ANY($1::text[])
"""
APPLIED = """
    UPDATE catalog.list_prices p SET list_version = u.list_version
      FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
        AS u(list_id, sku_key, amount_e4, version_before, list_version)
     WHERE p.list_id = u.list_id AND p.sku_key = u.sku_key AND p.amount_e4 = u.amount_e4
       AND p.list_version = u.version_before AND NOT p.removed
"""
GONE = """
    DELETE FROM catalog.list_prices p
     USING unnest($1::text[], $2::text[]) AS u(list_id, sku_key)
     WHERE p.list_id = u.list_id AND p.sku_key = u.sku_key AND p.removed
"""


async def apply_prices(tx: Transaction, commands: Sequence[ApplyPrices]) -> Decision:
    """Make some prices part of their products. Outcome: whether there may be more."""
    decision = await apply_some(tx, commands[0].by)
    return msgspec.structs.replace(decision, outcomes=[bool(tx.writes)] * len(commands))


async def apply_due(tx: Transaction) -> Decision:
    """The same, for what a process left behind that went away."""
    return await apply_some(tx, "price list")


async def apply_some(tx: Transaction, by: str) -> Decision:
    """Announce products with the prices that lists have for them. Guarded by versions: of products
    in `save`, of prices in `APPLIED`, so it may run anywhere at any time.
    """
    pending = await tx.fetch(PENDING, APPLIED_AT_ONCE, into=ListPriceRow)
    if not pending:
        return NOTHING
    external_ids = await tx.fetch_values(OWNERS, sorted({row.sku_key for row in pending}))
    loaded = await load(tx, (), external_ids)
    shelf = loaded.shelf
    shelf.by = by
    rows = await tx.fetch(PRICES, sorted(shelf.owners), into=ListPriceRow)
    known = await load_lists(tx, [row.list_id for row in rows])
    for product in list(shelf.products.values()):
        changed = lists.priced(product, rows, known)
        if changed is not product:
            products.put(shelf, product, changed)
    save(tx, loaded)
    done = [row for row in rows if row.list_version < known[row.list_id].version]
    kept = [row for row in done if not row.removed]
    if kept:
        tx.write(
            APPLIED,
            [row.list_id for row in kept],
            [row.sku_key for row in kept],
            [row.amount_e4 for row in kept],
            [row.list_version for row in kept],
            [known[row.list_id].version for row in kept],
            expect=len(kept),
        )
    gone = [row for row in done if row.removed]
    if gone:
        tx.write(GONE, [row.list_id for row in gone], [row.sku_key for row in gone])
    return Decision(events=shelf.events)
