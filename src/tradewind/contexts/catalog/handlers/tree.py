"""Categories and attributes. Products follow a category that moved some at a time."""

from collections.abc import Sequence

import msgspec

from tradewind.contexts.catalog.commands import (
    DefineAttribute,
    DropAttribute,
    FollowCategories,
    KeepCategory,
    RemoveCategory,
)
from tradewind.contexts.catalog.handlers.shelves import load, load_attributes, save
from tradewind.contexts.catalog.problems import AttributeNotFound
from tradewind.contexts.catalog.rules import attributes, products, tree
from tradewind.contexts.catalog.tables import Attribute, Category, MoveRow
from tradewind.kernel.answers import Answer
from tradewind.kernel.messages import NOTHING, Decision
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction

# Whoever changes the tree waits for whoever else does.
LOCK = ("catalog tree", ("all",))
ENCODER = msgspec.json.Encoder()
# Products that follow in one unit of work.
FOLLOWED_AT_ONCE = 50

# The whole table.
CATEGORIES = """
    SELECT path, parent, category_id, name, position, description FROM catalog.categories
"""
MOVES = "SELECT from_path, to_path, by FROM catalog.moved_categories ORDER BY from_path"
ADD_CATEGORIES = """
    INSERT INTO catalog.categories (path, parent, category_id, name, position, description)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::text[])
"""
CHANGE_CATEGORIES = """
    UPDATE catalog.categories c
       SET path = u.path, parent = u.parent, name = u.name, position = u.position,
           description = u.description
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::text[])
        AS u(path, parent, category_id, name, position, description)
     WHERE c.category_id = u.category_id
"""
SAVE_MOVES = """
    INSERT INTO catalog.moved_categories (from_path, to_path, by)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
        ON CONFLICT (from_path) DO UPDATE SET to_path = excluded.to_path, by = excluded.by
"""


async def load_tree(tx: Transaction) -> tree.Tree:
    """All categories, and where products are on their way to."""
    rows = await tx.fetch(CATEGORIES, into=Category)
    return tree.Tree(rows, await tx.fetch(MOVES, into=MoveRow))


async def keep_categories(tx: Transaction, commands: Sequence[KeepCategory]) -> Decision:
    """Make, rename, move or describe categories. Safe to repeat: a body says all of it."""
    await tx.lock(*LOCK)
    found = await load_tree(tx)
    ids, moves = set(found.by_id), dict(found.moves)
    defined = await load_attributes(tx)
    outcomes: list[Answer | Problem] = []
    changed: dict[str, Category] = {}
    redefined: dict[str, Attribute] = {}
    for command in commands:
        kept = tree.keep(found, command)
        if isinstance(kept, Problem):
            outcomes.append(kept)
            continue
        changed.update({row.id: row for row in kept.changed})
        for each in attributes.moved((defined | redefined).values(), kept.moved):
            redefined[each.name] = each
        outcomes.append(Answer(status=201 if kept.is_new else 200, body=kept.category))
    for sql, known in ((ADD_CATEGORIES, False), (CHANGE_CATEGORIES, True)):
        rows = [row for row in changed.values() if (row.id in ids) is known]
        if rows:
            columns = zip(*map(msgspec.structs.astuple, rows), strict=True)
            tx.write(sql, *map(list, columns), expect=len(rows))
    going = [move for path, move in found.moves.items() if moves.get(path) != move]
    if going:
        columns = zip(*map(msgspec.structs.astuple, going), strict=True)
        tx.write(SAVE_MOVES, *map(list, columns))
    save_attributes(tx, list(redefined.values()))
    return Decision(outcomes=outcomes)


# Served by products_by_category_newest: one look.
IN_USE = """
    SELECT c.category_id FROM catalog.categories c
     WHERE c.category_id = ANY($1::text[])
       AND EXISTS (SELECT FROM catalog.products p WHERE NOT p.archived AND p.category = c.path)
"""
REMOVE = "DELETE FROM catalog.categories WHERE category_id = ANY($1::text[])"


async def remove_categories(tx: Transaction, commands: Sequence[RemoveCategory]) -> Decision:
    """Take categories away that nothing stands in; a product that comes brings its own again."""
    await tx.lock(*LOCK)
    found = await load_tree(tx)
    ids = [command.category_id for command in commands]
    in_use = set(await tx.fetch_values(IN_USE, ids))
    gone: list[str] = []
    outcomes: list[Answer | Problem] = []
    for category_id in ids:
        removed = tree.remove(found, category_id, in_use=category_id in in_use)
        if isinstance(removed, Problem):
            outcomes.append(removed)
            continue
        gone.append(category_id)
        outcomes.append(Answer(status=204))
    if gone:
        tx.write(REMOVE, gone)
    return Decision(outcomes=outcomes)


