"""``python -m benchmarks.growth``: a shop with two million orders against an empty one.

Two platforms run side by side: one filled by benchmarks.filling, one with 1,024 products and no
past. Each pair loads one after the other, in changing order, with the same things: orders, lists of
orders and of products, searches. What counts is the ratio of the two of a pair; the median over all
pairs is held against the bar. Every order of every run is counted in answers, rows and feed.
"""

import argparse
import asyncio
import json
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import machine, report
from benchmarks.browsing import KEY_VARIABLE
from benchmarks.filling import Filled, fill, whole_batches
from benchmarks.measure import (
    check_invariants,
    measure,
    percentile,
    read_latencies,
    result_of,
    start_load,
)
from benchmarks.processes import between
from benchmarks.report import Book
from benchmarks.run import RESULTS
from benchmarks.shop import BenchmarkFailed, Shop, running
from tradewind.checks.provider import ProviderSilent
from tradewind.platform.database.embedded import EmbeddedDatabaseError

BAR = 0.80
EMPTY_PRODUCTS = 1_024
SKU_DIGITS = 6
# A filled order takes so much room on the disk, with its indexes and the provider's record of it;
# and the write-ahead log of the fill lies beside all of them.
ORDER_BYTES = 15_000
WAL_BYTES = 10 * 2**30
READERS = 16
QUERIES = 400
WITH_KEY = ("list_orders", "list_held")
READ_KINDS = (
    "list_orders",
    "list_held",
    "list_products",
    "search",
    "search_title",
    "search_word",
    "browse",
)


class Options(Struct, frozen=True, kw_only=True):
    """What to run."""

    folder: Path | None = None
    orders: int = 2_000_000
    products: int = 200_000
    pairs: int = 9
    seconds: float = 8
    read_seconds: float = 3
    warm_s: float = 2
    connections: int = 64
    kinds: tuple[str, ...] = READ_KINDS
    prove: bool = False
    results: Path = RESULTS


class Side(Struct, frozen=True):
    """One of the two platforms."""

    name: str
    shop: Shop
    connection: Any
    products: int


class Readings(Struct, frozen=True):
    """What a run of readers came to."""

    per_s: float
    p50_ms: float
    cpu_us: float  # of web and PostgreSQL, a request
    others_share: float


async def filled(home: Path, wanted: Filled, progress: Progress) -> None:
    """Fill a home, unless that was done before."""
    mark = home / "filled.json"
    if mark.exists():
        found = msgspec.json.decode(mark.read_bytes(), type=Filled)
        if found != wanted:
            raise BenchmarkFailed(f"{home.parent.name} holds {found}, wanted is {wanted}.")
        return
    if home.exists():
        raise BenchmarkFailed(f"{home.parent.name} is half filled: remove it.")
    async with running(home, workers=1, products=False):
        pass  # migrations, the first key, the vault's keys
    room = shutil.disk_usage(home).free
    needed = wanted.orders * ORDER_BYTES + (WAL_BYTES if wanted.orders > 100_000 else 0)
    if room < needed:
        raise BenchmarkFailed(
            f"{wanted.orders:,} orders take about {needed / 2**30:.0f} GiB while they are filled, "
            f"and there are {room / 2**30:.0f}. Ask for fewer by --orders."
        )
    task = progress.add_task("filling", total=None)

    def told(what: str, done: int, total: int) -> None:
        progress.update(task, description=f"{home.name}: {what}", completed=done, total=total)

    await fill(home, wanted, told)
    mark.write_bytes(msgspec.json.encode(wanted))
    progress.remove_task(task)


def paths_of(titles: Sequence[str]) -> dict[str, list[str]]:
    """What readers ask for, the same of both shops: titles are functions of their numbers."""
    chosen = random.Random(1)
    words = [title.lower().split() for title in titles]
    pick = [chosen.choice(words) for _ in range(QUERIES)]
    return {
        "list_orders": [f"/v1/orders?limit={limit}" for limit in (10, 20, 20, 20)],
        "list_held": ["/v1/orders?limit=20&status=held"],
        "list_products": [
            "/v1/products",
            *(f"/v1/products?category=Bench/Room%20{room}" for room in range(40)),
            *(f"/v1/products?q={a}+{n}" for a, _, n in pick[:40]),
        ],
        # What has as many answers in both: a product by its number, and its title while it is
        # typed.
        "search": [
            *(f"/v1/search?q={b}+{n}" for _, b, n in pick),
            *(f"/v1/search?q={a}+{b}+{n[:5]}" for a, b, n in pick),
        ],
        # What has two hundred times as many: 87 products have a title, and there is one in ten.
        "search_title": [f"/v1/search?q={a}+{b}" for a, b, _ in pick],
        "browse": ["/v1/search", "/v1/search?category=Bench"],
        # A word that 1 of 40 or 60 products has.
        "search_word": [f"/v1/search?q={part}" for a, b, _ in pick for part in (a, b)],
    }


