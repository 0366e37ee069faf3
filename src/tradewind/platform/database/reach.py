"""Whether a database can be used, asked once at the start, and why not in a sentence."""

import asyncio
import time

import asyncpg

from tradewind.platform.settings import without_password

VERSION_MIN = 15
CONNECT_TIMEOUT_S = 5
# A server that was started together with us needs a moment before it answers.
PATIENCE_S = 10.0
RETRY_DELAY_S = 0.25


class DatabaseUnreachable(Exception):
    """The database of TRADEWIND_DATABASE_URL cannot be used; the text says why and what to do."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"The database {without_password(url)} cannot be used: {why.rstrip('.')}. "
            "Set TRADEWIND_DATABASE_URL to a PostgreSQL server, version 15 or newer, or unset it "
            "for the embedded one."
        )


async def check(url: str, *, patience_s: float = PATIENCE_S) -> None:
    """Return when the database answers and is new enough. Raises `DatabaseUnreachable`."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
            break
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError) as error:
            # Nobody listens, or not yet.
            if time.monotonic() > deadline:
                raise DatabaseUnreachable(url, str(error) or "it does not answer") from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            raise DatabaseUnreachable(url, str(error)) from error
        await asyncio.sleep(RETRY_DELAY_S)
    version = connection.get_server_version().major
    connection.terminate()
    if version < VERSION_MIN:
        raise DatabaseUnreachable(url, f"it is PostgreSQL {version}")
