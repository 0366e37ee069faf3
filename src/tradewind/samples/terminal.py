"""What a person sees of an import and of a replay: progress, live rates, tables.

Where nobody watches (the output is no terminal), the same as plain lines.
"""

import asyncio
import gzip
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from msgspec import Struct
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from tradewind.samples.client import Client, Reply
from tradewind.samples.history import Plan, products
from tradewind.samples.reconcile import Check, Reconciliation, Row, reconcile
from tradewind.samples.replay import Pulse, replay

UPLOAD_CHUNK_BYTES = 64 * 1024
REFRESH_S = 0.2
# Where nobody watches, a line every few seconds says that it goes on.
PLAIN_LINE_EVERY_S = 5.0
# A table that is read by a program, or by a log, must not be folded to 80 columns.
PLAIN_COLUMNS = 120
IMPORT_POLL_S = 0.2
ASTRAY_SHOWN = 10
NDJSON = "application/x-ndjson"


class ImportRefused(Exception):
    """The platform did not take the file; the text says why."""


# --- import ---------------------------------------------------------------------------------------


async def import_file(file: Path, url: str, key: str) -> dict[str, Any]:
    """Stream a file of products up and return its report. Raises `ImportRefused`."""
    with file.open("rb") as raw:
        # Progress counts the bytes of the file, also where they are unpacked on the way.
        packed = file.suffix == ".gz"
        content = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw

        def chunks() -> Iterator[tuple[bytes, int]]:
            while chunk := content.read(UPLOAD_CHUNK_BYTES):
                yield chunk, raw.tell()

        return await upload(chunks(), file.name, file.stat().st_size, url, key)


async def import_book(plan: Plan, name: str, url: str, key: str) -> dict[str, Any]:
    """Send the products of an order book, with their opening stock. Raises `ImportRefused`."""
    content = b"".join(products(plan))
    parts = (
        (content[at : at + UPLOAD_CHUNK_BYTES], at + UPLOAD_CHUNK_BYTES)
        for at in range(0, len(content), UPLOAD_CHUNK_BYTES)
    )
    return await upload(parts, name, len(content), url, key)