async def read(side: Side, kind: str, paths: Path, options: Options) -> Readings:
    """Let readers ask for a while."""
    tiers = side.shop.tiers()
    begin = time.monotonic() + 1.5
    end = begin + options.read_seconds
    key = (side.shop.home / "admin.key").read_text().strip() if kind in WITH_KEY else ""
    with tempfile.NamedTemporaryFile() as latencies:
        process = await start_load(
            side.shop,
            READERS,
            (begin, end, end + 0.1),
            latencies.name,
            ("--paths", str(paths)),
            module="benchmarks.browsing",
            environment={KEY_VARIABLE: key},
        )
        await asyncio.sleep(begin - time.monotonic())
        before = tiers.sample()
        await asyncio.sleep(end - time.monotonic())
        after = tiers.sample()
        counted = await result_of(process)
        ordered = read_latencies(Path(latencies.name))
    refused = {s: n for s, n in counted.statuses.items() if s != "200"}
    if refused or counted.lost or not ordered:
        raise BenchmarkFailed(f"{side.name} {kind}: {refused}, {counted.lost} lost")
    used = between(before, after, load=counted.cpu_s)
    return Readings(
        per_s=len(ordered) / used.elapsed_s,
        p50_ms=percentile(ordered, 0.5),
        cpu_us=(used.tiers["web"] + used.tiers["postgres"]) / len(ordered) * 1e6,
        others_share=used.others_share,
    )


class Growth:
    """The pairs, and the book they fill."""

    def __init__(self, options: Options, sides: Sequence[Side], folder: Path) -> None:
        self.options = options
        self.sides = sides
        self.folder = folder  # for the files with paths
        self.book = Book()

    async def prepare(self) -> None:
        """Both know the plans they need, and the empty shop has something to list."""
        titles = await self.sides[1].connection.fetch(
            "SELECT title FROM catalog.products ORDER BY product_id LIMIT $1", EMPTY_PRODUCTS
        )
        for kind, paths in paths_of([title for (title,) in titles]).items():
            (self.folder / f"{kind}.json").write_text(json.dumps(paths))
        for side in self.sides:
            await self.orders(side)
            await side.connection.execute("VACUUM ANALYZE")
            for kind in self.options.kinds:
                await read(side, kind, self.folder / f"{kind}.json", self.options)

    async def pair(self, number: int) -> None:
        """Everything on both, first here, then there."""
        sides = self.sides if number % 2 else self.sides[::-1]
        runs = {side.name: await self.orders(side) for side in sides}
        values = {"orders": {name: run.orders_per_s for name, run in runs.items()}}
        for name, run in runs.items():
            note = self.book.note
            note(f"{name}.orders", "orders/s", run.orders_per_s)
            note(f"{name}.orders_p95", "ms", run.p95_ms)
            note(f"{name}.orders_cpu", "us/order", run.cpu_us("web", "postgres"))
            note(f"{name}.orders_cpu_postgres", "us/order", run.cpu_us("postgres"))
            note(f"{name}.orders_wal", "bytes/order", run.wal_bytes / run.orders)
            note(f"{name}.orders_others", "% of machine", run.used.others_share * 100)
            note(f"{name}.orders_refused", "answers", sum(run.refused.values()))
        cpu = {name: 1 / run.cpu_us("web", "postgres") for name, run in runs.items()}
        values["orders_by_cpu"] = cpu
        for kind in self.options.kinds:
            found = {}
            for side in sides:
                found[side.name] = await read(
                    side, kind, self.folder / f"{kind}.json", self.options
                )
            for name, readings in found.items():
                self.book.note(f"{name}.{kind}", "requests/s", readings.per_s)
                self.book.note(f"{name}.{kind}_p50", "ms", readings.p50_ms)
                self.book.note(f"{name}.{kind}_cpu", "us/request", readings.cpu_us)
                self.book.note(f"{name}.{kind}_others", "% of machine", readings.others_share * 100)
            values[kind] = {name: readings.per_s for name, readings in found.items()}
            values[f"{kind}_by_p50"] = {n: 1 / readings.p50_ms for n, readings in found.items()}
        for kind, pair in values.items():
            self.book.note(f"ratio.{kind}", "full of empty", pair["full"] / pair["empty"])

    async def orders(self, side: Side) -> Any:
        """One run of orders, over all products of the shop."""
        return await measure(
            side.shop,
            side.connection,
            connections=self.options.connections,
            warm_s=self.options.warm_s,
            seconds=self.options.seconds,
            load=("--products", str(side.products), "--sku-digits", str(SKU_DIGITS)),
            proved=False,
        )


