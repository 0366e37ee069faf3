"""The order benchmark: rounds of A, orders over HTTP, B, A; every figure of a round is compared
with the partners of the same round.
"""

import argparse
import asyncio
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import machine, partners, report
from benchmarks.measure import CATCH_UP_RULE_S, Run, measure
from benchmarks.partners import PartnerFailed
from benchmarks.processes import Used, between
from benchmarks.report import Book
from benchmarks.shop import PROXIED, BenchmarkFailed, Shop, running
from tradewind.checks.provider import ProviderSilent
from tradewind.platform.database.embedded import EmbeddedDatabaseError

RESULTS = Path(__file__).parent / "results"
IDLE_S = 5.0
# What makes a run worth nothing, and says why.
FAILURES = (
    *(BenchmarkFailed, PartnerFailed, ProviderSilent),
    *(EmbeddedDatabaseError, machine.NotOnDisk),
)


class Options(Struct, frozen=True, kw_only=True):
    """What to run."""

    seconds: float = 10
    runs: int = 3
    connections: tuple[int, ...] = (1, 16, 64, 128)
    workers: int = 1
    hot: bool = False  # also with one product in every order
    warm_s: float = 3
    idle_s: float = IDLE_S
    folder: Path | None = None
    results: Path = RESULTS


PARTNER_FIGURES = (
    ("orders", "orders/s", "orders_per_s"),
    ("latency_average", "ms", "latency_ms"),
    ("cpu.postgres", "us/order", "postgres_us"),
    ("cpu.pgbench", "us/order", "pgbench_us"),
    ("wal", "bytes/order", "wal_bytes"),
)
QUICK = Options(seconds=2, runs=1, connections=(8,), warm_s=2, idle_s=0.5)


class PartnerRun(Struct, frozen=True):
    """A partner, and what it cost the server."""

    orders_per_s: float
    latency_ms: float
    postgres_us: float  # processor time an order
    pgbench_us: float
    wal_bytes: float
    others_share: float


