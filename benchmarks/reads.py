"""``python -m benchmarks.reads``: products, lists and searches, each as shoppers ask for them.

A round is, for one product and for a list of 20: the bare route, the platform while 50 orders a
second and one change of a price a second run beside it, the bare route again; then searches over
20,000 products. Every answer is compared with the changes acknowledged before it was asked for, and
after every round all invariants are proved: no figures where one is broken or an answer too old.
"""

import argparse
import asyncio
import random
import shlex
import shutil
import sys
import tempfile
import time
from array import array
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from statistics import mean
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct
from rich.console import Console

from benchmarks import machine, report, wares
from benchmarks.beside import Asking, BareRoute, Beside, Run, Window, ask, read_with
from benchmarks.measure import caught_up, check_invariants, percentile
from benchmarks.reading import Record
from benchmarks.report import Book
from benchmarks.shop import BenchmarkFailed, Shop, running
from benchmarks.staleness import STALE_S_MAX, Ages, ages
from tradewind.checks.provider import ProviderSilent
from tradewind.platform.database.embedded import EmbeddedDatabaseError

ROOT = Path(__file__).parents[1]
LIST = "/v1/products?limit=20"
LISTS = 5  # pages that are asked for, the first most often
DRAWN = 100_000  # choices that are drawn beforehand; then they begin anew
SEARCHES_DRAWN = 20_000
WARM_WITHIN_S = 60
PARTS = ("detail", "list", "search")


class Options(Struct, frozen=True, kw_only=True):
    """What to run."""

    parts: tuple[str, ...] = PARTS
    runs: int = 5
    seconds: float = 4
    warm_s: float = 1.5
    connections: int = 32
    searching: int = 16
    orders_per_s: float = 50
    folder: Path | None = None
    results: Path = ROOT / "benchmarks" / "results"


class Catalog(Struct, frozen=True):
    """What is read: products by popularity, and the pages of the list."""

    products: Sequence[dict[str, Any]]
    pages: Sequence[str]  # targets
    first_page: bytes

    @property
    def details(self) -> list[str]:
        """The targets of the products."""
        return [f"/v1/products/{product['id']}" for product in self.products]


def zipf(count: int, drawn: int, seed: int) -> "array[int]":
    """Numbers below `count`, the first ones most often: the k-th with the weight 1/k."""
    weights = list(accumulate(1 / rank for rank in range(1, count + 1)))
    chance = random.Random(seed)
    return array("I", chance.choices(range(count), cum_weights=weights, k=drawn))


async def look_around(shop: Shop) -> Catalog:
    """What the shop holds: the newest product is the most popular one, so the first page changes
    most.
    """
    products: list[dict[str, Any]] = []
    pages, target = [], LIST
    while True:
        page = await ask(shop, "GET", target)
        products += page["items"]
        pages.append(target)
        if page["next"] is None:
            break
        target = f"{LIST}&cursor={page['next']}"
    first = await asyncio.to_thread(shop.raw, LIST)
    return Catalog(products, pages[:LISTS], first)