async def run(options: Options, console: Console) -> bool:
    """Fill, run all pairs, print; whether every ratio reaches the bar."""
    kept = options.folder is not None
    folder = options.folder or Path(tempfile.mkdtemp(prefix="tradewind-growth-"))
    folder.mkdir(parents=True, exist_ok=True)
    if machine.file_system_of(folder) in machine.NOT_DISKS:
        raise BenchmarkFailed("The folder lies in memory: name one on a disk by --folder.")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    wanted = {
        "full": Filled(whole_batches(options.orders), whole_batches(options.products)),
        "empty": Filled(0, EMPTY_PRODUCTS),
    }
    progress = Progress(*columns, console=console, disable=not console.is_terminal)
    try:
        with progress:
            for name, what in wanted.items():
                await filled(folder / name, what, progress)
            async with AsyncExitStack() as stack:
                sides = []
                for name, what in wanted.items():
                    shop = await stack.enter_async_context(
                        running(folder / name, workers=1, products=False)
                    )
                    connection = await asyncpg.connect(shop.dsn, server_settings={"jit": "off"})
                    stack.push_async_callback(connection.close)
                    sides.append(Side(name, shop, connection, what.products))
                growth = Growth(options, sides, folder)
                await growth.prepare()
                task = progress.add_task("pairs", total=options.pairs)
                for number in range(options.pairs):
                    await growth.pair(number)
                    progress.advance(task)
                for side in sides:
                    if options.prove or side.name == "empty":
                        await check_invariants(side.shop)
                version = await sides[0].connection.fetchval("SHOW server_version")
        host = machine.describe(folder, version)
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
    return keep(growth.book, options, host, console)


def keep(book: Book, options: Options, host: machine.Machine, console: Console) -> bool:
    """Print the table and the verdicts, write the lines."""
    now = datetime.now(UTC)
    told = msgspec.to_builtins(options, enc_hook=str)
    shown = {name: value for name, value in told.items() if name not in ("folder", "results")}
    lines = book.lines(
        at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        machine=host,
        command=shlex.join(["python", "-m", "benchmarks.growth", *without_paths(sys.argv[1:])]),
        options=shown,
        sha256={},
    )
    report.show(console, lines, host)
    file = options.results / f"{now:%Y%m%dT%H%M%SZ}-growth.jsonl"
    report.write(lines, file)
    holds = True
    for name, figure in book.figures.items():
        if name in RATIOS:
            reached = median(figure.values) >= BAR
            holds &= reached
            console.print(
                f"{'holds ' if reached else 'BROKEN'}  {name}: {median(figure.values):.2f} of the "
                f"empty shop ({min(figure.values):.2f} to {max(figure.values):.2f})"
            )
    return holds


RATIOS = ("ratio.orders", "ratio.list_orders", "ratio.list_products", "ratio.search")
OF_PATHS = ("--folder", "--results")


def without_paths(words: Sequence[str]) -> list[str]:
    """A command line without the places on this machine."""
    kept: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if before not in OF_PATHS and not word.startswith(tuple(f"{n}=" for n in OF_PATHS)):
            kept.append("..." if word in OF_PATHS else word)
    return [word for word in kept if word != "..."]


def kinds(text: str) -> tuple[str, ...]:
    """``search,browse`` as kinds of reading."""
    chosen = tuple(text.split(","))
    if not set(chosen) <= set(READ_KINDS):
        raise argparse.ArgumentTypeError(f"there are {', '.join(READ_KINDS)}")
    return chosen


def main() -> None:
    """The command: exit code 1 where a bar is missed, 2 where the run was worth nothing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the shops are filled and kept")
    parser.add_argument("--orders", type=int, help="of the full shop (2,000,000)")
    parser.add_argument("--products", type=int, help="of the full shop (200,000)")
    parser.add_argument("--pairs", type=int, help="full and empty, one after the other (9)")
    parser.add_argument("--seconds", type=float, help="of orders in each run (8)")
    parser.add_argument("--read-seconds", type=float, help="of each kind of reading (3)")
    parser.add_argument("--warm-s", type=float, help="orders before each window (2)")
    parser.add_argument("--connections", type=int, help="that place orders (64)")
    parser.add_argument(
        "--kinds", type=kinds, help=f"of reading, of {','.join(READ_KINDS)} (which is the default)"
    )
    parser.add_argument("--prove", action="store_true", help="all invariants of the full shop")
    parser.add_argument("--results", type=Path, help="where the lines go (benchmarks/results)")
    told = {name: value for name, value in vars(parser.parse_args()).items() if value}
    try:
        holds = asyncio.run(run(Options(**told), Console(highlight=False)))
    except (BenchmarkFailed, ProviderSilent, EmbeddedDatabaseError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
