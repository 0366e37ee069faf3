"""New versions of the vault's keys, while everything serves.

Rotation goes in three steps, each committed, so that it may be killed anywhere and run again:

1. The new version is made and the older ones are retired: for that moment writers wait, and behind
   it nothing new is wrapped under an old version, in whatever process (see `rows.KEEP`).
2. Everything under an older version is wrapped again, some hundred rows a transaction, in the order
   of the primary key; the place is kept. Only keys are wrapped again: contents stay as they are.
3. When nothing is left under the older versions, they are destroyed.

A new blind index goes the same way: addresses are opened and hashed again, and until all are, they
are looked for under both hashes.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from tradewind.platform.database.pool import Connection
from tradewind.platform.vault.addresses import blind_index
from tradewind.platform.vault.keyring import (
    ADD,
    BLIND_INDEX,
    READ,
    WRAPPING,
    Keyring,
    key_id_of,
    name_of,
    read_keyring,
    unwrap_person,
)
from tradewind.platform.vault.masters import Masters, Wrapped
from tradewind.platform.vault.rows import read
from tradewind.platform.vault.sealing import new_key, unseal

# 500 keys are wrapped in 3 ms and written in 20: nobody waits for it to notice.
BATCH_ROWS = 500
ROTATION_LOCK = 7_311_009
Told = Callable[[int, int], None]  # done, of how many


class RotationRuns(Exception):
    """Somebody else is at it."""


LOCK = "SELECT pg_try_advisory_lock($1)"
UNLOCK = "SELECT pg_advisory_unlock($1)"
# Waits for the writers that are at work, and lets the next ones in a moment later.
NO_WRITERS = "LOCK TABLE vault.persons IN SHARE MODE"
NEWEST = "SELECT coalesce(max(version), 0) FROM vault.key_versions WHERE purpose = $1"
RETIRE_OLDER = """
    UPDATE vault.key_versions SET retired_at = now()
     WHERE purpose = $1 AND version < $2 AND retired_at IS NULL"""
BEGUN = "SELECT version, place, done, total FROM vault.rotations WHERE purpose = $1"
BEGIN = """
    INSERT INTO vault.rotations (purpose, version, place, done, total) VALUES ($1, $2, '', 0, $3)
    ON CONFLICT (purpose) DO UPDATE
       SET version = excluded.version, place = '', done = 0, total = excluded.total,
           changed_at = now()"""
MOVED = """
    UPDATE vault.rotations SET place = $3, done = done + $4, changed_at = now()
     WHERE purpose = $1 AND version = $2"""
ENDED = "DELETE FROM vault.rotations WHERE purpose = $1"
DESTROY_OLDER = """
    DELETE FROM vault.key_versions WHERE purpose = $1 AND version < $2 AND retired_at IS NOT NULL"""

COUNT_OLD_PERSONS = """
    SELECT count(*) FROM vault.persons WHERE key_id <> $1 AND erased_at IS NULL"""
# persons_pkey, in its order: rotation is rare and reads everything once.
NEXT_PERSONS = """
    SELECT person, key_id, wrapped, key_id <> $2 AS old FROM vault.persons
     WHERE person > $1 AND erased_at IS NULL AND key_id IS NOT NULL ORDER BY person LIMIT $3"""
# What was is compared: a record that was erased meanwhile is left alone.
REWRAP = """
    UPDATE vault.persons p SET key_id = $4, wrapped = n.wrapped
      FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS n (person, was, wrapped)
     WHERE p.person = n.person AND p.wrapped = n.was"""
REWRAP_KEY = """
    UPDATE vault.key_versions SET master = $4, wrapped = $5
     WHERE purpose = $1 AND version = $2 AND wrapped = $3"""

COUNT_OLD_CONTACTS = "SELECT count(*) FROM vault.contacts WHERE index_version <> $1"
# contacts_pkey; any record that is not erased tells the address.
NEXT_CONTACTS = """
    SELECT c.contact, c.index_version <> $2 AS old,
           (SELECT min(p.person) FROM vault.persons p
             WHERE p.contact = c.contact AND p.erased_at IS NULL) AS person
      FROM vault.contacts c WHERE c.contact > $1 ORDER BY c.contact LIMIT $3"""
REHASH = """
    UPDATE vault.contacts c SET blind = n.blind, index_version = $3
      FROM unnest($1::text[], $2::bytea[]) AS n (contact, blind)
     WHERE c.contact = n.contact AND c.index_version <> $3"""


class Rotated(Struct, frozen=True):
    """What came of it."""

    version: int
    changed: int
    destroyed: int  # older versions


async def rotate(
    connection: Connection, masters: Masters, told: Told = lambda d, t: None
) -> Rotated:
    """A new wrapping key under the newest master, and every person's key under it.

    The vault's other keys are wrapped under the newest master too: afterwards nothing needs an
    older one. Goes on where an earlier run was killed. Raises `RotationRuns`.
    """
    async with Exclusive(connection):
        ring = await read_keyring(connection, masters)
        await rewrap_own(connection, masters)
        version, total = await begin(connection, masters, WRAPPING, COUNT_OLD_PERSONS)
        ring = await read_keyring(connection, masters)
        changed = await rewrap_persons(
            connection, masters, ring, version=version, total=total, told=told
        )
        return await end(connection, WRAPPING, version, changed, COUNT_OLD_PERSONS)


async def reindex(
    connection: Connection, masters: Masters, told: Told = lambda d, t: None
) -> Rotated:
    """A new key of the blind index, and every address hashed with it. As `rotate`."""
    async with Exclusive(connection):
        await read_keyring(connection, masters)
        version, total = await begin(connection, masters, BLIND_INDEX, COUNT_OLD_CONTACTS)
        ring = await read_keyring(connection, masters)
        changed = await rehash(connection, masters, ring, version=version, total=total, told=told)
        return await end(connection, BLIND_INDEX, version, changed, COUNT_OLD_CONTACTS)


class Exclusive:
    """One rotation at a time in a database; the lock goes with the session that has it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def __aenter__(self) -> None:
        if not await self._connection.fetchval(LOCK, ROTATION_LOCK):
            raise RotationRuns("Another rotation is running. See: tradewind vault status")

    async def __aexit__(self, *_: object) -> None:
        if not self._connection.is_closed():
            await self._connection.execute(UNLOCK, ROTATION_LOCK)