class Benchmark:
    """One benchmark: the book it fills and what it runs on."""

    def __init__(self, options: Options, shop: Shop, connection: Any, progress: Progress) -> None:
        self.options = options
        self.shop = shop
        self.connection = connection
        self.progress = progress
        self.book = Book()
        steps = 3 + options.runs * (3 + len(options.connections) * (1 + options.hot))
        self._task = progress.add_task("starting", total=steps)

    def begin(self, what: str) -> None:
        """Say what is done now."""
        self.progress.update(self._task, description=what)

    def end(self) -> None:
        """A step is done."""
        self.progress.advance(self._task)

    async def run(self) -> None:
        """Prepare, then all rounds."""
        await self.idle()
        for partner in (partners.A, partners.B):
            self.begin(f"preparing {partner.name.upper()}: {partner.title}")
            await partners.prepare(self.shop.dsn, partner)
            await partners.warm_up(self.shop.dsn, partner)
            self.end()
        self.begin("warming up")
        await self.orders(max(self.options.connections))
        await self.connection.execute("VACUUM ANALYZE")
        self.end()
        for number in range(1, self.options.runs + 1):
            await self.round(f"run {number} of {self.options.runs}")

    async def idle(self) -> None:
        """What the platform takes when nobody asks for anything."""
        self.begin("idle")
        tiers = self.shop.tiers()
        before = tiers.sample()
        await asyncio.sleep(self.options.idle_s)
        used = between(before, tiers.sample())
        held = tiers.memory()
        self.book.note("idle.memory", "MB", held.private_mb)
        self.book.note("idle.memory_shared_buffers", "MB", held.shared_mb)
        self.book.note("idle.cpu", "% of a core", sum(used.tiers.values()) / used.elapsed_s * 100)

    async def round(self, title: str) -> None:
        """A, the platform at every number of connections, B, A."""
        self.begin(f"{title}: A")
        a_before = await self.partner(partners.A)
        self.end()
        found: dict[int, Run] = {}
        hot: dict[int, Run] = {}
        for connections in self.options.connections:
            self.begin(f"{title}: {connections} connections")
            found[connections] = await self.orders(connections)
            self.end()
            if self.options.hot:
                self.begin(f"{title}: {connections} connections, one product in every order")
                hot[connections] = await self.orders(connections, hot=True)
                self.end()
        self.begin(f"{title}: B")
        b = await self.partner(partners.B)
        self.end()
        self.begin(f"{title}: A again")
        a_after = await self.partner(partners.A)
        self.end()
        a = PartnerRun(
            **{
                name: (getattr(a_before, name) + getattr(a_after, name)) / 2
                for name in PartnerRun.__struct_fields__
            }
        )
        note_partner(self.book, "a", a)
        note_partner(self.book, "b", b, a)
        for connections, run in found.items():
            note_run(self.book, f"c{connections}", run, a, b)
            if self.options.hot:
                note_hot(self.book, f"c{connections}", hot[connections], run)

    async def orders(self, connections: int, *, hot: bool = False) -> Run:
        """One run of the platform."""
        return await measure(
            self.shop,
            self.connection,
            connections=connections,
            warm_s=self.options.warm_s,
            seconds=self.options.seconds,
            hot=hot,
        )

    async def partner(self, partner: partners.Partner) -> PartnerRun:
        """One run of a partner."""
        tiers = self.shop.tiers()
        before, wal_before = tiers.sample(), await self.wal()
        result = await partners.run(self.shop.dsn, partner, seconds=self.options.seconds)
        used: Used = between(before, tiers.sample(), pgbench=result.cpu_s)
        return PartnerRun(
            orders_per_s=result.orders_per_s,
            latency_ms=result.latency_average_ms,
            postgres_us=used.tiers["postgres"] / result.orders * 1e6,
            pgbench_us=result.cpu_s / result.orders * 1e6,
            wal_bytes=(await self.wal() - wal_before) / result.orders,
            others_share=used.others_share,
        )

    async def wal(self) -> int:
        """Bytes of WAL written so far."""
        return int(
            await self.connection.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        )


def note_partner(book: Book, name: str, run: PartnerRun, a: PartnerRun | None = None) -> None:
    """The figures of a partner; those of B are compared with A."""
    for figure, unit, field in PARTNER_FIGURES:
        compared = None if a is None else getattr(a, field)
        book.note(f"{name}.{figure}", unit, getattr(run, field), a=compared)
    book.note(f"{name}.cpu.others", "% of machine", run.others_share * 100)


def note_run(book: Book, name: str, run: Run, a: PartnerRun, b: PartnerRun) -> None:
    """The figures of the platform at one number of connections."""
    book.note(f"{name}.orders", "orders/s", run.orders_per_s, a=a.orders_per_s, b=b.orders_per_s)
    for share in ("p50", "p95", "p99"):
        book.note(f"{name}.{share}", "ms", getattr(run, f"{share}_ms"))
    both = run.cpu_us("web", "postgres")
    book.note(f"{name}.cpu.web_and_postgres", "us/order", both, a=a.postgres_us, b=b.postgres_us)
    for tier in ("web", "postgres", "simulator", "supervisor", "load"):
        book.note(f"{name}.cpu.{tier}", "us/order", run.cpu_us(tier))
    book.note(f"{name}.cpu.others", "% of machine", run.used.others_share * 100)
    wal = run.wal_bytes / run.orders
    book.note(f"{name}.wal", "bytes/order", wal, a=a.wal_bytes, b=b.wal_bytes)
    book.note(f"{name}.caught_up_after", "s", run.catch_up_s)
    book.note(f"{name}.memory", "MB", run.memory.private_mb)
    book.note(f"{name}.memory_shared_buffers", "MB", run.memory.shared_mb)
    book.note(f"{name}.not_confirmed", "answers", sum(run.refused.values()))