# Served by products_by_category_newest and products_archived_by_category.
FOLLOWERS = """
    (SELECT external_id FROM catalog.products WHERE NOT archived AND category = $1 LIMIT $2)
    UNION ALL
    (SELECT external_id FROM catalog.products WHERE archived AND category = $1 LIMIT $2)
"""
ARRIVED = "DELETE FROM catalog.moved_categories WHERE from_path = $1 AND to_path = $2"


async def follow_categories(tx: Transaction, commands: Sequence[FollowCategories]) -> Decision:
    """Let some products follow. Outcome: whether there may be more."""
    decision = await follow_some(tx)
    return msgspec.structs.replace(decision, outcomes=[bool(tx.writes)] * len(commands))


async def follow_some(tx: Transaction) -> Decision:
    """Move products that stand where a category was to where it is. Guarded by their versions, so
    it may run anywhere at any time.
    """
    moves = await tx.fetch(MOVES, into=MoveRow)
    if not moves:
        return NOTHING
    move = moves[0]
    external_ids = await tx.fetch_values(FOLLOWERS, move.from_path, FOLLOWED_AT_ONCE)
    if not external_ids:
        tx.write(ARRIVED, move.from_path, move.to_path)
        return NOTHING
    loaded = await load(tx, (), external_ids)
    loaded.shelf.by = move.by or "category moved"
    for product in list(loaded.shelf.products.values()):
        version = product.version + 1
        changed = msgspec.structs.replace(
            product, category=move.to_path, version=version, sequence=version
        )
        products.put(loaded.shelf, product, changed)
    save(tx, loaded)
    return Decision(events=loaded.shelf.events)


SAVE_ATTRIBUTES = """
    INSERT INTO catalog.attributes AS a
           (name, kind, unit, choices, required, categories, description)
    SELECT u.name, u.kind, u.unit, u.choices, u.required,
           string_to_array(u.categories, E'\\x1f'), u.description
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[],
                  $7::text[])
        AS u(name, kind, unit, choices, required, categories, description)
        ON CONFLICT (name) DO UPDATE
           SET kind = excluded.kind, unit = excluded.unit, choices = excluded.choices,
               required = excluded.required, categories = excluded.categories,
               description = excluded.description
"""
DROP = "DELETE FROM catalog.attributes WHERE name = ANY($1::text[])"


def save_attributes(tx: Transaction, rows: Sequence[Attribute]) -> None:
    """Queue definitions."""
    if rows:
        tx.write(
            SAVE_ATTRIBUTES,
            [row.name for row in rows],
            [row.kind for row in rows],
            [row.unit for row in rows],
            [ENCODER.encode(row.choices).decode() for row in rows],
            [row.required for row in rows],
            ["\x1f".join(row.categories) for row in rows],
            [row.description for row in rows],
        )


async def define_attributes(tx: Transaction, commands: Sequence[DefineAttribute]) -> Decision:
    """Say what attributes hold. Products that are there are looked at when they next change."""
    await tx.lock(*LOCK)
    known = await load_attributes(tx)
    changed: dict[str, Attribute] = {}
    outcomes: list[Answer | Problem] = []
    for command in commands:
        defined = attributes.define(command.name, command.body)
        if isinstance(defined, Problem):
            outcomes.append(defined)
            continue
        is_new = command.name not in known and command.name not in changed
        changed[command.name] = defined
        outcomes.append(Answer(status=201 if is_new else 200, body=defined))
    save_attributes(tx, list(changed.values()))
    return Decision(outcomes=outcomes)


async def drop_attributes(tx: Transaction, commands: Sequence[DropAttribute]) -> Decision:
    """Let attributes hold anything again."""
    await tx.lock(*LOCK)
    known = await load_attributes(tx)
    outcomes: list[Answer | Problem] = []
    for command in commands:
        if known.pop(command.name, None) is None:
            outcomes.append(AttributeNotFound(f"Nothing is said about {command.name!r}."))
        else:
            outcomes.append(Answer(status=204))
    gone = [c.name for c, o in zip(commands, outcomes, strict=True) if isinstance(o, Answer)]
    if gone:
        tx.write(DROP, gone)
    return Decision(outcomes=outcomes)
