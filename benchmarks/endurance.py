"""``python -m benchmarks.endurance``: one long run, with checkpoints and vacuum in it.

Loads a platform for twenty minutes, the shop with a past that benchmarks.growth keeps or an empty
one, and looks at it once a minute: orders, write-ahead log, memory, who used the processors. At the
end it says what checkpoints and autovacuum did, and whether tables and indexes grew by more than
the orders that came.
"""

import argparse
import asyncio
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct
from rich.console import Console

from benchmarks import machine, report
from benchmarks.filling import Filled, fill
from benchmarks.growth import EMPTY_PRODUCTS, SKU_DIGITS, without_paths
from benchmarks.measure import (
    CAPTURED,
    IN_FEED,
    MARK,
    THROUGH,
    caught_up,
    check_count,
    check_invariants,
    percentile,
    read_latencies,
    result_of,
    start_load,
)
from benchmarks.processes import Memory, Sample, between
from benchmarks.report import Book
from benchmarks.run import RESULTS
from benchmarks.shop import BenchmarkFailed, Shop, running
from tradewind.checks.provider import ProviderSilent
from tradewind.platform.database.embedded import EmbeddedDatabaseError

WARM_S = 10.0
SHOWN_BYTES_MIN = 100_000


class Options(Struct, frozen=True, kw_only=True):
    """What to run."""

    folder: Path | None = None
    minutes: int = 20
    minute_s: float = 60
    connections: int = 64
    prove: bool = False
    results: Path = RESULTS


SERVER = """
    SELECT (SELECT count(*) FROM orders.orders WHERE placed_at > $1) AS orders,
           (SELECT wal_bytes::bigint FROM pg_stat_wal) AS wal_bytes,
           (SELECT wal_fpi FROM pg_stat_wal) AS whole_pages,
           (SELECT num_timed + num_requested FROM pg_stat_checkpointer) AS checkpoints
"""
# Tables by what they are: heap with its long values, all indexes, and what autovacuum did there.
TABLES = """
    SELECT schemaname || '.' || s.relname AS name, pg_table_size(relid) AS heap_bytes,
           pg_indexes_size(relid) AS index_bytes, n_dead_tup AS dead, n_tup_ins AS inserted,
           n_tup_upd AS updated, n_tup_hot_upd AS updated_in_place, autovacuum_count AS vacuums,
           autoanalyze_count AS analyses
      FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
     WHERE c.relkind = 'r' AND schemaname NOT IN ('tradewind', 'bench')
     ORDER BY name
"""


class Look(Struct, frozen=True):
    """How things stand at a moment."""

    orders: int
    wal_bytes: int
    whole_pages: int
    checkpoints: int
    sample: Sample
    memory: Memory


