"""What people say about stock: a count, a movement, a location."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from tradewind.contexts.inventory import rules
from tradewind.contexts.inventory.commands import LOCATIONS_MAX, AdjustStock, KeepLocation, SetStock
from tradewind.contexts.inventory.events import sku_key
from tradewind.contexts.inventory.handlers import shelves
from tradewind.contexts.inventory.problems import TooManyLocations
from tradewind.contexts.inventory.tables import Location, MovementMade, StockLevel
from tradewind.kernel.answers import Answer
from tradewind.kernel.audit import Change
from tradewind.kernel.messages import Decision
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction


async def set_stock(tx: Transaction, commands: Sequence[SetStock]) -> Decision:
    """Take counts. Outcome: the sku's `StockLevel` after it. Repeating one changes nothing."""
    keys = {sku_key(command.sku) for command in commands}
    if tx.anew:
        await tx.lock("stock", keys)
    counts = [
        rules.Count(
            command.sku,
            command.location,
            command.on_hand,
            command.counted_by,
            expected=command.expected_quantity,
        )
        for command in commands
    ]
    book = await shelves.read(tx, counts, keys, [])
    lying = rules.on_hand_by_place(book)
    rules.decide(book, counts)
    shelves.save(tx, book)
    changes: dict[int, Change] = {}
    for index, (command, outcome) in enumerate(zip(commands, book.outcomes, strict=True)):
        if isinstance(outcome, StockLevel):
            place = (sku_key(command.sku), command.location)
            changes[index] = changed(place, lying.get(place), command.on_hand)
            lying[place] = command.on_hand
    return Decision(events=book.events, outcomes=book.outcomes, changes=changes)


def changed(place: tuple[str, str], before: int | None, after: int) -> Change:
    """What the record holds of a count or a movement."""
    sku, location = place
    was = None if before is None else {"on_hand": before, "location": location}
    return Change(sku, was, {"on_hand": after, "location": location})


async def adjust_stock(tx: Transaction, commands: Sequence[AdjustStock]) -> Decision:
    """Take units in and out. Outcome: an `Answer` with the movement and the level after it."""
    keys = {sku_key(command.sku) for command in commands}
    if tx.anew:
        await tx.lock("stock", keys)
    requests = [
        rules.Adjust(
            sku=c.sku,
            location=c.location,
            kind=c.kind,
            quantity=c.quantity,
            cause=c.told_by,
            reason=c.reason,
            movement_id=c.movement_id,
            external_id=c.external_id,
            at=c.at,
        )
        for c in commands
    ]
    book = await shelves.read(tx, requests, keys, [])
    lying = rules.on_hand_by_place(book)
    rules.decide(book, requests)
    shelves.save(tx, book)
    changes: dict[int, Change] = {}
    for index, (command, outcome) in enumerate(zip(commands, book.outcomes, strict=True)):
        if isinstance(outcome, StockLevel):
            place = (sku_key(command.sku), command.location)
            before = lying.get(place)
            lying[place] = (before or 0) + command.quantity
            changes[index] = changed(place, before, lying[place])
    outcomes = [
        made(command, outcome, tx.now) if isinstance(outcome, StockLevel) else outcome
        for command, outcome in zip(commands, book.outcomes, strict=True)
    ]
    return Decision(events=book.events, outcomes=outcomes, changes=changes)


def made(command: AdjustStock, level: StockLevel, now: datetime) -> Answer:
    """What is said about a movement that was recorded."""
    body = MovementMade(
        id=command.movement_id,
        sku=level.sku,
        location=command.location,
        kind=command.kind,
        quantity=command.quantity,
        reason=command.reason,
        external_id=command.external_id,
        at=command.at or now,
        stock=level,
    )
    place = f"/v1/stock/{quote(level.sku, safe='')}/movements"
    return Answer(status=201, body=body, headers={"location": place})


# Served by the primary key.
KEEP_LOCATIONS = """
    INSERT INTO inventory.locations (code, id, name, priority)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int[])
        ON CONFLICT (code) DO UPDATE SET name = EXCLUDED.name, priority = EXCLUDED.priority
"""


async def keep_locations(tx: Transaction, commands: Sequence[KeepLocation]) -> Decision:
    """Open or change locations. Outcome: an `Answer` with the `Location`, 201 where it is new."""
    await tx.lock("location", ["all"])
    known = {row.code: row for row in await tx.fetch(shelves.READ_LOCATIONS, into=Location)}
    changed: dict[str, Location] = {}
    outcomes: list[Answer | Problem] = []
    for command in commands:
        before = known.get(command.code)
        if before is None and len(known) >= LOCATIONS_MAX:
            outcomes.append(TooManyLocations(f"At most {LOCATIONS_MAX} locations are kept."))
            continue
        location = Location(
            id=command.location_id if before is None else before.id,
            code=command.code,
            name=command.name or command.code,
            priority=command.priority,
        )
        known[command.code] = changed[command.code] = location
        outcomes.append(Answer(status=201 if before is None else 200, body=location))
    if changed:
        rows = [(row.code, row.id, row.name, row.priority) for row in changed.values()]
        tx.write(KEEP_LOCATIONS, *shelves.columns(rows))
    return Decision(outcomes=outcomes)
