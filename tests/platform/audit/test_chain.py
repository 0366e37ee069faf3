"""The chain: what is sealed in which order, and that no way of tampering stays unseen."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from tradewind.kernel.audit import Audited, Change
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Command, Decision
from tradewind.kernel.problems import Problem
from tradewind.platform.audit import entries
from tradewind.platform.audit.entries import WRITE, Entry, columns
from tradewind.platform.audit.heads import Heads, heads_file, read_heads, sign
from tradewind.platform.audit.sealer import Sealer
from tradewind.platform.audit.verifying import ANCHORED_WITHIN, SEALED_WITHIN, Found, Verifier
from tradewind.platform.bus import delivery
from tradewind.platform.bus.delivery import Unit
from tradewind.platform.database.transaction import Transaction
from tradewind.platform.security.secrets import Secrets
from tradewind.testing.database import TestServer, UnitRunner

SECRETS = Secrets([b"k" * 32])


class World:
    """A database, a sealer and a folder for heads."""

    def __init__(self, unit: UnitRunner, home: Path) -> None:
        self.unit = unit
        self.home = home
        self.heads = Heads(SECRETS, home)
        self.sealer = Sealer(self.heads)

    async def add(self, count: int = 1, **fields: Any) -> list[str]:
        """Entries, each in a transaction of its own."""
        made = [entry(**fields) for _ in range(count)]
        async with self.unit.pool.lend("tradewind_orders") as connection:
            for one in made:
                await connection.execute(WRITE, *columns([one]))
        return [one.entry_id for one in made]

    async def seal(self) -> None:
        """All there is, and its head outside."""
        while True:
            done = await delivery.run(
                self.unit.workplace, Unit(context="audit", handler=self._seal, messages=())
            )
            if not done.xid:
                break
            if done.decision.signals:
                self.sealer.sealed(done.decision.signals)
        self.heads.write()

    async def _seal(self, tx: Transaction, messages: Sequence[Any]) -> Decision:
        return await self.sealer.seal(tx)

    async def verify(self, now: datetime | None = None, *, heads: bool = True) -> Found:
        """What a verification finds."""
        signed = [
            (f"line {number}", head) for number, head in read_heads(heads_file(self.home)) if heads
        ]
        connection = await self.unit.pool.connect()
        try:
            return await Verifier(SECRETS, signed, now or datetime.now(UTC)).verify(connection)
        finally:
            await connection.close()

    async def tamper(self, *statements: str) -> None:
        """As the owner, who has taken the triggers away."""
        connection = await self.unit.pool.connect()
        try:
            await connection.execute("SET session_replication_role = 'replica'")
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


def entry(**fields: Any) -> Entry:
    told = {
        "entry_id": new_id("aud"),
        "at": datetime.now(UTC),
        "kind": "write",
        "operation": "PUT /v1/stock/{sku:path}",
        "notice": "",
        "principal": "key_a",
        "object": "MUG",
        "address": "127.0.0.1",
        "trace": "",
        "reason": "",
        "before": '{"on_hand":1}',
        "after": '{"on_hand":2}',
        **fields,
    }
    return Entry(**told)


@pytest_asyncio.fixture(loop_scope="session")
async def world(server: TestServer, tmp_path: Path) -> AsyncIterator[World]:
    dsn = await server.create_database()
    unit = UnitRunner(dsn)
    yield World(unit, tmp_path)
    await unit.close()
    await server.drop_database(dsn)


async def test_what_was_written_verifies(world: World) -> None:
    await world.add(7)
    await world.seal()
    await world.add(5)
    await world.seal()
    found = await world.verify()
    assert (found.faults, found.places, found.heads, found.waiting) == ((), 12, 2, 0)


async def test_an_empty_record_verifies(world: World) -> None:
    found = await world.verify()
    assert (found.faults, found.places) == ((), 0)


async def test_what_is_not_sealed_yet_is_no_fault_for_some_minutes(world: World) -> None:
    await world.add(3)
    assert (await world.verify()).waiting == 3
    late = await world.verify(datetime.now(UTC) + SEALED_WITHIN + timedelta(minutes=1))
    assert "never sealed" in late.faults[0]


# Each way to tamper, on a chain of ten places whose fifth entry is `{entry}`, and what is said.
WAYS = {
    "an entry changed": (
        ["UPDATE audit.entries SET principal = 'key_b' WHERE entry_id = '{entry}'"],
        ["Place 5", "{entry}", "hash does not fit"],
    ),
    "what an entry says before": (
        ["UPDATE audit.entries SET before = NULL WHERE entry_id = '{entry}'"],
        ["Place 5", "hash does not fit"],
    ),
    "a time moved by a microsecond": (
        ["UPDATE audit.entries SET at = at + interval '1 microsecond' WHERE entry_id = '{entry}'"],
        ["Place 5", "hash does not fit"],
    ),
    "an entry deleted": (
        ["DELETE FROM audit.entries WHERE entry_id = '{entry}'"],
        ["Place 5", "{entry}", "was deleted"],
    ),
    "an entry and its place deleted": (
        [
            "DELETE FROM audit.entries WHERE entry_id = '{entry}'",
            "DELETE FROM audit.chain WHERE position = 5",
        ],
        ["Place 5 of the chain is missing"],
    ),
    "only a place deleted": (
        ["DELETE FROM audit.chain WHERE position = 5"],
        ["Place 5 of the chain is missing", "has no place in it"],
    ),
    "two places exchanged": (
        [
            "UPDATE audit.chain SET position = 1000 WHERE position = 5",
            "UPDATE audit.chain SET position = 5 WHERE position = 6",
            "UPDATE audit.chain SET position = 6 WHERE position = 1000",
        ],
        ["Place 5", "Place 6"],
    ),
    "places closed over a gap": (
        [
            "DELETE FROM audit.chain WHERE position = 5",
            "UPDATE audit.chain SET position = position + 1000 WHERE position > 5",
            "UPDATE audit.chain SET position = position - 1001 WHERE position > 5",
        ],
        ["Place 5", "hash does not fit"],
    ),
    "an entry put in the middle": (
        [
            "INSERT INTO audit.entries SELECT '{new}', xid, at, kind, operation, notice, "
            "'key_evil', object, address, trace, reason, before, after "
            "FROM audit.entries WHERE entry_id = '{entry}'"
        ],
        ["{new}", "has no place in it"],
    ),
    "the end cut off": (
        [
            "DELETE FROM audit.entries WHERE entry_id IN "
            "(SELECT entry_id FROM audit.chain WHERE position > 7)",
            "DELETE FROM audit.chain WHERE position > 7",
        ],
        ["signed at place 10", "ends at 7", "cut off"],
    ),
    "everything taken away": (
        ["TRUNCATE audit.entries, audit.chain"],
        ["signed at place 10", "ends at 0"],
    ),
    "a place under another entry": (
        [
            "UPDATE audit.chain SET entry_id = '{new}' WHERE position = 5",
        ],
        ["Place 5", "was deleted", "{entry}"],
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_tampering_is_found_and_named(world: World, way: str) -> None:
    written = await world.add(10)
    await world.seal()
    names = {"entry": written[4], "new": new_id("aud")}
    statements, said = WAYS[way]
    await world.tamper(*(statement.format(**names) for statement in statements))
    told = "\n".join((await world.verify()).faults)
    for words in said:
        assert words.format(**names) in told, told


async def test_a_chain_made_anew_is_found_by_its_heads(world: World) -> None:
    """Somebody with all rights changes an entry and computes every hash behind it again."""
    written = await world.add(10)
    await world.seal()
    await world.tamper(
        f"UPDATE audit.entries SET principal = 'key_b' WHERE entry_id = '{written[4]}'",
        "TRUNCATE audit.chain",
    )
    await World(world.unit, world.home / "theirs").seal()
    told = (await world.verify()).faults
    assert len(told) == 1
    assert "Place 10" in told[0]
    assert "made anew" in told[0]
    # Without the heads nothing is wrong with it: that is why they lie elsewhere.
    assert (await world.verify(heads=False)).faults == ()


async def test_heads_that_are_gone_are_missed(world: World) -> None:
    await world.add(2)
    await world.seal()
    late = datetime.now(UTC) + ANCHORED_WITHIN + timedelta(minutes=1)
    assert (await world.verify(late)).faults == ()
    heads_file(world.home).unlink()
    assert "no signed head" in (await world.verify(late)).faults[0]


async def test_a_head_that_was_changed_is_found(world: World) -> None:
    await world.add(2)
    await world.seal()
    path = heads_file(world.home)
    content = path.read_text().replace('"position":2', '"position":1')
    path.write_text(content)
    assert "line 1: the signature is not ours" in (await world.verify()).faults[0]


async def test_a_head_of_another_server_is_no_head(world: World) -> None:
    await world.add(2)
    await world.seal()
    _, ours = next(read_heads(heads_file(world.home)))
    assert ours is not None
    theirs = sign(Secrets([b"x" * 32]), ours.head)
    line = msgspec.json.encode(theirs) + b"\n"
    heads_file(world.home).write_bytes(line)
    assert "line 1: " in (await world.verify()).faults[0]


async def test_a_line_that_a_crash_cut_says_nothing(world: World) -> None:
    await world.add(2)
    await world.seal()
    with heads_file(world.home).open("ab") as file:
        file.write(b'{"position": 3, "dig')
    await world.add(1)
    await world.seal()
    found = await world.verify()
    assert (found.faults, found.heads) == ((), 2)


async def test_a_late_commit_is_sealed_behind_and_never_lost(world: World) -> None:
    """A transaction that began early and commits late holds the sealer back, not out."""
    slow = await world.unit.pool.connect()
    held = entry(object="SLOW")
    try:
        await slow.execute("BEGIN")
        await slow.execute(WRITE, *columns([held]))
        fast = await world.add(3)
        await world.seal()
        assert (await world.verify()).places == 0, "nothing is final before the slow one ends"
        await slow.execute("COMMIT")
    finally:
        await slow.close()
    await world.seal()
    rows = await world.unit.sql("SELECT entry_id FROM audit.chain ORDER BY position")
    assert [row[0] for row in rows] == [held.entry_id, *fast]
    assert (await world.verify()).faults == ()


async def test_what_rolls_back_leaves_no_gap(world: World) -> None:
    connection = await world.unit.pool.connect()
    try:
        for _ in range(5):
            await connection.execute("BEGIN")
            await connection.execute(WRITE, *columns([entry()]))
            await connection.execute(random.choice(["ROLLBACK", "COMMIT"]))
    finally:
        await connection.close()
    await world.add(1)
    await world.seal()
    rows = await world.unit.sql("SELECT position FROM audit.chain ORDER BY position")
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert (await world.verify()).faults == ()


async def test_many_writers_and_many_sealers_make_one_chain(world: World) -> None:
    """Six writers, three sealers of different processes, all at once."""
    others = [World(world.unit, world.home) for _ in range(2)]
    done = asyncio.Event()

    async def seal_on(sealer: World) -> None:
        while not done.is_set():
            await sealer.seal()
            await asyncio.sleep(0)

    sealing = [asyncio.create_task(seal_on(each)) for each in (world, *others)]
    writers = [UnitRunner(world.unit.dsn) for _ in range(6)]
    await asyncio.gather(*(World(w, world.home).add(40) for w in writers))
    done.set()
    await asyncio.gather(*sealing)
    await world.seal()
    for writer in writers:
        await writer.close()
    found = await world.verify()
    assert (found.faults, found.places, found.waiting) == ((), 240, 0)
    # What several processes wrote into one file of heads are whole lines.
    assert all(head is not None for _, head in read_heads(heads_file(world.home)))


async def test_a_sealer_says_that_its_place_was_changed(world: World) -> None:
    await world.add(3, notice="key_made")
    await world.seal()
    await world.tamper("UPDATE audit.chain SET digest = sha256('x') WHERE position = 3")
    await world.add(1)
    await world.seal()
    rows = await world.unit.sql(
        "SELECT body::jsonb->'data'->>'notice' FROM bus.log WHERE source = 'audit' ORDER BY number"
    )
    assert "tampering_found" in [row[0] for row in rows]


async def test_the_roles_may_add_and_nothing_else(world: World) -> None:
    """Contexts cannot read, and nobody but the owner of the schema can change or delete."""
    await world.add(1)
    await world.seal()
    forbidden = (
        "SELECT * FROM audit.entries",
        "UPDATE audit.entries SET principal = 'x'",
        "DELETE FROM audit.entries",
        "TRUNCATE audit.entries",
        "INSERT INTO audit.chain VALUES (9, 'x', '1', sha256('x'))",
        "INSERT INTO audit.entries (entry_id, xid) VALUES ('x', '1')",
    )
    for statement in forbidden:
        async with world.unit.pool.lend("tradewind_orders") as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    for statement in (
        "UPDATE audit.entries SET principal = 'x'",
        "DELETE FROM audit.chain",
        "DELETE FROM audit.entries",
        "TRUNCATE audit.chain",
    ):
        async with world.unit.pool.lend("tradewind_audit") as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await world.unit.sql(statement)


class Ask(Command, frozen=True, kw_only=True):
    """A command of these tests."""

    works: bool = True
    does: bool = True


class No(Problem):
    """It is refused."""

    status = 409
    code = "no"
    title = "No."


async def decide(tx: Transaction, asked: Sequence[Ask]) -> Decision:
    """Some are refused, some find that nothing is to be done."""
    changes = {i: Change("MUG", {"n": 1}, {"n": 2 if a.does else 1}) for i, a in enumerate(asked)}
    outcomes = [None if a.works else No() for a in asked]
    tx.write("UPDATE orders.swept SET order_id = order_id WHERE name = 'decide'")
    return Decision(outcomes=outcomes, changes=changes)


def audited() -> Audited:
    return Audited(
        entry_id=new_id("aud"), principal="key_a", operation="POST /", object="", address=""
    )


async def run(world: World, asked: Sequence[Ask]) -> None:
    unit = Unit(context="orders", handler=decide, messages=asked, audited=True)
    await delivery.run(world.unit.workplace, unit)


async def test_an_entry_commits_with_its_effect_and_once(world: World) -> None:
    asked = [
        Ask(audit=audited()),
        Ask(audit=audited(), works=False),
        Ask(audit=audited(), does=False),
        Ask(),
    ]
    await run(world, asked)
    await run(world, asked)  # as after a commit whose reply was lost
    rows = await world.unit.sql("SELECT entry_id, object FROM audit.entries")
    assert [tuple(row) for row in rows] == [(asked[0].audit.entry_id, "MUG")]  # type: ignore[union-attr]


async def test_a_unit_that_fails_leaves_neither(world: World) -> None:
    async def fails(tx: Transaction, asked: Sequence[Ask]) -> Decision:
        decision = await decide(tx, asked)
        tx.write("INSERT INTO orders.swept (name, order_id) VALUES ('decide', 'twice')")
        return decision

    unit = Unit(context="orders", handler=fails, messages=[Ask(audit=audited())], audited=True)
    with pytest.raises(asyncpg.UniqueViolationError):
        await delivery.run(world.unit.workplace, unit)
    assert await world.unit.sql("SELECT FROM audit.entries") == []


def test_no_two_entries_have_one_text() -> None:
    """Fields are apart in what is hashed: moving a letter over a border is another hash."""
    first = entries.Standing(**msgspec.structs.asdict(entry(principal="ab", object="c")), xid=1)
    moved = msgspec.structs.replace(first, principal="a", object="bc")
    assert entries.link(entries.GENESIS, 1, first) != entries.link(entries.GENESIS, 1, moved)
    assert entries.link(entries.GENESIS, 1, first) != entries.link(entries.GENESIS, 2, first)
