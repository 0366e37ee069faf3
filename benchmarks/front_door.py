"""``python -m benchmarks.front_door``: what it costs to be known at the door.

A round is: the bare route, anonymous readers (answered from memory), readers with a few keys,
readers of 10,000 keys that no process has seen before, readers of 5,000 new keys and 5,000 new
access tokens for so long that each is used a few times, anonymous readers and the bare route again.
All ask for the same products, with limits on: each anonymous connection comes from an address of
its own, which a trusted proxy tells. No figures where an answer is not 200.
"""

import argparse
import asyncio
import random
import shlex
import shutil
import sys
import tempfile
from array import array
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

import aiohttp
import asyncpg
import msgspec
from msgspec import Struct
from rich.console import Console

from benchmarks import machine, report
from benchmarks.beside import Asking, BareRoute, Run, Window, read_with
from benchmarks.measure import percentile
from benchmarks.reads import look_around
from benchmarks.report import Book
from benchmarks.shop import PROXIED, BenchmarkFailed, Shop, running
from tradewind.kernel.ids import new_id
from tradewind.platform.database.embedded import EmbeddedDatabaseError
from tradewind.platform.security.authentication import hash_of_key
from tradewind.platform.security.secrets import Secrets, read_secrets

ROOT = Path(__file__).parents[1]
PRODUCTS_READ = 50
WARM_KEYS = 64
TOKENS_AT_ONCE = 32
CLIENTS = 50
INSERT = """
    INSERT INTO identity.api_keys
      (key_id, name, scopes, secret_hash, version, created_at, created_by)
    SELECT k, 'bench', '{orders:read}', h, 1, now(), 'bench'
      FROM unnest($1::text[], $2::bytea[]) AS u (k, h)
"""


class Options(Struct, frozen=True, kw_only=True):
    """What to run."""

    runs: int = 3
    seconds: float = 3
    mixed_s: float = 30
    warm_s: float = 1
    connections: int = 32
    keys: int = 10_000
    folder: Path | None = None
    results: Path = ROOT / "benchmarks" / "results"


class FrontDoor:
    """One benchmark: the book it fills and what it runs on."""

    def __init__(self, options: Options, shop: Shop, connection: Any, folder: Path) -> None:
        self.options = options
        self.shop = shop
        self.connection = connection
        self.folder = folder
        self.secrets: Secrets = read_secrets(shop.home)
        self.book = Book()

    async def run(self) -> None:
        """All rounds."""
        catalog = await look_around(self.shop)
        products = catalog.products[:PRODUCTS_READ]
        paths = [f"/v1/products/{product['id']}" for product in products]
        answers = {product["id"]: msgspec.json.encode(product) for product in products}
        warm = self.with_keys(paths, await self.new_keys(WARM_KEYS))
        async with BareRoute.serving({"": b"{}", **answers}, self.folder) as bare:
            for number in range(self.options.runs):
                anonymous = [
                    f"{path}\tX-Forwarded-For: {address(n, number)}"
                    for n, path in enumerate(self.many(paths))
                ]
                fresh = self.with_keys(paths, await self.new_keys(self.options.keys))
                half = self.options.keys // 2
                bearers = [*await self.new_keys(half), *await self.new_tokens(half)]
                random.Random(number).shuffle(bearers)
                mixed = self.with_keys(paths, bearers)
                runs = {
                    "bare": [await self.read(paths, bare=bare)],
                    "anonymous": [await self.read(anonymous)],
                    "keyed": [await self.read(warm)],
                    "first_use": [await self.read(fresh, warm_s=0.0)],
                    "mixed": [await self.read(mixed, warm_s=0.0, seconds=self.options.mixed_s)],
                }
                runs["anonymous"].append(await self.read(anonymous))
                runs["bare"].append(await self.read(paths, bare=bare))
                self.note(runs)

    async def new_keys(self, count: int) -> list[str]:
        """Keys that no process has seen yet."""
        ids = [new_id("key") for _ in range(count)]
        keys = [self.secrets.api_key(key_id) for key_id in ids]
        await self.connection.execute(INSERT, ids, [hash_of_key(key) for key in keys])
        return keys

    async def new_tokens(self, count: int) -> list[str]:
        """Access tokens that no process has seen yet, of many clients: each has its limit."""
        key = (self.shop.home / "admin.key").read_text().strip()
        turns = asyncio.Semaphore(TOKENS_AT_ONCE)
        async with aiohttp.ClientSession(self.shop.url) as session:

            async def ask(path: str, number: int = 0, **more: Any) -> Any:
                headers = {"X-Forwarded-For": address(number, 0), **more.pop("headers", {})}
                async with turns, session.post(path, headers=headers, **more) as answer:
                    if answer.status >= 300:
                        raise BenchmarkFailed(f"{path}: {answer.status} {await answer.text()}")
                    return await answer.json()

            wanted = {"name": "bench", "grants": ["client_credentials"], "scopes": ["orders:read"]}
            bearer = {"Authorization": f"Bearer {key}"}
            made = [
                await ask("/v1/oauth/clients", json=wanted, headers=bearer) for _ in range(CLIENTS)
            ]
            forms = [
                {
                    "grant_type": "client_credentials",
                    "client_id": client["id"],
                    "client_secret": client["secret"],
                }
                for client in made
            ]
            answers = await asyncio.gather(
                *(ask("/oauth/token", n, data=forms[n % CLIENTS]) for n in range(count))
            )
        return [answer["access_token"] for answer in answers]

    def many(self, paths: Sequence[str]) -> list[str]:
        """As many targets as there are keys."""
        return [paths[number % len(paths)] for number in range(self.options.keys)]

    def with_keys(self, paths: Sequence[str], keys: Sequence[str]) -> list[str]:
        """A target for each key."""
        count = max(len(paths), len(keys))
        return [
            f"{paths[n % len(paths)]}\tAuthorization: Bearer {keys[n % len(keys)]}"
            for n in range(count)
        ]

    async def read(
        self,
        targets: Sequence[str],
        *,
        bare: BareRoute | None = None,
        warm_s: float | None = None,
        seconds: float | None = None,
    ) -> Run:
        """A window of reads. Raises `BenchmarkFailed` where one was not answered 200."""
        asking = Asking(targets, array("I", range(len(targets))), self.options.connections)
        window = Window.soon(
            self.options.warm_s if warm_s is None else warm_s, seconds or self.options.seconds
        )
        run = await read_with(self.shop, asking, window, folder=self.folder, bare=bare)
        if not run.read.answered:
            raise BenchmarkFailed("Nothing was answered: the machine has no time for this.")
        if run.read.odd or run.read.lost:
            raise BenchmarkFailed(f"{run.read.odd} odd answers, {run.read.lost} lost.")
        return run

    def note(self, runs: dict[str, list[Run]]) -> None:
        """The figures of a round: rates against anonymous readers, times against the bare route."""
        anonymous = mean(run.per_s for run in runs["anonymous"])
        bare_p95 = mean(percentile(run.took_ms, 0.95) for run in runs["bare"])
        for name, of_kind in runs.items():
            per_s = mean(run.per_s for run in of_kind)
            self.book.note(f"{name}.reads", "reads/s", per_s, a=anonymous)
            for share in (50, 95, 99):
                took = mean(percentile(run.took_ms, share / 100) for run in of_kind)
                against = bare_p95 if share == 95 else None
                self.book.note(f"{name}.p{share}", "ms", took, a=against)
            tier = "bare" if name == "bare" else "web"
            cost = mean(run.cpu_us(tier) for run in of_kind)
            self.book.note(f"{name}.cpu", "us/read", cost)
        for name in ("first_use", "mixed"):
            [new] = runs[name]
            seen = len(set(new.record.targets))
            self.book.note(f"{name}.bearers", "bearers", seen)
            first_uses = seen / max(1, len(new.record.targets)) * 100
            self.book.note(f"{name}.first_uses", "% of reads", first_uses)
        others = mean(run.used.others_share for kind in runs.values() for run in kind)
        self.book.note("others", "% of machine", others * 100)