class Endurance:
    """The run and what it saw."""

    def __init__(self, options: Options, shop: Shop, connection: Any, products: int) -> None:
        self.options = options
        self.shop = shop
        self.connection = connection
        self.products = products
        self.tiers = shop.tiers()
        self.book = Book()
        self.minutes: list[tuple[str, ...]] = []
        self.began_at = datetime.now(UTC)

    async def look(self) -> Look:
        """Once a minute."""
        sample, memory = self.tiers.sample(), self.tiers.memory()
        row = await self.connection.fetchrow(SERVER, self.began_at)
        return Look(
            row["orders"], row["wal_bytes"], row["whole_pages"], row["checkpoints"], sample, memory
        )

    async def tables(self) -> dict[str, Any]:
        """Sizes and counters by table."""
        return {row["name"]: row for row in await self.connection.fetch(TABLES)}

    async def run(self, console: Console) -> None:
        """Load, look, compare."""
        options = self.options
        first = (await self.connection.fetchrow(MARK))[0]
        self.began_at = await self.connection.fetchval("SELECT clock_timestamp()")
        begin = time.monotonic() + 1 + WARM_S
        end = begin + options.minutes * options.minute_s
        more = ("--products", str(self.products), "--sku-digits", str(SKU_DIGITS))
        with tempfile.NamedTemporaryFile() as latencies:
            process = await start_load(
                self.shop, options.connections, (begin, end, end + 0.5), latencies.name, more
            )
            try:
                await asyncio.sleep(begin - time.monotonic())
                tables_before, before = await self.tables(), await self.look()
                start = before
                for minute in range(1, options.minutes + 1):
                    await asyncio.sleep(begin + minute * options.minute_s - time.monotonic())
                    after = await self.look()
                    self.minute(minute, before, after, console)
                    before = after
                tables_after = await self.tables()
                counted = await result_of(process)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            ordered = read_latencies(Path(latencies.name))
        await caught_up(self.connection, counted.last_answer_at)
        in_feed = await self.connection.fetchval(IN_FEED, first, None, CAPTURED)
        through = await self.connection.fetchval(THROUGH, self.began_at)
        refused = {status: n for status, n in counted.statuses.items() if status != "201"}
        check_count(counted, through, in_feed, refused)
        for share in (0.5, 0.95, 0.99):
            self.book.note(f"end.p{share * 100:.0f}", "ms", percentile(ordered, share))
        self.book.note("end.checkpoints", "checkpoints", before.checkpoints - start.checkpoints)
        self.book.note("end.not_confirmed", "answers", sum(refused.values()) + counted.lost)
        orders = before.orders - start.orders
        self.growth(tables_before, tables_after, orders, console)

    def minute(self, number: int, before: Look, after: Look, console: Console) -> None:
        """Note and print one minute."""
        used = between(before.sample, after.sample)
        orders = max(1, after.orders - before.orders)
        figures = {
            "orders": ("orders/s", orders / used.elapsed_s),
            "cpu": ("us/order", (used.tiers["web"] + used.tiers["postgres"]) / orders * 1e6),
            "wal": ("bytes/order", (after.wal_bytes - before.wal_bytes) / orders),
            "whole_pages": ("pages/order", (after.whole_pages - before.whole_pages) / orders),
            "memory": ("MB", after.memory.private_mb),
            # The load generator is among them: about a tenth of a core.
            "others": ("% of machine", used.others_share * 100),
        }
        for name, (unit, value) in figures.items():
            self.book.note(f"minute.{name}", unit, value)
        checkpoints = after.checkpoints - before.checkpoints
        told = [f"{name} {report.shown(value)} {unit}" for name, (unit, value) in figures.items()]
        mark = f", {checkpoints} checkpoint" if checkpoints else ""
        console.print(f"minute {number}: {', '.join(told)}{mark}", soft_wrap=True)

    def growth(
        self,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        orders: int,
        console: Console,
    ) -> None:
        """What each table grew by, and what autovacuum did there."""
        console.print(f"{orders:,} orders later:")
        for name, now in after.items():
            was = before.get(name)
            if was is None or now["heap_bytes"] + now["index_bytes"] < SHOWN_BYTES_MIN:
                continue
            heap, index = (now[k] - was[k] for k in ("heap_bytes", "index_bytes"))
            updated = now["updated"] - was["updated"]
            in_place = now["updated_in_place"] - was["updated_in_place"]
            vacuums = now["vacuums"] - was["vacuums"]
            self.book.note(f"grew.{name}", "bytes/order", (heap + index) / max(1, orders))
            self.book.note(f"vacuums.{name}", "vacuums", vacuums)
            console.print(
                f"{name:32} {was['heap_bytes'] / 1e6:9,.1f} MB {heap / 1e6:+8,.1f}, "
                f"indexes {was['index_bytes'] / 1e6:8,.1f} {index / 1e6:+8,.1f}, "
                f"{(heap + index) / max(1, orders):6,.0f} bytes/order, "
                f"{f'{in_place / updated:.1%}' if updated else '-':>6} in place, "
                f"{now['dead']:,} dead, vacuums {vacuums}",
                soft_wrap=True,
            )


async def run(options: Options, console: Console) -> None:
    """Start the shop, run, print, keep."""
    kept = options.folder is not None
    folder = options.folder or Path(tempfile.mkdtemp(prefix="tradewind-endurance-"))
    home = folder / "full"
    try:
        if not kept:
            async with running(home, workers=1, products=False):
                pass
            await fill(home, Filled(0, EMPTY_PRODUCTS))
            (home / "filled.json").write_bytes(msgspec.json.encode(Filled(0, EMPTY_PRODUCTS)))
        filled = msgspec.json.decode((home / "filled.json").read_bytes(), type=Filled)
        async with running(home, workers=1, products=False) as shop:
            connection = await asyncpg.connect(shop.dsn, server_settings={"jit": "off"})
            try:
                version = await connection.fetchval("SHOW server_version")
                endurance = Endurance(options, shop, connection, filled.products)
                await endurance.run(console)
                if options.prove or not kept:
                    await check_invariants(shop)
            finally:
                await connection.close()
        host = machine.describe(folder, version)
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
    now = datetime.now(UTC)
    lines = endurance.book.lines(
        at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        machine=host,
        command=shlex.join(["python", "-m", "benchmarks.endurance", *without_paths(sys.argv[1:])]),
        options={
            "minutes": options.minutes,
            "connections": options.connections,
            "orders": filled.orders,
            "products": filled.products,
        },
        sha256={},
    )
    report.show(console, lines, host)
    report.write(lines, options.results / f"{now:%Y%m%dT%H%M%SZ}-endurance.jsonl")
    rates = endurance.book.figures["minute.orders"].values
    console.print(
        f"{median(rates):.0f} orders a second in the middle minute, {min(rates):.0f} in the worst, "
        f"{max(rates):.0f} in the best"
    )


def main() -> None:
    """The command: exit code 2 where the run was worth nothing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance", description=__doc__)
    parser.add_argument("--folder", type=Path, help="that benchmarks.growth filled; else empty")
    parser.add_argument("--minutes", type=int, help="of load (20)")
    parser.add_argument("--minute-s", type=float, help="seconds between two looks (60)")
    parser.add_argument("--connections", type=int, help="that place orders (64)")
    parser.add_argument("--prove", action="store_true", help="all invariants of a filled shop")
    parser.add_argument("--results", type=Path, help="where the lines go (benchmarks/results)")
    told = {name: value for name, value in vars(parser.parse_args()).items() if value}
    try:
        asyncio.run(run(Options(**told), Console(highlight=False)))
    except (BenchmarkFailed, ProviderSilent, EmbeddedDatabaseError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
