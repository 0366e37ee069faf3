"""Making a projection again from the log, while everything goes on.

A shadow of the table is filled from the log, in short transactions. Then, again and again until
nothing differs: the offsets of the projection's consumer are locked, so that the table stands still
at one watermark; the shadow is brought to the same watermark; both are summed up; and what differs
is mended in the table itself, a few hundred rows at a time. So readers always find a table, no
transaction is long, and it may be killed and started again at any moment.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from tradewind.kernel.messages import Event, Redraw, Redrawn
from tradewind.platform.bus import delivery, whole_log
from tradewind.platform.bus.delivery import Handler, Unit, Workplace
from tradewind.platform.bus.log import END_OF_XID, decode_body
from tradewind.platform.bus.whole_log import Names
from tradewind.platform.database.pool import Connection, Pool

# 500 products are a few thousand rows and some 50 ms.
CHUNK_EVENTS = 500
# What a transaction mends: it holds the log's horizon back, so it is short.
MEND_ROWS = 500
# Events that are applied while the consumer waits; more, and the shadow catches up first.
CATCH_UP_MAX = 1_000
DEADLOCK_ROUNDS = 10
ENCODER = msgspec.json.Encoder()


class Projected(Struct, frozen=True, kw_only=True):
    """What is rebuilt: a projection as its context declares it, and its consumer's full name."""

    table: str
    consumer: str
    event: type[Event]
    column: str
    whose: Callable[[Any], str]
    key: tuple[str, ...]
    rows: Callable[[Any], Sequence[Mapping[str, Any]]]

    @property
    def shadow(self) -> str:
        """The table beside it; no context may read it."""
        return "tradewind.rebuilt_" + self.table.replace(".", "_")


class Sum(Struct, frozen=True):
    """A table in two numbers: equal tables have equal sums, whatever the order of their rows."""

    rows: int
    digest: str


class Rebuilt(Struct, frozen=True, kw_only=True):
    """What a rebuild came to."""

    table: str
    events: int  # read from the log
    watermark: str  # up to where, as xid.number, or the whole xid
    before: Sum  # of the table, when it was first compared
    after: Sum  # of the table at the end; and of the shadow, or it would not have ended
    mended: int  # rows that were put right
    taken_away: int  # rows that no event explains

    def __str__(self) -> str:
        same = f"{self.after.rows:,} rows, {self.after.digest} at {self.watermark}"
        read = f"from {self.events:,} events"
        if self.before == self.after:
            return f"{self.table}: identical {read}: {same}."
        return (
            f"{self.table}: was {self.before.rows:,} rows, {self.before.digest}; "
            f"{self.mended:,} rows mended, {self.taken_away:,} taken away; now identical {read}: "
            f"{same}."
        )


class AlreadyRebuilding(Exception):
    """Somebody else rebuilds the same table at this moment."""


async def rebuild(dsn: str, plan: Projected, archive: Path) -> Rebuilt:
    """Bring a table to what the log says, archive files and database, at one watermark.

    Raises `AlreadyRebuilding`, and `ArchiveBroken` where a file is not what was written.
    """
    pool = Pool(dsn, connections_max=1, application="tradewind rebuild")
    connection = await pool.connect()
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtext($1))", plan.shadow):
            raise AlreadyRebuilding(f"{plan.table} is being rebuilt by somebody else.")
        # Whatever is lost of the shadow in a crash is made again; what is mended must last.
        await connection.execute(
            f"DROP TABLE IF EXISTS {plan.shadow};"
            f"CREATE UNLOGGED TABLE {plan.shadow} (LIKE {plan.table} INCLUDING ALL)"
        )
        try:
            names = await whole_log.lay_out(connection, archive, types={plan.event.type})
            return await Rebuilding(connection, plan, names).run()
        finally:
            await connection.execute(f"DROP TABLE IF EXISTS {plan.shadow}")
    finally:
        await connection.close()


# What every partition of the consumer has passed: whatever stands before it is in the table.
PASSED = """
    SELECT xid::text::bigint, number FROM bus.offsets WHERE consumer = $1
     ORDER BY xid, number LIMIT 1
"""
# Dead letters of the consumer are not in its table.
EVENTS = """
    SELECT l.xid::text::bigint AS xid, l.number, l.body
      FROM bus.log l JOIN bus.offsets o ON o.consumer = $1 AND o.partition = l.partition
     WHERE l.type = $2 AND (l.xid, l.number) > ($3::text::xid8, $4)
       AND (l.xid, l.number) <= (o.xid, o.number)
       AND NOT EXISTS (SELECT 1 FROM bus.dead_letters d
                        WHERE d.consumer = $1 AND d.xid = l.xid AND d.number = l.number)
     ORDER BY l.xid, l.number LIMIT $5
"""
STAND_STILL = "SELECT 1 FROM bus.offsets WHERE consumer = $1 ORDER BY partition FOR UPDATE"
SUM = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {table} t"
COLUMNS = """
    SELECT attname FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
CLEAR = "DELETE FROM {shadow} WHERE {column} = ANY($1::text[])"
ADD = "INSERT INTO {shadow} SELECT * FROM json_populate_recordset(NULL::{table}, $1::json)"
TAKE_AWAY = """
    DELETE FROM {table} WHERE ctid = ANY (ARRAY(
        SELECT t.ctid FROM {table} t
         WHERE NOT EXISTS (SELECT 1 FROM {shadow} s WHERE ({s_key}) = ({t_key})) LIMIT $1))