def address(number: int, round_: int) -> str:
    """An address that nobody else in the round has."""
    return f"203.{round_ % 250}.{number // 250}.{number % 250 + 1}"


async def run(options: Options, console: Console) -> Path:
    """Everything, in a folder that is removed; the file with the results."""
    folder = Path(tempfile.mkdtemp(prefix="tradewind-front-door-", dir=options.folder))
    try:
        async with running(folder / "home", workers=1, settings=PROXIED) as shop:
            connection = await asyncpg.connect(shop.dsn, server_settings={"jit": "off"})
            try:
                version = await connection.fetchval("SHOW server_version")
                door = FrontDoor(options, shop, connection, folder)
                await door.run()
            finally:
                await connection.close()
        host = machine.describe(folder, version)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    now = datetime.now(UTC)
    kept = {name: getattr(options, name) for name in Options.__struct_fields__}
    lines = door.book.lines(
        at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        machine=host,
        command=shlex.join(["python", "-m", "benchmarks.front_door", *sys.argv[1:]]),
        options={name: kept[name] for name in kept if name not in ("folder", "results")},
        sha256={},
    )
    report.show(console, lines, host)
    file = options.results / f"{now:%Y%m%dT%H%M%SZ}-front-door.jsonl"
    report.write(lines, file)
    console.print(f"written to {file}", soft_wrap=True)
    return file


def main() -> None:
    """The command: exit code 1 where a run was worth nothing, with the reason."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.front_door", description=__doc__)
    defaults = Options()
    parser.add_argument("--runs", type=int, help=f"how often everything ({defaults.runs})")
    parser.add_argument("--seconds", type=float, help=f"of each window ({defaults.seconds:g})")
    parser.add_argument("--warm-s", type=float, help=f"before each window ({defaults.warm_s:g})")
    parser.add_argument("--connections", type=int, help=f"of readers ({defaults.connections})")
    parser.add_argument("--keys", type=int, help=f"that are new ({defaults.keys})")
    parser.add_argument("--folder", type=Path, help="where the database is made, and removed")
    parser.add_argument("--results", type=Path, help="where the lines go (benchmarks/results)")
    told = {name: value for name, value in vars(parser.parse_args()).items() if value}
    try:
        asyncio.run(run(Options(**told), Console(highlight=False)))
    except (BenchmarkFailed, EmbeddedDatabaseError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
