"""``tradewind vault``: how personal data is sealed, new keys for it, and what was erased."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import typer

from tradewind.cli.refusals import settings_in_force

if TYPE_CHECKING:
    from tradewind.platform.vault.masters import Masters
    from tradewind.platform.vault.rotation import Rotated, Standing

EXIT_RUNS = 1
EXIT_CANNOT_RUN = 2

app = typer.Typer(help="The keys of personal data.", no_args_is_help=True)


@app.command()
def rotate() -> None:
    """Make a new key-encryption key under the newest master, and wrap every person's key again.

    The platform goes on serving meanwhile. Batches of 500, each committed: run it again after it
    was interrupted, and it goes on where it was. The old version is destroyed when nothing uses it.
    To replace the master itself, put the new one in front (docs/operations/keys.md), start the
    platform anew, and run this. Exit code: 0 done, 1 another rotation is running, 2 the database or
    the master cannot be reached.

    **Examples**

        tradewind vault rotate

        tradewind vault status
    """
    from tradewind.platform.vault import rotation

    change("Wrapping keys again", rotation.rotate)


@app.command()
def reindex() -> None:
    """Make a new key of the blind index, by which e-mail addresses are found, and hash all again.

    Everything is found all the while. Like `rotate` it may be interrupted and run again.

    **Examples**

        tradewind vault reindex
    """
    from tradewind.platform.vault import rotation

    change("Hashing addresses again", rotation.reindex)


@app.command()
def status() -> None:
    """Say which keys there are, under which master, and how much is under each. Opens nothing.

    **Examples**

        tradewind vault status
    """
    from tradewind.platform.vault import rotation

    async def look(connection: Any, masters: "Masters") -> "Standing":
        return await rotation.standing(connection)

    found: Standing = run(look)
    print(f"{found.records:,} records, {found.erased:,} erased.")
    if found.under_masters:
        print(f"{found.under_masters:,} from before keys had versions: tradewind vault rotate")
    for key in found.keys:
        used = "" if key.uses is None else f", {key.uses:,} in use"
        retired = ", retired" if key.retired else ""
        print(f"{key.purpose} {key.version}: under {key.master}{used}{retired}")
    for each in found.under_way:
        print(f"{each.purpose} {each.version} under way: {each.done:,} of {each.total:,}")


def change(title: str, work: Callable[..., Awaitable["Rotated"]]) -> None:
    """Run a rotation with a progress bar."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(title, total=None)

        def told(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        async def begin(connection: Any, masters: "Masters") -> "Rotated":
            return await work(connection, masters, told)

        done: Rotated = run(begin)
    older = f"{done.destroyed} older version{'' if done.destroyed == 1 else 's'} destroyed"
    print(f"Version {done.version}: {done.changed:,} changed, {older}.")


def run(work: Callable[[Any, "Masters"], Awaitable[Any]]) -> Any:
    """Work with a connection of the vault's role, and the masters that the settings name."""
    import asyncpg

    from tradewind.kernel.problems import Problem
    from tradewind.platform.database.embedded import NotRunning, database_url
    from tradewind.platform.security.secrets import SecretsError, read_secrets
    from tradewind.platform.vault.rotation import RotationRuns
    from tradewind.platform.vault.transit import masters_of

    settings = settings_in_force()

    async def begin() -> Any:
        from tradewind.platform.database.pool import Pool
        from tradewind.platform.vault.vault import ROLE

        secrets = read_secrets(settings.home, settings.secret_key)
        masters = masters_of(settings, secrets)
        pool = Pool(database_url(settings), connections_max=1, application="tradewind vault")
        try:
            async with pool.lend(ROLE) as connection:
                return await work(connection, masters)
        finally:
            await pool.close()

    try:
        return asyncio.run(begin())
    except RotationRuns as error:
        print(error, file=sys.stderr)
        raise typer.Exit(EXIT_RUNS) from None
    except Problem as problem:
        print(problem.detail or problem.title, file=sys.stderr)
        raise typer.Exit(EXIT_CANNOT_RUN) from None
    except (
        SecretsError,
        NotRunning,
        OSError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
    ) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(EXIT_CANNOT_RUN) from None
