"""``python -m benchmarks.log``: events through the log, from a process to three groups in another.

An event counts when each group has committed an offset behind it. The clock starts with the first
unit of work and stops when the last group has passed the last event, so nothing is left behind and
nothing is counted that was only written. The partner is the same rows by the same producer into a
log that nobody reads.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import asyncpg
import msgspec
from msgspec import Struct
from rich.console import Console

from benchmarks import machine, report
from benchmarks.announcing import Announced, Order
from benchmarks.listening import GROUPS
from benchmarks.partners import address_of
from benchmarks.processes import Sample, Used, between, machine_busy_s, read_all, tree
from benchmarks.report import Book
from benchmarks.shop import BenchmarkFailed, check_durability
from tradewind import app
from tradewind.platform.bus import feed
from tradewind.platform.database.embedded import EmbeddedDatabaseError, EmbeddedPostgres

ROOT = Path(__file__).parents[1]
READ, UNREAD = "bench_log", "bench_unread"
ORDER_EVENTS = 8
POLL_S = 0.005
PASSED_WITHIN_S = 60.0
WARM_EVENTS = 4_000


class Options(Struct, frozen=True, kw_only=True):
    """What to run."""

    events: int = 40_000
    units: tuple[int, ...] = (100, ORDER_EVENTS)
    clients: int = 4
    batch_max: int = feed.BATCH_MAX  # as the sequencer, which does as little as our groups do
    runs: int = 5
    folder: Path | None = None
    results: Path = ROOT / "benchmarks" / "results"


QUICK = Options(events=2_000, runs=1)


class Run(Struct, frozen=True):
    """So many events, from the first unit of work until everybody was through."""

    announced: Announced
    used: Used

    @property
    def events_per_s(self) -> float:
        """Through, or where nobody reads: written."""
        return self.announced.events / self.used.elapsed_s


class Child:
    """A process of the benchmark that answers a line with a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def start(cls, module: str, *arguments: str) -> Self:
        """Start it; returns when it is ready."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        child = cls(process)
        if await child.line() != b"ready\n":
            await child.end()
            raise BenchmarkFailed(f"{module} did not get ready.")
        return child

    async def line(self) -> bytes:
        """The next line that it says."""
        assert self._process.stdout is not None
        return await self._process.stdout.readline()

    async def ask(self, question: Any, kind: Any) -> Any:
        """Its answer. Raises `BenchmarkFailed` where it has none."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(question) + b"\n")
        answer = await self.line()
        if not answer:
            raise BenchmarkFailed("A process of the benchmark ended.")
        return msgspec.json.decode(answer, type=kind)

    async def end(self) -> None:
        """Let it end; it is not asked twice."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


# Whoever has not passed the last event of a partition: (consumer, partition).
BEHIND = """
    SELECT count(*) FROM bus.offsets o
      JOIN unnest($2::smallint[], $3::bigint[], $4::bigint[]) AS w (partition, xid, number)
     USING (partition)
     WHERE o.consumer = ANY($1::text[]) AND (o.xid, o.number) < (w.xid::text::xid8, w.number)
