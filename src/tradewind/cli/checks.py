"""``tradewind check``: commands that look at the platform from outside and give a verdict."""

import asyncio
import sys
from typing import Annotated, NoReturn

import typer

from tradewind.cli.refusals import settings_in_force

EXIT_BROKEN = 1
EXIT_CANNOT_RUN = 2

check = typer.Typer(help="Prove that the platform keeps its promises.", no_args_is_help=True)


@check.callback()
def check_group() -> None:
    """Prove that the platform keeps its promises."""


@check.command("invariants")
def invariants(
    wait: Annotated[
        float,
        typer.Option(min=0, help="Seconds to wait until nothing is under way any more."),
    ] = 30,
) -> None:
    """Prove stock, orders, money and events against each other and the provider's own record.

    Reads every table of the database in one snapshot and every charge of the provider, and prints
    what was proved with its numbers. Exit code: 0 all holds, 1 something is broken (the first ids
    are printed) or still under way after --wait, 2 it could not look.

    **Examples**

        tradewind check invariants

        tradewind check invariants --wait 300     # after a load test
    """
    import asyncpg

    from tradewind.checks.proofs import prove_all
    from tradewind.checks.provider import ProviderSilent, simulator_url
    from tradewind.checks.terminal import print_report
    from tradewind.platform.database.embedded import NotRunning, database_url

    settings = settings_in_force()
    try:
        url = simulator_url(settings.home, settings.simulator_url)
        report = asyncio.run(prove_all(database_url(settings), url, wait_s=wait))
    except ProviderSilent as error:
        cannot_look(f"The provider's record cannot be read: {error}.")
    except NotRunning as error:
        cannot_look(str(error))
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        cannot_look(f"The database cannot be read: {error}. Does `tradewind up` run?")
    print_report(report)
    if not report.holds:
        raise typer.Exit(EXIT_BROKEN)


@check.command("replay")
def replay() -> None:
    """Prove that the events reproduce the rows of orders, stock, payments and ledger.

    Reads the whole log in one snapshot, folds it into the rows that must follow from it and
    compares them with those that are there. Works while the platform serves, in constant memory.
    Exit code: 0 all rows follow, 1 some differ (the first are printed), 2 it could not look.

    **Example**

        tradewind check replay
    """
    import asyncpg

    from tradewind.checks.replay.run import replay as replay_log
    from tradewind.checks.replay.terminal import print_replayed
    from tradewind.platform.database.embedded import NotRunning, database_url

    settings = settings_in_force()
    try:
        replayed = asyncio.run(replay_log(database_url(settings)))
    except NotRunning as error:
        cannot_look(str(error))
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        cannot_look(f"The database cannot be read: {error}. Does `tradewind up` run?")
    print_replayed(replayed)
    if not replayed.holds:
        raise typer.Exit(EXIT_BROKEN)


@check.command("life")
def life(
    *,
    orders: Annotated[
        int, typer.Option(min=1, max=2, help="Orders that want the same sku at the same time.")
    ] = 1,
    on_hand: Annotated[int, typer.Option(min=0, max=2, help="Units of it.")] = 1,
    card: Annotated[
        str, typer.Option(help="tok_ok, or tok_suspicious: then a person looks at the order.")
    ] = "tok_ok",
    faults: Annotated[
        int,
        typer.Option(min=-1, help="Crashes, lost replies, overlaps on one way; -1: any number."),
    ] = -1,
    counts: Annotated[int, typer.Option(min=0, help="How often the shelf is counted.")] = 0,
    topics: Annotated[
        bool, typer.Option(help="A topic per context, as on Kafka, in place of one log.")
    ] = False,
    bound: Annotated[int, typer.Option(min=1, help="Visit at most so many states.")] = 1_000_000,
) -> None:
    """Explore the life of an order through every crash, repeat and order of events.

    Runs the real rules of orders, inventory, payments and fraud in memory, breadth first; needs
    nothing that is running. Prints the states it visited, or the shortest way to a broken promise.
    Exit code: 0 every promise holds, 1 one is broken.

    **Examples**

        tradewind check life                                # one order, any number of faults

        tradewind check life --orders 2 --faults 0          # two customers, one unit

        tradewind check life --card tok_suspicious --topics
    """
    from tradewind.checks.life.explore import Search, Setting
    from tradewind.checks.life.terminal import print_found

    found = Search(
        Setting(
            tokens=(card,) * orders,
            on_hand=on_hand,
            counts_max=counts,
            faults_max=None if faults < 0 else faults,
            topics=topics,
            states_max=bound,
        )
    ).run()
    print_found(found)
    if found.broken:
        raise typer.Exit(EXIT_BROKEN)


def cannot_look(sentence: str) -> NoReturn:
    """Say why, and leave."""
    print(sentence, file=sys.stderr)
    raise typer.Exit(EXIT_CANNOT_RUN)
