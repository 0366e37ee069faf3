"""``python -m benchmarks.lag``: how far the consumers are behind, with orders placed at a rate.

Lag is the time from an event's commit, as the server noted it, until the offset of the slowest of
its consumers has been seen behind it. Both are read from the database: commit times because
`track_commit_timestamp` is on here, offsets every few milliseconds, all of them in one row. So a
lag is at most one look too long, never too short.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct
from rich.console import Console

from benchmarks import machine, report
from benchmarks.flood import Flooded
from benchmarks.measure import (
    CAPTURED,
    IN_FEED,
    caught_up,
    check_invariants,
    interests,
    mark_at,
    percentile,
    start_flood,
)
from benchmarks.processes import Used, between
from benchmarks.report import Book
from benchmarks.shop import BenchmarkFailed, Shop, running
from tradewind import app

ROOT = Path(__file__).parents[1]
LOOK_EVERY_S = 0.005
WARM_S = 2.0
STARTS_WITHIN_S = 1.5
CONNECTIONS_MAX = 1_000
# A rate is kept when that share of the orders was through, and nobody was refused.
KEPT_SHARE = 0.97
WHOLE = -1

Place = tuple[int, int]

LOOK = """
    SELECT extract(epoch FROM clock_timestamp())::float8,
           array_agg(xid::text::bigint ORDER BY consumer, partition),
           array_agg(number ORDER BY consumer, partition)
      FROM bus.offsets
"""
ROWS = "SELECT consumer, partition FROM bus.offsets ORDER BY consumer, partition"
# What was committed within the window, with the moment of its commit.
WRITTEN = """
    SELECT xid::text::bigint, number, partition, type, committed FROM (
      SELECT *, extract(epoch FROM pg_xact_commit_timestamp(xid(xid)))::float8 AS committed
        FROM bus.log WHERE xid >= $1::text::xid8) l
     WHERE committed >= $2 AND committed < $3
