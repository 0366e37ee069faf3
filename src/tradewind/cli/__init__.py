"""The command line: ``tradewind --help``. Each module here holds one group of commands.

Commands are registered in this file and nowhere else. Their modules import the platform inside the
functions that need it, so that ``tradewind --help`` does not pay for loading it.
"""

import sys
from typing import Annotated

import typer

from tradewind import __version__

HELP = """
Tradewind: a commerce and order platform. Never oversold, every order provable.

Start here:

    tradewind up                    everything, on an embedded PostgreSQL
    tradewind settings              what can be set, and what is set
    tradewind COMMAND --help        what a command does, with examples

Every setting is an environment variable that begins with TRADEWIND_.
"""
EXIT_INTERRUPTED = 130

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
    from tradewind.cli import checks, events, history, keys, run

    app.command("up", rich_help_panel="Run")(run.up)
    app.command("serve", rich_help_panel="Run")(run.serve)
    app.command("migrate", rich_help_panel="Run")(run.migrate)
    app.command("settings", rich_help_panel="Run")(run.settings)
    app.add_typer(keys.app, name="keys", rich_help_panel="Operate")
    app.add_typer(events.events, name="events", rich_help_panel="Operate")
    app.add_typer(events.letters, name="dead-letters", rich_help_panel="Operate")
    app.command("import", rich_help_panel="Data")(history.import_products)
    app.command("replay", rich_help_panel="Data")(history.replay)
    app.add_typer(checks.check, name="check", rich_help_panel="Prove")


def main() -> None:
    """Run the command line. What a person can repair is one sentence, never a traceback."""
    from tradewind.cli.refusals import is_refusal

    register()
    try:
        app(prog_name="tradewind")
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        if not is_refusal(error):
            raise
        print(error, file=sys.stderr)
        sys.exit(1)
