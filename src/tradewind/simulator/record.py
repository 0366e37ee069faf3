"""The provider's durable record: one SQLite file, synced to disk before anything is answered.

Requests that arrive while a commit is under way share the next one, so the disk is asked once
for all of them. `Record` is blocking and belongs to one thread; `Desk` is its asynchronous front.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from msgspec import Struct

from tradewind.simulator import behaviour
from tradewind.simulator.behaviour import Authorisation, Operation, Result

Found = TypeVar("Found")

# One commit takes at most this many operations: 2,000 at about 10 us is 20 ms of one thread.
GROUP_OPERATIONS_MAX = 2_000
# SQLite allows 32,766 parameters in a statement; we stay far below.
KEYS_PER_QUERY = 500

SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
  number       INTEGER PRIMARY KEY AUTOINCREMENT,
  key          TEXT NOT NULL UNIQUE,
  operation    TEXT NOT NULL CHECK (operation IN ('authorise', 'capture', 'void', 'refund')),
  order_id     TEXT NOT NULL,
  reference    TEXT NOT NULL,
  amount_minor INTEGER NOT NULL CHECK (amount_minor >= 0),
  currency     TEXT NOT NULL,
  status       TEXT NOT NULL CHECK (status IN ('succeeded', 'refused')),
  reason       TEXT NOT NULL,
  at           TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS charges_by_order ON charges (order_id, number);
CREATE TABLE IF NOT EXISTS authorisations (
  reference      TEXT PRIMARY KEY,
  amount_minor   INTEGER NOT NULL,
  currency       TEXT NOT NULL,
  token          TEXT NOT NULL,
  captured_minor INTEGER NOT NULL CHECK (captured_minor <= amount_minor),
  refunded_minor INTEGER NOT NULL CHECK (refunded_minor <= captured_minor),
  captured       INTEGER NOT NULL,
  voided         INTEGER NOT NULL CHECK (NOT (voided AND captured))
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failures (
  key TEXT PRIMARY KEY, count INTEGER NOT NULL
) WITHOUT ROWID;
"""

CHARGE_COLUMNS = "number, key, operation, order_id, amount_minor, currency, at"


class Charge(Struct, frozen=True):
    """An operation that took effect."""

    number: int
    key: str
    operation: str
    order_id: str
    amount_minor: int
    currency: str
    at: str


class Total(Struct, frozen=True):
    """All operations of one kind and currency that took effect."""

    operation: str
    currency: str
    count: int
    amount_minor: int


class Verdict(Struct, frozen=True):
    """A result, and whether its answer goes out: `now`, or `never` (lost, or nothing happened)."""

    result: Result
    reply: Literal["now", "never"]


