"""Products as people and partners change them, one by one."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from tradewind.contexts.catalog.commands import ArchiveProduct, ArrangeMedia, UpsertProduct
from tradewind.contexts.catalog.events import ProductChanged
from tradewind.contexts.catalog.handlers.shelves import LOCK, load, names_of, save
from tradewind.contexts.catalog.problems import InvalidProduct, ProductNotFound
from tradewind.contexts.catalog.rules import drafts, products
from tradewind.contexts.catalog.tables import Availability
from tradewind.kernel.answers import Answer
from tradewind.kernel.audit import Change
from tradewind.kernel.messages import Decision
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction


async def upsert_products(tx: Transaction, commands: Sequence[UpsertProduct]) -> Decision:
    """Create or change products. Safe to repeat: a product that is like the body stays as it is."""
    wanted = [drafts.check(command.external_id, command.body) for command in commands]
    good = [draft for draft in wanted if not isinstance(draft, InvalidProduct)]
    await tx.lock(LOCK, names_of(good))
    loaded = await load(tx, good)
    shelf = loaded.shelf
    outcomes: list[Answer | Problem] = []
    steps = Steps(shelf)
    for command, draft in zip(commands, wanted, strict=True):
        steps.begin()
        if isinstance(draft, InvalidProduct):
            outcomes.append(draft)
            continue
        is_new = draft.external_id not in shelf.products
        shelf.by = command.by
        changed = products.upsert(shelf, draft, command.product_id, command.precondition)
        outcomes.append(
            changed
            if isinstance(changed, Problem)
            else answer_of(changed, loaded.availability, tx.now, status=201 if is_new else 200)
        )
        steps.took(len(outcomes) - 1, draft.external_id)
    save(tx, loaded)
    return Decision(events=shelf.events, outcomes=outcomes, changes=steps.changes)


class Steps:
    """Follows the shelf from one command to the next, for the record."""

    def __init__(self, shelf: products.Shelf) -> None:
        self._shelf = shelf
        self._before = (0, 0)
        self.changes: dict[int, Change] = {}

    def begin(self) -> None:
        """The next command is decided."""
        self._before = len(self._shelf.trail), len(self._shelf.events)

    def took(self, index: int, about: str) -> None:
        """It was. One that announces and changes no product is recorded by its request alone."""
        trail, events = self._before
        if len(self._shelf.trail) > trail:
            was, now, _ = self._shelf.trail[trail]
            self.changes[index] = products.recorded(was, now)
        elif len(self._shelf.events) == events:
            self.changes[index] = Change.nothing(about)


async def archive_products(tx: Transaction, commands: Sequence[ArchiveProduct]) -> Decision:
    """Take products off the shelf. Safe to repeat: an archived product stays as it is."""
    external_ids = [command.external_id for command in commands]
    await tx.lock(LOCK, [f"product:{external_id}" for external_id in external_ids])
    loaded = await load(tx, (), external_ids)
    outcomes: list[Answer | Problem] = []
    steps = Steps(loaded.shelf)
    for index, command in enumerate(commands):
        steps.begin()
        loaded.shelf.by = command.by
        archived = products.archive(loaded.shelf, command.external_id, command.precondition)
        outcomes.append(archived if isinstance(archived, Problem) else Answer(status=204))
        steps.took(index, command.external_id)
    save(tx, loaded)
    return Decision(events=loaded.shelf.events, outcomes=outcomes, changes=steps.changes)


def answer_of(
    product: ProductChanged, availability: Mapping[str, Availability], now: datetime, *, status: int
) -> Answer:
    """A product as the answer to the request that changed it."""
    mark = products.mark(product, availability, now)
    return Answer(
        status=status,
        body=products.document(product, availability, now),
        headers={
            "ETag": f'"{product.version}-{mark}"',
            "Location": f"/v1/products/{product.product_id}",
        },
    )


# Served by the primary key.
NAMES = "SELECT external_id FROM catalog.products WHERE product_id = ANY($1::text[])"


async def arrange_media(tx: Transaction, commands: Sequence[ArrangeMedia]) -> Decision:
    """Say which media products have. Guarded by their versions. Safe to repeat."""
    names = await tx.fetch_values(NAMES, sorted({command.product_id for command in commands}))
    loaded = await load(tx, (), names)
    shelf = loaded.shelf
    outcomes: list[Answer | Problem] = []
    for command in commands:
        found = (p for p in shelf.products.values() if p.product_id == command.product_id)
        existing = next(found, None)
        if existing is None:
            outcomes.append(ProductNotFound())
            continue
        shelf.by = command.by
        arranged = products.arrange(shelf, existing, command.media, added=command.added)
        is_new = command.added and not isinstance(arranged, Problem) and arranged is not existing
        outcomes.append(
            arranged
            if isinstance(arranged, Problem)
            else Answer(status=201 if is_new else 200, body=products.media(arranged))
        )
    save(tx, loaded)
    return Decision(events=shelf.events, outcomes=outcomes)