def named(purpose: str, version: int) -> Any:
    """How a row names the version it is under."""
    return key_id_of(version) if purpose == WRAPPING else version


async def begin(
    connection: Connection, masters: Masters, purpose: str, count: str
) -> tuple[int, int]:
    """The version that everything goes to, and how many rows are on their way; from now on nothing
    new comes under an older one.
    """
    begun = await connection.fetchrow(BEGUN, purpose)
    if begun is not None:
        return begun["version"], begun["total"]
    version = await connection.fetchval(NEWEST, purpose) + 1
    made = await masters.wrap(name_of(purpose, version), new_key())
    total = await connection.fetchval(count, named(purpose, version))
    async with connection.transaction():
        await connection.execute(NO_WRITERS)
        await connection.execute(ADD, purpose, version, made.master, made.wrapped)
        await connection.execute(RETIRE_OLDER, purpose, version)
        await connection.execute(BEGIN, purpose, version, total)
    return version, total


async def end(
    connection: Connection, purpose: str, version: int, changed: int, count: str
) -> Rotated:
    """Destroy what nothing uses any more."""
    left = await connection.fetchval(count, named(purpose, version))
    assert left == 0, f"{left} rows came under a retired version of {purpose}"
    async with connection.transaction():
        status = await connection.execute(DESTROY_OLDER, purpose, version)
        await connection.execute(ENDED, purpose)
    return Rotated(version, changed, int(status.split()[1]))


async def rewrap_own(connection: Connection, masters: Masters) -> None:
    """The vault's own keys under the newest master."""
    newest = await masters.newest()
    for purpose, version, master, wrapped, _ in await connection.fetch(READ):
        if master == newest:
            continue
        name = name_of(purpose, version)
        again = await masters.wrap(name, await masters.unwrap(name, Wrapped(master, wrapped)))
        await connection.execute(REWRAP_KEY, purpose, version, wrapped, again.master, again.wrapped)


