"""Every command, in its place. They are registered in this file and nowhere else."""

from typing import Annotated

import typer

from tradewind import __version__
from tradewind.cli import audit, checks, events, files, history, keys, run, vault
from tradewind.cli.archive import archive
from tradewind.cli.rebuild import rebuild
from tradewind.cli.start import up

HELP = """
Tradewind: a commerce and order platform. Never oversold, every order provable.

Start here:

    tradewind up                    everything, on an embedded PostgreSQL
    tradewind settings              what can be set, and what is set
    tradewind COMMAND --help        what a command does, with examples

Every setting is an environment variable that begins with TRADEWIND_.
"""

app = typer.Typer(
    name="tradewind",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """Options that come before the command."""


def register() -> None:
    """Put every command in its place, in the order in which ``--help`` shows them."""
    app.command("up", rich_help_panel="Run")(up)
    app.command("serve", rich_help_panel="Run")(run.serve)
    app.command("migrate", rich_help_panel="Run")(run.migrate)
    app.command("settings", rich_help_panel="Run")(run.settings)
    app.add_typer(keys.app, name="keys", rich_help_panel="Operate")
    app.add_typer(vault.app, name="vault", rich_help_panel="Operate")
    app.add_typer(events.events, name="events", rich_help_panel="Operate")
    app.add_typer(events.letters, name="dead-letters", rich_help_panel="Operate")
    files.imports.command("online-retail")(history.import_book)
    app.add_typer(files.imports, name="import", rich_help_panel="Data")
    app.add_typer(files.exports, name="export", rich_help_panel="Data")
    app.command("replay", rich_help_panel="Data")(history.replay)
    app.add_typer(audit.app, name="audit", rich_help_panel="Operate")
    app.command("archive", rich_help_panel="Operate")(archive)
    app.command("rebuild", rich_help_panel="Operate")(rebuild)
    app.add_typer(checks.check, name="check", rich_help_panel="Prove")


register()
