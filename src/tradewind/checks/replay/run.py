"""The replay: one snapshot, the log and the tables side by side, a subject at a time.

Memory does not grow with the orders: of the log one subject is held, of each table one row; only
the sums of the stock are kept, by sku. Works while the shop serves: what a context copies from
others is compared as far as its consumer has read.
"""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tradewind.checks import archived
from tradewind.checks.archived import Names
from tradewind.checks.replay.compare import (
    CARD,
    LEDGER,
    LINES,
    ORDERS,
    PAYMENTS,
    RESERVATIONS,
    SKUS,
    STOCK,
    Ledgers,
    Rows,
    Table,
    plain,
    posted,
    reserved,
    told,
)
from tradewind.checks.replay.facts import LETTERS, LOG, OFFSETS, Fact, Read, fact_of
from tradewind.checks.replay.folds import Row, held, shelves
from tradewind.kernel.terms import OF_ORDER
from tradewind.platform.database.pool import Pool

PREFETCHED_ROWS = 500

# What rows hold that no event tells. It is not compared.
NOT_TOLD = {
    "orders.orders": "credential, external_id, fees one by one, decide_before",
    "inventory.skus": "product and its version, of the last count taken from the catalog",
    "payments.payments": (
        "refunds that are under way, why nothing more is tried, and that an order that is dead by "
        "then was authorised: it is voided, and that is told"
    ),
    "payments.ledger": "its numbers",
}

QUESTIONS: tuple[tuple[str, str, Callable[[Any], Row]], ...] = (
    ("orders.orders", ORDERS, plain),
    ("orders.lines", LINES, plain),
    ("inventory.reservations", RESERVATIONS, reserved),
    ("payments.payments", PAYMENTS, plain),
    ("payments.ledger", LEDGER, posted),
    ("inventory.skus", SKUS, plain),
)


class Replayed(Struct, frozen=True):
    """What a replay found."""

    events: int
    subjects: int
    tables: tuple[Table, ...]
    took_s: float

    @property
    def holds(self) -> bool:
        """Whether the events explain every row."""
        return not any(table.differing for table in self.tables)


async def replay(dsn: str, archive: Path) -> Replayed:
    """Fold the log, archive files and database, and compare it with the rows, in one snapshot.

    Raises `FilesWrong` where a file is not what was written.
    """
    pool = Pool(dsn, connections_max=1, application="tradewind check")
    connection = await pool.connect()
    try:
        names = await archived.lay_out(connection, archive)
        # It writes nothing and so has no xid: however long it reads, it holds back nobody's log.
        await connection.execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
            "SET LOCAL idle_in_transaction_session_timeout = 0;"
            # A cursor is planned for its first rows by default; here all of them are read.
            "SET LOCAL cursor_tuple_fraction = 1"
        )
        return await replay_on(connection, names)
    finally:
        await connection.close()


async def replay_on(connection: Any, names: Names) -> Replayed:
    """The same on a connection within a snapshot."""
    began_at = time.monotonic()
    read = await handled(connection)
    tables = {name: Table(name) for name, _, _ in QUESTIONS}
    rows = {
        name: Rows(aiter(connection.cursor(sql, prefetch=PREFETCHED_ROWS)), shape)
        for name, sql, shape in QUESTIONS
    }
    stock = Ledgers()
    events = subjects = 0
    async for subject, facts in by_subject(connection, names):
        events, subjects = events + len(facts), subjects + 1
        if subject.startswith("sku:"):
            stock.on_hand |= shelves(facts)
        if subject.startswith("crt_"):
            stock.add(held(facts))  # carts come and go; what is kept for them is in the stock
            continue
        for name, table in tables.items():
            if subject.startswith("sku:") == (name == "inventory.skus"):
                made = told(name, facts, read)
                if name == "payments.payments":
                    made = await with_card(connection, made)
                row = await compare_up_to(subject, made, rows[name], table)
                if name == "inventory.reservations":
                    stock.add(row)
    for name, table in tables.items():
        async for key, row in rows[name].up_to("\U0010ffff"):
            table.compare(key, None, row)
    shelf = Table("inventory.stock")
    stock.compare(shelf, await connection.fetch(STOCK))
    return Replayed(events, subjects, (*tables.values(), shelf), time.monotonic() - began_at)


async def with_card(connection: Any, told: Row | None) -> Row | None:
    """A payment with the card that it was begun with, where its terms name that of another order:
    what goes out in exchange is paid with the card of what came back.
    """
    if told is None or not told["token"].startswith(OF_ORDER):
        return told
    card = await connection.fetchval(CARD, told["token"].removeprefix(OF_ORDER))
    if card is None:
        return told
    return {**told, "token": card, "terms": {**told["terms"], "token": card}}


async def compare_up_to(key: str, told: Row | None, rows: Rows, table: Table) -> Row | None:
    """The row of a key, and those before it, which no event explains. Returns what was told."""
    there = False
    async for found, row in rows.up_to(key):
        same = found == key
        there = there or same
        if same and told is not None and row.get("terms") is not None:
            row["terms"] = msgspec.json.decode(row["terms"])
            if row["being_voided"]:
                row["status"] = told["status"]
        table.compare(found, told if same else None, row)
    if not there:
        table.compare(key, told, None)
    return told


async def handled(connection: Any) -> Read:
    """How far the consumers have read."""
    offsets = {
        (row["consumer"], row["partition"]): (row["xid"], row["number"])
        for row in await connection.fetch(OFFSETS)
    }
    letters = {
        (row["consumer"], row["xid"], row["number"]) for row in await connection.fetch(LETTERS)
    }
    return Read(offsets, frozenset(letters))


async def by_subject(connection: Any, names: Names) -> AsyncIterator[tuple[str, list[Fact]]]:
    """The facts about each subject, in the order of the log."""
    subject, facts = "", list[Fact]()
    async for row in connection.cursor(names.within(LOG), prefetch=PREFETCHED_ROWS):
        if row["subject"] != subject:
            if facts:
                yield subject, sorted(facts, key=lambda fact: fact.place)
            subject, facts = row["subject"], []
        facts.append(fact_of(row))
    if facts:
        yield subject, sorted(facts, key=lambda fact: fact.place)
