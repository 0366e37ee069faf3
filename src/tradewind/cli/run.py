"""``serve``, ``migrate``, ``settings``: the commands that run the platform."""

import asyncio
from typing import Annotated

import msgspec
import typer

from tradewind.cli.refusals import misspelt, settings_in_force
from tradewind.platform.settings import describe


def serve(
    services: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SERVICE]...",
            help="Which services to be: contexts, `events`, or `gateway`; none: all in one.",
        ),
    ] = None,
    number: Annotated[int, typer.Option(help="Which web process this is, for the logs.")] = 1,
) -> None:
    """Run one web process, and nothing else: of everything, of some services, or the gateway.

    For who runs PostgreSQL and the payment provider elsewhere and lets another program keep the
    process alive. The database must be up to date: run `tradewind migrate` first.

    **Examples**

        TRADEWIND_DATABASE_URL=postgresql://shop@db.internal/shop tradewind serve

        TRADEWIND_HOST=0.0.0.0 TRADEWIND_PORT=80 tradewind serve

        TRADEWIND_PORT=8101 tradewind serve orders payments

        TRADEWIND_SERVICES=orders=http://orders:8101,... tradewind serve gateway
    """
    from tradewind.supervisor import worker

    worker.serve_alone(settings_in_force(), serves=services or (), number=number)


def migrate() -> None:
    """Bring the database up to date; safe to repeat, and from several machines at once.

    Migrations only go forward. Old and new processes may run side by side while it works.

    **Examples**

        TRADEWIND_DATABASE_URL=postgresql://shop@db.internal/shop tradewind migrate

        tradewind migrate               # the embedded database, while `tradewind up` runs
    """
    from tradewind import app
    from tradewind.platform.database import reach
    from tradewind.platform.database.embedded import database_url
    from tradewind.platform.telemetry import logs

    settings = settings_in_force()
    logs.configure(settings, process="migrate")

    url = database_url(settings)
    asyncio.run(reach.check(url))
    applied = asyncio.run(app.migrate_all(url, app.load_contexts()))
    for name in applied:
        typer.echo(f"applied {name}")
    typer.echo(f"{len(applied)} migrations applied." if applied else "The database is up to date.")


def settings(
    json: Annotated[bool, typer.Option("--json", help="For programs: one JSON array.")] = False,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what differs from its default.")
    ] = False,
) -> None:
    """Print every setting: variable, value, default, range and meaning.

    **Examples**

        tradewind settings

        tradewind settings --changed

        tradewind settings --json | jq '.[] | select(.name == "port")'
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    rows = [row for row in describe(settings_in_force()) if row.changed or not changed]
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("Variable", no_wrap=True)
    table.add_column("Value", overflow="fold", max_width=30)
    table.add_column("Meaning")
    for row in rows:
        default = f"Default: {escape(row.default) or 'none'}"
        table.add_row(
            row.variable,
            f"[bold yellow]{escape(row.value)}[/]" if row.changed else escape(row.value),
            f"{escape(row.text)} [dim]{default}; {escape(row.allowed)}.[/]",
        )
    Console().print(table)
    for sentence in misspelt():
        typer.echo(sentence, err=True)
