"""What a person sees of an import and of a replay: progress, live rates, tables.

Where nobody watches (the output is no terminal), the same as plain lines.
"""

import asyncio
import gzip
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any, cast

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
from tradewind.samples.history import Plan
from tradewind.samples.reconcile import Reconciliation, Row, reconcile
from tradewind.samples.replay import Pulse, replay

UPLOAD_CHUNK_BYTES = 64 * 1024
REFRESH_S = 0.2
# Where nobody watches, a line every few seconds says that it goes on.
PLAIN_LINE_EVERY_S = 5.0
# A table that is read by a program, or by a log, must not be folded to 80 columns.
PLAIN_COLUMNS = 120
IMPORT_POLL_S = 0.2
NDJSON = "application/x-ndjson"


class ImportRefused(Exception):
    """The platform did not take the file; the text says why."""


# --- import ---------------------------------------------------------------------------------------


async def import_file(file: Path, url: str, key: str) -> dict[str, Any]:
    """Stream a file of products up and return its report. Raises `ImportRefused`."""
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
        with progress, file.open("rb") as raw:
            task = progress.add_task(file.name, total=file.stat().st_size)

            async def chunks() -> AsyncIterator[bytes]:
                # Progress counts the bytes of the file, also where they are unpacked on the way.
                packed = file.suffix == ".gz"
                content = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
                while chunk := content.read(UPLOAD_CHUNK_BYTES):
                    yield chunk
                    progress.update(task, completed=raw.tell())

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


async def replay_and_reconcile(
    plan: Plan, url: str, key: str, *, concurrency: int
) -> Reconciliation:
    """Carry the plan out under a progress bar and compare."""
    pulse = Pulse(len(plan.actions))
    async with Client(url, key, connections_max=concurrency) as client:
        shown = asyncio.create_task(show(pulse, client))
        try:
            outcomes = await replay(client, plan.actions, pulse, concurrency=concurrency)
        finally:
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)
        print(whole_run(pulse, client), file=sys.stderr, flush=True)
        return await reconcile(client, plan, outcomes)


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
        f"{pulse.orders:,} orders in {seconds:,.1f} s: {pulse.orders / seconds:,.0f} orders/s, "
        f"p50 {pulse.percentile_ms(50):,.0f} ms, p95 {pulse.p95_ms:,.0f} ms{more(pulse, client)}"
    )


def more(pulse: Pulse, client: Client) -> str:
    """What is only said where there is some of it."""
    text = f", {sum(pulse.refused.values()):,} refused"
    if pulse.replayed:
        text += f", {pulse.replayed:,} known already"
    if client.retries:
        text += f", {client.retries:,} sent again"
    return text


def print_reconciliation(result: Reconciliation) -> None:
    """The account of the source and the comparison, as tables."""
    console = Console(width=console_width())
    table = Table("where the lines of the source went", title="Reconciliation")
    for name in ("lines", "units", "GBP"):
        table.add_column(name, justify="right")
    for row in result.rows:
        table.add_row(*cells(row))
    table.add_section()
    table.add_row(*cells(result.accounted))
    table.add_row(*cells(result.source))
    console.print(table)
    checks = Table("the platform reports", title="Compared with the API")
    for name in ("expected", "reported", ""):
        checks.add_column(name, justify="right")
    for check in result.checks:
        checks.add_row(
            check.about, check.expected, check.found, "equal" if check.equal else "DIFFERS"
        )
    console.print(checks)
    for code, times in sorted(result.unexpected.items()):
        console.print(f"Unexpected: {code} ({times:,} times)", markup=False)
    console.print(result.verdict)


def cells(row: Row) -> tuple[str, str, str, str]:
    """One row of the account as text."""
    return row.place, f"{row.lines:,}", f"{row.units:,}", row.value


def console_width() -> int | None:
    """How wide tables may be; None: as wide as the terminal."""
    return None if sys.stdout.isatty() else PLAIN_COLUMNS