def note_hot(book: Book, name: str, run: Run, spread: Run) -> None:
    """Everybody wants the same product: the figures beside those of the same load, spread."""
    book.note(f"{name}.hot", "of spread", run.orders_per_s / spread.orders_per_s)
    book.note(f"{name}.hot.orders", "orders/s", run.orders_per_s)
    for share in ("p50", "p95", "p99"):
        book.note(f"{name}.hot.{share}", "ms", getattr(run, f"{share}_ms"))
    both = run.cpu_us("web", "postgres")
    book.note(f"{name}.hot.cpu.web_and_postgres", "us/order", both)
    book.note(f"{name}.hot.cpu.others", "% of machine", run.used.others_share * 100)
    book.note(f"{name}.hot.not_confirmed", "answers", sum(run.refused.values()))


def read_options(arguments: Sequence[str]) -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    defaults = Options()
    parser.add_argument("--seconds", type=float, help=f"of each run ({defaults.seconds:g})")
    parser.add_argument("--runs", type=int, help=f"how often everything ({defaults.runs})")
    parser.add_argument(
        "--connections", type=report.numbers, help="e.g. 1,16,64,128 (which is the default)"
    )
    parser.add_argument("--workers", type=int, help="web processes (1)")
    parser.add_argument(
        "--hot", action="store_const", const=True, help="also with one product in every order"
    )
    parser.add_argument("--warm-s", type=float, help="load before each window (3)")
    parser.add_argument("--folder", type=Path, help="where the database is made, and removed")
    parser.add_argument("--results", type=Path, help="where the lines go (benchmarks/results)")
    parser.add_argument("--quick", action="store_true", help="see that it works: no figures")
    given = vars(parser.parse_args(arguments))
    start = QUICK if given.pop("quick") else defaults
    told = {name: value for name, value in given.items() if value is not None}
    return Options(**{**{n: getattr(start, n) for n in Options.__struct_fields__}, **told})


async def run(options: Options, console: Console) -> Path:
    """Everything, in a folder that is removed; the file with the results."""
    folder = Path(tempfile.mkdtemp(prefix="tradewind-bench-", dir=options.folder))
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=console, disable=not console.is_terminal)
    try:
        machine.check_on_disk(folder)
        async with running(folder / "home", workers=options.workers, settings=PROXIED) as shop:
            connection = await asyncpg.connect(shop.dsn, server_settings={"jit": "off"})
            try:
                version = await connection.fetchval("SHOW server_version")
                with progress:
                    benchmark = Benchmark(options, shop, connection, progress)
                    await benchmark.run()
            finally:
                await connection.close()
        host = machine.describe(folder, version)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return keep(benchmark.book, options, host, console)


def keep(book: Book, options: Options, host: machine.Machine, console: Console) -> Path:
    """Print the table and write the lines."""
    now = datetime.now(UTC)
    lines = book.lines(
        at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        machine=host,
        command=shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        options={
            "seconds": options.seconds,
            "runs": options.runs,
            "connections": options.connections,
            "workers": options.workers,
            "hot": options.hot,
            "warm_s": options.warm_s,
        },
        sha256=partners.hashes(),
    )
    report.show(console, lines, host)
    late = [
        name
        for name, figure in book.figures.items()
        if name.endswith(".caught_up_after") and max(figure.values) > CATCH_UP_RULE_S
    ]
    if late:
        console.print(f"NOT WITHIN {CATCH_UP_RULE_S:g} s: {', '.join(late)}")
    file = options.results / f"{now:%Y%m%dT%H%M%SZ}.jsonl"
    report.write(lines, file)
    console.print(f"written to {file}", soft_wrap=True)
    return file


def main() -> None:
    """The command: exit code 1 where a run was worth nothing, with the reason."""
    options = read_options(sys.argv[1:])
    console = Console(highlight=False)
    try:
        asyncio.run(run(options, console))
    except FAILURES as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
