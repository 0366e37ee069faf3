"""One run: load for a while, everything caught up, every invariant proved, then the numbers.

What counts is what stands in the feed: an order is counted when its capture got a place there
within the window, so an order that was only answered, or only captured, is none.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks.load import Counted
from benchmarks.processes import Memory, Sample, Used, between
from benchmarks.shop import BenchmarkFailed, Shop
from tradewind import app
from tradewind.checks.proofs import prove_all
from tradewind.checks.terminal import print_report

# Load goes on a little behind the window, so that the window's end is like its middle.
TAIL_S = 0.6
LOAD_STARTS_WITHIN_S = 1.0
CATCH_UP_POLL_S = 0.05
CATCH_UP_GIVEN_UP_S = 60
CATCH_UP_RULE_S = 2.0
QUIET_WITHIN_S = 30
CAPTURED = "payments.payment_captured.v1"

# All of these look at what is new only: they are asked of shops with millions of orders, too.
MARK = """
    SELECT coalesce((SELECT first + count - 1 FROM bus.feed_ranges ORDER BY first DESC LIMIT 1), 0),
           pg_current_wal_insert_lsn() - '0/0'::pg_lsn
"""
# A mark lies between two ranges, never within one; what is between their ends is in the feed.
IN_FEED = """
    SELECT count(*) FROM bus.log
     WHERE (xid, number) >= (
           (SELECT from_xid FROM bus.feed_ranges WHERE first > $1 ORDER BY first LIMIT 1),
           (SELECT from_number FROM bus.feed_ranges WHERE first > $1 ORDER BY first LIMIT 1))
       AND (xid, number) <= (
           (SELECT to_xid FROM bus.feed_ranges
             WHERE $2::bigint IS NULL OR first <= $2 ORDER BY first DESC LIMIT 1),
           (SELECT to_number FROM bus.feed_ranges
             WHERE $2::bigint IS NULL OR first <= $2 ORDER BY first DESC LIMIT 1))
       AND type = $3
"""
THROUGH = """
    SELECT count(*) FROM orders.orders
     WHERE placed_at > $1 AND status = 'confirmed' AND payment_status = 'captured'
"""
# Events that a consumer wants and has not passed, and what waits for somebody outside.
BEHIND = """
    SELECT (SELECT count(*) FROM bus.log l
              JOIN unnest($1::text[], $2::text[]) AS i (consumer, type) ON i.type = l.type
              JOIN bus.offsets o ON o.consumer = i.consumer
               AND (o.partition = -1 OR o.partition = l.partition)
             WHERE (l.xid, l.number) > (o.xid, o.number)
               AND (l.xid, l.number) > (SELECT xid, number FROM bus.offsets
                                         ORDER BY xid, number LIMIT 1))
         + (SELECT count(*) FROM payments.under_way)
         + (SELECT count(*) FROM bus.timers WHERE due_at < now())
"""


class Mark(Struct, frozen=True):
    """A moment: how far feed and WAL are, who has used how much."""

    position: int
    wal_bytes: int
    sample: Sample


class Run(Struct, frozen=True):
    """What one run came to."""

    orders: int  # in the window, in the feed
    orders_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    used: Used
    wal_bytes: int
    catch_up_s: float
    memory: Memory  # at the end of the load, which is when most is held
    refused: Mapping[str, int]  # answers other than 201, by status; "lost"

    def cpu_us(self, *tiers: str) -> float:
        """Processor time an order, of these tiers."""
        return sum(self.used.tiers[tier] for tier in tiers) / max(1, self.orders) * 1e6


class Interests(Struct, frozen=True):
    """Which consumer wants which type, as two columns."""

    consumers: list[str]
    types: list[str]


def interests() -> Interests:
    """What every consumer of the platform listens to, the feed's sequencer among them."""
    plan = app.plan(app.load_contexts())
    pairs = [(f"{c.context}.{c.name}", e.type) for c in plan.consumers for e in c.events]
    pairs += [("bus.sequencer", e.type) for e in plan.announced]
    return Interests([name for name, _ in pairs], [kind for _, kind in pairs])


