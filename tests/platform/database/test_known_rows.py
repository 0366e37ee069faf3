"""What is remembered decides nothing alone, and nothing survives the server."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tradewind.kernel.messages import NOTHING, Decision
from tradewind.platform.bus import delivery
from tradewind.platform.bus.delivery import Done, Unit, Workplace
from tradewind.platform.database.clock import Clock
from tradewind.platform.database.known_rows import KnownRows
from tradewind.platform.database.pool import Pool
from tradewind.platform.database.transaction import Transaction
from tradewind.platform.settings import Settings

ROLE = "tradewind_inventory"
UPDATE = "UPDATE inventory.counters SET n = $1 WHERE name = 'a' AND n = $2"


@pytest_asyncio.fixture(loop_scope="session")
async def pool(dsn: str) -> AsyncIterator[Pool]:
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "CREATE TABLE inventory.counters (name text PRIMARY KEY, n int);"
        "INSERT INTO inventory.counters VALUES ('a', 1);"
        f"GRANT ALL ON inventory.counters TO {ROLE}"
    )
    await connection.close()
    pool = Pool(dsn, connections_max=3, application="test_known_rows")
    yield pool
    await pool.close()


@pytest_asyncio.fixture(loop_scope="session")
async def session(pool: Pool) -> AsyncIterator[Any]:
    """Who bears witness of the server's life."""
    session = await pool.connect()
    await pool.bear_witness(session)
    yield session
    session.terminate()


def workplace(pool: Pool) -> Workplace:
    def committed(done: Done) -> None:
        pass

    return Workplace(pool=pool, clock=Clock(), settings=Settings(), committed=committed)


class Counter:
    """A handler that adds one, by memory where it can; it notes what it knew."""

    def __init__(self, *, vouches: bool = True) -> None:
        self.vouches = vouches
        self.known: list[int | None] = []

    async def __call__(self, tx: Transaction, messages: Sequence[Any]) -> Decision:
        n = tx.recall("counter", ["a"]).get("a")
        self.known.append(n)
        if n is None:
            n = await tx.fetch_value("SELECT n FROM inventory.counters WHERE name = 'a'")
        tx.write(UPDATE, n + 1, n, expect=1)
        if self.vouches:
            tx.vouch("counter", ["a"])
        tx.remember("counter", {"a": n + 1})
        return NOTHING


async def count(place: Workplace, handler: Counter) -> None:
    await delivery.run(place, Unit(context="inventory", handler=handler, messages=()))


async def value(pool: Pool) -> int:
    async with pool.lend(ROLE) as connection:
        return int(await connection.fetchval("SELECT n FROM inventory.counters"))


async def test_what_this_process_wrote_is_not_read_again(pool: Pool, session: Any) -> None:
    place, handler = workplace(pool), Counter()
    for _ in range(3):
        await count(place, handler)
    assert handler.known == [None, 2, 3]
    assert await value(pool) == 4


async def test_what_somebody_else_changed_is_read(pool: Pool, session: Any) -> None:
    """The guard fails, the unit is run anew, and the row is forgotten till then."""
    place, handler = workplace(pool), Counter()
    await count(place, handler)
    async with pool.lend(ROLE) as connection:
        await connection.execute("UPDATE inventory.counters SET n = 40")
    await count(place, handler)
    assert handler.known == [None, 2, None]
    assert await value(pool) == 41


async def test_what_no_write_proves_is_read(pool: Pool, session: Any) -> None:
    """A unit that does not vouch never commits on what it recalled."""
    place, handler = workplace(pool), Counter(vouches=False)
    await count(place, handler)
    await count(place, handler)
    assert handler.known == [None, 2, None]


async def test_what_fails_on_what_is_known_is_tried_on_what_is_read(
    pool: Pool, session: Any
) -> None:
    """A row that is no longer so is no fault of the message: it must not become a dead letter."""
    place, handler = workplace(pool), Counter()
    await count(place, handler)

    async def fails(tx: Transaction, messages: Sequence[Any]) -> Decision:
        n = tx.recall("counter", ["a"]).get("a")
        assert n is None, "the row is otherwise by now"
        return await handler(tx, messages)

    await delivery.run(place, Unit(context="inventory", handler=fails, messages=()))
    assert handler.known == [None, None]
    assert await value(pool) == 3


async def test_without_a_witness_nothing_is_known(pool: Pool) -> None:
    """Nobody could say that the server did not crash in between."""
    place, handler = workplace(pool), Counter()
    for _ in range(2):
        await count(place, handler)
    assert handler.known == [None, None]
    assert len(place.known) == 0


async def test_a_witness_that_is_gone_takes_all_with_it(pool: Pool) -> None:
    """A crash ends every session. A connection made afterwards belongs to another life."""
    session = await pool.connect()
    life = await pool.bear_witness(session)
    place, handler = workplace(pool), Counter()
    await count(place, handler)
    async with pool.lend(ROLE) as connection:
        assert pool.life_of(connection) == life
        others = await pool.connect()
        session.terminate()
        await others.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        with pytest.raises(delivery.PASSING):
            await connection.fetchval("SELECT 1")
    while await others.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"):
        pass
    await others.close()
    await count(place, handler)
    assert handler.known == [None, None]
    again = await pool.connect()
    assert await pool.bear_witness(again) != life
    await count(place, handler)
    await count(place, handler)
    assert handler.known[2:] == [None, 4]
    again.terminate()


def test_they_are_bounded() -> None:
    """What was used longest ago goes."""
    rows = KnownRows(rows_max=3)
    assert rows.believes(7)
    rows.keep({("k", str(n)): n for n in range(3)}, 7)
    rows.recall([("k", "0")])
    rows.keep({("k", "3"): 3}, 7)
    assert rows.recall([("k", str(n)) for n in range(4)]) == {"0": 0, "2": 2, "3": 3}
    rows.keep({("k", "0"): None}, 7)
    rows.keep({("k", "2"): 22}, 6)  # a late commit of another life
    assert rows.recall([("k", str(n)) for n in range(4)]) == {"3": 3}
    assert rows.believes(8)
    assert len(rows) == 0
