"""The database's clock, followed by every process.

Two services whose machines disagree by minutes still agree on a deadline, because neither asks its
own machine. Each process measures its distance to the database's clock when it connects and once a
second after; between two measurements the local monotonic clock carries it.
"""

import time
from datetime import UTC, datetime, timedelta

from tradewind.platform.database.pool import Connection


class Clock:
    """`now()` in UTC, by the database's clock."""

    def __init__(self) -> None:
        self._base = datetime.now(UTC)
        self._monotonic = time.monotonic()

    def now(self) -> datetime:
        """The instant, as good as half a round trip to the database."""
        return self._base + timedelta(seconds=time.monotonic() - self._monotonic)

    async def follow(self, connection: Connection) -> None:
        """Measure the distance anew."""
        before = time.monotonic()
        there: datetime = await connection.fetchval("SELECT clock_timestamp()")
        after = time.monotonic()
        self._base = there + timedelta(seconds=(after - before) / 2)
        self._monotonic = after
