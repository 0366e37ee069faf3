"""The bus as an operator sees it: lag, the horizon's age, who waits. Looked at once a second."""

import asyncio

from tradewind.kernel.messages import Position
from tradewind.platform.bus.answers import WaitingRoom
from tradewind.platform.bus.consumer import Work
from tradewind.platform.bus.delivery import PASSING
from tradewind.platform.bus.reader import Reader
from tradewind.platform.database.clock import Clock
from tradewind.platform.database.pool import Pool
from tradewind.platform.telemetry import logs, metrics

logger = logs.get(__name__)

LOOK_EVERY_S = 1.0
# A writing transaction holds back every reader of the log; ours end within a quarter of a second.
HORIZON_AGE_S_MAX = 1.0

# Whoever has written and not ended, in any database of the server.
OLDEST_WRITER = """
    SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8, pid, application_name
      FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND xact_start IS NOT NULL
     ORDER BY xact_start LIMIT 1
"""


async def look(
    pool: Pool, clock: Clock, works: list[Work], room: WaitingRoom, cursor: Position
) -> None:
    """Write down how things stand; say so when a long writer holds the bus back."""
    now = clock.now()
    for work in works:
        lag_s = (now - work.queue[0].at).total_seconds() if work.queue else 0.0
        metrics.BUS_LAG.labels(work.name).set(max(0.0, lag_s))
    metrics.WAITING_REQUESTS.set(len(room))
    metrics.DATABASE_IN_USE.set(pool.in_use)
    metrics.DATABASE_WAITING.set(pool.waiting)
    async with pool.lend("tradewind_bus") as connection:
        oldest = await connection.fetchrow(OLDEST_WRITER)
    age_s = float(oldest[0]) if oldest else 0.0
    metrics.HORIZON_AGE.set(age_s)
    if oldest and age_s > HORIZON_AGE_S_MAX:
        logger.warning(
            "bus.horizon_held",
            seconds=round(age_s, 1),
            pid=oldest["pid"],
            application=oldest["application_name"],
            reader_at=cursor.xid,
        )


async def run(
    pool: Pool, clock: Clock, works: list[Work], room: WaitingRoom, reader: Reader
) -> None:
    """Look, again and again; a fault passes."""
    while True:
        try:
            await look(pool, clock, works, room, reader.cursor)
        except PASSING as fault:
            logger.warning("watch.fault", fault=repr(fault)[:300])
        await asyncio.sleep(LOOK_EVERY_S)
