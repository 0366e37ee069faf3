"""``python -m benchmarks.pressure``: the platform under more than it can carry.

Four drills: three times the best rate; thousands of connections that do nothing; two hundred cards
that never answer; a disk that fills up. Each prints its figures and whether its rule holds; every
drill ends with all invariants proved. docs/performance.md has the rules and the results.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct
from rich.console import Console

from benchmarks import machine, report
from benchmarks.disk import FullDisk
from benchmarks.flood import Flooded
from benchmarks.measure import (
    CAPTURED,
    IN_FEED,
    Run,
    caught_up,
    check_invariants,
    mark_at,
    measure,
    percentile,
    read_latencies,
    result_of,
    start_flood,
    start_load,
)
from benchmarks.processes import Memory, Used, between
from benchmarks.report import Book
from benchmarks.shop import BenchmarkFailed, Shop, running
from benchmarks.stalling import Idlers, stalled_orders
from tradewind.supervisor.processes import allow_many_files

ROOT = Path(__file__).parents[1]
# The flood begins before the window: opening its connections is not the drill.
FLOOD_WARM_S = 3.0
BEST_AT = 128  # connections of the closed loop that gives the best rate
QUIET_AT = 16  # connections of who buys while others stall or idle
REFUSED_P99_MS = 50.0
CPU_RATIO_MAX = 1.15
STALLED_P95_RATIO_MAX = 3.0


class Options(Struct, frozen=True):
    """What is asked for on the command line."""

    drills: tuple[str, ...]
    seconds: float = 10
    times: float = 3.0
    connections: int = 4_000
    idle: int = 4_000
    stalled: int = 200
    folder: Path | None = None
    results: Path = ROOT / "benchmarks" / "results"


class Rule(Struct, frozen=True):
    """Something that must hold, and whether it did."""

    drill: str
    sentence: str
    holds: bool


class Flooding(Struct, frozen=True):
    """A flood, what the platform used and what it finished in the window."""

    seen: Flooded
    used: Used
    orders: int
    memory: Memory
    memory_after: Memory
    caught_up_s: float

    @property
    def cpu_us(self) -> float:
        """Of web and PostgreSQL, per finished order."""
        return (self.used.tiers["web"] + self.used.tiers["postgres"]) / max(1, self.orders) * 1e6


class Buyers(Struct, frozen=True):
    """What those saw who buy beside the trouble."""

    p95_ms: float
    refused: int


class Pressure:
    """The drills on one running platform."""

    def __init__(self, options: Options, shop: Shop, connection: Any) -> None:
        self.options = options
        self.shop = shop
        self.connection = connection
        self.book = Book()
        self.rules: list[Rule] = []

    def rule(self, drill: str, sentence: str, holds: bool) -> None:
        """Note a verdict."""
        self.rules.append(Rule(drill, sentence, holds))

    async def closed(self, connections: int) -> Run:
        """A run of the closed loop; its invariants are proved by `measure`."""
        seconds = self.options.seconds
        return await measure(
            self.shop, self.connection, connections=connections, warm_s=2, seconds=seconds
        )

    async def buyers(self) -> Buyers:
        """A few who buy one order after the other, whatever else goes on."""
        begin = time.monotonic() + 3
        window = (begin, begin + self.options.seconds, begin + self.options.seconds)
        with tempfile.NamedTemporaryFile() as latencies:
            process = await start_load(self.shop, QUIET_AT, window, latencies.name)
            counted = await result_of(process)
            ordered = read_latencies(Path(latencies.name))
        refused = sum(counted.statuses.values()) - counted.confirmed + counted.lost
        return Buyers(percentile(ordered, 0.95), refused)

    # -- three times the best rate

    async def overload(self) -> None:
        """The best rate, three times the best rate, the best rate again."""
        before = await self.closed(BEST_AT)
        rate = self.options.times * before.orders_per_s
        flood = await self.flood(rate)
        await check_invariants(self.shop)
        after = await self.closed(BEST_AT)
        best_us = (before.cpu_us("web", "postgres") + after.cpu_us("web", "postgres")) / 2
        seen, note = flood.seen, self.book.note
        note("overload.best", "orders/s", before.orders_per_s)
        note("overload.best_again", "orders/s", after.orders_per_s)
        note("overload.offered", "orders/s", rate)
        note("overload.accepted", "orders/s", flood.orders / flood.used.elapsed_s)
        note("overload.best_cpu", "us/order", best_us)
        note("overload.cpu", "us/order", flood.cpu_us)
        note("overload.accepted_p50", "ms", seen.accepted_p50_ms)
        note("overload.accepted_p99", "ms", seen.accepted_p99_ms)
        note("overload.not_yet", "answers", seen.statuses.get("202", 0))
        note("overload.refused", "answers", seen.refused)
        note("overload.refused_p50", "ms", seen.refused_p50_ms)
        note("overload.refused_p99", "ms", seen.refused_p99_ms)
        note("overload.refused_newcomers", "answers", seen.newcomers)
        note("overload.refused_newcomers_p99", "ms", seen.newcomers_p99_ms)
        note("overload.best_memory", "MB", before.memory.private_mb)
        note("overload.memory", "MB", flood.memory.private_mb)
        note("overload.memory_after", "MB", flood.memory_after.private_mb)
        note("overload.caught_up_after", "s", flood.caught_up_s)
        note("overload.cpu_others", "% of machine", flood.used.others_share * 100)
        odd = {s: n for s, n in seen.statuses.items() if s not in ("201", "202", "503")}
        self.rule("overload", f"no answer but 201, 202, 503 ({odd or 'none'})", not odd)
        self.rule("overload", f"nobody unanswered ({seen.lost})", seen.lost == 0)
        self.rule("overload", f"503 with Retry-After ({seen.bare} without)", seen.bare == 0)
        self.rule("overload", "the excess is refused", seen.refused > 0)
        ratio = flood.cpu_us / best_us
        self.rule("overload", f"CPU per order {ratio:.2f} of the best", ratio <= CPU_RATIO_MAX)
        p99 = seen.refused_p99_ms
        self.rule("overload", f"refused within {p99:.0f} ms (p99)", p99 < REFUSED_P99_MS)

    async def flood(self, rate: float) -> Flooding:
        """Orders at a rate, for the window."""
        tiers = self.shop.tiers()
        begin = time.monotonic() + 1 + FLOOD_WARM_S
        window = (begin, begin + self.options.seconds, begin + self.options.seconds + 0.5)
        process = await start_flood(self.shop, rate, self.options.connections, window)
        try:
            before = await mark_at(window[0], tiers.sample, self.connection)
            after = await mark_at(window[1], tiers.sample, self.connection)
            memory = tiers.memory()
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise BenchmarkFailed(f"The flood ended with status {process.returncode}.")
        seen = msgspec.convert(json.loads(output), Flooded)
        caught_up_s = await caught_up(self.connection, seen.last_answer_at)
        orders = await self.connection.fetchval(IN_FEED, before.position, after.position, CAPTURED)
        used = between(before.sample, after.sample, load=seen.cpu_s)
        return Flooding(seen, used, orders, memory, tiers.memory(), caught_up_s)

    # -- connections that do nothing

    async def idlers(self) -> None:
        """Silent, in the middle of a head, in the middle of a body: the rest is served."""
        alone = await self.buyers()
        before = self.shop.tiers().memory().private_mb
        async with Idlers(self.shop.host, self.shop.port, self.options.idle) as crowd:
            opened = crowd.opened
            held = self.shop.tiers().memory().private_mb
            among = await self.buyers()
        note = self.book.note
        note("idlers.connections", "connections", opened)
        note("idlers.memory", "kB each", (held - before) * 1024 / max(1, opened))
        note("idlers.p95_alone", "ms", alone.p95_ms)
        note("idlers.p95", "ms", among.p95_ms)
        refused = among.refused
        self.rule("idlers", f"all {self.options.idle} got in", opened == self.options.idle)
        self.rule("idlers", f"every order of the others confirmed ({refused} not)", refused == 0)

    # -- cards that never answer

    async def stalled(self) -> None:
        """Two hundred orders wait for the provider; others buy."""
        alone = await self.buyers()
        key = (self.shop.home / "admin.key").read_text().strip()
        async with stalled_orders(self.shop.url, key, self.options.stalled) as stalled:
            among = await self.buyers()
        ratio = among.p95_ms / alone.p95_ms
        note = self.book.note
        note("stalled.p95_alone", "ms", alone.p95_ms)
        note("stalled.p95", "ms", among.p95_ms)
        note("stalled.ratio", "of alone", ratio)
        for end, count in sorted(stalled.ends.items()):
            note(f"stalled.end_{end}", "orders", count)
        self.rule("stalled", f"p95 {ratio:.2f} of alone", ratio <= STALLED_P95_RATIO_MAX)
        wrong = set(stalled.ends) - {"201 confirmed", "402 payment_timeout"}
        self.rule("stalled", f"each stalled order is decided ({wrong or 'all'})", not wrong)
        await check_invariants(self.shop)


async def on_a_shop(options: Options, names: list[str]) -> tuple[Book, list[Rule], str]:
    """The drills that share one platform."""
    folder = Path(tempfile.mkdtemp(prefix="tradewind-pressure-", dir=options.folder))
    try:
        async with running(folder / "home", workers=1) as shop:
            connection = await asyncpg.connect(shop.dsn, server_settings={"jit": "off"})
            try:
                version = await connection.fetchval("SHOW server_version")
                drill = Pressure(options, shop, connection)
                steps: dict[str, Callable[[], Awaitable[None]]] = {
                    "overload": drill.overload,
                    "idlers": drill.idlers,
                    "stalled": drill.stalled,
                }
                for name in names:
                    await steps[name]()
            finally:
                await connection.close()
        return drill.book, drill.rules, version
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def full_disk(book: Book) -> list[Rule]:
    """The disk drill; nothing where a file system cannot be mounted."""
    if os.geteuid() != 0:
        print("full-disk: skipped, mounting a small file system takes root", file=sys.stderr)
        return []
    return [Rule("full-disk", text, holds) for text, holds in await FullDisk(book).run()]


async def run(options: Options, console: Console) -> bool:
    """All drills asked for; whether every rule holds."""
    book, rules, version = Book(), list[Rule](), "18"
    on_shop = [name for name in options.drills if name != "full-disk"]
    if on_shop:
        book, rules, version = await on_a_shop(options, on_shop)
    if "full-disk" in options.drills:
        rules += await full_disk(book)
    now = datetime.now(UTC)
    host = machine.describe(options.folder or Path(tempfile.gettempdir()), version)
    lines = book.lines(
        at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        machine=host,
        command=" ".join(["python", "-m", "benchmarks.pressure", *sys.argv[1:]]),
        options=msgspec.to_builtins(options, enc_hook=str),
        sha256={},
    )
    if lines:
        report.show(console, lines, host)
        report.write(lines, options.results / f"{now:%Y%m%dT%H%M%SZ}-pressure.jsonl")
    for one in rules:
        console.print(f"{'holds ' if one.holds else 'BROKEN'}  {one.drill}: {one.sentence}")
    return all(one.holds for one in rules)


DRILLS = ("overload", "idlers", "stalled", "full-disk")


def main() -> None:
    """The command: exit code 1 where a rule is broken, 2 where a run was worth nothing."""
    allow_many_files()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pressure", description=__doc__)
    parser.add_argument("drills", nargs="*", help=f"of {', '.join(DRILLS)}; all by default")
    parser.add_argument("--seconds", type=float, help="of each window (10)")
    parser.add_argument("--times", type=float, help="of the best rate that are offered (3)")
    parser.add_argument("--connections", type=int, help="of the flood, at most (4000)")
    parser.add_argument("--idle", type=int, help="connections that do nothing (4000)")
    parser.add_argument("--stalled", type=int, help="orders that wait for the provider (200)")
    parser.add_argument("--folder", type=Path, help="where the database is made, and removed")
    parser.add_argument("--results", type=Path, help="where the lines go (benchmarks/results)")
    told = {name: value for name, value in vars(parser.parse_args()).items() if value}
    unknown = set(told.get("drills", ())) - set(DRILLS)
    if unknown:
        parser.error(f"there is no drill {sorted(unknown)[0]}")
    options = Options(**{"drills": DRILLS, **told})
    try:
        holds = asyncio.run(run(options, Console(highlight=False)))
    except BenchmarkFailed as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
