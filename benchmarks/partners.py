"""The partners A and B: pgbench on the same server, in databases of their own.

A places plain orders: schema.sql and pipe.sql, as they stand, for ever; their hashes are printed.
B leaves the same rows in the same tables as the platform does for an order that goes through, in a
database that the platform's migrations made. Both are prepared, pipelined, one commit an order.
"""

import asyncio
import hashlib
import os
import re
import resource
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
from msgspec import Struct

from tradewind import app
from tradewind.platform.database.embedded import program

SQL = Path(__file__).parent / "sql"
CLIENTS = 16
# A prepared plan made on an empty table stays a sequential scan: rows first, then ANALYZE.
WARM_S = 1.0
LINES_SHOWN = 3
PROCESSED = re.compile(r"transactions actually processed: (\d+)")
FAILED = re.compile(r"failed transactions: (\d+)")
RATE = re.compile(r"tps = ([0-9.]+)")
LATENCY = re.compile(r"latency average = ([0-9.]+) ms")


class PartnerFailed(Exception):
    """A partner did not run; the text is what pgbench or psql said."""


class Partner(Struct, frozen=True):
    """A database and what is run in it."""

    name: str
    title: str
    database: str
    schema: str  # file that makes the tables, or what is missing in them
    script: str
    migrated: bool  # by the platform, before `schema`


A = Partner("a", "plain orders", "bench_a", "schema.sql", "pipe.sql", False)
B = Partner("b", "the same rows", "bench_b", "same_rows_schema.sql", "same_rows.sql", True)


class Result(Struct, frozen=True):
    """What pgbench did. `cpu_s` is its own, not the server's."""

    orders: int
    orders_per_s: float
    latency_average_ms: float
    cpu_s: float


def address_of(dsn: str, database: str) -> str:
    """Another database of the same server."""
    address, _, options = dsn.partition("?")
    return f"{address.rsplit('/', 1)[0]}/{database}" + (f"?{options}" if options else "")


def hashes() -> dict[str, str]:
    """SHA-256 of every file that makes the partners what they are."""
    return {
        name: hashlib.sha256((SQL / name).read_bytes()).hexdigest()
        for partner in (A, B)
        for name in (partner.schema, partner.script)
    }


async def prepare(dsn: str, partner: Partner) -> None:
    """Make a partner's database on the server of `dsn`, anew."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {partner.database} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {partner.database}")
    finally:
        await connection.close()
    address = address_of(dsn, partner.database)
    if partner.migrated:
        await app.migrate_all(address, app.load_contexts())
    await call("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", str(SQL / partner.schema), dsn=address)


async def warm_up(dsn: str, partner: Partner, seconds: float = WARM_S) -> None:
    """Fill the tables a little and let the planner see that they are not empty."""
    await run(dsn, partner, seconds=seconds)
    connection = await asyncpg.connect(address_of(dsn, partner.database))
    try:
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


async def run(
    dsn: str,
    partner: Partner,
    *,
    seconds: float = 0,
    orders: int = 0,
    clients: int = CLIENTS,
) -> Result:
    """Run a partner for a time, or for a number of orders per client."""
    how = ["-t", str(orders)] if orders else ["-T", str(max(1, round(seconds)))]
    script = str(SQL / partner.script)
    before = children_cpu_s()
    said = await call(
        "pgbench",
        *("-n", "-M", "prepared", "-f", script, "-c", str(clients), "-j", "1", *how),
        dsn=address_of(dsn, partner.database),
    )
    failed = FAILED.search(said)
    if failed is None or failed[1] != "0":
        raise PartnerFailed(said)
    return Result(
        orders=int(number(PROCESSED, said)),
        orders_per_s=number(RATE, said),
        latency_average_ms=number(LATENCY, said),
        cpu_s=children_cpu_s() - before,
    )


def number(pattern: re.Pattern[str], said: str) -> float:
    """A number from pgbench's report. Raises `PartnerFailed` where it is not there."""
    found = pattern.search(said)
    if found is None:
        raise PartnerFailed(said)
    return float(found[1])


def children_cpu_s() -> float:
    """Processor time of the programs we have run and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def call(name: str, *arguments: str, dsn: str) -> str:
    """Run a program of the PostgreSQL wheel; what it printed. Raises `PartnerFailed`."""
    process = await asyncio.create_subprocess_exec(
        str(program(name)),
        *arguments,
        env=environment(dsn),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode != 0:
        # Every client says the same; the first says it all.
        lines = errors.decode(errors="replace").strip().splitlines()[:LINES_SHOWN]
        raise PartnerFailed("\n".join([f"{name} failed.", *lines]))
    return output.decode()


def environment(dsn: str) -> dict[str, str]:
    """A DSN as the variables that PostgreSQL's programs read."""
    parts = urlsplit(dsn)
    options = parse_qs(parts.query)
    return {
        "PATH": os.defpath,
        "PGHOST": options.get("host", [parts.hostname or ""])[0],
        "PGPORT": options.get("port", [str(parts.port or 5432)])[0],
        "PGUSER": parts.username or "",
        "PGPASSWORD": parts.password or "",
        "PGDATABASE": parts.path.lstrip("/"),
    }
