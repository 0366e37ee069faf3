"""Migrations go forward, once, whoever starts at the same time; roles stay in their schema."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tradewind.platform.database.migrate import MigrationError, SchemaSource, migrate
from tradewind.platform.database.pool import Pool
from tradewind.testing.database import TestServer


@pytest_asyncio.fixture(loop_scope="session")
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = Pool(dsn, connections_max=4, application="test_migrate")
    yield pool
    await pool.close()


def source(folder: Path, schema: str, **files: str) -> SchemaSource:
    """A schema with these migrations."""
    place = folder / schema
    place.mkdir(exist_ok=True)
    for name, text in files.items():
        (place / f"{name.lstrip('_')}.sql").write_text(text)
    return SchemaSource(schema, place)


async def test_each_file_runs_once_in_order(pool: Pool, tmp_path: Path) -> None:
    first = source(tmp_path, "attic", _0001_a="CREATE TABLE attic.boxes (box int)")
    assert await migrate(pool, [first]) == ["attic/0001_a.sql"]
    assert await migrate(pool, [first]) == []
    more = source(
        tmp_path,
        "attic",
        _0002_b="ALTER TABLE attic.boxes ADD lid text",
        _0003_c="UPDATE attic.boxes SET lid = 'none'",
        notes="this is not one",
    )
    assert await migrate(pool, [more]) == ["attic/0002_b.sql", "attic/0003_c.sql"]


async def test_a_file_that_changed_is_refused(pool: Pool, tmp_path: Path) -> None:
    await migrate(pool, [source(tmp_path, "attic", _0001_a="CREATE TABLE attic.boxes (box int)")])
    changed = source(tmp_path, "attic", _0001_a="CREATE TABLE attic.boxes (box bigint)")
    with pytest.raises(MigrationError, match=r"attic/0001_a\.sql was changed.*add a new one"):
        await migrate(pool, [changed])


async def test_a_file_that_fails_leaves_nothing(pool: Pool, tmp_path: Path) -> None:
    """What ran before it stays; the next try begins with the one that failed."""
    broken = source(
        tmp_path,
        "attic",
        _0001_a="CREATE TABLE attic.boxes (box int)",
        _0002_b="CREATE TABLE attic.lids (lid int); SELECT 1 / 0",
    )
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(pool, [broken])
    mended = source(tmp_path, "attic", _0002_b="CREATE TABLE attic.lids (lid int)")
    assert await migrate(pool, [mended]) == ["attic/0002_b.sql"]


async def test_many_start_at_once(server: TestServer, tmp_path: Path) -> None:
    """Processes of one installation, and installations that share a server and its roles."""
    sources = [
        source(tmp_path, name, _0001_a=f"CREATE TABLE {name}.boxes (box int)")
        for name in ("cellar", "pantry", "garage")
    ]
    databases = [await server.create_database() for _ in range(3)]
    pools = [
        Pool(dsn, connections_max=1, application="test_migrate")
        for dsn in databases
        for _ in range(3)
    ]
    applied = await asyncio.gather(*(migrate(pool, sources) for pool in pools))
    for pool in pools:
        await pool.close()
    for dsn in databases:
        await server.drop_database(dsn)
    assert sorted(len(names) for names in applied) == [0] * 6 + [3] * 3


async def test_a_role_may_touch_its_own_schema_only(pool: Pool, tmp_path: Path) -> None:
    await migrate(pool, [source(tmp_path, "attic", _0001_a="CREATE TABLE attic.boxes (box int)")])
    async with pool.lend("tradewind_attic") as connection:
        await connection.execute("INSERT INTO attic.boxes VALUES (1)")
        await connection.execute("SELECT digest FROM attic.idempotency_keys")
        for forbidden in (
            "SELECT * FROM orders.orders",
            "TRUNCATE attic.boxes",
            "DROP TABLE attic.boxes",
            "CREATE TABLE attic.more (box int)",
            "SELECT * FROM bus.feed",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(forbidden)