class Record:
    """The file. Every call is one transaction; what it returns is on the disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA busy_timeout = 5000")
        self._db.executescript(SCHEMA)

    def apply(self, operations: Sequence[Operation]) -> list[Verdict]:
        """Decide a group of operations in order, each once per key, and commit them together."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            verdicts = Group(self, operations).decide()
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return verdicts

    def results(self, keys: Sequence[str]) -> dict[str, tuple[Result, Operation]]:
        """What was decided before, by key, with the request that it answered."""
        rows = self._by_keys(
            "SELECT key, operation, amount_minor, currency, reference, order_id, status, reason, at"
            " FROM charges WHERE key IN ",
            keys,
        )
        found = {}
        for key, operation, amount_minor, currency, reference, order_id, status, reason, at in rows:
            result = Result(key=key, status=status, reason=reason, amount_minor=amount_minor, at=at)
            found[key] = (
                result,
                Operation(
                    key=key,
                    operation=operation,
                    amount_minor=amount_minor,
                    currency=currency,
                    reference=reference,
                    order_id=order_id,
                ),
            )
        return found

    def authorisations(self, references: Sequence[str]) -> dict[str, Authorisation]:
        """What the provider holds, by reference."""
        rows = self._by_keys(
            "SELECT reference, amount_minor, currency, token, captured_minor, refunded_minor,"
            " captured, voided FROM authorisations WHERE reference IN ",
            references,
        )
        return {
            reference: Authorisation(
                amount, currency, token, taken, returned, bool(captured), bool(voided)
            )
            for reference, amount, currency, token, taken, returned, captured, voided in rows
        }

    def failures(self, keys: Sequence[str]) -> dict[str, int]:
        """How often each key was answered with an error so far."""
        return dict(self._by_keys("SELECT key, count FROM failures WHERE key IN ", keys))

    def save(self, group: "Group") -> None:
        """Write what a group changed, inside its transaction."""
        self._db.executemany(
            "INSERT INTO charges (key, operation, order_id, reference, amount_minor, currency,"
            " status, reason, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            group.rows,
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO authorisations VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    reference,
                    held.amount_minor,
                    held.currency,
                    held.token,
                    held.captured_minor,
                    held.refunded_minor,
                    held.captured,
                    held.voided,
                )
                for reference, held in group.changed.items()
            ],
        )
        if group.failed:
            self._db.executemany(
                "INSERT OR REPLACE INTO failures VALUES (?, ?)",
                [(key, group.failures[key]) for key in group.failed],
            )

    def charges_of(self, order_id: str) -> list[Charge]:
        """All that took effect for an order, oldest first."""
        rows = self._db.execute(
            f"SELECT {CHARGE_COLUMNS} FROM charges"
            " WHERE order_id = ? AND status = 'succeeded' ORDER BY number",
            (order_id,),
        )
        return [Charge(*row) for row in rows]

    def charges_after(self, number: int, count_max: int) -> list[Charge]:
        """All that took effect, in the order in which it did."""
        rows = self._db.execute(
            f"SELECT {CHARGE_COLUMNS} FROM charges"
            " WHERE number > ? AND status = 'succeeded' ORDER BY number LIMIT ?",
            (number, count_max),
        )
        return [Charge(*row) for row in rows]

    def totals(self) -> list[Total]:
        """Counts and sums by operation and currency."""
        rows = self._db.execute(
            "SELECT operation, currency, count(*), sum(amount_minor) FROM charges"
            " WHERE status = 'succeeded' GROUP BY operation, currency ORDER BY currency, operation"
        )
        return [Total(*row) for row in rows]

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        self._db.close()

    def _by_keys(self, select: str, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for start in range(0, len(keys), KEYS_PER_QUERY):
            part = keys[start : start + KEYS_PER_QUERY]
            marks = ",".join("?" * len(part))
            rows += self._db.execute(f"{select}({marks})", part).fetchall()
        return rows


class Group:
    """The operations of one commit, decided one after the other."""

    def __init__(self, record: Record, operations: Sequence[Operation]) -> None:
        self.record = record
        self.operations = operations
        self.at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        self.rows: list[tuple[Any, ...]] = []
        self.changed: dict[str, Authorisation] = {}
        self.failed: set[str] = set()
        self.failures: dict[str, int] = {}

    def decide(self) -> list[Verdict]:
        """The verdict of each operation; what they change is written."""
        self.known = self.record.results(list({o.key for o in self.operations}))
        references = {o.reference for o in self.operations if o.operation != "authorise"}
        self.held = self.record.authorisations(list(references))
        self.failures = self.record.failures(
            [o.key for o in self.operations if o.token in FLAKY_TOKENS]
        )
        verdicts = [self.verdict(operation) for operation in self.operations]
        self.record.save(self)
        return verdicts

    def verdict(self, operation: Operation) -> Verdict:
        """Decide one operation, or repeat what was decided for its key."""
        before = self.known.get(operation.key)
        if before is not None:
            return Verdict(repeat(operation, *before), "now")
        first = operation.operation == "authorise"
        held = None if first else self.held.get(operation.reference)
        token = operation.token if held is None else held.token
        whim = behaviour.whim_of(token, operation.operation)
        if whim.silent:
            return Verdict(Result(key=operation.key, status="unknown"), "never")
        failures = self.failures.get(operation.key, 0)
        if failures < whim.failures:
            self.failures[operation.key] = failures + 1
            self.failed.add(operation.key)
            result = Result(key=operation.key, status="error", reason="try_again")
            return Verdict(result, "now")
        reason = behaviour.refusal_of(operation, held)
        if not reason:
            reference = operation.key if first else operation.reference
            self.held[reference] = self.changed[reference] = behaviour.apply(operation, held)
        return self.decided(operation, reason, "never" if whim.reply_lost else "now")

    def decided(self, operation: Operation, reason: str, reply: Literal["now", "never"]) -> Verdict:
        """Note a decision for the record."""
        result = Result(
            key=operation.key,
            status="refused" if reason else "succeeded",
            reason=reason,
            amount_minor=operation.amount_minor,
            at=self.at,
        )
        self.known[operation.key] = (result, operation)
        self.rows.append(
            (
                operation.key,
                operation.operation,
                operation.order_id,
                operation.reference,
                operation.amount_minor,
                operation.currency,
                result.status,
                reason,
                self.at,
            )
        )
        return Verdict(result, reply)


FLAKY_TOKENS = frozenset(
    token
    for token, whims in behaviour.TOKENS.items()
    if any(whim.failures for whim in whims.values())
)


def repeat(operation: Operation, result: Result, asked: Operation) -> Result:
    """The same answer for the same request; a key on another request is refused."""
    same = (
        operation.operation == asked.operation
        and operation.amount_minor == asked.amount_minor
        and operation.currency == asked.currency
        and operation.reference == asked.reference
    )
    return result if same else Result(key=operation.key, status="refused", reason="key_reused")


class Desk:
    """Takes operations from many requests at once and commits those that wait together."""

    def __init__(self, record: Record) -> None:
        self.record = record
        # One thread: SQLite writes one transaction at a time anyway.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="record")
        self._waiting: deque[tuple[Sequence[Operation], asyncio.Future[list[Verdict]]]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def take(self, operations: Sequence[Operation]) -> list[Verdict]:
        """The verdicts, in order, once they are on the disk."""
        future: asyncio.Future[list[Verdict]] = asyncio.get_running_loop().create_future()
        self._waiting.append((operations, future))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await future

    async def ask(self, question: Callable[[], Found]) -> Found:
        """Read the record between two commits."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, question)

    async def _work(self) -> None:
        while self._waiting:
            group = [self._waiting.popleft()]
            size = len(group[0][0])
            while self._waiting and size + len(self._waiting[0][0]) <= GROUP_OPERATIONS_MAX:
                group.append(self._waiting.popleft())
                size += len(group[-1][0])
            operations = [operation for batch, _ in group for operation in batch]
            try:
                verdicts = await self.ask(partial(self.record.apply, operations))
            except Exception as error:
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)
                continue
            start = 0
            for batch, future in group:
                if not future.done():  # a caller that hung up waits no more
                    future.set_result(verdicts[start : start + len(batch)])
                start += len(batch)

    def close(self) -> None:
        """Finish the commit under way, then close the file."""
        self._thread.shutdown(wait=True)
        self.record.close()
