"""Reads and units of work.

A handler reads with `fetch` and *queues* its writes with `write`; when it returns, everything it
queued - rows, events, consumer offsets - is sent as **one statement**: one round trip, one commit.
There is no `commit` to forget or to call twice. Two ways to be right under concurrency:

* `lock(...)` as the very first call: advisory locks on the batch's aggregates, sorted, before the
  transaction has an xid. Nobody else decides on those aggregates until the commit.
* no lock, and `expect=` on writes that compare a version: the whole unit fails with `StaleRead`
  if another unit was faster, or had inserted the same row, and is run again on fresh rows. What the
  first try knows from the
  process's memory (`recall`) must be covered by such a write (`vouch`).

Both keep the order per key in the log (docs/decisions/0006). Because the writes are one statement,
they do not see each other, and no row may be written twice in one unit.
"""

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, TypeVar

import asyncpg
from msgspec import Struct

from tradewind.platform.database.known_rows import KnownRows, Name
from tradewind.platform.database.literals import encoded
from tradewind.platform.database.pool import Connection
from tradewind.platform.settings import Settings

Row = TypeVar("Row", bound=Struct)

# Lock classes per kind of aggregate: small enough for the lock table, large enough to rarely meet.
LOCK_CLASSES = 1_024
STALE_READ = "TW001"
LEASE_LOST = "TW002"
UNIQUE_VIOLATION = "23505"
# Their rows tell whether a request was sent twice: whoever queued it looks them up.
KEYS = "idempotency_keys"
# Each handler has a few shapes of batch (with and without refusals, timers, ...).
STATEMENTS_COMPOSED_MAX = 2_000
PARAMETER = re.compile(r"\$([0-9]+)")


class StaleRead(Exception):
    """A guarded write met a row that had changed since it was read. Run the unit again."""


class LeaseLost(Exception):
    """Another process took over this consumer's partition. Throw the batch away."""


class Snapshot:
    """Reads, as one role. Each statement sees what was committed when it began."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._connection = connection
        self._touched = False
        self.now = now  # the database's clock, as this process follows it; UTC

    async def fetch(self, sql: str, *args: Any, into: type[Row]) -> list[Row]:
        """All rows, each as `into`: the columns in the order of the Struct's fields."""
        self._touched = True
        sql, columns = encoded(sql, args)
        return [into(*row) for row in await self._connection.fetch(sql, *columns)]

    async def fetch_one(self, sql: str, *args: Any, into: type[Row]) -> Row | None:
        """The first row as `into`, or None."""
        self._touched = True
        sql, columns = encoded(sql, args)
        row = await self._connection.fetchrow(sql, *columns)
        return None if row is None else into(*row)

    async def fetch_values(self, sql: str, *args: Any) -> list[Any]:
        """The first column of all rows."""
        self._touched = True
        sql, columns = encoded(sql, args)
        return [row[0] for row in await self._connection.fetch(sql, *columns)]

    async def fetch_value(self, sql: str, *args: Any) -> Any:
        """The first column of the first row, or None."""
        self._touched = True
        sql, columns = encoded(sql, args)
        return await self._connection.fetchval(sql, *columns)


class Write(Struct, frozen=True):
    """One queued statement; `expect` rows must be touched, where it is given."""

    sql: str
    args: Sequence[Any]
    expect: int | None
    guard: str  # the function of schema bus that compares: "expect" or "fence"