class Reads:
    """One benchmark: the book it fills and what it runs on."""

    def __init__(self, options: Options, shop: Shop, connection: Any, folder: Path) -> None:
        self.options = options
        self.shop = shop
        self.connection = connection
        self.folder = folder
        self.book = Book()
        self.asked: set[str] = set()  # queries that were asked before
        self.vocabulary = wares.Vocabulary()
        self.versions: dict[str, int] = {}

    async def run(self) -> None:
        """All rounds."""
        catalog = await look_around(self.shop)
        await self.connection.execute("VACUUM ANALYZE")
        async with BareRoute.serving(
            {
                "": catalog.first_page,
                **{p["id"]: msgspec.json.encode(p) for p in catalog.products},
            },
            self.folder,
        ) as bare:
            await self.warm_up(catalog)
            for number in range(self.options.runs):
                if "detail" in self.options.parts:
                    shows = [[product["id"]] for product in catalog.products]
                    asking = self.asking(catalog.details, number, "version")
                    await self.with_company("detail", catalog, asking, bare=bare, shows=shows)
                if "list" in self.options.parts:
                    asking = self.asking(catalog.pages, number, "body")
                    await self.with_company("list", catalog, asking, bare=bare, shows=())
        if "search" in self.options.parts:
            await self.fill()
            for number in range(self.options.runs):
                await self.search(number)

    def window(self) -> Window:
        """The next window, as soon as everything is warm."""
        return Window.soon(self.options.warm_s, self.options.seconds)

    async def warm_up(self, catalog: Catalog) -> None:
        """Every product once or more often: what is measured is a shop that has visitors."""
        everything = array("I", range(len(catalog.products)))
        until = time.monotonic() + WARM_WITHIN_S
        answered = 0
        while answered < len(everything):
            if time.monotonic() > until:
                raise BenchmarkFailed("Not every product can be read once.")
            asking = Asking(catalog.details, everything, self.options.connections)
            answered = (await self.read(asking, self.window())).read.answered

    def asking(self, targets: Sequence[str], number: int, state: str) -> Asking:
        """The popular ones more often; other ones in each round."""
        order = zipf(len(targets), DRAWN, number)
        return Asking(targets, order, self.options.connections, state)

    async def with_company(
        self,
        part: str,
        catalog: Catalog,
        asking: Asking,
        *,
        bare: BareRoute,
        shows: Sequence[Sequence[str]],
    ) -> None:
        """The bare route, the platform with company, the bare route again."""
        plain = msgspec.structs.replace(asking, state="none")
        partner = [await self.read(plain, self.window(), bare=bare)]
        window = self.window()
        rate, seed = self.options.orders_per_s, sum(asking.order[:10])
        async with Beside(self.shop, catalog.products, rate, window, seed) as beside:
            ours = await self.read(asking, window)
        partner.append(await self.read(plain, self.window(), bare=bare))
        found = ages(ours.record, shows, beside.changes)
        if found.stale:
            raise BenchmarkFailed(
                f"{found.stale} of {found.compared} answers were older than {STALE_S_MAX:g} s, "
                f"the oldest {found.oldest_s:.2f} s."
            )
        if beside.odd:
            raise BenchmarkFailed(f"Orders were answered otherwise than 201 or 202: {beside.odd}")
        await caught_up(self.connection, window.end)
        await check_invariants(self.shop)
        self.note_company(part, ours, partner, beside=beside, found=found)

    async def read(self, asking: Asking, window: Window, *, bare: BareRoute | None = None) -> Run:
        """A window of reads. Raises `BenchmarkFailed` where one was not answered 200."""
        run = await read_with(self.shop, asking, window, folder=self.folder, bare=bare)
        if run.read.odd or run.read.lost:
            raise BenchmarkFailed(f"{run.read.odd} odd answers, {run.read.lost} lost.")
        return run

    def note_company(
        self, part: str, ours: Run, partner: Sequence[Run], *, beside: Beside, found: Ages
    ) -> None:
        """The figures of a round; those of the platform are compared with the bare route."""
        note = self.book.note
        bare_per_s = mean(run.per_s for run in partner)
        bare_us = mean(run.cpu_us("bare") for run in partner)
        note(f"{part}.bare", "reads/s", bare_per_s)
        note(f"{part}.bare.cpu", "us/read", bare_us)
        note(
            f"{part}.bare.cpu.others",
            "% of machine",
            mean(r.used.others_share for r in partner) * 100,
        )
        note(f"{part}.reads", "reads/s", ours.per_s, a=bare_per_s)
        for share in (50, 95, 99):
            note(f"{part}.p{share}", "ms", percentile(ours.took_ms, share / 100))
        note(f"{part}.stalest", "ms", found.oldest_s * 1000)
        note(f"{part}.compared", "answers", found.compared)
        note(f"{part}.price_changes", "changes", len(beside.changes))
        note(f"{part}.orders", "orders/s", beside.orders_per_s)
        note(f"{part}.cpu.web", "us/read", ours.cpu_us("web"), a=bare_us)
        for tier in ("postgres", "simulator", "supervisor", "load"):
            note(f"{part}.cpu.{tier}", "us/read", ours.cpu_us(tier))
        busy = ours.used.tiers["load"] / ours.used.elapsed_s
        note(f"{part}.load_busy", "% of a core", busy * 100)
        note(f"{part}.cpu.others", "% of machine", ours.used.others_share * 100)

    async def fill(self) -> None:
        """Put 20,000 more products on the shelf."""
        body = "\n".join(wares.lines(self.vocabulary)).encode()
        report = await ask(self.shop, "POST", "/v1/imports/products", body, "application/x-ndjson")
        if report["accepted"] != wares.WARES:
            raise BenchmarkFailed(f"{report['accepted']} of {wares.WARES} were accepted.")
        await caught_up(self.connection, asyncio.get_running_loop().time())
        await self.connection.execute("VACUUM ANALYZE")
        began = time.monotonic()
        await ask(self.shop, "GET", "/v1/search?q=shop")
        self.book.note("search.ready_after", "s", time.monotonic() - began)

    async def search(self, number: int) -> None:
        """Searches, most of them frequent ones."""
        drawn = wares.queries(self.vocabulary, number, SEARCHES_DRAWN)
        distinct, order = wares.numbered(drawn)
        targets = [query.target for query in distinct]
        asking = Asking(targets, array("I", order), self.options.searching)
        run = await self.read(asking, self.window())
        await check_invariants(self.shop)
        note = self.book.note
        note("search.searches", "searches/s", run.per_s)
        for share in (50, 95, 99):
            note(f"search.p{share}", "ms", percentile(run.took_ms, share / 100))
        for kind in ("one_word", "two_words", "unfinished"):
            of_kind = [
                took * 1000
                for took, target in zip(run.record.took_s, run.record.targets, strict=True)
                if distinct[target].kind == kind
            ]
            note(f"search.{kind}.p95", "ms", percentile(sorted(of_kind), 0.95))
        first_ms = self.first_times(run.record, distinct)
        note("search.first_time", "% of searches", len(first_ms) / len(run.record.took_s) * 100)
        note("search.first_time.p95", "ms", percentile(first_ms, 0.95))
        for tier in ("web", "postgres", "load"):
            note(f"search.cpu.{tier}", "us/search", run.cpu_us(tier))
        note("search.cpu.others", "% of machine", run.used.others_share * 100)
        note("search.memory", "MB", self.shop.tiers().memory().private_mb)

    def first_times(self, record: Record, distinct: Sequence[wares.Query]) -> list[float]:
        """How long those took that nobody had asked for, sorted, in milliseconds."""
        found = []
        for took_s, target in zip(record.took_s, record.targets, strict=True):
            text = distinct[target].text
            if text not in self.asked:
                self.asked.add(text)
                found.append(took_s * 1000)
        return sorted(found)


