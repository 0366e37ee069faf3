"""Sending out and taking back: the order's row is the guard of everything under it."""

from collections.abc import Iterable, Sequence
from typing import Any

from tradewind.contexts.orders.commands import (
    ExchangeReturn,
    FulfilOrder,
    RequestReturn,
    ReturnCommand,
)
from tradewind.contexts.orders.handlers.desk import Steps, close_desk, open_desk
from tradewind.contexts.orders.rules import Desk
from tradewind.contexts.orders.rules import returns as steps
from tradewind.contexts.orders.rules.taking_back import Returns, open_returns
from tradewind.contexts.orders.tables import (
    RETURN_COLUMNS,
    RETURN_LINE_COLUMNS,
    RETURNABLE_COLUMNS,
    OrderView,
    ReturnableRow,
    ReturnLineRow,
    ReturnRow,
    view,
)
from tradewind.kernel.answers import Answer
from tradewind.kernel.audit import Change
from tradewind.kernel.messages import Decision
from tradewind.kernel.problems import Problem
from tradewind.platform.database.literals import columns
from tradewind.platform.database.transaction import Transaction

# Served by returns_by_order.
RETURNS = f"""
    SELECT {RETURN_COLUMNS} FROM orders.returns
     WHERE order_id = ANY($1::text[])
"""
# Served by returns_by_order and the primary key of the lines.
RETURN_LINES = f"""
    SELECT {RETURN_LINE_COLUMNS} FROM orders.return_lines
     WHERE return_id IN (SELECT return_id FROM orders.returns WHERE order_id = ANY($1::text[]))
     ORDER BY return_id, line
"""
# Served by the primary key.
RETURNABLE = f"""
    SELECT {RETURNABLE_COLUMNS} FROM orders.returnable
     WHERE order_id = ANY($1::text[])
"""
# Served by returns_by_external_id.
EXTERNAL_IDS = """
    SELECT r.credential || ' ' || r.external_id FROM orders.returns r
      JOIN unnest($1::text[], $2::text[]) AS w (credential, external_id)
        ON r.credential = w.credential AND r.external_id = w.external_id
"""
INSERT_FULFILMENTS = """
    INSERT INTO orders.fulfilments (order_id, carrier, tracking, fulfilled_at, by)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[])
"""
INSERT_RETURNS = f"""
    INSERT INTO orders.returns ({RETURN_COLUMNS})
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                         $7::text[], $8::bigint[], $9::bigint[], $10::text[], $11::text[],
                         $12::text[], $13::text[], $14::text[], $15::timestamptz[],
                         $16::timestamptz[])
"""
# Served by the primary key. A return changes only as it was read.
UPDATE_RETURNS = """
    UPDATE orders.returns r
       SET status = c.status, refund_minor = c.refund_minor,
           fees_refund_minor = c.fees_refund_minor, refund_id = c.refund_id, awaited = c.awaited,
           note = c.note, exchange_order_id = c.exchange_order_id,
           exchange_asked_as = c.exchange_asked_as, changed_at = c.changed_at
      FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[],
                  $7::text[], $8::text[], $9::text[], $10::text[], $11::timestamptz[])
        AS c (return_id, status_before, status, refund_minor, fees_refund_minor, refund_id, awaited,
              note, exchange_order_id, exchange_asked_as, changed_at)
     WHERE r.return_id = c.return_id AND r.status = c.status_before
"""
PUT_LINES = f"""
    INSERT INTO orders.return_lines ({RETURN_LINE_COLUMNS})
    SELECT * FROM unnest($1::text[], $2::smallint[], $3::text[], $4::int[], $5::text[], $6::int[],
                         $7::int[], $8::bigint[])
    ON CONFLICT (return_id, line) DO UPDATE
       SET restock = excluded.restock, write_off = excluded.write_off,
           refund_minor = excluded.refund_minor
"""
PUT_RETURNABLE = f"""
    INSERT INTO orders.returnable ({RETURNABLE_COLUMNS})
    SELECT * FROM unnest($1::text[], $2::smallint[], $3::int[], $4::bigint[], $5::int[], $6::int[],
                         $7::bigint[])
    ON CONFLICT (order_id, line) DO UPDATE
       SET promised = excluded.promised, arrived = excluded.arrived,
           refunded_minor = excluded.refunded_minor
"""


async def load(
    tx: Transaction, order_ids: Iterable[str], external_ids: Sequence[tuple[str, str]] = ()
) -> Returns:
    """All returns of these orders: one of them decides what the others may still take."""
    wanted = list(dict.fromkeys(order_ids))
    rows = await tx.fetch(RETURNS, wanted, into=ReturnRow)
    lines: list[ReturnLineRow] = []
    if rows:
        lines = await tx.fetch(RETURN_LINES, wanted, into=ReturnLineRow)
    returnable = await tx.fetch(RETURNABLE, wanted, into=ReturnableRow)
    taken: list[str] = []
    if external_ids:
        taken = await tx.fetch_values(EXTERNAL_IDS, *columns(external_ids))
    known = [tuple(name.split(" ", 1)) for name in taken]
    return open_returns(rows, lines, returnable, ((c, e) for c, e in known))