async def rewrap_persons(
    connection: Connection, masters: Masters, ring: Keyring, *, version: int, total: int, told: Told
) -> int:
    """Step 2 for persons; how many were wrapped again by this run."""
    begun = await connection.fetchrow(BEGUN, WRAPPING)
    after, done = begun["place"], begun["done"]
    key_id = key_id_of(version)
    changed = 0
    told(done, total)
    while rows := await connection.fetch(NEXT_PERSONS, after, key_id, BATCH_ROWS):
        after = rows[-1]["person"]
        old = [row for row in rows if row["old"]]
        again = []
        for person, old_id, wrapped, _ in old:
            key = await unwrap_person(ring, masters, person, old_id, wrapped)
            again.append(ring.wrap(person, key))
        async with connection.transaction():
            if old:
                await connection.execute(
                    REWRAP,
                    [row["person"] for row in old],
                    [row["wrapped"] for row in old],
                    again,
                    key_id,
                )
            await connection.execute(MOVED, WRAPPING, version, after, len(old))
        changed += len(old)
        told(min(done + changed, total), total)
    return changed


async def rehash(
    connection: Connection, masters: Masters, ring: Keyring, *, version: int, total: int, told: Told
) -> int:
    """Step 2 for addresses."""
    begun = await connection.fetchrow(BEGUN, BLIND_INDEX)
    after, done = begun["place"], begun["done"]
    key = ring.key(BLIND_INDEX, version)
    changed = 0
    told(done, total)
    while rows := await connection.fetch(NEXT_CONTACTS, after, version, BATCH_ROWS):
        after = rows[-1]["contact"]
        old = {row["person"]: row["contact"] for row in rows if row["old"] and row["person"]}
        contacts, blinds = [], []
        for sealed in await read(connection, list(old)):
            opened = await unwrap_person(
                ring, masters, sealed.key_of, sealed.key_id, sealed.wrapped
            )
            fields = unseal(opened, sealed.person, sealed.content)
            contacts.append(old[sealed.person])
            blinds.append(blind_index(key, fields["email"]))
        async with connection.transaction():
            if contacts:
                await connection.execute(REHASH, contacts, blinds, version)
            await connection.execute(MOVED, BLIND_INDEX, version, after, len(contacts))
        changed += len(contacts)
        told(min(done + changed, total), total)
    return changed


STANDING = """
    SELECT v.purpose, v.version, v.master, v.retired_at,
           CASE v.purpose
             WHEN 'wrapping' THEN (SELECT count(*) FROM vault.persons
                                    WHERE key_id = 'wrapping.' || v.version)
             WHEN 'blind index' THEN (SELECT count(*) FROM vault.contacts
                                       WHERE index_version = v.version)
             WHEN 'retention' THEN (SELECT count(*) FROM vault.retained r
                                     WHERE r.version = v.version)
           END AS uses
      FROM vault.key_versions v ORDER BY v.purpose, v.version"""
COUNTS = """
    SELECT count(*) FILTER (WHERE erased_at IS NULL) AS records,
           count(*) FILTER (WHERE erased_at IS NOT NULL) AS erased,
           count(*) FILTER (WHERE key_id NOT LIKE 'wrapping.%') AS under_masters
      FROM vault.persons"""
RUNNING = "SELECT purpose, version, done, total, changed_at FROM vault.rotations ORDER BY purpose"


class KeyStanding(Struct, frozen=True):
    """One version of a key, and how many rows are under it; None: they are not counted."""

    purpose: str
    version: int
    master: str
    retired: bool
    uses: int | None


class UnderWay(Struct, frozen=True):
    """A rotation that has begun and not ended."""

    purpose: str
    version: int
    done: int
    total: int


class Standing(Struct, frozen=True):
    """How the vault stands."""

    records: int
    erased: int
    under_masters: int  # from before wrapping keys had versions
    keys: list[KeyStanding]
    under_way: list[UnderWay]


async def standing(connection: Connection) -> Standing:
    """How the vault stands: nothing is opened for it."""
    counts = await connection.fetchrow(COUNTS)
    return Standing(
        counts["records"],
        counts["erased"],
        counts["under_masters"],
        [
            KeyStanding(
                r["purpose"], r["version"], r["master"], r["retired_at"] is not None, r["uses"]
            )
            for r in await connection.fetch(STANDING)
        ],
        [
            UnderWay(r["purpose"], r["version"], r["done"], r["total"])
            for r in await connection.fetch(RUNNING)
        ],
    )