async def run(options: Options, console: Console) -> Path:
    """Everything, in a folder that is removed; the file with the results."""
    folder = Path(tempfile.mkdtemp(prefix="tradewind-reads-", dir=options.folder))
    try:
        async with running(folder / "home", workers=1) as shop:
            connection = await asyncpg.connect(shop.dsn, server_settings={"jit": "off"})
            try:
                version = await connection.fetchval("SHOW server_version")
                reads = Reads(options, shop, connection, folder)
                await reads.run()
            finally:
                await connection.close()
        host = machine.describe(folder, version)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    now = datetime.now(UTC)
    kept = {name: getattr(options, name) for name in Options.__struct_fields__}
    lines = reads.book.lines(
        at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        machine=host,
        command=shlex.join(["python", "-m", "benchmarks.reads", *sys.argv[1:]]),
        options={name: kept[name] for name in kept if name not in ("folder", "results")},
        sha256={},
    )
    report.show(console, lines, host)
    file = options.results / f"{now:%Y%m%dT%H%M%SZ}-reads.jsonl"
    report.write(lines, file)
    console.print(f"written to {file}", soft_wrap=True)
    return file


def main() -> None:
    """The command: exit code 1 where a run was worth nothing, with the reason."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reads", description=__doc__)
    defaults = Options()
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--runs", type=int, help=f"how often everything ({defaults.runs})")
    parser.add_argument("--seconds", type=float, help=f"of each window ({defaults.seconds:g})")
    parser.add_argument("--warm-s", type=float, help=f"before each window ({defaults.warm_s:g})")
    parser.add_argument("--connections", type=int, help=f"of readers ({defaults.connections})")
    parser.add_argument("--searching", type=int, help=f"connections ({defaults.searching})")
    parser.add_argument("--orders-per-s", type=float, help="beside product and list (50)")
    parser.add_argument("--folder", type=Path, help="where the database is made, and removed")
    parser.add_argument("--results", type=Path, help="where the lines go (benchmarks/results)")
    told = {name: value for name, value in vars(parser.parse_args()).items() if value}
    unknown = set(told.get("parts", ())) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {sorted(unknown)[0]}")
    if "parts" in told:
        told["parts"] = tuple(told["parts"])
    try:
        asyncio.run(run(Options(**told), Console(highlight=False)))
    except (BenchmarkFailed, ProviderSilent, EmbeddedDatabaseError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