"""
MEND = """
    INSERT INTO {table} SELECT s.* FROM {shadow} s LEFT JOIN {table} t ON ({s_key}) = ({t_key})
     WHERE t IS NULL OR t::text <> s::text LIMIT $1
        ON CONFLICT ({key}) DO UPDATE SET {assignments}
"""


async def redraw(workplace: Workplace, context: str, handler: Handler) -> Redrawn:
    """Draw everything anew, one unit of work after the other; what that came to in all."""
    after: str | None = ""
    seen = mended = 0
    while after is not None:
        unit = Unit(context=context, handler=handler, messages=[Redraw(after)])
        [done] = (await delivery.run(workplace, unit)).decision.outcomes
        assert isinstance(done, Redrawn), "a handler that redraws says how far it came"
        after, seen, mended = done.after, seen + done.seen, mended + done.mended
    return Redrawn(None, seen, mended)


class Rebuilding:
    """One rebuild at work."""

    def __init__(self, connection: Connection, plan: Projected, names: Names) -> None:
        self.connection = connection
        self.ahead_sql = names.within(EVENTS)
        self.plan = plan
        self.decode = msgspec.json.Decoder(plan.event).decode
        self.passed = (0, 0)  # the shadow holds all events up to here
        self.events = 0

    async def run(self) -> Rebuilt:
        """Fill the shadow, then compare and mend until both are one."""
        columns = [row[0] for row in await self.connection.fetch(COLUMNS, self.plan.table)]
        before: Sum | None = None
        mended = taken_away = 0
        while True:
            await self.fill()
            async with self.connection.transaction():
                await self.stand_still()
                ahead = await self.ahead(CATCH_UP_MAX)
                if len(ahead) == CATCH_UP_MAX:
                    continue
                await self.apply(ahead)
                table, shadow = await self.sum(self.plan.table), await self.sum(self.plan.shadow)
                before = before or table
                if table == shadow:
                    xid, number = self.passed
                    if ahead:
                        xid, number = ahead[-1]["xid"], ahead[-1]["number"]
                    return Rebuilt(
                        table=self.plan.table,
                        events=self.events + len(ahead),
                        watermark=f"{xid}.{number}" if number < END_OF_XID else str(xid),
                        before=before,
                        after=table,
                        mended=mended,
                        taken_away=taken_away,
                    )
                taken_away += await self.change(TAKE_AWAY, columns)
                mended += await self.change(MEND, columns)

    async def fill(self) -> None:
        """Bring the shadow to where every partition of the consumer is, in short transactions."""
        while True:
            place = await self.connection.fetchrow(PASSED, self.plan.consumer)
            until = (0, 0) if place is None else (place[0], place[1])
            rows = [r for r in await self.ahead(CHUNK_EVENTS) if (r["xid"], r["number"]) <= until]
            if not rows:
                self.passed = max(self.passed, until)
                return
            async with self.connection.transaction():
                await self.apply(rows)
            self.passed = rows[-1]["xid"], rows[-1]["number"]
            self.events += len(rows)

    async def ahead(self, count_max: int) -> list[Any]:
        """The next events of the log that the consumer has handled and the shadow has not."""
        xid, number = self.passed
        plan = self.plan
        rows = await self.connection.fetch(
            self.ahead_sql, plan.consumer, plan.event.type, str(xid), number, count_max
        )
        return list(rows)

    async def stand_still(self) -> None:
        """Hold the consumer where it is until the transaction ends."""
        for round_ in range(DEADLOCK_ROUNDS):
            try:
                async with self.connection.transaction():
                    await self.connection.execute("SET LOCAL lock_timeout = '2s'")
                    await self.connection.fetch(STAND_STILL, self.plan.consumer)
                return
            except (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError):
                if round_ == DEADLOCK_ROUNDS - 1:
                    raise
                await asyncio.sleep(0.05 * (round_ + 1))

    async def apply(self, rows: Sequence[Any]) -> None:
        """Put the newest state of each subject into the shadow."""
        plan = self.plan
        newest: dict[str, Event] = {}
        for row in rows:
            event = self.decode(decode_body(row["body"]).data)
            newest[plan.whose(event)] = event
        if not newest:
            return
        clear = CLEAR.format(shadow=plan.shadow, column=plan.column)
        await self.connection.execute(clear, list(newest))
        made = [dict(row) for event in newest.values() for row in plan.rows(event)]
        sql = ADD.format(shadow=plan.shadow, table=plan.table)
        await self.connection.execute(sql, ENCODER.encode(made).decode())

    async def sum(self, table: str) -> Sum:
        """A table in two numbers."""
        rows, digest = await self.connection.fetchrow(SUM.format(table=table))
        return Sum(rows, f"{int(digest) % 2**64:016x}")

    async def change(self, sql: str, columns: Sequence[str]) -> int:
        """Mend some of what differs; how many rows."""
        plan = self.plan
        status: str = await self.connection.execute(
            sql.format(
                table=plan.table,
                shadow=plan.shadow,
                s_key=", ".join(f"s.{name}" for name in plan.key),
                t_key=", ".join(f"t.{name}" for name in plan.key),
                key=", ".join(plan.key),
                assignments=", ".join(f"{name} = EXCLUDED.{name}" for name in columns),
            ),
            MEND_ROWS,
        )
        return int(status.split()[-1])
