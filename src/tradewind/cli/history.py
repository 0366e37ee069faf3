"""``tradewind import`` and ``tradewind replay``: products and an old order book, over HTTP.

Both are clients of the public API and of nothing else: what they do, any program with a key can do.
"""

import asyncio
import gzip
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import IO, Annotated, Any, NoReturn, TypeVar

import aiohttp
import typer
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

from tradewind.cli.address import api_url, read_key
from tradewind.samples import files, history
from tradewind.samples.client import AccessDenied, Client, Reply, ShopIsGone
from tradewind.samples.reconcile import Reconciliation, Row, reconcile
from tradewind.samples.replay import CONCURRENCY, Outcomes, Pulse
from tradewind.samples.replay import replay as carry_out

Result = TypeVar("Result")

UPLOAD_CHUNK_BYTES = 64 * 1024
REFRESH_S = 0.2
# Where nobody watches, a line every few seconds says that it goes on.
PLAIN_LINE_EVERY_S = 5.0
IMPORT_POLL_S = 0.2
NDJSON = "application/x-ndjson"
EXIT_BROKEN = 1
EXIT_CANNOT_RUN = 2
EXIT_INTERRUPTED = 130

Url = Annotated[
    str, typer.Option(help="Address of the platform; default: where `tradewind up` listens.")
]
KeyFile = Annotated[
    Path | None,
    typer.Option(help="File with an API key; default: admin.key of this installation."),
]


def import_products(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="Products, one JSON object a line; may end in .gz."
        ),
    ],
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Import products from FILE through POST /v1/imports/products and print the report.

    A line that cannot be taken is rejected alone; the report says which and why. Importing a file
    again changes nothing. Exit code: 0 all lines taken, 1 some rejected, 2 it could not run.

    Example: tradewind import products.ndjson
    """
    report = run(send_products(file, api_url(url), read_key(key_file)))
    console = Console()
    console.print(
        f"{report['lines']:,} lines: {report['accepted']:,} accepted, "
        f"{report['rejected']:,} rejected."
    )
    for error in report["errors"]:
        console.print(f"  line {error['line']}: {error['code']}: {error['message']}", markup=False)
    if report.get("errors_omitted"):
        console.print(f"  and {report['errors_omitted']:,} more")
    if report["rejected"]:
        raise typer.Exit(EXIT_BROKEN)


def replay(
    file: Annotated[
        Path,
        typer.Option(
            exists=True, dir_okay=False, help="An order book in the columns of Online Retail."
        ),
    ] = files.ORDER_LINES,
    products: Annotated[
        Path,
        typer.Option(exists=True, dir_okay=False, help="The products that are on sale, NDJSON."),
    ] = files.PRODUCTS,
    concurrency: Annotated[
        int, typer.Option(min=1, max=512, help="Orders under way at once.")
    ] = CONCURRENCY,
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Replay 90 days of a real shop's orders through POST /v1/orders, then account for every line.

    The products must be there already (`tradewind up` loads them). Interrupt it or restart the
    server as you like and run it again: every order is placed once. The table at the end says where
    each line of the source went and compares orders, money and ledger with what the platform
    reports. Exit code: 0 all equal, 1 something differs, 2 it could not run.

    Example: tradewind replay --concurrency 64
    """
    address, key = api_url(url), read_key(key_file)
    try:
        plan = history.make_plan(history.read_lines(file), skus=files.skus(products))
    except history.HistoryError as error:
        fail(str(error))
    result = run(replay_and_reconcile(plan, address, key, concurrency))
    print_reconciliation(result)
    if not result.agrees:
        raise typer.Exit(EXIT_BROKEN)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, or leave with a sentence instead of a traceback."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        print("\nInterrupted. Run it again: it goes on where it was.", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (ShopIsGone, AccessDenied) as error:
        fail(str(error))
    except (aiohttp.ClientError, OSError) as error:
        fail(f"The connection broke: {error}. Run it again.")


def fail(sentence: str) -> NoReturn:
    """Say why it could not run, and leave."""
    print(sentence, file=sys.stderr)
    raise typer.Exit(EXIT_CANNOT_RUN)


# --- import ---------------------------------------------------------------------------------------


async def send_products(file: Path, url: str, key: str) -> dict[str, Any]:
    """Stream the file up and wait for its report."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    async with Client(url, key) as client:
        with progress, file.open("rb") as raw:
            task = progress.add_task(file.name, total=file.stat().st_size)

            async def chunks() -> AsyncIterator[bytes]:
                content: IO[bytes] = (
                    gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw  # type: ignore[assignment]
                )
                while chunk := content.read(UPLOAD_CHUNK_BYTES):
                    yield chunk
                    progress.update(task, completed=raw.tell())

            reply = await client.upload("/v1/imports/products", chunks(), NDJSON)
        if not reply.ok:
            fail(f"The import was refused: {sentence_of(reply)}")
        return await import_report(client, str(reply.body["id"]))


async def import_report(client: Client, import_id: str) -> dict[str, Any]:
    """The report of an import, once it is finished."""
    while True:
        reply = await client.get(f"/v1/imports/{import_id}")
        if not reply.ok:
            fail(f"The report cannot be read: {sentence_of(reply)}")
        report: dict[str, Any] = reply.body
        if report["status"] == "finished":
            return report
        await asyncio.sleep(IMPORT_POLL_S)


def sentence_of(reply: Reply) -> str:
    """Why the server said no."""
    detail = reply.body.get("detail", "") if isinstance(reply.body, dict) else str(reply.body)
    return f"{reply.status} {reply.code}: {detail}"


# --- replay ---------------------------------------------------------------------------------------


async def replay_and_reconcile(
    plan: history.Plan, url: str, key: str, concurrency: int
) -> Reconciliation:
    """Carry the plan out under a progress bar and compare."""
    pulse = Pulse(len(plan.actions))
    async with Client(url, key, connections_max=concurrency) as client:
        shown = asyncio.create_task(show(pulse, client))
        try:
            outcomes: Outcomes = await carry_out(
                client, plan.actions, pulse, concurrency=concurrency
            )
        finally:
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)
        print(summary(pulse, client), file=sys.stderr)
        return await reconcile(client, plan, outcomes)


async def show(pulse: Pulse, client: Client) -> None:
    """Live figures, until cancelled: a bar on a terminal, now and then a line elsewhere."""
    if not sys.stderr.isatty():
        while True:
            await asyncio.sleep(PLAIN_LINE_EVERY_S)
            print(summary(pulse, client), file=sys.stderr, flush=True)
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
    text = (
        f"{pulse.orders_per_s:,.0f} orders/s, p95 {pulse.p95_ms:,.0f} ms, "
        f"{sum(pulse.refused.values()):,} refused"
    )
    if pulse.replayed:
        text += f", {pulse.replayed:,} known already"
    if client.retries:
        text += f", {client.retries:,} sent again"
    return text


def summary(pulse: Pulse, client: Client) -> str:
    """The figures with how far it is."""
    return f"{pulse.done:,} of {pulse.actions_count:,} done; {rates(pulse, client)}"


def print_reconciliation(result: Reconciliation) -> None:
    """The account of the source and the comparison, as tables."""
    # A table that is read by a program, or by a log, must not be folded to 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 120)
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
        console.print(f"Unexpected: {code} ({times:,} times)")
    console.print("Everything agrees." if result.agrees else "It does NOT agree.")


def cells(row: Row) -> tuple[str, str, str, str]:
    """One row of the account as text."""
    return row.place, f"{row.lines:,}", f"{row.units:,}", row.value
