"""The statements of the vault's everyday work: one to keep, one to open, one to find."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from tradewind.platform.database.pool import Connection
from tradewind.platform.vault.addresses import blind_index
from tradewind.platform.vault.intake import NewRecord
from tradewind.platform.vault.keyring import BLIND_INDEX, WRAPPING, Keyring, key_id_of


class SealedRow(Struct, frozen=True):
    """A record that is not erased, and the key that opens it: its own, or its owner's."""

    person: str
    content: bytes
    key_of: str  # whose key it is
    key_id: str
    wrapped: bytes


# persons_pkey. Erased rows have nothing to open.
OPEN = """
    SELECT person, key_id, wrapped, sealed, owner FROM vault.persons
     WHERE person = ANY ($1::text[]) AND erased_at IS NULL"""


async def read(connection: Connection, persons: Sequence[str]) -> list[SealedRow]:
    """Those of the records that are not erased. Only registered persons cost a second look."""
    found = await connection.fetch(OPEN, persons)
    owners = {row["owner"] for row in found if row["owner"] is not None}
    keys = {row["person"]: row for row in found}
    if unread := sorted(owners.difference(keys)):
        keys |= {row["person"]: row for row in await connection.fetch(OPEN, unread)}
    opened = []
    for row in found:
        holder = keys.get(row["owner"] or row["person"])
        if holder is not None and holder["wrapped"] is not None:
            opened.append(
                SealedRow(
                    row["person"],
                    row["sealed"],
                    holder["person"],
                    holder["key_id"],
                    holder["wrapped"],
                )
            )
    return opened


# contacts_blind_key. Whether the index that was asked is the one that is written now, too.
FIND = """
    SELECT (SELECT contact FROM vault.contacts WHERE blind = ANY ($1::bytea[]) LIMIT 1),
           NOT EXISTS (SELECT FROM vault.key_versions
                        WHERE purpose = 'blind index' AND version > $2 AND retired_at IS NULL)"""


async def find(connection: Connection, ring: Keyring, email: str) -> tuple[str | None, bool]:
    """The contact of an address, under whichever hash; and whether this ring is the newest."""
    newest = ring.newest[BLIND_INDEX]
    blinds = [
        blind_index(ring.key(BLIND_INDEX, version), email)
        for version in (newest, *ring.older(BLIND_INDEX))
    ]
    row = await connection.fetchrow(FIND, blinds, newest)
    return row[0], row[1]


# persons_by_contact.
PERSONS_OF_CONTACT = "SELECT person FROM vault.persons WHERE contact = $1 ORDER BY person"
# persons_pkey.
CONTACTS_OF = """
    SELECT person, contact FROM vault.persons
     WHERE person = ANY ($1::text[]) AND erased_at IS NULL"""
# persons_by_owner.
OWNED_BY = """
    SELECT person FROM vault.persons
     WHERE owner = ANY ($1::text[]) AND erased_at IS NULL ORDER BY person"""
# erasures_by_time.
ERASED_LATELY = """
    SELECT unnest(persons) FROM vault.erasures WHERE erased_at > now() - interval '2 days'"""
# retained_pkey.
RETAINED = "SELECT person, version, sealed FROM vault.retained WHERE person = ANY ($1::text[])"

# Contacts by contacts_blind_key, in the order of the index, so that two batches with the same new
# addresses wait for each other instead of deadlocking. A known contact is share-locked: `erase`
# cannot drop it before these records are there to be seen. A contact that a concurrent batch has
# just made is not in this statement's snapshot; the no-op DO UPDATE is what returns it.
#
# Nothing is written under a version that is retired: `usable` says so, and who sent it reads the
# keys again. Whoever retires one locks the table against writers for that moment, and a statement
# takes its locks before its snapshot, so behind a retirement no row of the old version comes.
KEEP = """
    WITH usable AS MATERIALIZED (
      SELECT count(*) = 2 AS yes FROM vault.key_versions
       WHERE retired_at IS NULL AND (purpose, version) IN (('wrapping', $7), ('blind index', $8))
    ), new AS MATERIALIZED (
      SELECT person, holder, wrapped, sealed, blind, contact, owner
        FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[],
                    $10::text[])
          AS n (person, holder, wrapped, sealed, blind, contact, owner)
       WHERE (SELECT yes FROM usable)
    ), known AS MATERIALIZED (
      SELECT blind, contact FROM vault.contacts WHERE blind = ANY ($5::bytea[]) FOR KEY SHARE
    ), made AS (
      INSERT INTO vault.contacts AS c (blind, contact, index_version)
      SELECT DISTINCT ON (blind) blind, contact, $8 FROM new
       WHERE blind IS NOT NULL AND blind NOT IN (SELECT blind FROM known)
       ORDER BY blind
      ON CONFLICT (blind) DO UPDATE SET created_at = c.created_at
      RETURNING blind, contact
    ), contacts AS (
      SELECT blind, contact FROM known UNION ALL SELECT blind, contact FROM made
    ), kept AS (
      INSERT INTO vault.persons (person, holder, key_id, wrapped, sealed, contact, owner)
      SELECT n.person, n.holder, CASE WHEN n.wrapped IS NULL THEN NULL ELSE $9 END, n.wrapped,
             n.sealed, c.contact, n.owner
        FROM new n LEFT JOIN contacts c ON c.blind = n.blind
      ON CONFLICT (person) DO NOTHING
    )
    SELECT c.blind, c.contact, x.xid, x.usable
      FROM (SELECT pg_current_xact_id()::text::bigint AS xid, u.yes AS usable FROM usable u) x
      LEFT JOIN contacts c ON true"""
# While addresses are being hashed anew, a known one may stand under either hash.
KEEP_REINDEXING = KEEP.replace(
    "SELECT blind, contact FROM vault.contacts WHERE blind = ANY ($5::bytea[]) FOR KEY SHARE",
    """SELECT n.blind, c.contact
        FROM unnest($5::bytea[], $11::bytea[]) AS n (blind, older)
        JOIN vault.contacts c ON c.blind = n.blind OR c.blind = n.older
         FOR KEY SHARE OF c""",
)
assert KEEP_REINDEXING != KEEP


class ToKeep(Struct, frozen=True):
    """Statement and columns for new records, and the hash of each one's address."""

    statement: str
    columns: Sequence[Any]
    blinds: Sequence[bytes | None]


def to_keep(ring: Keyring, records: Sequence[NewRecord]) -> ToKeep:
    """New records, sealed under the newest keys."""
    index = ring.newest[BLIND_INDEX]
    blinds = hashed(ring, index, records)
    columns: tuple[Any, ...] = (
        [r.person for r in records],
        [r.holder for r in records],
        [None if r.key is None else ring.wrap(r.person, r.key) for r in records],
        [r.content for r in records],
        blinds,
        [r.contact for r in records],
        ring.newest[WRAPPING],
        index,
        key_id_of(ring.newest[WRAPPING]),
        [r.owner for r in records],
    )
    older = ring.older(BLIND_INDEX)
    if not older:
        return ToKeep(KEEP, columns, blinds)
    return ToKeep(KEEP_REINDEXING, (*columns, hashed(ring, older[0], records)), blinds)


def hashed(ring: Keyring, version: int, records: Sequence[NewRecord]) -> list[bytes | None]:
    """The addresses of records as a version of the index has them."""
    key = ring.key(BLIND_INDEX, version)
    return [None if r.email is None else blind_index(key, r.email) for r in records]
