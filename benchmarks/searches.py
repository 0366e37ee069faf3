"""``python -m benchmarks.searches``: searches by their kind, nearly all of them new.

Narrow and broad words, misspelt and unfinished ones, with facets, with filters, and a mix of all,
over 20,000 products (`--products` for more). Answers from memory would hide what a search costs, so
each is asked with another `limit` or text where that is possible. The partner is a bare route that
gives the same number of bytes, before and after, in the same run.
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
from array import array
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean

import asyncpg
from msgspec import Struct
from rich.console import Console

from benchmarks import machine, report, wares
from benchmarks.beside import Asking, BareRoute, Run, Window, ask, read_with
from benchmarks.measure import percentile
from benchmarks.reads import DRAWN, zipf
from benchmarks.report import Book
from benchmarks.shop import BenchmarkFailed, Shop, running
from benchmarks.wares import Query, Vocabulary

ROOT = Path(__file__).parents[1]
COLOURS = ("red", "blue", "green", "ivory", "pink")
BRANDS = tuple(f"Maker {number}" for number in range(40))
KINDS = ("narrow", "broad", "misspelt", "prefix", "faceted", "filtered")
OF_A_KIND = 2_000
LIMITS = (10, 20, 24)
FACETS = "facets=categories,brand,price,availability,colour"
LINES_AT_ONCE = 5_000
READY_WITHIN_S = 300
RARE = 400  # words behind that many others
SWAPPED_LETTERS_MIN = 5


class Options(Struct, frozen=True, kw_only=True):
    """What to run."""

    products: int = 20_000
    runs: int = 3
    seconds: float = 4
    warm_s: float = 1
    connections: int = 16
    workers: int = 1
    results: Path = ROOT / "benchmarks" / "results"


def lines(vocabulary: Vocabulary, count: int) -> list[str]:
    """The wares of `wares`, with prices, colours and brands, as many as wanted."""
    chance = random.Random(wares.SEED)
    plain = wares.lines(vocabulary)
    found = []
    for number in range(count):
        ware = json.loads(plain[number % len(plain)])
        if number >= len(plain):
            words = vocabulary.draw(chance, wares.TITLE_WORDS)
            ware["title"] = " ".join(words).title()
            ware["external_id"] = ware["variants"][0]["sku"] = f"X{number:06d}"
        ware["attributes"] = {
            "colour": chance.choice(COLOURS),
            "brand": chance.choice(BRANDS),
            "weight": chance.randrange(1, 100),
        }
        ware["variants"][0]["price"]["amount"] = f"{chance.lognormvariate(2.5, 1) + 0.5:.2f}"
        found.append(json.dumps(ware))
    return found


def query_of(kind: str, vocabulary: Vocabulary, chance: random.Random) -> Query:
    """What somebody types, and chooses beside it."""
    words = vocabulary.words
    first, second = vocabulary.draw(chance, 2)
    limit = f"&limit={chance.choice(LIMITS)}"
    if kind == "narrow":
        text = f"{chance.choice(words[RARE:])} {chance.choice(words[RARE:])}"
    elif kind == "broad":
        text = f"{chance.choice(('shop', 'listed'))} {first}" if chance.random() < 0.5 else first
    elif kind == "misspelt":
        text = swapped(chance.choice(words[:RARE]), chance)
    elif kind == "prefix":
        text = f"{first} {second[: max(3, len(second) - 2)]}"
    else:
        text = first
    more = limit
    if kind == "faceted":
        more += f"&{FACETS}"
    elif kind == "filtered":
        low = chance.randrange(1, 20)
        more += f"&filter[colour]={chance.choice(COLOURS)}&filter[price]={low}..{low + 20}"
        more += "&sort=price" if chance.random() < 0.3 else ""
    return Query(kind, text, more)


def swapped(word: str, chance: random.Random) -> str:
    """A word in which two letters have changed places."""
    if len(word) < SWAPPED_LETTERS_MIN:
        return word + chance.choice("xqz")
    at = chance.randrange(len(word) - 1)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


class Searches:
    """One benchmark: the book it fills and what it runs on."""

    def __init__(self, options: Options, shop: Shop, folder: Path) -> None:
        self.options = options
        self.shop = shop
        self.folder = folder
        self.book = Book()
        self.vocabulary = Vocabulary()

    async def fill(self) -> None:
        """Put the products on the shelf, and wait until the index has them all."""
        body = lines(self.vocabulary, self.options.products)
        for first in range(0, len(body), LINES_AT_ONCE):
            part = "\n".join(body[first : first + LINES_AT_ONCE]).encode()
            told = await ask(
                self.shop, "POST", "/v1/imports/products", part, "application/x-ndjson"
            )
            if told["rejected"]:
                raise BenchmarkFailed(f"Lines were refused: {told['errors'][:3]}")
        until = time.monotonic() + READY_WITHIN_S
        while True:
            found = await ask(self.shop, "GET", "/v1/search?facets=&limit=1")
            if found["exact"] and found["total"] == len(body):
                return
            if time.monotonic() > until:
                raise BenchmarkFailed(f"{found['total']} of {len(body)} products are found.")
            await asyncio.sleep(0.5)

    async def run(self) -> None:
        """All rounds: every kind alone, then the mix, each search once, between two windows of the
        bare route; then the mix as people search, a few of it often (Zipf) and most of it rarely.
        """
        await self.fill()
        first = await asyncio.to_thread(self.shop.raw, "/v1/search?q=heart&limit=20")
        async with BareRoute.serving({"": first}, self.folder) as bare:
            for number in range(self.options.runs):
                chance = random.Random(number)
                drawn = {
                    kind: [query_of(kind, self.vocabulary, chance) for _ in range(OF_A_KIND)]
                    for kind in KINDS
                }
                for kind in KINDS:
                    self.note(kind, await self.read(drawn[kind]))
                mixed = [
                    query_of(chance.choice(KINDS), self.vocabulary, chance)
                    for _ in range(OF_A_KIND * len(KINDS))
                ]
                partner = [await self.bare(bare)]
                ours = await self.read(mixed)
                partner.append(await self.bare(bare))
                self.note("mix", ours, [*partner])
                order = zipf(len(mixed), DRAWN, number)
                await self.read(mixed, order)  # the first window: nothing is remembered yet
                self.note("popular", await self.read(mixed, order[DRAWN // 2 :]))
        memory = self.shop.tiers().memory().private_mb
        self.book.note("memory", "MB", memory)

    def window(self) -> Window:
        """The next window."""
        return Window.soon(self.options.warm_s, self.options.seconds)

    async def read(self, drawn: Sequence[Query], order: "array[int] | None" = None) -> Run:
        """A window of searches, one after the other or in an order."""
        targets = [query.target for query in drawn]
        order = array("I", range(len(targets))) if order is None else order
        asking = Asking(targets, order, self.options.connections)
        run = await read_with(self.shop, asking, self.window(), folder=self.folder)
        if run.read.odd or run.read.lost:
            raise BenchmarkFailed(f"{run.read.odd} odd answers, {run.read.lost} lost.")
        return run

    async def bare(self, bare: BareRoute) -> Run:
        """A window of the partner."""
        asking = Asking(["/v1/products"], array("I", [0]), self.options.connections)
        return await read_with(self.shop, asking, self.window(), folder=self.folder, bare=bare)

    def note(self, kind: str, run: Run, partner: Sequence[Run] = ()) -> None:
        """The figures of a window."""
        note = self.book.note
        bare_per_s = mean(one.per_s for one in partner) if partner else None
        bare_us = mean(one.cpu_us("bare") for one in partner) if partner else None
        if partner:
            note(f"{kind}.bare", "reads/s", bare_per_s or 0)
            note(f"{kind}.bare.cpu", "us/read", bare_us or 0)
            bare_ms = mean(percentile(one.took_ms, 0.95) for one in partner)
            note(f"{kind}.bare.p95", "ms", bare_ms)
        note(f"{kind}.searches", "searches/s", run.per_s, a=bare_per_s)
        for share in (50, 95, 99):
            note(f"{kind}.p{share}", "ms", percentile(run.took_ms, share / 100))
        note(f"{kind}.cpu.web", "us/search", run.cpu_us("web"), a=bare_us)
        note(f"{kind}.cpu.postgres", "us/search", run.cpu_us("postgres"))
        note(f"{kind}.cpu.others", "% of machine", run.used.others_share * 100)


async def run(options: Options, console: Console) -> Path:
    """Everything, in a folder that is removed; the file with the results."""
    folder = Path(tempfile.mkdtemp(prefix="tradewind-searches-"))
    try:
        async with running(folder / "home", workers=options.workers, products=False) as shop:
            searches = Searches(options, shop, folder)
            await searches.run()
            connection = await asyncpg.connect(shop.dsn)
            version = await connection.fetchval("SHOW server_version")
            await connection.close()
        host = machine.describe(folder, version)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    now = datetime.now(UTC)
    kept = {name: getattr(options, name) for name in Options.__struct_fields__}
    found = searches.book.lines(
        at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        machine=host,
        command=shlex.join(["python", "-m", "benchmarks.searches", *sys.argv[1:]]),
        options={name: kept[name] for name in kept if name != "results"},
        sha256={},
    )
    report.show(console, found, host)
    file = options.results / f"{now:%Y%m%dT%H%M%SZ}-searches.jsonl"
    report.write(found, file)
    console.print(f"written to {file}", soft_wrap=True)
    return file


def main() -> None:
    """The command: exit code 1 where a run was worth nothing, with the reason."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.searches", description=__doc__)
    defaults = Options()
    parser.add_argument("--products", type=int, help=f"on the shelf ({defaults.products})")
    parser.add_argument("--runs", type=int, help=f"how often everything ({defaults.runs})")
    parser.add_argument("--seconds", type=float, help=f"of each window ({defaults.seconds:g})")
    parser.add_argument("--connections", type=int, help=f"of readers ({defaults.connections})")
    parser.add_argument("--workers", type=int, help=f"web processes ({defaults.workers})")
    parser.add_argument("--results", type=Path, help="where the lines go (benchmarks/results)")
    told = {name: value for name, value in vars(parser.parse_args()).items() if value}
    try:
        asyncio.run(run(Options(**told), Console(highlight=False)))
    except BenchmarkFailed as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
