"""Units of work: one statement out of many writes, locks in one order, connections given back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from tradewind.platform.database.clock import Clock
from tradewind.platform.database.pool import Pool
from tradewind.platform.database.transaction import (
    LOCK_CLASSES,
    LeaseLost,
    StaleRead,
    Transaction,
    compose,
    lock_number,
)
from tradewind.platform.settings import Settings

ROLE = "tradewind_inventory"


class Pair(Struct, frozen=True):
    a: int
    b: str


@pytest_asyncio.fixture(loop_scope="session")
async def pool(dsn: str) -> AsyncIterator[Pool]:
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "CREATE TABLE inventory.pairs (a int PRIMARY KEY, b text);"
        f"GRANT ALL ON inventory.pairs TO {ROLE}"
    )
    await connection.close()
    pool = Pool(dsn, connections_max=3, application="test_transaction")
    yield pool
    await pool.close()


def unit(connection: Any) -> Transaction:
    return Transaction(connection, Clock().now(), Settings())


async def pairs(pool: Pool) -> list[tuple[int, str]]:
    async with pool.lend(ROLE) as connection:
        rows = await connection.fetch("SELECT a, b FROM inventory.pairs ORDER BY a")
        return [tuple(row) for row in rows]


INSERT = "INSERT INTO inventory.pairs (a, b) SELECT * FROM unnest($1::int[], $2::text[])"
UPDATE = "UPDATE inventory.pairs SET b = $2 WHERE a = $1"


def test_many_writes_become_one_statement() -> None:
    shapes = ((INSERT, 2, ""), (UPDATE, 2, "expect"), (UPDATE, 2, "fence"))
    sql = compose(shapes, ("bell",))
    assert sql.count("WITH ") == 1 and "unnest($1::int[], $2::text[])" in sql
    assert "SET b = $4 WHERE a = $3" in sql and "SET b = $6 WHERE a = $5" in sql
    assert "bus.expect($7, (SELECT count(*) FROM w1))" in sql
    assert "bus.fence($8, (SELECT count(*) FROM w2))" in sql
    assert "pg_notify('bell', '')" in sql


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=12))
def test_every_parameter_has_its_own_number(writes: Sequence[tuple[int, bool]]) -> None:
    """However many writes, each of whatever arity: the numbers are 1..n, each used once."""
    shapes = tuple(
        ("SELECT " + ", ".join(f"${n}" for n in range(1, arity + 1)), arity, "expect" * guarded)
        for arity, guarded in writes
    )
    used = [
        int(part.split(",")[0].split(")")[0].split()[0]) for part in compose(shapes).split("$")[1:]
    ]
    assert sorted(used) == list(range(1, sum(a for a, _ in writes) + sum(g for _, g in writes) + 1))


async def test_writes_go_out_together_or_not_at_all(pool: Pool) -> None:
    async with pool.lend(ROLE) as connection:
        tx = unit(connection)
        tx.write(INSERT, [1, 2], ["one", "two"], expect=2)
        assert await tx.send() > 0
    assert await pairs(pool) == [(1, "one"), (2, "two")]
    for guard, error in (("expect", StaleRead), ("fence", LeaseLost)):
        with pytest.raises(error):
            async with pool.lend(ROLE) as connection:
                tx = unit(connection)
                tx.write(INSERT, [3], ["three"])
                tx.write(UPDATE, 99, "nobody", expect=1, guard=guard)
                await tx.send()
    assert await pairs(pool) == [(1, "one"), (2, "two")]


async def test_a_unit_without_writes_needs_no_statement(pool: Pool) -> None:
    async with pool.lend(ROLE) as connection:
        assert await unit(connection).send() == 0
        tx = unit(connection)
        await tx.lock("thing", ["a"])
        assert await tx.send() == 0
        assert not connection.is_in_transaction()


async def test_a_lock_makes_units_take_turns(pool: Pool) -> None:
    """The second reads only after the first has committed, and so sees what it wrote."""
    entered = asyncio.Event()

    async def first() -> None:
        async with pool.lend(ROLE) as connection:
            tx = unit(connection)
            await tx.lock("thing", ["x", "y"])
            entered.set()
            await asyncio.sleep(0.05)
            tx.write(INSERT, [1], ["first"])
            await tx.send()

    async def second() -> list[Pair]:
        await entered.wait()
        async with pool.lend(ROLE) as connection:
            tx = unit(connection)
            await tx.lock("thing", ["y", "z"])
            return await tx.fetch("SELECT a, b FROM inventory.pairs", into=Pair)

    _, seen = await asyncio.gather(first(), second())
    assert seen == [Pair(1, "first")]


async def test_a_lock_gives_no_place_in_the_log(pool: Pool) -> None:
    """The transaction has no xid until it writes: its place follows from its turn."""
    async with pool.lend(ROLE) as connection:
        tx = unit(connection)
        await tx.lock("thing", ["x"])
        query = "SELECT pg_current_xact_id_if_assigned()::text"
        assert await tx.fetch_value(query) is None
        tx.write(INSERT, [1], ["x"])
        assert await tx.send() > 0


async def test_locks_are_taken_in_one_order(pool: Pool) -> None:
    """Many units on the same names, named in every order: none waits for ever."""

    async def one(names: list[str]) -> None:
        async with pool.lend(ROLE) as connection:
            tx = unit(connection)
            await tx.lock("thing", names)
            await asyncio.sleep(0.001)
            await tx.send()

    names = [f"n{n}" for n in range(20)]
    async with asyncio.timeout(10):
        await asyncio.gather(*(one(names[n:] + names[:n]) for n in range(20)))


def test_kinds_of_locks_are_apart() -> None:
    names = [f"n{n}" for n in range(5_000)]
    stock = {lock_number("stock", name) for name in names}
    assert len(stock) <= LOCK_CLASSES
    assert not stock & {lock_number("location", name) for name in names}


# -- the pool


async def test_an_error_leaves_no_transaction_behind(pool: Pool) -> None:
    with pytest.raises(ZeroDivisionError):
        async with pool.lend(ROLE) as connection:
            tx = unit(connection)
            await tx.lock("thing", ["x"])
            raise ZeroDivisionError
    async with pool.lend(ROLE) as again:
        assert again is connection and not again.is_in_transaction()
        locks = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
        assert await again.fetchval(locks) == 0


async def test_a_unit_that_is_cancelled_while_it_waits_harms_nobody(pool: Pool) -> None:
    """Torn out of "BEGIN; lock", a connection would carry a failed transaction to the next."""
    async with pool.lend(ROLE) as holder:
        held = unit(holder)
        await held.lock("thing", ["x"])

        async def wait_for_it() -> None:
            async with pool.lend(ROLE) as connection:
                await unit(connection).lock("thing", ["x"])

        waiting = asyncio.create_task(wait_for_it())
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        for number in range(3):
            async with pool.lend(ROLE) as connection:
                tx = unit(connection)
                tx.write(INSERT, [number], ["after"])
                await tx.send()
    assert len(await pairs(pool)) == 3


async def test_a_connection_that_broke_is_replaced(pool: Pool) -> None:
    """Whoever had it sees the fault; nobody after."""
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
        async with pool.lend(ROLE) as connection:
            connection.terminate()
            await connection.fetchval("SELECT 1")
    async with pool.lend(ROLE) as connection:
        assert await connection.fetchval("SELECT current_user") == ROLE


async def test_a_broken_role_change_costs_one_connection_only(pool: Pool) -> None:
    """The count of open connections stays right when one breaks while it changes its role."""
    roles = ["tradewind_orders", "tradewind_payments", "tradewind_fraud"]
    async with pool.lend(roles[0]), pool.lend(roles[1]), pool.lend(roles[2]):
        pass
    speak = pool._speak_as

    async def fail(connection: Any, role: str) -> None:
        raise ConnectionResetError

    pool._speak_as = fail  # type: ignore[method-assign]
    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            async with pool.lend(ROLE):
                pass
    pool._speak_as = speak  # type: ignore[method-assign]
    assert pool._open == len(pool._idle)


async def test_there_are_never_more_connections_than_allowed(pool: Pool, dsn: str) -> None:
    """Many askers, several roles: at most `connections_max`, each speaking as it should."""
    most = 0

    async def ask(role: str) -> None:
        nonlocal most
        async with pool.lend(role) as connection:
            assert await connection.fetchval("SELECT current_user") == role
            most = max(
                most,
                await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE application_name = 'test_transaction' AND datname = current_database()"
                ),
            )

    roles = [ROLE, "tradewind_orders", "tradewind_payments", "tradewind_bus"]
    await asyncio.gather(*(ask(roles[n % 4]) for n in range(40)))
    assert 1 <= most <= 3
