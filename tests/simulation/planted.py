"""Mistakes to plant: each takes one rule of the bus away."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from tests.simulation import flow
from tests.simulation.flow import COUNTS, CountRow, Placed
from tradewind.kernel.messages import NOTHING, Decision, Position
from tradewind.platform.bus import delivery, log
from tradewind.platform.bus.delivery import Done, Unit, Workplace
from tradewind.platform.bus.log import LogRow
from tradewind.platform.database.pool import Connection
from tradewind.platform.database.transaction import Transaction

Plant = Callable[[pytest.MonkeyPatch, Mapping[str, Any]], Mapping[str, Any]]

BLIND_MOVE = """
    UPDATE bus.offsets o SET xid = m.xid::text::xid8, number = m.number
      FROM unnest($2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                  $7::bigint[]) AS m (partition, xid_before, number_before, epoch, xid, number)
     WHERE o.consumer = $1 AND o.partition = m.partition
"""


def no_fence(monkeypatch: pytest.MonkeyPatch, handlers: Mapping[str, Any]) -> Mapping[str, Any]:
    """The offset is moved whoever holds it and wherever it is."""
    monkeypatch.setattr(delivery, "MOVE", BLIND_MOVE)
    return handlers


NO_HORIZON = """
    SELECT 0::bigint, xid::text::bigint, number, partition, source, type, subject, sequence, at,
           body
      FROM bus.log WHERE (xid, number) > ($1::text::xid8, $2) ORDER BY xid, number LIMIT $3
"""


def no_horizon(monkeypatch: pytest.MonkeyPatch, handlers: Mapping[str, Any]) -> Mapping[str, Any]:
    """The cursor goes to the last row it sees, though older writers may still be at work."""

    async def read(
        connection: Connection, after: Position, *, rows_max: int = log.READ_ROWS_MAX
    ) -> tuple[list[LogRow], Position]:
        found = await connection.fetch(NO_HORIZON, str(after.xid), after.number, rows_max)
        rows = [LogRow(*row) for row in found]
        return rows, Position(rows[-1].xid or 0, rows[-1].number) if rows else after

    async def places(
        connection: Connection, after: Position, *, rows_max: int = log.READ_ROWS_MAX
    ) -> tuple[list[Position], Position]:
        rows, cursor = await read(connection, after, rows_max=rows_max)
        return [Position(row.xid or 0, row.number) for row in rows], cursor

    monkeypatch.setattr(log, "read", read)
    monkeypatch.setattr(log, "places", places)
    return handlers


def offset_apart(monkeypatch: pytest.MonkeyPatch, handlers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Effects first, then, in a transaction of its own, the offset."""
    attempt = delivery.attempt

    async def nothing(tx: Transaction, messages: Sequence[Any]) -> Decision:
        return NOTHING

    async def apart(workplace: Workplace, unit: Unit) -> Done:
        if unit.fence is None:
            return await attempt(workplace, unit)
        done = await attempt(workplace, msgspec.structs.replace(unit, fence=None))
        moved = Unit(context=unit.context, handler=nothing, messages=(), fence=unit.fence)
        await attempt(workplace, moved)
        return done

    monkeypatch.setattr(delivery, "attempt", apart)
    return handlers


BLIND_COUNTS = """
    UPDATE shelf.stock s SET wanted = u.wanted
      FROM unnest($1::text[], $2::bigint[]) AS u (sku, wanted) WHERE s.sku = u.sku
"""


def no_version(monkeypatch: pytest.MonkeyPatch, handlers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read, add, write, and hope that nobody did the same meanwhile."""

    async def tally(tx: Transaction, facts: Sequence[Placed]) -> Decision:
        wanted: dict[str, int] = {}
        for fact in facts:
            for line in fact.lines:
                wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
        rows = await tx.fetch(COUNTS, sorted(wanted), into=CountRow)
        counts = [row.wanted + wanted[row.sku] for row in rows]
        tx.write(BLIND_COUNTS, [row.sku for row in rows], counts)
        return Decision()

    return {**handlers, "tally": tally}


def no_lock(monkeypatch: pytest.MonkeyPatch, handlers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Stock is decided without the lock that makes its readers take turns."""

    async def unlocked(tx: Transaction, facts: Sequence[Any]) -> Decision:
        async def no_turns(kind: str, names: object) -> None:
            return None

        tx.lock = no_turns  # type: ignore[method-assign]
        return await flow.keep_stock(tx, facts)

    return {**handlers, "stock": unlocked}


ALL: tuple[Plant, ...] = (no_fence, no_horizon, offset_apart, no_version, no_lock)
