"""Erasure: keys are destroyed, contents too, in one transaction for all of a person's records."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from tradewind.platform.database.pool import Connection
from tradewind.platform.vault.keyring import RETENTION, add_version, name_of
from tradewind.platform.vault.masters import Masters, Wrapped

# In their order, so that of two erasures one waits and finds nothing left.
LOCK_PERSONS = """
    SELECT person, contact FROM vault.persons
     WHERE (person = ANY ($1::text[]) OR owner = ANY ($1::text[])) AND erased_at IS NULL
     ORDER BY person FOR UPDATE"""
ERASE_PERSONS = """
    UPDATE vault.persons
       SET erased_at = now(), contact = NULL, key_id = NULL, wrapped = NULL, sealed = NULL
     WHERE person = ANY ($1::text[])"""
# The lock waits for records that are being kept with a contact; the statement after it has a new
# snapshot and sees them. One statement for both would not.
LOCK_CONTACTS = """
    SELECT 1 FROM vault.contacts WHERE contact = ANY ($1::text[]) ORDER BY contact FOR UPDATE"""
# persons_by_contact.
DROP_UNUSED_CONTACTS = """
    DELETE FROM vault.contacts c
     WHERE contact = ANY ($1::text[])
       AND NOT EXISTS (SELECT 1 FROM vault.persons p WHERE p.contact = c.contact)"""
NOTE = """
    INSERT INTO vault.erasures (erasure, by, reason, persons) VALUES ($1, $2, $3, $4::text[])"""
RETAIN = """
    INSERT INTO vault.retained (person, version, sealed)
    SELECT * FROM unnest($1::text[], $2::int[], $3::bytea[]) ON CONFLICT (person) DO NOTHING"""
READ_KEY = "SELECT master, wrapped FROM vault.key_versions WHERE purpose = $1 AND version = $2"
END_RECORDS = "DELETE FROM vault.retained WHERE version <= $1"
END_KEYS = "DELETE FROM vault.key_versions WHERE purpose = 'retention' AND version <= $1"


class Erasure(Struct, frozen=True):
    """Who asked for it, why, and how long papers stay."""

    id: str  # "era_..."
    by: str
    reason: str
    retain_until: int  # the last year


async def erase_all(connection: Connection, persons: Sequence[str]) -> list[str]:
    """Destroy these records and those that share their keys; who was left to destroy."""
    async with connection.transaction():
        return await destroy(connection, persons)


async def destroy(connection: Connection, persons: Sequence[str]) -> list[str]:
    """The same, inside of a transaction."""
    rows = await connection.fetch(LOCK_PERSONS, list(persons))
    if not rows:
        return []
    found = [row["person"] for row in rows]
    await connection.execute(ERASE_PERSONS, found)
    contacts = sorted({row["contact"] for row in rows if row["contact"] is not None})
    if contacts:
        await connection.execute(LOCK_CONTACTS, contacts)
        await connection.execute(DROP_UNUSED_CONTACTS, contacts)
    return found


async def erase_person(
    connection: Connection,
    persons: Sequence[str],
    erasure: Erasure,
    reason: str,
    retained: Mapping[str, bytes],
) -> int:
    """All records of a person, what is retained of them, and the note: one commit or nothing."""
    async with connection.transaction():
        found = await destroy(connection, persons)
        if not found:
            return 0
        kept = [person for person in found if person in retained]
        if kept:
            years = [erasure.retain_until] * len(kept)
            await connection.execute(RETAIN, kept, years, [retained[person] for person in kept])
        await connection.execute(NOTE, erasure.id, erasure.by, reason, found)
    return len(found)


async def retention_key(connection: Connection, masters: Masters, year: int) -> bytes:
    """The key of the papers that are retained until the end of a year, made where it is missing."""
    row = await connection.fetchrow(READ_KEY, RETENTION, year)
    if row is None:
        await add_version(connection, masters, RETENTION, year)
        row = await connection.fetchrow(READ_KEY, RETENTION, year)
    wrapped = Wrapped(row["master"], row["wrapped"])
    return await masters.unwrap(name_of(RETENTION, year), wrapped)


async def end_retention(connection: Connection, year: int) -> int:
    """Destroy the keys of the years up to this one, and what lies under them."""
    async with connection.transaction():
        status = await connection.execute(END_RECORDS, year)
        await connection.execute(END_KEYS, year)
    return int(status.split()[1])
