"""What happens to records that nothing uses: the sweep for orphans."""

from collections.abc import Awaitable, Callable, Collection, Sequence

from tradewind.kernel.ids import PAIRS, SHIFTS
from tradewind.platform.database.pool import Connection

# A record is written moments before the command that uses it. A day covers any clock.
ORPHAN_AGE_S = 24 * 3_600
# Tokens asked for at once: one cheap statement for the holder.
SWEEP_MAX = 1_000

InUse = Callable[[Sequence[str]], Awaitable[Collection[str]]]

# persons_pkey; FOR UPDATE, so that of two erasures one finds nothing left.
LOCK_PERSON = """
    SELECT contact FROM vault.persons WHERE person = $1 AND erased_at IS NULL FOR UPDATE"""
DELETE_PERSON = "DELETE FROM vault.persons WHERE person = $1"
LOCK_CONTACT = "SELECT 1 FROM vault.contacts WHERE contact = $1 FOR UPDATE"
# persons_by_contact.
DROP_UNUSED_CONTACT = """
    DELETE FROM vault.contacts
     WHERE contact = $1 AND NOT EXISTS (SELECT 1 FROM vault.persons WHERE contact = $1)"""


async def remove(connection: Connection, person: str, statement: str) -> bool:
    """Run `statement` on a living record and drop its contact if nothing else uses it."""
    async with connection.transaction():
        row = await connection.fetchrow(LOCK_PERSON, person)
        if row is None:
            return False
        await connection.execute(statement, person)
        if row["contact"] is not None:
            # The lock waits for records that are being kept with this contact; the statement after
            # it has a new snapshot and sees them. One statement for both would not.
            await connection.execute(LOCK_CONTACT, row["contact"])
            await connection.execute(DROP_UNUSED_CONTACT, row["contact"])
    return True


SWEPT_UNTIL = "SELECT person FROM vault.swept WHERE holder = $1"
DATABASE_TIME = "SELECT extract(epoch FROM now())::float8"
# persons_pkey, in its order.
NEXT_TO_SWEEP = """
    SELECT person FROM vault.persons
     WHERE person > $1 AND person < $2 AND holder = $3 AND erased_at IS NULL
     ORDER BY person LIMIT $4"""
SAVE_SWEPT = """
    INSERT INTO vault.swept AS s (holder, person) VALUES ($1, $2)
    ON CONFLICT (holder) DO UPDATE SET person = EXCLUDED.person, swept_at = now()
     WHERE s.person < EXCLUDED.person"""


async def next_to_sweep(connection: Connection, holder: str) -> list[str]:
    """The oldest records of `holder` that no sweep has looked at and that are a day old."""
    before = first_person_at(await connection.fetchval(DATABASE_TIME) - ORPHAN_AGE_S)
    after: str = await connection.fetchval(SWEPT_UNTIL, holder) or ""
    rows = await connection.fetch(NEXT_TO_SWEEP, after, before, holder, SWEEP_MAX)
    return [row[0] for row in rows]


async def delete_orphans(
    connection: Connection, holder: str, looked_at: Sequence[str], in_use: Collection[str]
) -> list[str]:
    """Delete those that are not in use, then save the place: a crash repeats one round."""
    unused = sorted(set(looked_at).difference(in_use))
    deleted = [person for person in unused if await remove(connection, person, DELETE_PERSON)]
    await connection.execute(SAVE_SWEPT, holder, max(looked_at))
    return deleted


def first_person_at(unix_s: float) -> str:
    """The smallest token that a record made at this time can have."""
    value = max(0, int(unix_s * 1_000)) << 80
    return "prs_" + "".join([PAIRS[(value >> shift) & 1023] for shift in SHIFTS])
