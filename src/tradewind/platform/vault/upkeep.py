"""What happens to records later: erasure, the sweep for orphans, new master keys."""

import os
from collections.abc import Awaitable, Callable, Collection, Sequence

from tradewind.kernel.ids import PAIRS, SHIFTS
from tradewind.platform.database.pool import Connection
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.vault.sealing import KEY_BYTES, Wrapped, unwrap, wrap

# A record is written moments before the command that uses it. A day covers any clock.
ORPHAN_AGE_S = 24 * 3_600
# Tokens asked for at once: one cheap statement for the holder.
SWEEP_MAX = 1_000
REWRAP_MAX = 500
BLIND_INDEX = "blind index"

InUse = Callable[[Sequence[str]], Awaitable[Collection[str]]]

# persons_pkey; FOR UPDATE, so that of two erasures one finds nothing left.
LOCK_PERSON = """
    SELECT contact FROM vault.persons WHERE person = $1 AND erased_at IS NULL FOR UPDATE"""
ERASE_PERSON = """
    UPDATE vault.persons
       SET erased_at = now(), contact = NULL, key_id = NULL, wrapped = NULL, sealed = NULL
     WHERE person = $1"""
DELETE_PERSON = "DELETE FROM vault.persons WHERE person = $1"
LOCK_CONTACT = "SELECT 1 FROM vault.contacts WHERE contact = $1 FOR UPDATE"
# persons_by_contact.
DROP_UNUSED_CONTACT = """
    DELETE FROM vault.contacts
     WHERE contact = $1 AND NOT EXISTS (SELECT 1 FROM vault.persons WHERE contact = $1)"""


async def erase(connection: Connection, person: str) -> bool:
    """Destroy a record, and its contact if it was the last; the row stays, empty."""
    return await remove(connection, person, ERASE_PERSON)


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


READ_KEY = "SELECT key_id, wrapped FROM vault.keys WHERE purpose = $1"
ADD_KEY = """
    INSERT INTO vault.keys (purpose, key_id, wrapped) VALUES ($1, $2, $3)
    ON CONFLICT (purpose) DO NOTHING"""


async def index_key(connection: Connection, secrets: Secrets) -> bytes:
    """The key of the blind index. Random and wrapped like a record's, so that a new master key
    leaves the index as it is. Raises `SecretsError` on a server with another installation's key.
    """
    row = await connection.fetchrow(READ_KEY, BLIND_INDEX)
    if row is None:
        made = wrap(secrets, BLIND_INDEX, os.urandom(KEY_BYTES))
        await connection.execute(ADD_KEY, BLIND_INDEX, made.key_id, made.wrapped)
        row = await connection.fetchrow(READ_KEY, BLIND_INDEX)
    return unwrap(secrets, BLIND_INDEX, Wrapped(row["key_id"], row["wrapped"]))


# persons_pkey, in its order: rotation is rare and reads everything once.
NEXT_TO_REWRAP = """
    SELECT person, key_id, wrapped, key_id <> $2 AS old FROM vault.persons
     WHERE person > $1 AND erased_at IS NULL ORDER BY person LIMIT $3"""
# The old key id is compared: a record that was erased or wrapped again meanwhile is left alone.
REWRAP = """
    UPDATE vault.persons p SET key_id = $5, wrapped = n.wrapped
      FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[])
        AS n (person, key_id, was, wrapped)
     WHERE p.person = n.person AND p.key_id = n.key_id AND p.wrapped = n.was"""
REWRAP_KEY = """
    UPDATE vault.keys SET key_id = $3, wrapped = $4 WHERE purpose = $1 AND wrapped = $2"""


async def rewrap(connection: Connection, secrets: Secrets) -> int:
    """See `Vault.rewrap`."""
    await index_key(connection, secrets)
    row = await connection.fetchrow(READ_KEY, BLIND_INDEX)
    if row["key_id"] != secrets.key_id:
        key = unwrap(secrets, BLIND_INDEX, Wrapped(row["key_id"], row["wrapped"]))
        new = wrap(secrets, BLIND_INDEX, key)
        await connection.execute(REWRAP_KEY, BLIND_INDEX, row["wrapped"], new.key_id, new.wrapped)
    count, after = 0, ""
    while rows := await connection.fetch(NEXT_TO_REWRAP, after, secrets.key_id, REWRAP_MAX):
        after = rows[-1]["person"]
        old = [row for row in rows if row["old"]]
        if not old:
            continue
        again = []
        for person, key_id, wrapped, _ in old:
            key = unwrap(secrets, person, Wrapped(key_id, wrapped))
            again.append(wrap(secrets, person, key).wrapped)
        status = await connection.execute(
            REWRAP,
            [row["person"] for row in old],
            [row["key_id"] for row in old],
            [row["wrapped"] for row in old],
            again,
            secrets.key_id,
        )
        count += int(status.split()[1])
    return count
