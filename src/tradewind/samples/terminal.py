"""What a person sees of a replay: progress, live rates, tables.

Where nobody watches (the output is no terminal), the same as plain lines.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from tradewind.samples.client import Client
from tradewind.samples.history import Plan
from tradewind.samples.reconcile import Check, Reconciliation, Row, reconcile
from tradewind.samples.replay import Pulse, replay

REFRESH_S = 0.2
# Where nobody watches, a line every few seconds says that it goes on.
PLAIN_LINE_EVERY_S = 5.0
# A table that is read by a program, or by a log, must not be folded to 80 columns.
PLAIN_COLUMNS = 120
ASTRAY_SHOWN = 10


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
