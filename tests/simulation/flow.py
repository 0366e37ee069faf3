"""A small order life in two contexts, for the simulation: place -> reserve -> confirm -> allocate.

The till decides orders under version guards, the shelf keeps stock under locks, and `tally` counts
demand under version guards over rows that belong to no partition. The handlers add and append: no
natural key hides what is done twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from tradewind.kernel.answers import Answer
from tradewind.kernel.messages import Command, Decision, Event
from tradewind.platform.database.transaction import Transaction


class Line(Struct, frozen=True):
    sku: str
    quantity: int


class OrderFact(Event, frozen=True, kw_only=True):
    """All that happens to an order is about the order."""

    order_id: str
    lines: tuple[Line, ...] = ()

    @property
    def subject(self) -> str:
        return self.order_id


class Placed(OrderFact, frozen=True, kw_only=True):
    type: ClassVar[str] = "till.placed.v1"


class Noted(OrderFact, frozen=True, kw_only=True):
    type: ClassVar[str] = "till.noted.v1"


class Confirmed(OrderFact, frozen=True, kw_only=True):
    type: ClassVar[str] = "till.confirmed.v1"


class Rejected(OrderFact, frozen=True, kw_only=True):
    type: ClassVar[str] = "till.rejected.v1"


class Reserved(OrderFact, frozen=True, kw_only=True):
    type: ClassVar[str] = "shelf.reserved.v1"


class Refused(OrderFact, frozen=True, kw_only=True):
    type: ClassVar[str] = "shelf.refused.v1"


class Allocated(OrderFact, frozen=True, kw_only=True):
    type: ClassVar[str] = "shelf.allocated.v1"


ALL = (Placed, Noted, Confirmed, Rejected, Reserved, Refused, Allocated)


class Place(Command, frozen=True, kw_only=True):
    order_id: str
    lines: tuple[Line, ...]


class Note(Command, frozen=True, kw_only=True):
    """Say something about an order: one more version, from any process at any time."""

    order_id: str


class OrderRow(Struct, frozen=True):
    order_id: str
    version: int
    status: str


INSERT_ORDERS = """
    INSERT INTO till.orders (order_id, version, status)
    SELECT o, 1, 'placed' FROM unnest($1::text[]) AS o
"""
ORDERS = "SELECT order_id, version, status FROM till.orders WHERE order_id = ANY($1::text[])"
UPDATE_ORDERS = """
    UPDATE till.orders o SET version = u.version, status = u.status
      FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])
           AS u (order_id, before, version, status)
     WHERE o.order_id = u.order_id AND o.version = u.before
"""


async def place(tx: Transaction, commands: Sequence[Place]) -> Decision:
    """Place orders. A twin that is faster makes the unit fail, and is found by its key."""
    tx.write(INSERT_ORDERS, [command.order_id for command in commands])
    return Decision(
        events=[Placed(sequence=1, order_id=c.order_id, lines=c.lines) for c in commands],
        outcomes=[Answer(status=201, body=c.order_id.encode()) for c in commands],
    )


async def note(tx: Transaction, commands: Sequence[Note]) -> Decision:
    """Every note is a version of its order."""
    changes = [(Noted(sequence=0, order_id=command.order_id), "") for command in commands]
    return Decision(events=await change(tx, changes), outcomes=[Answer() for _ in commands])


async def decide(tx: Transaction, facts: Sequence[Reserved | Refused]) -> Decision:
    """Confirm what is reserved, reject what is refused."""
    changes = [
        (Confirmed(sequence=0, order_id=fact.order_id, lines=fact.lines), "confirmed")
        if isinstance(fact, Reserved)
        else (Rejected(sequence=0, order_id=fact.order_id), "rejected")
        for fact in facts
    ]
    return Decision(events=await change(tx, changes))


async def change(tx: Transaction, changes: Sequence[tuple[OrderFact, str]]) -> list[Event]:
    """Fold facts (with the status they lead to) into orders, guarded by the version read."""
    order_ids = [fact.order_id for fact, _ in changes]
    before = {row.order_id: row for row in await tx.fetch(ORDERS, order_ids, into=OrderRow)}
    version = {order_id: row.version for order_id, row in before.items()}
    status = {order_id: row.status for order_id, row in before.items()}
    events: list[Event] = []
    for fact, to in changes:
        version[fact.order_id] += 1
        status[fact.order_id] = to or status[fact.order_id]
        events.append(msgspec.structs.replace(fact, sequence=version[fact.order_id]))
    ids = list(before)
    tx.write(
        UPDATE_ORDERS,
        ids,
        [before[i].version for i in ids],
        [version[i] for i in ids],
        [status[i] for i in ids],
        expect=len(ids),
    )
    return events


DIARY = """
    INSERT INTO till.diary (source, order_id, sequence)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