async def upload(
    parts: Iterable[tuple[bytes, int]], name: str, size_bytes: int, url: str, key: str
) -> dict[str, Any]:
    """Send products, each part with how far one is after it; the report of the import."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    watched = sys.stderr.isatty()
    progress = Progress(*columns, console=Console(stderr=True), disable=not watched)
    async with Client(url, key) as client:
        with progress:
            task = progress.add_task(name, total=size_bytes)

            async def chunks() -> AsyncIterator[bytes]:
                for chunk, at in parts:
                    yield chunk
                    progress.update(task, completed=at)

            reply = await client.upload("/v1/imports/products", chunks(), NDJSON)
        if not reply.ok:
            raise ImportRefused(f"The import was refused: {sentence_of(reply)}")
        return await import_report(client, str(reply.body["id"]))


async def import_report(client: Client, import_id: str) -> dict[str, Any]:
    """The report of an import, once it is finished."""
    while True:
        report: dict[str, Any] = await client.get(f"/v1/imports/{import_id}")
        if report["status"] == "finished":
            return report
        await asyncio.sleep(IMPORT_POLL_S)


def sentence_of(reply: Reply) -> str:
    """Why the server said no."""
    detail = reply.body.get("detail", "") if isinstance(reply.body, dict) else str(reply.body)
    return f"{reply.status} {reply.code}: {detail}"


def print_import_report(report: dict[str, Any]) -> None:
    """The sums of an import, and each line that was rejected with its reason."""
    console = Console(width=console_width())
    console.print(
        f"{report['lines']:,} lines: {report['accepted']:,} accepted, "
        f"{report['rejected']:,} rejected."
    )
    for error in report["errors"]:
        console.print(f"  line {error['line']}: {error['code']}: {error['message']}", markup=False)
    if report.get("errors_omitted"):
        console.print(f"  and {report['errors_omitted']:,} more")


# --- replay ---------------------------------------------------------------------------------------


class Book(Struct, frozen=True):
    """What is replayed: the plan, the stock it begins with, what its source must add up to."""

    plan: Plan
    opening: Mapping[str, int]
    totals: dict[str, Any] | None


async def replay_and_reconcile(
    book: Book, url: str, key: str, *, concurrency: int
) -> Reconciliation:
    """Carry the plan out under a progress bar and compare."""
    pulse = Pulse(len(book.plan.actions))
    async with Client(url, key, connections_max=concurrency) as client:
        shown = asyncio.create_task(show(pulse, client))
        try:
            outcomes = await replay(client, book.plan, pulse, concurrency=concurrency)
        finally:
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)
        print(whole_run(pulse, client), file=sys.stderr, flush=True)
        return await reconcile(
            client, book.plan, outcomes, opening=book.opening, totals=book.totals
        )


async def show(pulse: Pulse, client: Client) -> None:
    """Live figures, until cancelled: a bar on a terminal, now and then a line elsewhere."""
    if not sys.stderr.isatty():
        while True:
            await asyncio.sleep(PLAIN_LINE_EVERY_S)
            progress_line = f"{pulse.done:,} of {pulse.actions_count:,}; {rates(pulse, client)}"
            print(progress_line, file=sys.stderr, flush=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rates]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("replay", total=pulse.actions_count, rates="")
        try:
            while True:
                progress.update(task, completed=pulse.done, rates=rates(pulse, client))
                await asyncio.sleep(REFRESH_S)
        finally:
            progress.update(task, completed=pulse.done, rates=rates(pulse, client))


def rates(pulse: Pulse, client: Client) -> str:
    """The live figures in one line."""
    return f"{pulse.orders_per_s:,.0f} orders/s, p95 {pulse.p95_ms:,.0f} ms{more(pulse, client)}"


def whole_run(pulse: Pulse, client: Client) -> str:
    """The figures of the whole run in one line."""
    seconds = max(pulse.age_s, 0.001)
    return (
        f"{pulse.orders:,} orders in {seconds:,.1f} s: {pulse.orders / seconds:,.0f} orders/s "
        f"({pulse.done / seconds:,.0f} actions/s), "
        f"p50 {pulse.percentile_ms(50):,.0f} ms, p95 {pulse.p95_ms:,.0f} ms{more(pulse, client)}"
    )


def more(pulse: Pulse, client: Client) -> str:
    """What is only said where there is some of it."""
    text = f", {sum(pulse.refused.values()):,} refused"
    if pulse.known_already:
        text += f", {pulse.known_already:,} known already"
    if client.retries:
        text += f", {client.retries:,} sent again"
    return text


def print_reconciliation(result: Reconciliation) -> None:
    """The account of the source and the comparisons, as tables."""
    console = Console(width=console_width())
    table = Table("where the lines of the source went", title="Reconciliation")
    for name in ("lines", "units", "GBP"):
        table.add_column(name, justify="right")
    for row in result.account.rows:
        table.add_row(*cells(row))
    table.add_section()
    table.add_row(*cells(result.account.accounted))
    table.add_row(*cells(result.account.source))
    table.add_row("exact amounts less the whole pence that were booked", "", "", result.rounding)
    console.print(table)
    print_checks(console, "Compared with the totals of the source", "the lines", result.totals)
    print_checks(console, "Compared with the API", "the platform reports", result.checks)
    if result.account.astray:
        numbers = ", ".join(map(str, result.account.astray[:ASTRAY_SHOWN]))
        console.print(f"Lines that are not accounted for: {numbers} ...", markup=False)
    for country in result.unknown_countries:
        console.print(f"No country we know, sent as ZZ: {country!r}", markup=False)
    if result.others:
        console.print(
            f"{result.others:,} orders here are not of this replay: the sums of the ledger and the "
            "units on hand are not compared."
        )
    for code, times in sorted(result.unexpected.items()):
        console.print(f"Unexpected: {code} ({times:,} times)", markup=False)
    console.print(result.verdict)


def print_checks(console: Console, title: str, who: str, checks: Sequence[Check]) -> None:
    """Figures beside others, each with a word on whether they are equal."""
    if not checks:
        return
    table = Table(who, title=title)
    for name in ("expected", "reported", ""):
        table.add_column(name, justify="right")
    for check in checks:
        table.add_row(
            check.about, check.expected, check.found, "equal" if check.equal else "DIFFERS"
        )
    console.print(table)


def cells(row: Row) -> tuple[str, str, str, str]:
    """One row of the account as text."""
    return row.place, f"{row.lines:,}", f"{row.units:,}", row.value


def console_width() -> int | None:
    """How wide tables may be; None: as wide as the terminal."""
    return None if sys.stdout.isatty() else PLAIN_COLUMNS