def save(tx: Transaction, returns: Returns) -> None:
    """Queue what changed. What an order guards is written with the order's row."""
    if returns.fulfilled:
        rows = [
            (f.order_id, f.carrier, f.tracking, f.fulfilled_at, returns.by[f.order_id])
            for f in returns.fulfilled.values()
        ]
        tx.write(INSERT_FULFILMENTS, *columns(rows))
    if returns.new:
        tx.write(INSERT_RETURNS, *fields_of(list(returns.new.values())))
    if returns.changed:
        changed = [
            (
                *(r.return_id, before, r.status, r.refund_minor, r.fees_refund_minor),
                *(r.refund_id, r.awaited, r.note, r.exchange_order_id, r.exchange_asked_as),
                r.changed_at,
            )
            for r, before in ((returns.rows[name], s) for name, s in returns.changed.items())
        ]
        tx.write(UPDATE_RETURNS, *columns(changed), expect=len(changed))
    touched = [*returns.new, *returns.changed]
    lines = [line for return_id in touched for line in returns.lines[return_id]]
    if lines:
        tx.write(PUT_LINES, *fields_of(lines))
    if returns.touched:
        tx.write(PUT_RETURNABLE, *fields_of(list(returns.touched.values())))


def fields_of(rows: Sequence[ReturnRow | ReturnLineRow | ReturnableRow]) -> list[list[object]]:
    """Rows as columns, in the order of their fields."""
    return [[getattr(row, name) for row in rows] for name in rows[0].__struct_fields__]


async def fulfil_orders(tx: Transaction, commands: Sequence[FulfilOrder]) -> Decision:
    """Send orders out. Outcome: 200 with the order."""
    desk = await open_desk(tx, list(dict.fromkeys(c.order_id for c in commands)))
    returns = open_returns()
    outcomes: list[Answer | Problem] = []
    taken = Steps(desk)
    for index, command in enumerate(commands):
        before = taken.standing(command.order_id)
        refused = steps.fulfil(desk, returns, command)
        outcomes.append(refused or Answer(body=shown(desk, command.order_id)))
        taken.took(index, command.order_id, command.order_id, before)
    save(tx, returns)
    causes = {command.order_id: f"request of {command.by}" for command in commands}
    return close_desk(tx, desk, outcomes=outcomes, causes=causes, changes=taken.changes)


def shown(desk: Desk, order_id: str) -> OrderView:
    """An order as it goes on the wire."""
    return view(desk.rows[order_id], desk.lines[order_id])


async def decide_returns(tx: Transaction, commands: Sequence[ReturnCommand]) -> Decision:
    """Take returns one step on. Outcome: an `Answer`, or `Pending` until the money is back."""
    order_ids = list(dict.fromkeys(c.order_id for c in commands))
    desk = await open_desk(tx, order_ids)
    named = [
        (c.credential, c.external_id)
        for c in commands
        if isinstance(c, RequestReturn) and c.credential and c.external_id
    ]
    returns = await load(tx, order_ids, named)
    outcomes = []
    changes: dict[int, Change] = {}
    for index, command in enumerate(commands):
        before = standing(returns, command)
        outcomes.append(steps.decide(desk, returns, command))
        changes[index] = Change(command.return_id, before, standing(returns, command))
    save(tx, returns)
    causes = {command.order_id: f"request of {command.by}" for command in commands}
    return close_desk(tx, desk, outcomes=outcomes, causes=causes, changes=changes)


def standing(returns: Returns, command: ReturnCommand) -> dict[str, Any] | None:
    """How a return stands at this moment, for the record."""
    row = returns.rows.get(command.return_id)
    if row is None:
        return None
    return {
        "order_id": row.order_id,
        "status": row.status,
        "refund_minor": row.refund_minor,
        "fees_refund_minor": row.fees_refund_minor,
        "refund_id": row.refund_id,
        "exchange_order_id": row.exchange_order_id,
    }


async def exchange_returns(tx: Transaction, commands: Sequence[ExchangeReturn]) -> Decision:
    """Note which order goes out in the place of a return. Outcome: the id to place it under."""
    order_ids = list(dict.fromkeys(c.order_id for c in commands))
    desk = await open_desk(tx, order_ids)
    returns = await load(tx, order_ids)
    others = [r.exchange_order_id for r in returns.rows.values() if r.exchange_order_id]
    there = {row.order_id: row.status for row in (await open_desk(tx, others)).rows.values()}
    outcomes = []
    changes: dict[int, Change] = {}
    for index, command in enumerate(commands):
        before = standing(returns, command)
        outcomes.append(steps.exchange(desk, returns, command, there))
        changes[index] = Change(command.return_id, before, standing(returns, command))
    save(tx, returns)
    causes = {command.order_id: f"request of {command.by}" for command in commands}
    return close_desk(tx, desk, outcomes=outcomes, causes=causes, changes=changes)