"""
NEXT_XID = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"


class Options(Struct, frozen=True, kw_only=True):
    """What to run."""

    rates: tuple[int, ...] = (200, 400, 1_000)
    seconds: float = 8
    runs: int = 3
    folder: Path | None = None
    results: Path = ROOT / "benchmarks" / "results"


QUICK = Options(rates=(10,), seconds=2, runs=1)


class Event(Struct, frozen=True):
    """An event as far as its lag is concerned."""

    place: Place
    partition: int
    type: str
    committed: float


class Passed:
    """When each offset was first seen where: moments, and places in the order of the log."""

    def __init__(self, rows: Sequence[tuple[str, int]]) -> None:
        self.rows = rows
        self.looks: list[float] = []
        self.moments: dict[tuple[str, int], list[float]] = {row: [] for row in rows}
        self.places: dict[tuple[str, int], list[Place]] = {row: [] for row in rows}

    def note(self, at: float, places: Sequence[Place]) -> None:
        """One look at all offsets; what did not move is not kept."""
        self.looks.append(at)
        for row, place in zip(self.rows, places, strict=True):
            known = self.places[row]
            if not known or place > known[-1]:
                known.append(place)
                self.moments[row].append(at)

    @property
    def look_every_s(self) -> float:
        """The mean time between two looks: by so much a lag is too long at most, on average."""
        return (self.looks[-1] - self.looks[0]) / max(1, len(self.looks) - 1)

    def moment(self, consumer: str, partition: int, place: Place) -> float | None:
        """When a consumer was first seen at or behind a place; None: never."""
        row = (consumer, WHOLE if (consumer, WHOLE) in self.places else partition)
        at = bisect_left(self.places[row], place)
        return self.moments[row][at] if at < len(self.moments[row]) else None


def lags_s(
    events: Sequence[Event], passed: Passed, listeners: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, dict[str, float]]]:
    """The type of each event that somebody listens to and, by consumer, how long it took. Raises
    `BenchmarkFailed` where a consumer never passed."""
    for event in events:
        found: dict[str, float] = {}
        for consumer in listeners.get(event.type, ()):
            moment = passed.moment(consumer, event.partition, event.place)
            if moment is None:
                raise BenchmarkFailed(f"{consumer} never passed {event.type} at {event.place}.")
            found[consumer] = max(0.0, moment - event.committed)
        if found:
            yield event.type, found


def listeners() -> dict[str, list[str]]:
    """Who listens to a type."""
    wanted = interests()
    found: dict[str, list[str]] = defaultdict(list)
    for consumer, kind in zip(wanted.consumers, wanted.types, strict=True):
        found[kind].append(consumer)
    return found


def patient() -> frozenset[tuple[str, str]]:
    """Who waits for company with which type, up to `PATIENCE_S`; the sequencer with all."""
    plan = app.plan(app.load_contexts())
    found = {(f"{c.context}.{c.name}", event.type) for c in plan.consumers for event in c.patient}
    return frozenset(found | {("bus.sequencer", event.type) for event in plan.announced})


class Benchmark:
    """One benchmark: the book it fills and the shop it looks at."""

    def __init__(self, options: Options, shop: Shop, connection: Any) -> None:
        self.options = options
        self.shop = shop
        self.connection = connection
        self.book = Book()
        self.listeners = listeners()
        self.patient = patient()

    async def run(self) -> None:
        """Warm up, then every rate, so often."""
        await self.load(min(self.options.rates), 2.0)
        await self.connection.execute("VACUUM ANALYZE")
        for _ in range(self.options.runs):
            for rate in self.options.rates:
                await self.rate(rate)

    async def load(self, rate: float, seconds: float) -> tuple[Flooded, Used, int, float]:
        """Orders at a rate: what was seen, used and captured, and how long the rest took."""
        tiers = self.shop.tiers()
        begin = time.monotonic() + STARTS_WITHIN_S + WARM_S
        window = (begin, begin + seconds, begin + seconds + 0.5)
        process = await start_flood(self.shop, rate, CONNECTIONS_MAX, window)
        try:
            before = await mark_at(window[0], tiers.sample, self.connection)
            after = await mark_at(window[1], tiers.sample, self.connection)
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise BenchmarkFailed(f"The load generator ended with status {process.returncode}.")
        seen = msgspec.json.decode(output, type=Flooded)
        caught_up_s = await caught_up(self.connection, seen.last_answer_at)
        orders = await self.connection.fetchval(IN_FEED, before.position, after.position, CAPTURED)
        return seen, between(before.sample, after.sample, load=seen.cpu_s), orders, caught_up_s

    async def rate(self, rate: int) -> None:
        """One run at one rate."""
        looker = await asyncpg.connect(self.shop.dsn, server_settings={"jit": "off"})
        try:
            first = await self.connection.fetchval(NEXT_XID)
            passed = Passed([tuple(row) for row in await looker.fetch(ROWS)])
            looking = asyncio.create_task(look(looker, passed))
            lapse_s = time.time() - time.monotonic()
            begin_s = time.monotonic() + STARTS_WITHIN_S + WARM_S + lapse_s
            seen, used, orders, caught_up_s = await self.load(rate, self.options.seconds)
            await asyncio.sleep(1.5)  # offsets of who was idle follow once a second
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            rows = await looker.fetch(WRITTEN, first, begin_s, begin_s + self.options.seconds)
        finally:
            await looker.close()
        await check_invariants(self.shop)
        events = [Event((row[0], row[1]), row[2], row[3], row[4]) for row in rows]
        by_event = list(lags_s(events, passed, self.listeners))
        self.note(rate, by_event, seen, used, orders / used.elapsed_s)
        self.book.note(f"lag{rate}.caught_up_after", "s", caught_up_s)
        self.book.note(f"lag{rate}.look_every", "ms", passed.look_every_s * 1_000)

    def note(
        self,
        rate: int,
        by_event: Sequence[tuple[str, Mapping[str, float]]],
        seen: Flooded,
        used: Used,
        orders_per_s: float,
    ) -> None:
        """The figures of one run."""
        note, name = self.book.note, f"lag{rate}"
        pressing = [
            [lag for consumer, lag in found.items() if (consumer, kind) not in self.patient]
            for kind, found in by_event
        ]
        kinds = {
            "slowest": [max(found.values()) for _, found in by_event],
            "slowest_in_a_hurry": [max(found) for found in pressing if found],
        }
        for kind, values in kinds.items():
            ordered_ms = sorted(value * 1_000 for value in values)
            for share in (50, 95, 99):
                note(f"{name}.{kind}.p{share}", "ms", percentile(ordered_ms, share / 100))
        for consumer in sorted({consumer for _, found in by_event for consumer in found}):
            own_ms = sorted(f[consumer] * 1_000 for _, f in by_event if consumer in f)
            note(f"{name}.{consumer}.p95", "ms", percentile(own_ms, 0.95))
        refused = sum(n for status, n in seen.statuses.items() if status != "201") + seen.lost
        note(f"{name}.orders", "orders/s", orders_per_s)
        note(f"{name}.not_confirmed", "answers", refused + seen.unsent)
        kept = orders_per_s >= KEPT_SHARE * rate and not refused + seen.unsent
        note(f"{name}.kept", "1: the rate was kept", float(kept))
        for tier in ("web", "postgres", "load"):
            note(f"{name}.cpu.{tier}", "% of a core", used.tiers[tier] / used.elapsed_s * 100)
        note(f"{name}.cpu.others", "% of machine", used.others_share * 100)


async def look(connection: Any, passed: Passed) -> None:
    """Look at all offsets every few milliseconds, until cancelled."""
    while True:
        began = time.monotonic()
        at, xids, numbers = await connection.fetchrow(LOOK)
        passed.note(at, list(zip(xids, numbers, strict=True)))
        await asyncio.sleep(max(0.0, began + LOOK_EVERY_S - time.monotonic()))


async def run(options: Options) -> tuple[Book, machine.Machine]:
    """Everything, in a folder that is removed."""
    with tempfile.TemporaryDirectory(prefix="tradewind-lag-", dir=options.folder) as name:
        folder = Path(name)
        machine.check_on_disk(folder)
        async with running(folder / "home", workers=1) as shop:
            connection = await asyncpg.connect(shop.dsn)
            # Read when the server starts: the shop is closed and opened again.
            await connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
            await connection.close()
        async with running(folder / "home", workers=1) as shop:
            connection = await asyncpg.connect(shop.dsn, server_settings={"jit": "off"})
            try:
                version = await connection.fetchval("SHOW server_version")
                benchmark = Benchmark(options, shop, connection)
                await benchmark.run()
            finally:
                await connection.close()
        return benchmark.book, machine.describe(folder, version)


def read_options() -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lag", description=__doc__)
    defaults = Options()
    parser.add_argument("--rates", type=report.numbers, help="orders a second (200,400,1000)")
    parser.add_argument("--seconds", type=float, help=f"of each run ({defaults.seconds:g})")
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
    except (BenchmarkFailed, machine.NotOnDisk) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    shown = {name: getattr(options, name) for name in ("rates", "seconds", "runs")}
    report.keep(console, book, host, options.results, module="benchmarks.lag", options=shown)


if __name__ == "__main__":
    main()