"""


class Benchmark:
    """One benchmark: the book it fills and the processes it has."""

    def __init__(
        self, options: Options, server: EmbeddedPostgres, producer: Child, consumers: Child
    ) -> None:
        self.options = options
        self.server = server
        self.producer = producer
        self.consumers = consumers
        self.book = Book()
        self.read = address_of(server.dsn, READ)
        self.unread = address_of(server.dsn, UNREAD)
        self.handled = dict.fromkeys(GROUPS, 0)
        self.connection: Any = None

    async def run(self) -> None:
        """Warm up, then all rounds."""
        self.connection = await asyncpg.connect(self.read, server_settings={"jit": "off"})
        try:
            for dsn in (self.read, self.unread):
                await self.announce(dsn, WARM_EVENTS, max(self.options.units))
                warm = await asyncpg.connect(dsn)
                await warm.execute("VACUUM ANALYZE")
                await warm.close()
            for _ in range(self.options.runs):
                for unit in self.options.units:
                    alone = await self.announce(self.unread, self.options.events, unit)
                    through = await self.announce(self.read, self.options.events, unit)
                    note(self.book, f"log{unit}", through, alone)
        finally:
            await self.connection.close()

    async def announce(self, dsn: str, events: int, unit: int) -> Run:
        """Announce so many events, and wait until who reads has passed them."""
        is_read = dsn == self.read
        before = self.sample()
        order = Order(dsn, events, unit, self.options.clients, bells=is_read)
        announced: Announced = await self.producer.ask(order, Announced)
        if is_read:
            await self.until_passed(announced)
        used = between(before, self.sample())
        if announced.events != events:
            raise BenchmarkFailed(f"{announced.events} of {events} events were announced.")
        if is_read:
            await self.check_handled(events)
        return Run(announced, used)

    async def until_passed(self, announced: Announced) -> None:
        """Wait until every group has committed an offset behind the last event."""
        last = announced.last
        columns = (
            list(last),
            [place.xid for place in last.values()],
            [place.number for place in last.values()],
        )
        deadline = time.monotonic() + PASSED_WITHIN_S
        while await self.connection.fetchval(BEHIND, GROUPS, *columns):
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"A group is still behind after {PASSED_WITHIN_S:g} s.")
            await asyncio.sleep(POLL_S)

    async def check_handled(self, events: int) -> None:
        """Each group has handled each event once. Raises `BenchmarkFailed`."""
        wanted = {group: count + events for group, count in self.handled.items()}
        # Counted when the commit has come back, an instant after others can see it.
        for _ in range(20):
            self.handled = await self.consumers.ask("handled", dict[str, int])
            if self.handled == wanted:
                return
            await asyncio.sleep(0.05)
        raise BenchmarkFailed(f"handled {self.handled}, announced {wanted}")

    def sample(self) -> Sample:
        """Processor time so far, by tier."""
        processes = read_all()
        postmaster = self.server.pid
        if postmaster is None:
            raise BenchmarkFailed("PostgreSQL does not run any more.")
        living = [processes[pid].own_s for pid in tree(postmaster, processes)]
        tiers = {
            "producer": processes[self.producer.pid].own_s,
            "consumers": processes[self.consumers.pid].own_s,
            "postgres": sum(living) + processes[postmaster].inherited_s,
        }
        return Sample(at=time.monotonic(), tiers=tiers, machine_s=machine_busy_s())


def note(book: Book, name: str, through: Run, alone: Run) -> None:
    """The figures of a size of unit; B is the same rows without a reader."""
    events = through.announced.events
    book.note(f"{name}.events", "events/s", through.events_per_s, b=alone.events_per_s)
    book.note(f"{name}.unread", "events/s", alone.events_per_s)
    book.note(f"{name}.announced", "events/s", events / through.announced.seconds)
    behind_s = max(0.0, through.used.elapsed_s - through.announced.seconds)
    book.note(f"{name}.caught_up_after", "s", behind_s)
    for tier in through.used.tiers:
        unread_us = alone.used.tiers[tier] / events * 1e6
        book.note(
            f"{name}.cpu.{tier}",
            "us/event",
            through.used.tiers[tier] / events * 1e6,
            b=None if tier == "consumers" else unread_us,
        )
    book.note(f"{name}.cpu.others", "% of machine", through.used.others_share * 100)
    book.note(f"{name}.unread.cpu.others", "% of machine", alone.used.others_share * 100)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """The platform's PostgreSQL with a log that is read and one that is not."""
    server = EmbeddedPostgres(folder / "postgres")
    await server.start()
    try:
        await check_durability(server.dsn)
        for database in (READ, UNREAD):
            connection = await asyncpg.connect(server.dsn)
            await connection.execute(f"CREATE DATABASE {database}")
            await connection.close()
            await app.migrate_all(address_of(server.dsn, database), app.load_contexts())
        yield server
    finally:
        await server.stop()


async def run(options: Options) -> tuple[Book, machine.Machine]:
    """Everything, in a folder that is removed."""
    with tempfile.TemporaryDirectory(prefix="tradewind-log-", dir=options.folder) as name:
        folder = Path(name)
        machine.check_on_disk(folder)
        async with serving(folder) as server:
            version: str = await version_of(server.dsn)
            children: list[Child] = []
            try:
                children.append(await Child.start("benchmarks.announcing"))
                read = address_of(server.dsn, READ)
                limits = ("--batch-max", str(options.batch_max))
                children.append(await Child.start("benchmarks.listening", "--dsn", read, *limits))
                benchmark = Benchmark(options, server, *children)
                await benchmark.run()
            finally:
                for child in children:
                    await child.end()
        return benchmark.book, machine.describe(folder, version)


async def version_of(dsn: str) -> str:
    """Of PostgreSQL."""
    connection = await asyncpg.connect(dsn)
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()


def read_options() -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.log", description=__doc__)
    defaults = Options()
    parser.add_argument("--events", type=int, help=f"of each run ({defaults.events})")
    parser.add_argument("--units", type=report.numbers, help="events in a unit of work (100,8)")
    parser.add_argument("--clients", type=int, help=f"units under way ({defaults.clients})")
    parser.add_argument(
        "--batch-max", type=int, help=f"events a group takes at once ({defaults.batch_max})"
    )
    parser.add_argument("--runs", type=int, help=f"how often everything ({defaults.runs})")
    parser.add_argument("--folder", type=Path, help="where the database is made, and removed")
    parser.add_argument("--results", type=Path, help="where the lines go (benchmarks/results)")
    parser.add_argument("--quick", action="store_true", help="see that it works: no figures")
    given: Mapping[str, Any] = vars(parser.parse_args())
    start = QUICK if given["quick"] else defaults
    told = {name: value for name, value in given.items() if value is not None and name != "quick"}
    return msgspec.structs.replace(start, **told)


def main() -> None:
    """The command: exit code 1 where a run was worth nothing, with the reason."""
    options = read_options()
    console = Console(highlight=False)
    try:
        book, host = asyncio.run(run(options))
    except (BenchmarkFailed, EmbeddedDatabaseError, machine.NotOnDisk) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    shown = {
        name: getattr(options, name) for name in ("events", "units", "clients", "batch_max", "runs")
    }
    report.keep(console, book, host, options.results, module="benchmarks.log", options=shown)


if __name__ == "__main__":
    main()
