"""The desk: rows are read or recalled, and written as they were decided."""

import copy
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tradewind.contexts.orders import rules
from tradewind.contexts.orders.rules import Desk
from tradewind.contexts.orders.tables import (
    BASKET_COLUMNS,
    ORDER_COLUMNS,
    OrderWithLines,
)
from tradewind.kernel.audit import Change
from tradewind.kernel.messages import Decision, Event
from tradewind.platform.database.transaction import Transaction

ORDER = "orders.order"  # what `OrderWithLines` are remembered as

# Served by the primary keys of both.
ORDERS = f"""
    SELECT {ORDER_COLUMNS}, {BASKET_COLUMNS}
      FROM orders.orders o JOIN orders.baskets b USING (order_id)
     WHERE o.order_id = ANY($1::text[])
"""
# HOT: no indexed column changes.
UPDATE_ORDERS = """
    UPDATE orders.orders o
       SET version = u.version, status = u.status, payment_status = u.payment_status,
           stock_released = u.stock_released, review_before = u.review_before,
           decided_at = u.decided_at, rejection_code = u.rejection_code
      FROM unnest($1::text[], $2::int[], $3::int[], $4::text[], $5::text[], $6::bool[],
                  $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[], $11::bool[])
        AS u (order_id, version_before, version, status, payment_status, stock_released,
              review_before, decided_at, rejection_code, payment_status_before,
              stock_released_before)
     WHERE o.order_id = u.order_id AND o.version = u.version_before
       AND o.payment_status = u.payment_status_before
       AND o.stock_released = u.stock_released_before
"""


async def open_desk(tx: Transaction, order_ids: Sequence[str], *, recall: bool = False) -> Desk:
    """The desk with these orders and their lines on it; `recall`: those that are known as known."""
    known = tx.recall(ORDER, order_ids) if recall else {}
    rows = [copy.copy(row) for row in known.values()]
    unknown = [order_id for order_id in order_ids if order_id not in known]
    if unknown:
        rows += await tx.fetch(ORDERS, unknown, into=OrderWithLines)
    within = timedelta(seconds=tx.settings.review_within_s)
    return Desk(rows, {row.order_id: row.lines() for row in rows}, now=tx.now, review_within=within)


def close_desk(
    tx: Transaction,
    desk: Desk,
    *,
    outcomes: Sequence[Any] = (),
    causes: Mapping[str, str] | None = None,
    issued: Sequence[Event] = (),
    changes: Mapping[int, Change] | None = None,
) -> Decision:
    """Queue what the desk changed; `causes` by order, where no event led to it; `issued`: what was
    announced beside it; `changes`: what commands did, for the record.
    """
    ruling = desk.ruling
    if ruling.changed:
        rows = list(ruling.changed.values())
        tx.write(
            UPDATE_ORDERS,
            [row.order_id for row in rows],
            [ruling.read[row.order_id].version for row in rows],
            [row.version for row in rows],
            [row.status for row in rows],
            [row.payment_status for row in rows],
            [row.stock_released for row in rows],
            [row.review_before for row in rows],
            [row.decided_at for row in rows],
            [row.rejection_code for row in rows],
            [ruling.read[row.order_id].payment_status for row in rows],
            [ruling.read[row.order_id].stock_released for row in rows],
            expect=len(rows),
        )
        tx.vouch(ORDER, ruling.changed)
        # One that is paid, or ended, is usually not looked at again.
        tx.remember(ORDER, {r.order_id: None if rules.is_at_rest(r) else r for r in rows})
    return Decision(
        events=[*ruling.events, *issued],
        answers=ruling.answers,
        timers=list(ruling.timers.values()),
        outcomes=outcomes,
        causes=causes or {},
        changes=changes or {},
    )


class Steps:
    """Follows orders from one command to the next, for the record."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.changes: dict[int, Change] = {}

    def standing(self, order_id: str) -> dict[str, Any] | None:
        """How an order stands at this moment; None where it is not on the desk."""
        row = self._desk.rows.get(order_id)
        if row is None:
            return None
        return {"status": row.status, "version": row.version, "payment": row.payment_status}

    def took(self, index: int, about: str, order_id: str, before: dict[str, Any] | None) -> None:
        """A command was decided, and found the order standing like `before`."""
        after = self.standing(order_id)
        if about != order_id and after is not None and before is not None:
            before, after = before | {"order_id": order_id}, after | {"order_id": order_id}
        self.changes[index] = Change(about, before, after)
