"""Messages that could not be handled, and the later ones of their keys, in order.

A dead letter blocks its key for its consumer only. Whatever comes for that key is *parked* behind
it, so that nothing overtakes. A key with letters of which none is dead runs, in the order of the
log: so asking for a retry is to say that the dead one is not dead, and dropping it frees the rest.
"""

from collections.abc import Sequence

from msgspec import Struct

from tradewind.kernel.messages import Delivered, Position
from tradewind.platform.bus.log import LogRow
from tradewind.platform.database.pool import Connection
from tradewind.platform.database.transaction import Transaction

ERROR_CHARACTERS_MAX = 4_000
RETRIED_AT_ONCE_MAX = 200


class DeadLetter(Struct, frozen=True):
    """A message that waits for a person, as the console and the command line show it."""

    consumer: str
    xid: int
    number: int
    key: str
    state: str
    error: str
    attempts: int
    at: str
    type: str
    subject: str
    sequence: int


PARK = """
    INSERT INTO bus.dead_letters (consumer, xid, number, key, state, error, attempts)
    SELECT $1, d.xid::text::xid8, d.number, d.key, $2, $3, $4
      FROM unnest($5::bigint[], $6::bigint[], $7::text[]) AS d (xid, number, key)
    ON CONFLICT (consumer, xid, number) DO UPDATE
       SET state = excluded.state, error = excluded.error,
           attempts = bus.dead_letters.attempts + excluded.attempts
"""


def park(
    tx: Transaction, consumer: str, messages: Sequence[Delivered], *, state: str, error: str
) -> None:
    """Queue that these messages wait, with why."""
    tx.write(
        PARK,
        consumer,
        state,
        storable(error),
        1 if state == "dead" else 0,
        [message.position.xid for message in messages],
        [message.position.number for message in messages],
        [message.key for message in messages],
    )


def storable(error: str) -> str:
    """An error's text as PostgreSQL takes it: no NUL, no lone surrogate, its last characters."""
    text = error.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
    return text[-ERROR_CHARACTERS_MAX:]


# An update: a letter that somebody dropped meanwhile stays dropped.
BURY_AGAIN = """
    UPDATE bus.dead_letters SET state = 'dead', error = $4, attempts = attempts + 1, at = now()
     WHERE consumer = $1 AND xid = $2::text::xid8 AND number = $3
"""


def bury_again(tx: Transaction, consumer: str, position: Position, error: str) -> None:
    """Queue that a letter failed once more."""
    tx.write(BURY_AGAIN, consumer, str(position.xid), position.number, storable(error))


REMOVE = """
    DELETE FROM bus.dead_letters WHERE consumer = $1 AND xid = $2::text::xid8 AND number = $3
"""


def remove(tx: Transaction, consumer: str, position: Position) -> None:
    """Queue the end of a letter; fails the unit if another process ended it first."""
    tx.write(REMOVE, consumer, str(position.xid), position.number, expect=1)


# Served by dead_letters_by_key.
BLOCKED = "SELECT DISTINCT key FROM bus.dead_letters WHERE consumer = $1"


async def blocked_keys(connection: Connection, consumer: str) -> set[str]:
    """Keys of which something waits."""
    return {row["key"] for row in await connection.fetch(BLOCKED, consumer)}


RETRIES = """
    SELECT 0::bigint, l.xid::text::bigint, l.number, l.partition, l.source, l.type, l.subject,
           l.sequence, l.at, l.body
      FROM bus.dead_letters d JOIN bus.log l ON l.xid = d.xid AND l.number = d.number
     WHERE d.consumer = $1 AND l.partition = ANY($2::smallint[]) AND NOT EXISTS (
           SELECT 1 FROM bus.dead_letters b
            WHERE b.consumer = $1 AND b.key = d.key AND b.state = 'dead')
     ORDER BY d.xid, d.number LIMIT $3
"""


async def retries(connection: Connection, consumer: str, partitions: Sequence[int]) -> list[LogRow]:
    """Everything that waits under keys without a dead letter, in the order of the log."""
    rows = await connection.fetch(RETRIES, consumer, list(partitions), RETRIED_AT_ONCE_MAX)
    return [LogRow(*row) for row in rows]


LIST = """
    SELECT d.consumer, d.xid::text::bigint, d.number, d.key, d.state, d.error, d.attempts,
           d.at::text, l.type, l.subject, l.sequence
      FROM bus.dead_letters d JOIN bus.log l ON l.xid = d.xid AND l.number = d.number
     WHERE ($1::text IS NULL OR d.consumer = $1) AND ($2 OR d.state <> 'parked')
     ORDER BY d.xid, d.number LIMIT $3
"""


async def listed(
    connection: Connection, *, consumer: str | None, parked: bool, count_max: int
) -> list[DeadLetter]:
    """What waits, oldest first."""
    rows = await connection.fetch(LIST, consumer, parked, count_max)
    return [DeadLetter(*row) for row in rows]


ASK_RETRY = """
    UPDATE bus.dead_letters SET state = 'retry'
     WHERE state = 'dead' AND ($1::text IS NULL OR consumer = $1) AND ($2::text IS NULL OR key = $2)
"""
DROP = """
    DELETE FROM bus.dead_letters
     WHERE state IN ('dead', 'retry') AND consumer = $1 AND key = $2
"""


async def ask_retry(connection: Connection, *, consumer: str | None, key: str | None) -> int:
    """Have dead letters tried again by whoever holds their partition; how many."""
    return int((await connection.execute(ASK_RETRY, consumer, key)).split()[-1])


async def drop(connection: Connection, *, consumer: str, key: str) -> None:
    """Give a dead letter up; what was parked behind it runs."""
    await connection.execute(DROP, consumer, key)
