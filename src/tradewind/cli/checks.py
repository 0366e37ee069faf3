"""``tradewind check``: commands that look at the platform from outside and give a verdict."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tradewind.cli.address import api_url, read_key
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

    from tradewind.checks.archived import FilesWrong
    from tradewind.checks.proofs import prove_all
    from tradewind.checks.provider import ProviderSilent, simulator_url
    from tradewind.checks.terminal import print_report
    from tradewind.platform.database.embedded import NotRunning, database_url

    settings = settings_in_force()
    try:
        url = simulator_url(settings.home, settings.simulator_url)
        report = asyncio.run(
            prove_all(database_url(settings), url, wait_s=wait, archive=settings.home / "archive")
        )
    except ProviderSilent as error:
        cannot_look(f"The provider's record cannot be read: {error}.")
    except (NotRunning, FilesWrong) as error:
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

    from tradewind.checks.archived import FilesWrong
    from tradewind.checks.replay.run import replay as replay_log
    from tradewind.checks.replay.terminal import print_replayed
    from tradewind.platform.database.embedded import NotRunning, database_url

    settings = settings_in_force()
    try:
        replayed = asyncio.run(replay_log(database_url(settings), settings.home / "archive"))
    except (NotRunning, FilesWrong) as error:
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


@check.command("concurrency")
def concurrency(
    url: Annotated[
        str, typer.Argument(help="Address of the platform; default: where `tradewind up` listens.")
    ] = "",
    *,
    race: Annotated[
        list[str] | None, typer.Option(help="Only this race; may be repeated. --list names them.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="Rounds of each race.")] = 3,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Draw the races that this seed drew before.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Name the races and leave.")] = False,
    adapter: Annotated[
        str, typer.Option(help="`tradewind`, or MODULE:FUNCTION that opens another platform.")
    ] = "tradewind",
    key_file: Annotated[
        Path | None,
        typer.Option(help="File with an API key; default: admin.key of this installation."),
    ] = None,
) -> None:
    """Race for the last unit, cross baskets, cancel while money moves: all from outside.

    Each race releases its requests at the same moment, then compares the answers with the stock,
    the orders and the payment provider's own record. It leaves products and orders behind: not for
    a shop that is open. Exit code: 0 all races hold, 1 one is violated (with the evidence), 2 it
    could not run.

    The races know no platform, only the interface tradewind.checks.concurrency.adapter. A FUNCTION
    of yours that is awaited with the address and the key's text returns your adapter.

    **Examples**

        tradewind check concurrency

        tradewind check concurrency http://127.0.0.1:8080 --race last-unit --rounds 50 --seed 7

        tradewind check concurrency https://shop.example --adapter my_shop:connect --json
    """
    from tradewind.checks.concurrency.adapter import AdapterBroken
    from tradewind.cli import racing

    if listed:
        racing.print_races()
        return
    try:
        chosen = racing.choose(race or [])
        connect = racing.adapter_of(adapter)
    except ValueError as error:
        cannot_look(str(error))
    address, key = api_url(url), read_key(key_file)
    try:
        report = asyncio.run(
            racing.race(connect, address, key, races=chosen, rounds=rounds, seed=seed)
        )
    except AdapterBroken as error:
        cannot_look(f"{error}. Is the platform running, and is the key one of its keys?")
    racing.show(report, as_json=as_json)
    if not report.holds:
        raise typer.Exit(EXIT_BROKEN)


@check.command("oversell")
def oversell(
    *,
    seconds: Annotated[
        float, typer.Option(min=1, help="How long clients and the nemesis are at work.")
    ] = 60,
    seed: Annotated[int, typer.Option(help="The same seed makes the same plans.")] = 1,
    clients: Annotated[int, typer.Option(min=1, max=256, help="Clients at the same time.")] = 12,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Web processes.")] = 2,
    quiet: Annotated[
        float, typer.Option(min=1, help="Seconds in which all must come to rest at the end.")
    ] = 90,
    keep: Annotated[
        Path | None,
        typer.Option(help="Keep the history, the data and the log in this (new) folder."),
    ] = None,
) -> None:
    """Kill a platform again and again while it sells, and prove that nothing was oversold or lost.

    Starts a platform of its own in a temporary folder; yours is not touched. Clients buy, cancel,
    refund and repeat themselves, while web processes, PostgreSQL and the payment provider are
    killed with kill -9, paused and cut off, also exactly between two steps that a crash must not
    part. Every request and answer goes to a history file. A judge that shares no code with the
    platform then compares it with the database and the provider's own record. Exit code: 0 no
    anomaly, 1 anomalies (they are printed, and the folder is kept), 2 the platform does not start.

    **Examples**

        tradewind check oversell

        tradewind check oversell --seconds 600 --seed 7

        tradewind check oversell --seconds 20 --keep ./evidence   # evidence/history.jsonl
    """
    import shutil
    import tempfile

    from tradewind.checks.oversell.installation import NotReady
    from tradewind.checks.oversell.run import Plan, run
    from tradewind.checks.oversell.terminal import Told, print_outcome

    if keep is not None and keep.exists():
        cannot_look(f"{keep} exists: name a folder that does not.")
    folder = keep or Path(tempfile.mkdtemp(prefix="tradewind-oversell-"))
    plan = Plan(
        folder=folder.absolute(),
        seconds=seconds,
        seed=seed,
        clients=clients,
        workers=workers,
        quiet_within_s=quiet,
    )
    try:
        with Told() as told:
            outcome = asyncio.run(run(plan, told))
    except NotReady as error:
        cannot_look(str(error))
    print_outcome(outcome)
    if outcome.anomalies:
        print(f"The evidence stays in {folder}.", file=sys.stderr)
        raise typer.Exit(EXIT_BROKEN)
    if keep is None:
        shutil.rmtree(folder, ignore_errors=True)


def cannot_look(sentence: str) -> NoReturn:
    """Say why, and leave."""
    print(sentence, file=sys.stderr)
    raise typer.Exit(EXIT_CANNOT_RUN)
