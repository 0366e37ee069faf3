"""The log: it commits with the rows, nothing appears behind a cursor, each key keeps its order."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from msgspec import Struct

from tests.platform.bus.workshop import (
    SAVE,
    Make,
    Poison,
    ThingRow,
    Touch,
    Touched,
    Workshop,
    accepted,
    touch,
    touch_guarded,
    touch_locked,
)
from tradewind.kernel.messages import START, Decision, Position, partition_of
from tradewind.platform.bus import delivery, log
from tradewind.platform.bus.delivery import Handler, Unit
from tradewind.platform.bus.log import LogRow
from tradewind.platform.database.pool import Connection
from tradewind.platform.database.transaction import StaleRead, Transaction


async def counts(workshop: Workshop) -> tuple[int, int]:
    """How many rows there are, and how many events."""
    things = (await workshop.sql("SELECT count(*) FROM toy.things"))[0][0]
    return things, (await workshop.sql("SELECT count(*) FROM bus.log"))[0][0]


async def test_events_commit_with_their_rows(workshop: Workshop) -> None:
    await workshop.runner.run("toy", touch_locked, [Touch(things=("a", "b"))])
    assert await counts(workshop) == (2, 2)


@pytest.mark.parametrize("broken", ["rows", "events", "guard"])
async def test_neither_rows_nor_events_without_the_other(workshop: Workshop, broken: str) -> None:
    """Whichever part of a unit fails, nothing of it stays."""

    async def half(tx: Transaction, commands: Sequence[Touch]) -> Decision:
        tx.write(
            SAVE, ["a"], [None if broken == "rows" else 1], expect=2 if broken == "guard" else 1
        )
        sequence = -1 if broken == "events" else 1
        return Decision(events=[Touched(sequence=sequence, thing_id="a")])

    with pytest.raises((asyncpg.IntegrityConstraintViolationError, StaleRead)):
        await workshop.runner.run("toy", half, [Touch(things=("a",))])
    assert await counts(workshop) == (0, 0)


async def test_a_context_speaks_under_its_own_name_only(workshop: Workshop) -> None:
    async with workshop.runner.pool.lend("tradewind_toy") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "INSERT INTO bus.log (partition, source, type, subject, sequence, at, body)"
                " VALUES (0, 'orders', 'x', 'x', 1, now(), '{}')"
            )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM orders.orders")


# -- the cursor

# The cursor that most outboxes have: behind the greatest number seen.
BY_NUMBER = "SELECT number, subject FROM bus.log WHERE number > $1 ORDER BY number"
BY_HAND = """
    INSERT INTO bus.log (partition, source, type, subject, sequence, at, body)
    VALUES ($1, 'toy', 'toy.touched.v1', $2, 1, now(), '{"data": {"sequence": 1, "thing_id": "x"}}')
