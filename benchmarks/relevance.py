"""``python -m benchmarks.relevance``: how well searches are answered, by people's ratings.

The 19,406 rated products come in through the public API, the rated queries are asked over HTTP. A
plain BM25 ranks the same products in the same run. Nothing is tuned here: the queries are parted
into five folds only to show how much the figure depends on which of them are asked.
"""

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote_plus

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from benchmarks import rated
from benchmarks.beside import ask
from benchmarks.rated import PlainRanking, Score, average, score_of
from benchmarks.shop import BenchmarkFailed, Shop, running
from tradewind.platform.settings import read_settings

BAR = 0.74  # nDCG@10 of rated products
ASKED_FOR = 100
LINES_AT_ONCE = 2_000
READY_WITHIN_S = 120
FOLDS = 5
WORST = 12


class Measured(Struct, frozen=True):
    """A query and what the rankings of it are worth."""

    query: str
    ours: Score
    plain: Score
    found: int


async def fill(shop: Shop, folder: Path) -> None:
    """Put the rated products on the shelf, and wait until all of them are found."""
    lines = [json.dumps(rated.as_imported(product)) for product in rated.read_products(folder)]
    for first in range(0, len(lines), LINES_AT_ONCE):
        body = "\n".join(lines[first : first + LINES_AT_ONCE]).encode()
        report = await ask(shop, "POST", "/v1/imports/products", body, "application/x-ndjson")
        if report["rejected"]:
            raise BenchmarkFailed(f"Lines were refused: {report['errors'][:3]}")
    until = time.monotonic() + READY_WITHIN_S
    while True:
        found = await ask(shop, "GET", "/v1/search?facets=&limit=1")
        if found["exact"] and found["total"] == len(lines):
            return
        if time.monotonic() > until:
            raise BenchmarkFailed(f"{found['total']} of {len(lines)} products are found.")
        await asyncio.sleep(0.5)


async def measure(shop: Shop, folder: Path) -> list[Measured]:
    """Every rated query, asked over HTTP, and as a plain ranking has it."""
    plain = PlainRanking(list(rated.read_products(folder)))
    found = []
    for query, ratings in rated.read_ratings(folder).items():
        target = f"/v1/search?q={quote_plus(query)}&facets=&limit={ASKED_FOR}"
        answer = await ask(shop, "GET", target)
        ranking = [item["external_id"] for item in answer["items"]]
        cursor = answer["next"]
        # Products without a rating are left out of one figure: go on until ten are there.
        while cursor and sum(one in ratings for one in ranking) < min(rated.SHOWN, len(ratings)):
            answer = await ask(shop, "GET", f"{target}&cursor={cursor}")
            ranking += [item["external_id"] for item in answer["items"]]
            cursor = answer["next"]
        ours = score_of(ranking, ratings)
        found.append(Measured(query, ours, score_of(plain.ranking(query), ratings), len(ranking)))
    return found


def fold_of(query: str) -> int:
    """The same fold in every run."""
    return hashlib.sha256(query.encode()).digest()[0] % FOLDS


def show(console: Console, measured: Sequence[Measured]) -> None:
    """The figures, the folds, the worst queries."""
    table = Table(title=f"nDCG@10 of {len(measured)} queries")
    for column in ("", "all", "rated only", "rated in ten"):
        table.add_column(column, justify="left" if not column else "right")
    rows: Mapping[str, Sequence[Score]] = {
        "Tradewind": [one.ours for one in measured],
        "plain BM25": [one.plain for one in measured],
        **{
            f"  fold {fold + 1}": [o.ours for o in measured if fold_of(o.query) == fold]
            for fold in range(FOLDS)
        },
    }
    for name, scores in rows.items():
        if scores:
            mean = average(scores)
            table.add_row(
                f"{name} ({len(scores)})" if name.startswith("  ") else name,
                *(f"{value:.3f}" for value in (mean.all, mean.rated_only, mean.rated_share)),
            )
    console.print(table)
    worst = Table(title="The worst queries")
    for column in ("query", "all", "rated only", "plain BM25", "rated in ten"):
        worst.add_column(column, justify="left" if column == "query" else "right")
    for one in sorted(measured, key=lambda one: one.ours.rated_only)[:WORST]:
        worst.add_row(
            one.query,
            f"{one.ours.all:.2f}",
            f"{one.ours.rated_only:.2f}",
            f"{one.plain.rated_only:.2f}",
            f"{one.ours.rated_share:.1f}",
        )
    console.print(worst)


async def run(folder: Path, console: Console) -> float:
    """All of it, in a shop that is removed; nDCG@10 of rated products."""
    home = Path(tempfile.mkdtemp(prefix="tradewind-relevance-"))
    try:
        async with running(home / "home", workers=1, products=False) as shop:
            began = time.monotonic()
            await fill(shop, folder)
            console.print(f"19,406 products after {time.monotonic() - began:.0f} s")
            measured = await measure(shop, folder)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    show(console, measured)
    return average([one.ours for one in measured]).rated_only


def main() -> None:
    """Run, and end with status 1 below the bar."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    console = Console()
    folder = read_settings(dict(os.environ)).data_folder
    if not (folder / rated.FOLDER).is_dir():
        console.print(f"{folder / rated.FOLDER} is not there: set TRADEWIND_DATA.")
        sys.exit(2)
    reached = asyncio.run(run(folder, console))
    if reached < BAR:
        console.print(f"Below the bar of {BAR}.")
        sys.exit(1)


if __name__ == "__main__":
    main()
