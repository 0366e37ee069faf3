"""Mistakes of the platform: each takes one rule of the bus away, in this process."""

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec

from tradewind.kernel.messages import NOTHING, Decision, Delivered, Position
from tradewind.platform import faults
from tradewind.platform.bus import delivery, feed, idempotency, log
from tradewind.platform.bus.delivery import Done, Unit, Workplace
from tradewind.platform.bus.log import LogRow
from tradewind.platform.bus.recent import Recent
from tradewind.platform.database.pool import Connection, Pool
from tradewind.platform.database.transaction import Transaction

SEQUENCER = "bus.sequencer"
IN_HAND_S = 0.2  # whoever is paused has something in hand


def swap(where: Any, name: str, value: Any) -> None:
    """Put something in the place of what is there."""
    assert hasattr(where, name), f"{name} is not there any more: plant the bug anew"
    setattr(where, name, value)


BLIND_MOVE = """
    UPDATE bus.offsets o SET xid = m.xid::text::xid8, number = m.number
      FROM unnest($2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                  $7::bigint[]) AS m (partition, xid_before, number_before, epoch, xid, number)
     WHERE o.consumer = $1 AND o.partition = m.partition
"""


def no_fence() -> None:
    """The mark is moved whoever holds it and wherever it is: one that was paused goes on."""
    swap(delivery, "MOVE", BLIND_MOVE)
    number = feed.number

    async def slowly(tx: Transaction, messages: Sequence[Any]) -> Decision:
        await asyncio.sleep(IN_HAND_S)
        return await number(tx, messages)

    swap(feed, "number", slowly)


NO_HORIZON = """
    SELECT 0::bigint, xid::text::bigint, number, partition, source, type, subject, sequence, at,
           body
      FROM bus.log WHERE (xid, number) > ($1::text::xid8, $2) ORDER BY xid, number LIMIT $3
"""


def no_horizon() -> None:
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

    def whatever_is_known(self: Recent, cursor: Position) -> tuple[list[Delivered], Position]:
        found: list[Delivered] = []
        for xid, announced in sorted(self._units.items()):
            places = [
                Position(xid, n + 1) for n in range(len(announced.events) if announced else 0)
            ]
            found += announced.at_places(places) if announced else []
            cursor = max(cursor, Position(xid, log.END_OF_XID))
        self._units.clear()
        return found, cursor

    swap(log, "read", read)
    swap(log, "places", places)
    swap(Recent, "after", whatever_is_known)


async def nothing(tx: Transaction, messages: Sequence[Any]) -> Decision:
    """A handler that does nothing: only the mark moves."""
    return NOTHING


def event_apart() -> None:
    """Rows first; then, in a transaction of their own, the events about them."""
    attempt = delivery.attempt

    async def apart(workplace: Workplace, unit: Unit) -> Done:
        decided: list[Decision] = []

        async def without_events(tx: Transaction, messages: Sequence[Any]) -> Decision:
            decision = await unit.handler(tx, messages)
            decided.append(decision)
            return msgspec.structs.replace(decision, events=(), causes={})

        done = await attempt(workplace, msgspec.structs.replace(unit, handler=without_events))
        decision = decided[-1]
        if not decision.events:
            return done
        faults.passing("batch-committed")
        faults.passing("command-committed")

        async def events_only(tx: Transaction, messages: Sequence[Any]) -> Decision:
            return Decision(events=decision.events, causes=decision.causes)

        told = await attempt(
            workplace,
            Unit(context=unit.context, handler=events_only, messages=(), causes=unit.causes),
        )
        return msgspec.structs.replace(
            told, decision=decision, answers=done.answers, settled=done.settled
        )

    swap(delivery, "attempt", apart)


def apart_from_the_mark(unit: Unit) -> tuple[Unit, Unit]:
    """A unit of work as two: the effects, and the mark."""
    effects = msgspec.structs.replace(unit, fence=None)
    mark = Unit(context=unit.context, handler=nothing, messages=(), fence=unit.fence)
    return effects, mark


def relay_again() -> None:
    """The sequencer gives its numbers, and marks afterwards how far it came."""
    attempt = delivery.attempt
    swap(feed, "faults", SimpleNamespace(passing=lambda place: None))

    async def marked_later(workplace: Workplace, unit: Unit) -> Done:
        if unit.name != SEQUENCER or unit.fence is None:
            return await attempt(workplace, unit)
        effects, mark = apart_from_the_mark(unit)
        done = await attempt(workplace, effects)
        faults.passing("feed-numbered")
        await attempt(workplace, mark)
        return done

    swap(delivery, "attempt", marked_later)


def mark_first() -> None:
    """Every consumer marks first, and does its work then: at most once."""
    attempt = delivery.attempt

    async def marked_first(workplace: Workplace, unit: Unit) -> Done:
        if unit.fence is None:
            return await attempt(workplace, unit)
        effects, mark = apart_from_the_mark(unit)
        await attempt(workplace, mark)
        faults.passing("batch-committed")
        return await attempt(workplace, effects)

    swap(delivery, "attempt", marked_first)


def never_synced() -> None:
    """No commit waits for the disk, not even that of an answer."""
    connect = Pool.connect

    async def lazily(pool: Pool, *, name: str = "") -> Connection:
        connection = await connect(pool, name=name)
        await connection.execute("SET synchronous_commit = off")
        return connection

    swap(Pool, "connect", lazily)


def no_key() -> None:
    """The idempotency key is not kept with what it did."""

    def keep(
        tx: Transaction, schema: str, commands: Sequence[Any], outcomes: Sequence[Any]
    ) -> Mapping[int, Any]:
        return {}

    swap(idempotency, "keep", keep)


def replay_anew() -> None:
    """A repeated request is answered with how things stand now, not with what was said then."""
    settled = idempotency.settled

    def anew(row: Any, *, replayed: bool) -> Any:
        kept = settled(row, replayed=replayed)
        body = kept.body.replace(b'"status":"authorised"', b'"status":"captured"')
        return msgspec.structs.replace(kept, body=body)

    swap(idempotency, "settled", anew)
