"""Timers: an event that the log will carry when its time has come.

A timer is set and dropped in the transaction of a decision. The pump moves what is due to the log
in one statement, so a timer fires once even if several processes pump, or one dies pumping.
"""

from collections.abc import Sequence

from msgspec import Raw

from tradewind.kernel.messages import TimerDropped, TimerSet, partition_of
from tradewind.platform.bus.log import Body, encode
from tradewind.platform.database.pool import Connection
from tradewind.platform.database.transaction import Transaction

FIRED_AT_ONCE_MAX = 500

SET = """
    INSERT INTO bus.timers (source, name, key, due_at, type, body, partition)
    SELECT $1, t.* FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[],
                               $7::smallint[]) AS t
    ON CONFLICT (source, name, key)
    DO UPDATE SET due_at = excluded.due_at, type = excluded.type, body = excluded.body
"""
DROP = """
    DELETE FROM bus.timers t USING unnest($2::text[], $3::text[]) AS d (name, key)
     WHERE t.source = $1 AND t.name = d.name AND t.key = d.key
"""


def write(tx: Transaction, source: str, changes: Sequence[TimerSet | TimerDropped]) -> None:
    """Queue what a decision sets and drops. One decision names a timer once."""
    timers = [change for change in changes if isinstance(change, TimerSet)]
    drops = [change for change in changes if isinstance(change, TimerDropped)]
    if timers:
        bodies = [Body(data=Raw(encode(t.event)), key=t.key) for t in timers]
        tx.write(
            SET,
            source,
            [t.name for t in timers],
            [t.key for t in timers],
            [t.due_at for t in timers],
            [t.event.type for t in timers],
            [encode(body).decode() for body in bodies],
            [partition_of(t.key) for t in timers],
        )
    if drops:
        tx.write(DROP, source, [t.name for t in drops], [t.key for t in drops])


# Served by timers_by_due. The subject is the timer itself, versioned by when it was due, so that
# a fired timer never counts as a fact of the aggregate it wakes.
FIRE = """
    WITH due AS (
      DELETE FROM bus.timers WHERE (source, name, key) IN (
        SELECT source, name, key FROM bus.timers WHERE due_at <= now()
         ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
      RETURNING source, name, key, due_at, type, body, partition)
    INSERT INTO bus.log (source, at, partition, type, subject, sequence, body, number)
    SELECT source, now(), partition, type, 'timer:' || name || ':' || key,
           (extract(epoch FROM due_at) * 1000000)::bigint, body, row_number() OVER ()
      FROM due ON CONFLICT DO NOTHING
    RETURNING partition
"""


async def fire(connection: Connection) -> int:
    """Move what is due to the log; how many that were."""
    return len(await connection.fetch(FIRE, FIRED_AT_ONCE_MAX))
