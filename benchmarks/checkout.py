"""Whole checkouts over HTTP: five clicks from a cart to a confirmed order, beside orders placed at
once in the same run. ``python -m benchmarks.checkout``.

An order counts as in the main benchmark, and everything is proved as there. The statements of a
checkout are counted where they can be told from others: `tests/flows/test_carts_cost.py`.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
from msgspec import Struct
from rich.console import Console

from benchmarks import machine, report
from benchmarks.measure import Run, measure
from benchmarks.report import Book
from benchmarks.run import FAILURES, RESULTS
from benchmarks.shop import Shop, running
from benchmarks.shopping import REQUESTS

# Measured once on this machine, see /docs/performance.md: a checkout of three lines, one at a time
# and 64 at once, a second; requests and statements of one; seconds of processor time of one.
PEERS = (
    ("Vendure 3.7.3", "2.75", "5-6", "5", "347", "0.22-0.42"),
    ("Medusa 2.21.2", "0.6", "~1", "7", "570", "0.96-2.15"),
    ("Saleor 3.23.28", "0.85", "~1.1", "4", "475", "1.2-1.4"),
)


class Options(Struct, frozen=True, kw_only=True):
    """What to run."""

    seconds: float = 10
    runs: int = 3
    connections: tuple[int, ...] = (1, 16, 64)
    warm_s: float = 2
    folder: Path | None = None
    results: Path = RESULTS


QUICK = Options(seconds=2, runs=1, connections=(4,), warm_s=1)


async def run_all(options: Options, shop: Shop, connection: Any) -> Book:
    """Rounds of orders placed at once and checkouts, at each number of connections."""
    book = Book()
    for _ in range(options.runs):
        for number in options.connections:
            bare, whole = [
                await measure(
                    shop,
                    connection,
                    connections=number,
                    warm_s=options.warm_s,
                    seconds=options.seconds,
                    module=module,
                )
                for module in ("benchmarks.load", "benchmarks.shopping")
            ]
            note(book, f"c{number}", whole, bare)
    return book


def note(book: Book, name: str, run: Run, bare: Run) -> None:
    """The figures of a checkout, and of an order placed at once beside them."""
    book.note(f"{name}.checkouts", "orders/s", run.orders_per_s)
    book.note(f"{name}.placed_at_once", "orders/s", bare.orders_per_s)
    book.note(f"{name}.checkouts_of_placed", "ratio", run.orders_per_s / bare.orders_per_s)
    for share in ("p50", "p95"):
        book.note(f"{name}.{share}", "ms/checkout", getattr(run, f"{share}_ms"))
        book.note(f"{name}.placed_at_once.{share}", "ms", getattr(bare, f"{share}_ms"))
    book.note(f"{name}.requests", "per checkout", REQUESTS)
    for tier in ("web", "postgres", "load"):
        book.note(f"{name}.cpu.{tier}", "us/checkout", run.cpu_us(tier))
    both = "web", "postgres"
    book.note(f"{name}.cpu.web_and_postgres", "us/checkout", run.cpu_us(*both))
    book.note(f"{name}.placed_at_once.cpu", "us/order", bare.cpu_us(*both))
    book.note(f"{name}.cpu.others", "% of machine", run.used.others_share * 100)
    book.note(f"{name}.not_confirmed", "answers", sum(run.refused.values()))


def show_peers(console: Console) -> None:
    """What others came to, measured on another day: good to a factor of about 1.5."""
    console.print("Whole checkouts of others, measured in November 2026 on this machine:")
    for name, alone, many, requests, statements, cpu in PEERS:
        console.print(
            f"  {name}: {alone}/s one at a time, {many}/s 64 at once; {requests} requests, "
            f"{statements} statements, {cpu} s of processor time a checkout"
        )


async def run(options: Options, console: Console) -> Path:
    """Everything, in a folder that is removed; the file with the results."""
    folder = Path(tempfile.mkdtemp(prefix="tradewind-bench-", dir=options.folder))
    try:
        machine.check_on_disk(folder)
        async with running(folder / "home", workers=1) as shop:
            connection = await asyncpg.connect(shop.dsn, server_settings={"jit": "off"})
            try:
                version = await connection.fetchval("SHOW server_version")
                book = await run_all(options, shop, connection)
            finally:
                await connection.close()
        host = machine.describe(folder, version)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    told = {"seconds": options.seconds, "runs": options.runs, "connections": options.connections}
    file = report.keep(
        console, book, host, options.results, module="benchmarks.checkout", options=told
    )
    show_peers(console)
    return file


def read_options(arguments: Sequence[str]) -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkout", description=__doc__)
    parser.add_argument("--seconds", type=float, help="of each run (10)")
    parser.add_argument("--runs", type=int, help="how often everything (3)")
    parser.add_argument("--connections", type=report.numbers, help="1,16,64 is the default")
    parser.add_argument("--warm-s", type=float, help="load before each window (2)")
    parser.add_argument("--folder", type=Path, help="where the database is made, and removed")
    parser.add_argument("--results", type=Path, help="where the lines go (benchmarks/results)")
    parser.add_argument("--quick", action="store_true", help="see that it works: no figures")
    given = vars(parser.parse_args(arguments))
    start = QUICK if given.pop("quick") else Options()
    told = {name: value for name, value in given.items() if value is not None}
    return Options(**{**{n: getattr(start, n) for n in Options.__struct_fields__}, **told})


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


if __name__ == "__main__":
    main()
