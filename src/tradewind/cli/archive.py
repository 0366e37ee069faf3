"""``tradewind archive``: old events to their files, and whether those are what they were."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from tradewind.cli.refusals import settings_in_force
from tradewind.platform.settings import Settings

EXIT_BROKEN = 1
EXIT_CANNOT_RUN = 2


def archive(
    *,
    days: Annotated[
        int,
        typer.Option(min=-1, help="Move what is older; -1: as the setting archive_days says."),
    ] = -1,
    verify: Annotated[
        bool, typer.Option("--verify", help="Move nothing; read every file and follow the chain.")
    ] = False,
) -> None:
    """Move old events out of the database into files, as the platform does by itself.

    The log lies in segments; one whose newest event is old enough, and that every consumer has
    passed, becomes a file of compressed lines of JSON and leaves the database at once. The feed,
    `tradewind rebuild` and the checks read files and database as one. Each file carries the hash of
    the one before it. Safe to repeat and to interrupt. Exit code: 0 done, 1 a file is missing or
    was changed, 2 the database cannot be reached.

    **Examples**

        tradewind archive

        tradewind archive --verify        # after a copy to another disk
    """
    import asyncpg

    from tradewind.platform.bus.archive import ArchiveBroken
    from tradewind.platform.database.embedded import NotRunning, database_url

    settings = settings_in_force()
    try:
        url = database_url(settings)
        told = asyncio.run(look(url, settings) if verify else move(url, settings, days))
    except ArchiveBroken as broken:
        print(broken, file=sys.stderr)
        raise typer.Exit(EXIT_BROKEN) from None
    except (NotRunning, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(EXIT_CANNOT_RUN) from None
    print(told)


async def look(url: str, settings: Settings) -> str:
    """Read all files; what they are."""
    from tradewind.platform.bus import segments
    from tradewind.platform.database.pool import Pool

    connection = await Pool(url, connections_max=1, application="tradewind archive").connect()
    try:
        found = await segments.verify_all(connection, segments.archive_folder(settings))
    finally:
        await connection.close()
    return (
        f"{found.files:,} files with {found.events:,} events in {found.size_bytes:,} bytes are as "
        "they were written."
    )


async def move(url: str, settings: Settings, days: int) -> str:
    """Move what may go; what that was."""
    from tradewind.platform.bus import segments
    from tradewind.platform.database.pool import Pool

    age = timedelta(days=settings.archive_days if days < 0 else days)
    connection = await Pool(url, connections_max=1, application="tradewind archive").connect()
    try:
        await segments.keep_ahead(connection)
        files = events = size_bytes = 0
        while moved := await segments.move_oldest(
            connection, segments.archive_folder(settings), older_than=age, now=datetime.now(UTC)
        ):
            files, events = files + 1, events + moved.events
            size_bytes += moved.size_bytes
    finally:
        await connection.close()
    return f"{events:,} events moved into {files:,} files of {size_bytes:,} bytes."