async def measure(
    shop: Shop,
    connection: Any,
    *,
    connections: int,
    warm_s: float,
    seconds: float,
    hot: bool = False,
    load: tuple[str, ...] = (),
    module: str = "benchmarks.load",
    proved: bool = True,
) -> Run:
    """Load the shop from so many connections. Raises `BenchmarkFailed` if anything is wrong.

    `load`: more options for the load generator, which is `module`. `proved`: whether all invariants
    are, of all the shop holds; the counts of the run are compared in any case.
    """
    tiers = shop.tiers()
    first: int = (await connection.fetchrow(MARK))[0]
    began_at = await connection.fetchval("SELECT clock_timestamp()")
    begin = time.monotonic() + LOAD_STARTS_WITHIN_S + warm_s
    window = (begin, begin + seconds, begin + seconds + TAIL_S)
    with tempfile.NamedTemporaryFile() as latencies:
        process = await start_load(
            shop,
            connections,
            window,
            latencies.name,
            (*load, *["--hot"] * hot),
            module=module,
        )
        try:
            before = await mark_at(window[0], tiers.sample, connection)
            after = await mark_at(window[1], tiers.sample, connection)
            memory = tiers.memory()
            counted = await result_of(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        latencies_ms = read_latencies(Path(latencies.name))
    catch_up_s = await caught_up(connection, counted.last_answer_at)
    orders: int = await connection.fetchval(IN_FEED, before.position, after.position, CAPTURED)
    in_feed: int = await connection.fetchval(IN_FEED, first, None, CAPTURED)
    through: int = await connection.fetchval(THROUGH, began_at)
    refused = Counter({s: n for s, n in counted.statuses.items() if s != "201"})
    if counted.lost:
        refused["lost"] = counted.lost
    check_count(counted, through, in_feed, refused)
    if proved:
        await check_invariants(shop)
    if not orders:
        raise BenchmarkFailed(f"No order went through within {seconds} s: {dict(refused)}")
    used = between(before.sample, after.sample, load=counted.cpu_s)
    return Run(
        orders=orders,
        orders_per_s=orders / used.elapsed_s,
        p50_ms=percentile(latencies_ms, 0.50),
        p95_ms=percentile(latencies_ms, 0.95),
        p99_ms=percentile(latencies_ms, 0.99),
        used=used,
        wal_bytes=after.wal_bytes - before.wal_bytes,
        catch_up_s=catch_up_s,
        memory=memory,
        refused=dict(refused),
    )


async def start_load(
    shop: Shop,
    connections: int,
    window: tuple[float, float, float],
    latencies: str,
    more: tuple[str, ...] = (),
    *,
    module: str = "benchmarks.load",
    environment: Mapping[str, str] | None = None,
) -> asyncio.subprocess.Process:
    """A load generator, as the process of its own that it is."""
    options = {
        "--host": shop.host,
        "--port": shop.port,
        "--connections": connections,
        "--begin": window[0],
        "--end": window[1],
        "--until": window[2],
        "--latencies": latencies,
    }
    arguments = [str(part) for option in options.items() for part in option]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module),
        *arguments,
        *more,
        env={**os.environ, **(environment or {})},
        cwd=Path(__file__).parents[1],
        stdout=asyncio.subprocess.PIPE,
    )


async def start_flood(
    shop: Shop, rate: float, connections_max: int, window: tuple[float, float, float]
) -> asyncio.subprocess.Process:
    """The flood, as the process of its own that it is; it prints a `Flooded`."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.flood", "--port", str(shop.port)),
        *("--rate", f"{rate:.1f}", "--connections", str(connections_max)),
        *("--begin", str(window[0]), "--end", str(window[1]), "--until", str(window[2])),
        cwd=Path(__file__).parents[1],
        stdout=asyncio.subprocess.PIPE,
    )


async def result_of(process: asyncio.subprocess.Process) -> Counted:
    """What the load generator counted. Raises `BenchmarkFailed` where it died."""
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise BenchmarkFailed(f"The load generator ended with status {process.returncode}.")
    return msgspec.convert(json.loads(output), Counted)


async def mark_at(at: float, sample: Any, connection: Any) -> Mark:
    """How far everything is at a moment."""
    await asyncio.sleep(max(0.0, at - time.monotonic()))
    taken: Sample = sample()
    position, wal_bytes = await connection.fetchrow(MARK)
    return Mark(position, int(wal_bytes), taken)


async def caught_up(connection: Any, since: float) -> float:
    """Seconds from the last answer until no consumer has anything left to do."""
    wanted = interests()
    while await connection.fetchval(BEHIND, wanted.consumers, wanted.types):
        if time.monotonic() - since > CATCH_UP_GIVEN_UP_S:
            raise BenchmarkFailed(f"Consumers are still behind after {CATCH_UP_GIVEN_UP_S} s.")
        await asyncio.sleep(CATCH_UP_POLL_S)
    return time.monotonic() - since


def check_count(counted: Counted, through: int, in_feed: int, refused: Mapping[str, int]) -> None:
    """Whether answers, orders and feed agree. An order that was answered 202, or whose connection
    broke, may have gone through as well. Raises `BenchmarkFailed`."""
    unsure = refused.get("202", 0) + refused.get("lost", 0)
    if through != in_feed or not counted.confirmed <= through <= counted.confirmed + unsure:
        raise BenchmarkFailed(
            f"{counted.confirmed} answers said confirmed, {through} orders were captured, "
            f"{in_feed} captures are in the feed; other answers: {dict(refused)}"
        )


async def check_invariants(shop: Shop) -> None:
    """Everything `tradewind check invariants` proves. Raises `BenchmarkFailed`."""
    report = await prove_all(shop.dsn, shop.provider_url, wait_s=QUIET_WITHIN_S)
    if not report.holds:
        print_report(report)
        raise BenchmarkFailed("An invariant is broken: the figures of this run are worth nothing.")


def read_latencies(file: Path) -> list[float]:
    """Sorted, in milliseconds."""
    latencies = array("d")
    latencies.frombytes(file.read_bytes())
    return sorted(seconds * 1000 for seconds in latencies)


def percentile(ordered: list[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