"""


async def test_an_event_that_commits_late_is_not_lost(workshop: Workshop) -> None:
    """A slow writer takes a lower number than a fast one and commits after it was read."""
    seen: list[str] = []
    naive: list[str] = []
    cursor, number = START, 0

    async def look(reader: Connection) -> None:
        nonlocal cursor, number
        rows, cursor = await log.read(reader, cursor)
        seen.extend(row.subject for row in rows)
        for row in await reader.fetch(BY_NUMBER, number):
            number = row["number"]
            naive.append(row["subject"])

    async with (
        workshop.connection() as slow,
        workshop.connection() as fast,
        workshop.connection() as reader,
    ):
        await look(reader)
        writing = slow.transaction()
        await writing.start()
        await slow.execute(BY_HAND, 0, "slow")
        await fast.execute(BY_HAND, 0, "fast")
        await look(reader)
        assert seen == [], "what an older writer may still precede is not shown"
        await writing.commit()
        await look(reader)
    assert seen == ["slow", "fast"]
    assert naive == ["fast"], "a cursor by number alone loses it for ever"


async def test_a_transaction_that_is_undone_leaves_no_gap_to_wait_for(workshop: Workshop) -> None:
    async with workshop.connection() as one, workshop.connection() as reader:
        writing = one.transaction()
        await writing.start()
        await one.execute(BY_HAND, 0, "never")
        await reader.execute(BY_HAND, 0, "always")
        await writing.rollback()
        rows, cursor = await log.read(reader, START)
        assert [row.subject for row in rows] == ["always"]
        assert await log.read(reader, cursor) == ([], cursor) or cursor.number == log.END_OF_XID


async def test_pages_of_the_log_meet_without_a_gap(workshop: Workshop) -> None:
    """One transaction larger than a page is cut anywhere, and goes on exactly there."""
    await workshop.touch("a", 1, 23)
    await workshop.touch("b", 1, 2)
    seen: list[tuple[str, int]] = []
    cursor = START
    async with workshop.connection() as reader:
        while True:
            rows, cursor = await log.read(reader, cursor, rows_max=7)
            seen += [(row.subject, row.sequence) for row in rows]
            if not rows:
                break
    assert seen == [("a", n) for n in range(1, 24)] + [("b", 1), ("b", 2)]


# -- order per key


class Locked(Struct, frozen=True):
    thing_id: str
    version: int


FOR_UPDATE = (
    "SELECT thing_id, version FROM toy.things WHERE thing_id = ANY($1::text[])"
    " ORDER BY thing_id FOR UPDATE"
)


async def touch_by_row_locks(tx: Transaction, commands: Sequence[Touch]) -> Decision:
    """The planted mistake: the first row lock gives the transaction its place in the log, the last
    one its turn. Between the two another may pass."""
    things = [thing for command in commands for thing in command.things]
    tx.locked = True
    await tx._connection.execute("BEGIN")
    rows = await tx.fetch(FOR_UPDATE, sorted(set(things)), into=ThingRow)
    versions = {row.thing_id: row.version for row in rows}
    events = touch(versions, commands)
    tx.write(SAVE, list(versions), list(versions.values()))
    return Decision(events=events, outcomes=accepted(commands))


async def contend(workshop: Workshop, handler: Handler) -> dict[str, list[int]]:
    """Two writers on overlapping things, many times; the order of the log per thing."""
    things = [f"t{n}" for n in range(6)]
    await workshop.runner.run("toy", touch_locked, [Touch(things=(thing,)) for thing in things])

    async def writer(offset: int) -> None:
        for turn in range(30):
            # Different first rows, a shared last one.
            first = things[(offset * 3 + turn) % 5]
            unit = Unit(context="toy", handler=handler, messages=[Touch(things=(first, "t5"))])
            for _ in range(20):
                try:
                    await delivery.run(workshop.runner.workplace, unit)
                    break
                except (StaleRead, asyncpg.DeadlockDetectedError):
                    await asyncio.sleep(0)
            else:
                raise AssertionError("twenty times too late")

    await asyncio.gather(writer(0), writer(1))
    order: dict[str, list[int]] = {}
    async with workshop.connection() as reader:
        rows, _ = await log.read(reader, START)
    for row in rows:
        order.setdefault(row.subject, []).append(row.sequence)
    return order


def disorder(order: dict[str, list[int]]) -> list[str]:
    """Things whose facts do not stand in the log as 1, 2, 3, ..."""
    return [key for key, seen in order.items() if seen != list(range(1, len(seen) + 1))]


@pytest.mark.parametrize("handler", [touch_locked, touch_guarded])
async def test_two_writers_keep_the_order_of_each_key(workshop: Workshop, handler: Handler) -> None:
    order = await contend(workshop, handler)
    assert disorder(order) == []
    assert len(order["t5"]) == 1 + 60


async def test_row_locks_alone_do_not_keep_it(workshop: Workshop) -> None:
    """The variant that the rules forbid, made deterministic: it would fool a consumer."""
    await workshop.runner.run("toy", touch_locked, [Touch(things=("a", "b", "z"))])
    stopped = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(tx: Transaction, commands: Sequence[Touch]) -> Decision:
        tx.locked = True
        await tx._connection.execute("BEGIN")
        await tx.fetch(FOR_UPDATE, ["a"], into=Locked)  # gives it an early place in the log
        stopped.set()
        await go_on.wait()
        rows = await tx.fetch(FOR_UPDATE, ["a", "z"], into=ThingRow)  # its turn comes late
        versions = {row.thing_id: row.version for row in rows}
        events = touch(versions, commands)
        tx.write(SAVE, list(versions), list(versions.values()))
        return Decision(events=events)

    first = asyncio.create_task(workshop.runner.run("toy", slow, [Touch(things=("a", "z"))]))
    await stopped.wait()
    await workshop.runner.run("toy", touch_by_row_locks, [Touch(things=("b", "z"))])
    go_on.set()
    await first
    async with workshop.connection() as reader:
        rows, _ = await log.read(reader, START)
    assert [row.sequence for row in rows if row.subject == "z"] == [1, 3, 2]


async def test_a_version_has_one_fact(workshop: Workshop) -> None:
    """The last line of defence: two units that both say "version 2" cannot both be right."""
    await workshop.touch("a", 1, 2)
    with pytest.raises(asyncpg.UniqueViolationError):
        await workshop.touch("a", 2, 2)


async def test_lock_must_come_first(workshop: Workshop) -> None:
    """After a read of any kind, what was read may be old by the time the lock is there."""
    reads: list[Any] = [
        lambda tx: tx.fetch("SELECT 'a', 1", into=ThingRow),
        lambda tx: tx.fetch_one("SELECT 'a', 1", into=ThingRow),
        lambda tx: tx.fetch_values("SELECT 1"),
        lambda tx: tx.fetch_value("SELECT 1"),
        lambda tx: tx.lock("thing", ["b"]),
    ]
    for read in reads:

        async def late(tx: Transaction, commands: Sequence[Touch], read: Any = read) -> Decision:
            await read(tx)
            await tx.lock("thing", ["a"])
            return Decision()

        with pytest.raises(AssertionError):
            await workshop.runner.run("toy", late, [])


async def test_what_cannot_be_decoded_reaches_its_consumer_as_such(workshop: Workshop) -> None:
    """A broken body is a dead letter of those who listen, not the end of the process."""
    node = await workshop.start("one")
    body = '{"data": {"sequence": "not a number"}}'
    insert = """
        INSERT INTO bus.log (partition, source, type, subject, sequence, at, body)
        VALUES ($1, 'toy', 'toy.touched.v1', $2, 1, now(), $3)
    """
    for subject, text in (("broken", body), ("shredded", "{")):
        await workshop.sql(insert, partition_of(subject), subject, text)
    await workshop.touch("fine", 1, 1)
    assert await workshop.until_handled(1) == {"fine": [1]}
    await workshop.at_rest(node)
    letters = await workshop.sql("SELECT key, state, error FROM bus.dead_letters ORDER BY key")
    assert [(row["key"], row["state"]) for row in letters] == [
        ("broken", "dead"),
        ("shredded", "dead"),
    ]
    assert "cannot be decoded" in letters[0]["error"]


def test_a_horizon_without_rows_is_progress() -> None:
    """An empty read still says how far everything has ended."""
    assert LogRow(horizon=7).xid is None
    assert Position(6, log.END_OF_XID) < Position(7, 0)


async def test_poison_in_a_command_leaves_nothing(workshop: Workshop) -> None:
    node = await workshop.start("one")
    with pytest.raises(Poison):
        await node.submit(Make(thing_id="poison"))
    assert await counts(workshop) == (0, 0)