class Transaction(Snapshot):
    """A unit of work. Queue writes; they are sent together when the handler returns."""

    def __init__(
        self,
        connection: Connection,
        now: datetime,
        settings: Settings,
        *,
        anew: bool = False,
        known: KnownRows | None = None,
    ) -> None:
        super().__init__(connection, now)
        self.settings = settings
        # Whether this unit was tried before and came too late. The first time a handler may take
        # for granted what is nearly always true, as long as its writes are guarded.
        self.anew = anew
        self.writes: list[Write] = []
        self.locked = False
        self._known = known
        self.recalled: set[Name] = set()
        self._vouched: set[Name] = set()
        self.remembered: dict[Name, Any] = {}  # to be kept when this is committed

    def recall(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        """Rows as this process wrote them last, by key; those that are not known are left out.

        They are shared: copy what you change. Nothing is known to a unit that is run anew.
        """
        if self._known is None or self.anew:
            return {}
        found = self._known.recall((kind, key) for key in keys)
        self.recalled.update((kind, key) for key in found)
        return found

    def vouch(self, kind: str, keys: Iterable[str]) -> None:
        """A queued write fails unless these rows still are as they were recalled."""
        self._vouched.update((kind, key) for key in keys)

    def unrecall(self, kind: str) -> None:
        """What was recalled of a kind decides nothing any more: the rows were read."""
        self.recalled = {name for name in self.recalled if name[0] != kind}

    def remember(self, kind: str, rows: Mapping[str, Any]) -> None:
        """What rows are once this unit is committed, by key; None: not worth remembering."""
        self.remembered.update(((kind, key), row) for key, row in rows.items())

    @property
    def unproven(self) -> set[Name]:
        """What was recalled, and no write vouches for."""
        return self.recalled - self._vouched

    async def lock(self, kind: str, names: Iterable[str]) -> None:
        """Hold every (kind, name) until the commit, taken in one global order. Must come first."""
        assert not self._touched, "lock() is the first call of a unit of work, and called once"
        self._touched = True
        numbers = sorted({lock_number(kind, name) for name in names})
        if not numbers:
            return
        self.locked = True
        # One simple query: BEGIN, and the locks as its first statement. They give the transaction
        # no xid; the row locks and writes that come later do.
        await self._connection.execute(
            "BEGIN; SELECT pg_advisory_xact_lock(n) FROM unnest('{"
            + ",".join(map(str, numbers))
            + "}'::bigint[]) n"
        )

    def write(self, sql: str, *args: Any, expect: int | None = None, guard: str = "expect") -> None:
        """Queue one INSERT, UPDATE or DELETE; with `expect`, exactly that many rows must be hit.

        A SELECT with `expect` is queued to prove what was recalled.

        Parameters are numbered from $1 in every statement; columns come as arrays and are joined
        by ``unnest``, so that a batch is one statement whatever its size.
        """
        self._touched = True
        sql, columns = encoded(sql.strip(), args)
        self.writes.append(Write(sql, columns, expect, guard))

    async def send(self, *, ring: Sequence[str] = (), lazy: bool = False) -> int:
        """Send what was queued as one statement and commit; returns the xid. For delivery only.

        `ring`: channels to notify with the commit, where other processes listen. `lazy`: do not
        wait for the disk; a crash of the server may undo the commit, and nothing after it survives.
        """
        if not self.writes:
            if self.locked:
                await self._connection.execute("COMMIT")
            return 0
        shapes = tuple(
            (w.sql, len(w.args), w.guard if w.expect is not None else "") for w in self.writes
        )
        args = [value for w in self.writes for value in w.args]
        args += [w.expect for w in self.writes if w.expect is not None]
        try:
            xid = await self._connection.fetchval(compose(shapes, tuple(ring), lazy), *args)
        except asyncpg.PostgresError as error:
            # A row that was taken for new has been there, or is there by now. Who read, and still
            # meets it, has an error of its own.
            taken = error.sqlstate == UNIQUE_VIOLATION and error.table_name != KEYS
            taken = taken and not self.anew
            if taken or error.sqlstate == STALE_READ:
                raise StaleRead(f"{error} {error.detail or ''}") from None
            if error.sqlstate == LEASE_LOST:
                raise LeaseLost(str(error)) from None
            raise
        if self.locked:
            await self._connection.execute("COMMIT")
        return int(xid)


def lock_number(kind: str, name: str) -> int:
    """The advisory lock of an aggregate: kinds apart, names hashed into `LOCK_CLASSES`."""
    return (zlib.crc32(kind.encode()) << 10) | (zlib.crc32(name.encode()) % LOCK_CLASSES)


@lru_cache(maxsize=STATEMENTS_COMPOSED_MAX)
def compose(
    shapes: tuple[tuple[str, int, str], ...], ring: tuple[str, ...] = (), lazy: bool = False
) -> str:
    """One WITH statement out of many writes (sql, number of parameters, guard or "").

    Parameters are renumbered; the expected counts of the guarded writes come after all others.
    The result is the transaction's xid. A count that differs raises from inside the
    statement, which undoes all of it.
    """
    parts: list[str] = []
    guards: list[str] = []
    shift = 0
    guard = sum(arity for _, arity, _ in shapes)
    for index, (sql, arity, guarded_by) in enumerate(shapes):
        text = PARAMETER.sub(partial(renumbered, shift), sql)
        if guarded_by:
            guard += 1
            if " RETURNING " not in text and not text.startswith("SELECT "):
                text += " RETURNING 1"
            guards.append(f"bus.{guarded_by}(${guard}, (SELECT count(*) FROM w{index}))")
        parts.append(f"w{index} AS ({text})")
        shift += arity
    bells = [f"pg_notify('{channel}', '')" for channel in ring]
    if lazy:
        bells.append("set_config('synchronous_commit', 'off', true)")
    result = ", ".join(["pg_current_xact_id()::text", *guards, *bells])
    return "WITH " + ",\n".join(parts) + f"\nSELECT {result}"


def renumbered(shift: int, parameter: re.Match[str]) -> str:
    """``$2`` of a statement as its place among the parameters of the whole."""
    return f"${int(parameter[1]) + shift}"
