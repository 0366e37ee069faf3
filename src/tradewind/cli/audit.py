"""``tradewind audit``: who did what, and the proof that nobody changed the record of it."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tradewind.cli.refusals import settings_in_force
from tradewind.platform.settings import Settings

EXIT_BROKEN = 1
EXIT_CANNOT_RUN = 2

app = typer.Typer(
    name="audit",
    help="""Who did what: prove the record, take it out, find an address in it.

Every write of the shop's staff, and every look at a customer, is an entry. Entries are chained by
hashes; the end of the chain is signed every few seconds and written to `audit/heads.jsonl` in the
home and to the log (`audit.head`). Keep copies of those elsewhere: who can change the database and
the home can change both.

    tradewind audit verify

    tradewind audit export --since 2026-01-01 > record.jsonl

    tradewind audit address 203.0.113.7
""",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])]


@app.command("verify")
def verify(
    heads: Annotated[
        list[Path] | None,
        typer.Option(help="More files of signed heads: copies that were kept elsewhere."),
    ] = None,
) -> None:
    """Prove that no entry was changed, taken away or put in since it was written.

    Follows the chain from its first place, compares it with every signed head, and looks for
    entries without a place. What it finds is told with where it is, and announced as a security
    event. Exit code: 0 all is as it was written, 1 something was changed, 2 it cannot be read.

    What no chain shows: an entry that was taken away within the second before it was sealed.

    **Examples**

        tradewind audit verify

        tradewind audit verify --heads heads-kept-elsewhere.jsonl
    """
    import asyncpg

    from tradewind.platform.database.embedded import NotRunning, database_url
    from tradewind.platform.security.secrets import SecretsError

    settings = settings_in_force()
    try:
        sentences, told = asyncio.run(look(database_url(settings), settings, heads or []))
    except (NotRunning, OSError, asyncpg.PostgresError, SecretsError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(EXIT_CANNOT_RUN) from None
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    print(told)
    if sentences:
        raise typer.Exit(EXIT_BROKEN)


async def look(url: str, settings: Settings, more: list[Path]) -> tuple[list[str], str]:
    """Verify; the faults, and what it came to."""
    from tradewind.platform.audit.heads import heads_file, read_heads
    from tradewind.platform.audit.record import announce_tampering
    from tradewind.platform.audit.verifying import Verifier
    from tradewind.platform.database.pool import Pool
    from tradewind.platform.security.secrets import read_secrets

    for path in more:
        if not path.exists():
            raise FileNotFoundError(f"There is no file {path}.")
    secrets = read_secrets(settings.home, settings.secret_key)
    signed = [
        (f"{path.name} line {number}", head)
        for path in [heads_file(settings.home), *more]
        for number, head in read_heads(path)
    ]
    connection = await Pool(url, connections_max=1, application="tradewind audit").connect()
    try:
        found = await Verifier(secrets, signed, datetime.now(UTC)).verify(connection)
        if found.faults:
            await announce_tampering(connection, found.faults[0])
    finally:
        await connection.close()
    sentences = list(found.faults)
    if found.more:
        sentences.append(f"... and {found.more:,} more.")
    if sentences:
        return sentences, f"The record was changed: {len(found.faults) + found.more:,} faults."
    return [], (
        f"{found.places:,} entries are as they were written, {found.heads:,} signed heads among "
        f"them; {found.waiting:,} wait to be sealed."
        + (f" The chain ends with {found.digest}." if found.digest else "")
    )


@app.command("export")
def export(since: Day = None, until: Day = None) -> None:
    """Write the record to standard output, one entry a line, in the order of the chain.

    A line has all that its hash was made over, so that anybody can follow the chain without us.
    Reasons stay sealed. Times are UTC; the end is not included. Taking the record out is recorded.

    **Examples**

        tradewind audit export > record.jsonl

        tradewind audit export --since 2026-11-01 --until 2026-12-01 | gzip > november.jsonl.gz
    """
    import asyncpg

    from tradewind.platform.database.embedded import NotRunning, database_url

    settings = settings_in_force()
    try:
        count = asyncio.run(
            write_out(
                database_url(settings),
                since.replace(tzinfo=UTC) if since else None,
                until.replace(tzinfo=UTC) if until else None,
            )
        )
    except (NotRunning, OSError, asyncpg.PostgresError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(EXIT_CANNOT_RUN) from None
    print(f"{count:,} entries.", file=sys.stderr)


async def write_out(url: str, since: datetime | None, until: datetime | None) -> int:
    """Every entry of that time as a line; how many."""
    from tradewind.platform.audit import reading
    from tradewind.platform.audit.entries import instant
    from tradewind.platform.audit.record import note_export
    from tradewind.platform.database.pool import Pool

    connection = await Pool(url, connections_max=1, application="tradewind audit").connect()
    count = 0
    try:
        await note_export(connection)
        async for row in reading.everything(connection, since=since, until=until):
            line = {**reading.in_full(row), "at": instant(row.at)}
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    finally:
        await connection.close()
    return count


@app.command("address")
def address(
    address: Annotated[str, typer.Argument(help="A network address, such as 203.0.113.7.")],
) -> None:
    """Tell under which token the record knows an address of the internet.

    Addresses are personal, so entries carry tokens. Who knows an address can look for it:
    GET /v1/audit?address=TOKEN.
    """
    from tradewind.platform.audit.masking import Mask
    from tradewind.platform.security.secrets import SecretsError, read_secrets

    settings = settings_in_force()
    try:
        secrets = read_secrets(settings.home, settings.secret_key)
    except (SecretsError, OSError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(EXIT_CANNOT_RUN) from None
    print(Mask(secrets).address(address))
