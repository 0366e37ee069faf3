"""``python -m benchmarks.imports``: a whole shop is imported while people order.

The orders' p95 alone, then with the import of so many products, then of the same file again, which
changes nothing. Beside it: the rate of the import, the longest memory of all processes, and how
long its units of work took.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import msgspec
from msgspec import Struct
from rich.console import Console

from benchmarks import machine, report
from benchmarks.flood import Flooded
from benchmarks.measure import check_invariants, start_flood
from benchmarks.report import Book
from benchmarks.shop import BenchmarkFailed, Shop, running

ROOT = Path(__file__).parents[1]
CONNECTIONS_MAX = 500
STARTS_WITHIN_S = 1.5
WARM_S = 3.0
LOOK_EVERY_S = 0.5
LINES_AT_ONCE = 500
UNIT = 'handler="ImportChunk"'


class Options(Struct, frozen=True, kw_only=True):
    """What to run."""

    products: int = 200_000
    orders_per_s: int = 50
    alone_s: float = 20
    folder: Path | None = None
    results: Path = ROOT / "benchmarks" / "results"


QUICK = Options(products=500, orders_per_s=10, alone_s=3)


class Peak(Struct):
    """The most that was held while somebody looked."""

    private_mb: float = 0.0


def line(number: int) -> bytes:
    """A product as shops have them: a text, a category, two variants, a count."""
    sku = f"IMP-{number:07d}"
    variants = [
        {
            "sku": f"{sku}-{size}",
            "title": f"Import product {number}, {size}",
            "price": {"amount": f"{number % 500 + 1}.95", "currency": "GBP"},
            "attributes": {"size": size},
            "on_hand": number % 90,
        }
        for size in ("S", "M")
    ]
    product = {
        "external_id": sku,
        "title": f"Import product {number}",
        "description": f"Number {number} of a shop that came in one file. " * 3,
        "category": f"Import/Shelf {number % 40}/Row {number % 400}",
        "attributes": {"brand": f"Brand {number % 70}", "weight": number % 1_000},
        "variants": variants,
    }
    return json.dumps(product).encode() + b"\n"


async def lines(count: int) -> AsyncIterator[bytes]:
    """The file, in pieces."""
    for first in range(0, count, LINES_AT_ONCE):
        yield b"".join(line(n) for n in range(first, min(first + LINES_AT_ONCE, count)))
        await asyncio.sleep(0)


class Benchmark:
    """One benchmark: the book it fills and the shop it looks at."""

    def __init__(self, options: Options, shop: Shop) -> None:
        self.options = options
        self.shop = shop
        self.book = Book()

    async def run(self) -> None:
        """Alone, with the import, with the import of the same file again, alone again."""
        alone, _ = await self.orders(asyncio.sleep(self.options.alone_s))
        self.note_orders("alone", alone, alone)
        for name in ("first", "again"):
            before = await self.units()
            peak = Peak()
            watching = asyncio.create_task(self.watch(peak))
            seen, told = await self.orders(self.import_all())
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            took_s, result = told
            self.note_orders(name, seen, alone)
            self.note_import(name, took_s, result, peak)
            self.note_units(name, before, await self.units())
        await check_invariants(self.shop)

    async def orders(self, beside: Any) -> tuple[Flooded, Any]:
        """Orders at the rate until something else is done, and what that came to."""
        begin = time.monotonic() + STARTS_WITHIN_S + WARM_S
        flood = await start_flood(
            self.shop,
            self.options.orders_per_s,
            CONNECTIONS_MAX,
            (begin, begin + 1e6, begin + 1e6),
        )
        try:
            await asyncio.sleep(begin - time.monotonic())
            outcome = await beside
            flood.terminate()
            output, _ = await flood.communicate()
        finally:
            if flood.returncode is None:
                flood.kill()
                await flood.wait()
        return msgspec.json.decode(output, type=Flooded), outcome

    async def import_all(self) -> tuple[float, Mapping[str, Any]]:
        """Import the file: how long it took, and its report."""
        key = (self.shop.home / "admin.key").read_text().strip()
        headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/x-ndjson",
        }
        began = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(
                f"{self.shop.url}/v1/imports/products",
                data=lines(self.options.products),
                headers=headers,
            ) as answer,
        ):
            told = await answer.json()
        if answer.status != 202 or told["accepted"] != self.options.products:
            raise BenchmarkFailed(f"The import was answered {answer.status}: {told}")
        return time.monotonic() - began, told

    async def watch(self, peak: Peak) -> None:
        """Note the most memory that all processes hold together, until cancelled."""
        tiers = self.shop.tiers()
        while True:
            held = await asyncio.to_thread(tiers.memory)
            peak.private_mb = max(peak.private_mb, held.private_mb)
            await asyncio.sleep(LOOK_EVERY_S)

    async def units(self) -> dict[float, float]:
        """Units of work of imports so far, by the seconds they took at most."""
        text = (await asyncio.to_thread(self.shop.raw, "/metrics")).decode()
        found: dict[float, float] = {}
        for row in text.splitlines():
            if row.startswith("tradewind_batch_seconds_bucket") and UNIT in row:
                bound = row.partition('le="')[2].partition('"')[0]
                found[float(bound)] = float(row.rpartition(" ")[2])
        return found

    def note_orders(self, name: str, seen: Flooded, alone: Flooded) -> None:
        """What those who ordered saw."""
        note = self.book.note
        for share in ("p50", "p95", "p99"):
            value = getattr(seen, f"accepted_{share}_ms")
            note(f"orders_{name}.{share}", "ms", value, a=getattr(alone, f"accepted_{share}_ms"))
        bad = sum(n for status, n in seen.statuses.items() if status != "201")
        note(f"orders_{name}.not_confirmed", "answers", bad + seen.lost + seen.unsent)
        note(f"orders_{name}.confirmed", "orders", seen.confirmed)

    def note_import(self, name: str, took_s: float, told: Mapping[str, Any], peak: Peak) -> None:
        """What the import came to."""
        note = self.book.note
        note(f"import_{name}.rate", "products/s", self.options.products / took_s)
        note(f"import_{name}.took", "s", took_s)
        for sum_ in ("created", "changed", "unchanged"):
            note(f"import_{name}.{sum_}", "products", told[sum_])
        note(f"import_{name}.memory_peak", "MB", peak.private_mb)

    def note_units(
        self, name: str, before: Mapping[float, float], after: Mapping[float, float]
    ) -> None:
        """How long units of work took: the bound below which that share of them was."""
        counts = {bound: after[bound] - before.get(bound, 0.0) for bound in sorted(after)}
        total = counts[max(counts)]
        self.book.note(f"unit_{name}.count", "units", total)
        for share in (0.5, 0.95, 0.99, 1.0):
            bound = next(b for b, count in counts.items() if count >= share * total)
            self.book.note(f"unit_{name}.p{share * 100:.0f}_below", "ms", bound * 1_000)


async def run(options: Options) -> tuple[Book, machine.Machine]:
    """Everything, in a folder that is removed."""
    with tempfile.TemporaryDirectory(prefix="tradewind-imports-", dir=options.folder) as name:
        folder = Path(name)
        machine.check_on_disk(folder)
        async with running(folder / "home", workers=1) as shop:
            connection = await asyncpg.connect(shop.dsn)
            version = await connection.fetchval("SHOW server_version")
            await connection.close()
            benchmark = Benchmark(options, shop)
            await benchmark.run()
        return benchmark.book, machine.describe(folder, version)


def read_options() -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    defaults = Options()
    parser.add_argument("--products", type=int, help=f"in the file ({defaults.products})")
    parser.add_argument("--orders-per-s", type=int, help=f"beside it ({defaults.orders_per_s})")
    parser.add_argument("--alone-s", type=float, help=f"of orders alone ({defaults.alone_s:g})")
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
    except (BenchmarkFailed, machine.NotOnDisk) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    shown = {name: getattr(options, name) for name in ("products", "orders_per_s", "alone_s")}
    report.keep(console, book, host, options.results, module="benchmarks.imports", options=shown)


if __name__ == "__main__":
    main()