"""


async def write_diary(tx: Transaction, facts: Sequence[OrderFact]) -> Decision:
    """Every fact, in the order it is told."""
    tx.write(
        DIARY,
        [fact.type.split(".")[0] for fact in facts],
        [fact.order_id for fact in facts],
        [fact.sequence for fact in facts],
    )
    return Decision()


class StockRow(Struct, frozen=True):
    sku: str
    on_hand: int
    reserved: int
    allocated: int


class CountRow(Struct, frozen=True):
    sku: str
    wanted: int
    version: int


STOCK = "SELECT sku, on_hand, reserved, allocated FROM shelf.stock WHERE sku = ANY($1::text[])"
SAVE_STOCK = """
    UPDATE shelf.stock s SET reserved = u.reserved, allocated = u.allocated
      FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS u (sku, reserved, allocated)
     WHERE s.sku = u.sku
"""
MOVE = """
    INSERT INTO shelf.movements (order_id, sku, kind, quantity)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
"""


async def keep_stock(tx: Transaction, facts: Sequence[Placed | Confirmed]) -> Decision:
    """Reserve for what is placed, all lines or none; allocate what is confirmed."""
    skus = sorted({line.sku for fact in facts for line in fact.lines})
    await tx.lock("shelf", skus)
    stock = {row.sku: row for row in await tx.fetch(STOCK, skus, into=StockRow)}
    free = {sku: row.on_hand - row.reserved for sku, row in stock.items()}
    allocated = {sku: row.allocated for sku, row in stock.items()}
    moves: list[tuple[str, str, str, int]] = []
    events: list[Event] = []
    for fact in facts:
        if isinstance(fact, Placed):
            enough = all(free[line.sku] >= line.quantity for line in fact.lines)
            kind = Reserved if enough else Refused
            events.append(kind(sequence=1, order_id=fact.order_id, lines=fact.lines))
            for line in fact.lines if enough else ():
                free[line.sku] -= line.quantity
                moves.append((fact.order_id, line.sku, "reserve", line.quantity))
        else:
            events.append(Allocated(sequence=2, order_id=fact.order_id))
            for line in fact.lines:
                allocated[line.sku] += line.quantity
                moves.append((fact.order_id, line.sku, "allocate", line.quantity))
    reserved = [stock[sku].on_hand - free[sku] for sku in skus]
    tx.write(SAVE_STOCK, skus, reserved, [allocated[sku] for sku in skus])
    if moves:
        tx.write(MOVE, *map(list, zip(*moves, strict=True)))
    return Decision(events=events)


COUNTS = "SELECT sku, wanted, version FROM shelf.stock WHERE sku = ANY($1::text[])"
SAVE_COUNTS = """
    UPDATE shelf.stock s SET wanted = u.wanted, version = u.version
      FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
           AS u (sku, before, wanted, version)
     WHERE s.sku = u.sku AND s.version = u.before
"""


TALLIED = "INSERT INTO shelf.tallied (order_id) SELECT * FROM unnest($1::text[])"


async def tally(tx: Transaction, facts: Sequence[Placed]) -> Decision:
    """Count what was ever wanted: rows that every partition touches, guarded by their version."""
    wanted: dict[str, int] = {}
    for fact in facts:
        for line in fact.lines:
            wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
    rows = await tx.fetch(COUNTS, sorted(wanted), into=CountRow)
    tx.write(
        SAVE_COUNTS,
        [row.sku for row in rows],
        [row.version for row in rows],
        [row.wanted + wanted[row.sku] for row in rows],
        [row.version + 1 for row in rows],
        expect=len(rows),
    )
    tx.write(TALLIED, [fact.order_id for fact in facts])
    return Decision()


HANDLERS: Mapping[str, Any] = {
    "place": place,
    "note": note,
    "decide": decide,
    "diary": write_diary,
    "stock": keep_stock,
    "tally": tally,
}
