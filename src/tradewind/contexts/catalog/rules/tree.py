"""The tree of categories: a path is the names from the top, joined by slashes.

Invariants: no category stands below itself; a path names one category; nothing is deeper or longer
than a product's category may be.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tradewind.contexts.catalog.commands import CategoryBody, CategoryPatch, KeepCategory
from tradewind.contexts.catalog.events import category_path
from tradewind.contexts.catalog.problems import (
    CategoryExists,
    CategoryInUse,
    CategoryNotFound,
    InvalidCategory,
)
from tradewind.contexts.catalog.rules.drafts import (
    CATEGORY_DEPTH_MAX,
    CATEGORY_LENGTH_MAX,
    CATEGORY_NAME_LENGTH_MAX,
)
from tradewind.contexts.catalog.tables import Category, MoveRow
from tradewind.kernel.problems import FieldError, Problem
from tradewind.kernel.texts import refused_character, why_refused

# Categories that one move takes along: they are written in one unit of work.
MOVED_MAX = 500


class Kept(Struct, frozen=True):
    """What keeping a category comes to."""

    category: Category
    is_new: bool
    changed: tuple[Category, ...]  # it and those below it, where they are not as they were
    moved: dict[str, str]  # paths, old to new


class Tree:
    """All categories, by id and by path, while a batch is folded."""

    def __init__(self, rows: Sequence[Category], moves: Sequence[MoveRow]) -> None:
        self.by_id = {row.id: row for row in rows}
        self.by_path = {row.path: row for row in rows}
        self.moves = {row.from_path: row for row in moves}

    def below(self, path: str) -> list[Category]:
        """Everything below a path."""
        return [row for row in self.by_path.values() if row.path.startswith(f"{path}/")]

    def put(self, row: Category) -> None:
        """Let the tree hold a row in the place of the one with its id."""
        before = self.by_id.get(row.id)
        if before is not None:
            del self.by_path[before.path]
        self.by_id[row.id] = self.by_path[row.path] = row


def wanted_of(before: Category | None, wanted: CategoryBody | CategoryPatch) -> CategoryBody | None:
    """The whole of what is wanted; None: nothing is there that could be patched."""
    if isinstance(wanted, CategoryBody):
        return wanted
    if before is None:
        return None
    parent = wanted.parent
    return CategoryBody(
        name=before.name if isinstance(wanted.name, UnsetType) else wanted.name,
        parent=before.parent if isinstance(parent, UnsetType) else parent,
        position=before.position if isinstance(wanted.position, UnsetType) else wanted.position,
        description=before.description if wanted.description is UNSET else str(wanted.description),
    )


def keep(tree: Tree, command: KeepCategory) -> Kept | Problem:
    """Make a category be as it is wanted, with everything below it."""
    before = tree.by_id.get(command.category_id)
    body = wanted_of(before, command.wanted)
    if body is None:
        return CategoryNotFound(f"There is no category {command.category_id!r}.")
    name = body.name.strip()
    character = refused_character(name)
    if not name or "/" in name or character or len(name) > CATEGORY_NAME_LENGTH_MAX:
        why = why_refused(character) if character else "must be a name without '/'"
        return invalid("/name", why)
    parent: Category | None = None
    if body.parent:
        parent = tree.by_id.get(body.parent) or tree.by_path.get(category_path(body.parent))
        if parent is None:
            return invalid("/parent", f"{body.parent!r} is no category")
    path = f"{parent.path}/{name}" if parent else name
    if before is not None and f"{path}/".startswith(f"{before.path}/") and path != before.path:
        return invalid("/parent", "is the category itself, or stands below it")
    other = tree.by_path.get(path)
    if other is not None and (before is None or other.id != before.id):
        return CategoryExists(f"{path!r} is the category {other.id}.", id=other.id)
    row = Category(
        path,
        parent.path if parent else None,
        command.category_id,
        name,
        body.position,
        body.description,
    )
    moved: dict[str, str] = {}
    rows = [row]
    if before is not None and before.path != path:
        if path in tree.moves or any(p.startswith(f"{path}/") for p in tree.moves):
            return CategoryInUse(f"Products are still on their way out of {path!r}: try again.")
        below = tree.below(before.path)
        moved = {old.path: path + old.path[len(before.path) :] for old in [before, *below]}
        rows += [replaced(old, moved) for old in below]
    if len(rows) > MOVED_MAX:
        return invalid("/parent", f"would move {len(rows)} categories; {MOVED_MAX} is the most")
    for each in rows:
        if each.path.count("/") >= CATEGORY_DEPTH_MAX or len(each.path) > CATEGORY_LENGTH_MAX:
            most = f"{CATEGORY_DEPTH_MAX} levels and {CATEGORY_LENGTH_MAX} characters"
            return invalid("/parent", f"would make a path of more than {most}")
    changed = tuple(each for each in rows if tree.by_id.get(each.id) != each)
    for each in changed:
        tree.put(each)
    follow(tree, moved, command.by)
    return Kept(row, before is None, changed, moved)


def replaced(row: Category, moved: Mapping[str, str]) -> Category:
    """A category that moves along."""
    assert row.parent is not None, "it stands below another"
    return msgspec.structs.replace(row, path=moved[row.path], parent=moved[row.parent])


def follow(tree: Tree, moved: Mapping[str, str], by: str) -> None:
    """Note where products have to follow to; those on their way to an old place go on."""
    for from_path, row in list(tree.moves.items()):
        if row.to_path in moved:
            tree.moves[from_path] = MoveRow(from_path, moved[row.to_path], by)
    for old, new in moved.items():
        tree.moves[old] = MoveRow(old, new, by)


def remove(tree: Tree, category_id: str, *, in_use: bool) -> Category | Problem:
    """Take a category away that nothing stands in."""
    row = tree.by_id.get(category_id)
    if row is None:
        return CategoryNotFound(f"There is no category {category_id!r}.")
    if tree.below(row.path):
        return CategoryInUse("Other categories stand below it: move or delete them first.")
    going = any(row.path in (move.from_path, move.to_path) for move in tree.moves.values())
    if in_use or going:
        return CategoryInUse("Products stand in it: move them first.")
    del tree.by_id[row.id], tree.by_path[row.path]
    return row


def invalid(pointer: str, message: str) -> InvalidCategory:
    """A refusal that points at one place."""
    return InvalidCategory(f"{pointer}: {message}", errors=(FieldError(pointer, message),))
