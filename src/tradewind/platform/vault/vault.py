"""Where names, addresses, e-mail and telephone numbers live; elsewhere only their tokens.

Invariants: a record opens only here, with the master key; an erased record opens nowhere and never
again, in no process, at once (nothing opened is kept in memory); a contact token exists as long as
a record uses it, and an address that comes back after its erasure gets a new one, so that nothing
new is ever linked with what was erased.

Writing comes first: a route keeps the record, then sends its command with the tokens. Kept twice
means two records; the one that no command came to use is found by `sweep_orphans` a day later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import asyncpg

from tradewind.kernel.ids import new_id
from tradewind.kernel.problems import Problem
from tradewind.platform.database.pool import Connection, Pool
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.vault import upkeep
from tradewind.platform.vault.addresses import blind_index
from tradewind.platform.vault.intake import Intake, Kept, NewRecord
from tradewind.platform.vault.sealing import Sealed, Wrapped, seal, unseal
from tradewind.platform.vault.upkeep import InUse

ROLE = "tradewind_vault"
# Five seconds of work at 200 records a second, half of one at 2,000: more would only wait.
QUEUE_MAX = 1_024
# An order's names and addresses are 400 bytes, a mail's text a few thousand.
RECORD_BYTES_MAX = 65_536

Result = TypeVar("Result")


class RecordTooLarge(Problem):
    """More personal data in one record than any person has."""

    status = 422
    code = "invalid_personal_data"
    title = "The names and addresses are too long."


class VaultUnavailable(Problem):
    """The vault's database cannot be reached."""

    status = 503
    code = "vault_unavailable"
    title = "Personal data cannot be read or written right now."


class Vault:
    """Keeps, opens, finds and erases personal data. One per process; `close` when it stops."""

    def __init__(
        self,
        pool: Pool,
        secrets: Secrets,
        *,
        queue_max: int = QUEUE_MAX,
        wrote: Callable[[int, int], None] = lambda xid, life: None,
    ) -> None:
        self._pool = pool
        # Told of each transaction that kept records, and of the server's life it was in.
        self._wrote = wrote
        self._secrets = secrets
        self._intake = Intake(self._write, queue_max=queue_max)
        self._index_key: bytes | None = None
        self._index_key_lock = asyncio.Lock()

    async def keep(self, fields: Mapping[str, str | None], *, holder: str = "orders") -> Kept:
        """Seal one person's fields; returns their tokens once they are committed.

        `fields["email"]`, where there is one, decides the contact. Fields that are None are left
        out. `holder` names the context that will use the record: it is asked before an orphan goes.
        Raises `VaultIsBusy`, `VaultUnavailable` and `RecordTooLarge`.
        """
        person = new_id("prs")
        given = {name: value for name, value in fields.items() if value is not None}
        sealed = seal(self._secrets, person, given)
        if len(sealed.content) > RECORD_BYTES_MAX:
            raise RecordTooLarge(f"All fields together may have {RECORD_BYTES_MAX} bytes.")
        blind = contact = None
        if email := given.get("email"):
            blind = blind_index(self._index_key or await self._load_index_key(), email)
            contact = new_id("ctc")
        return await self._intake.put(NewRecord(person, holder, sealed, blind, contact))

    async def open(self, persons: Sequence[str]) -> dict[str, dict[str, str] | None]:
        """The fields of every person asked for; None for one that is erased or was never there.

        Raises `RecordUnreadable` when stored bytes were tampered with, `SecretsError` when this
        server lacks the master key: neither may pass for an erasure.
        """
        found: dict[str, dict[str, str] | None] = dict.fromkeys(persons)
        if not found:
            return found
        rows = await self._with_connection(lambda c: c.fetch(OPEN, list(found)))
        for person, key_id, wrapped, content in rows:
            sealed = Sealed(Wrapped(key_id, wrapped), content)
            found[person] = unseal(self._secrets, person, sealed)
        return found

    async def find_contact(self, email: str) -> str | None:
        """The token of exactly this address, if any record has it."""
        blind = blind_index(self._index_key or await self._load_index_key(), email)
        contact: str | None = await self._with_connection(lambda c: c.fetchval(FIND, blind))
        return contact

    async def persons_of_contact(self, contact: str) -> list[str]:
        """All records with this contact's address, oldest first."""
        rows = await self._with_connection(lambda c: c.fetch(PERSONS_OF_CONTACT, contact))
        return [row[0] for row in rows]

    async def erase(self, person: str) -> bool:
        """Destroy a record's key and content for ever; False if there was nothing left to destroy.

        The contact goes with its last record. When this returns, no process can open the record.
        """
        return await self._with_connection(lambda c: upkeep.erase(c, person))

    async def erase_contact(self, contact: str) -> int:
        """Erase every record with this contact's address; returns how many there were."""
        count = 0
        # Again until none is left: an order may have come in between.
        while persons := await self.persons_of_contact(contact):
            for person in persons:
                count += await self.erase(person)
        return count

    async def forget(self, persons: Sequence[str]) -> None:
        """Delete records that nobody points to any more, and nobody ever will: no trace is left."""
        for person in persons:
            await self._with_connection(
                partial(upkeep.remove, person=person, statement=upkeep.DELETE_PERSON)
            )

    async def sweep_orphans(self, holder: str, in_use: InUse) -> list[str]:
        """Delete what `holder` kept over a day ago and never came to use; returns their tokens.

        `in_use` gets record tokens and returns those that the holder knows. Every record is looked
        at once in its life, in the order of time, so this costs no column, index or update on the
        way of an order. Call it now and then from one process; two at once do no harm.
        """
        swept: list[str] = []
        # No connection is held while the holder asks its own tables.
        while persons := await self._with_connection(lambda c: upkeep.next_to_sweep(c, holder)):
            used = await in_use(persons)
            swept += await self._with_connection(
                partial(upkeep.delete_orphans, holder=holder, looked_at=persons, in_use=used)
            )
        return swept

    async def rewrap(self) -> int:
        """Wrap every record's key under the newest master key; returns how many were changed.

        After it has returned in a world where all processes have the new master in front, the old
        one can be taken away. Records stay readable all the time; it can be stopped and run again.
        """
        return await self._with_connection(lambda c: upkeep.rewrap(c, self._secrets))

    async def close(self) -> None:
        """Finish what is being written."""
        await self._intake.close()

    async def _write(self, records: Sequence[NewRecord]) -> Sequence[Kept]:
        """One statement for the whole batch. Safe to send again: every row has its own token.

        It waits for the disk, though the order's commit comes after it: between the two the server
        may crash, come back without the record, and take the order that points to it.
        """
        columns = (
            [r.person for r in records],
            [r.holder for r in records],
            [r.sealed.key.wrapped for r in records],
            [r.sealed.content for r in records],
            [r.blind for r in records],
            [r.contact for r in records],
            self._secrets.key_id,
        )

        async def keep(connection: Connection) -> tuple[Sequence[Any], int]:
            return await connection.fetch(KEEP, *columns), self._pool.life_of(connection)

        rows, life = await self._with_connection(keep)
        contacts: dict[bytes, str] = {row[0]: row[1] for row in rows}
        self._wrote(rows[0][2], life)
        return [Kept(r.person, None if r.blind is None else contacts[r.blind]) for r in records]

    async def _load_index_key(self) -> bytes:
        """The key of the blind index, made by the first process that ever needs it."""
        async with self._index_key_lock:
            if self._index_key is None:
                self._index_key = await self._with_connection(
                    lambda c: upkeep.index_key(c, self._secrets)
                )
            return self._index_key

    async def _with_connection(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Run `work` with a connection; once more on another if that one breaks.

        Everything the vault does may be repeated, so a lost reply to a commit does no harm.
        """
        failure: Exception | None = None
        for _ in range(2):
            try:
                async with self._pool.lend(ROLE) as connection:
                    try:
                        return await work(connection)
                    except BROKEN:
                        connection.terminate()  # the pool must not lend it again
                        raise
            except (*BROKEN, asyncpg.TransactionRollbackError) as error:  # or a deadlock
                failure = error
        raise VaultUnavailable(
            "The database did not answer. Try again in a second.", headers={"Retry-After": "1"}
        ) from failure


# What asyncpg raises when a connection is gone, or goes while it is used. The last but one when it
# has read the server's farewell and not yet the end of the stream.
BROKEN = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # the server is stopping or starting
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)

# persons_pkey. Erased rows have nothing to open.
OPEN = """
    SELECT person, key_id, wrapped, sealed FROM vault.persons
     WHERE person = ANY ($1::text[]) AND erased_at IS NULL"""

# contacts_blind_key.
FIND = "SELECT contact FROM vault.contacts WHERE blind = $1"

# persons_by_contact.
PERSONS_OF_CONTACT = "SELECT person FROM vault.persons WHERE contact = $1 ORDER BY person"

# Contacts by contacts_blind_key, in the order of the index, so that two batches with the same new
# addresses wait for each other instead of deadlocking. A known contact is share-locked: `erase`
# cannot drop it before these records are there to be seen. A contact that a concurrent batch has
# just made is not in this statement's snapshot; the no-op DO UPDATE is what returns it.
KEEP = """
    WITH new AS MATERIALIZED (
      SELECT person, holder, wrapped, sealed, blind, contact
        FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[])
          AS n (person, holder, wrapped, sealed, blind, contact)
    ), known AS MATERIALIZED (
      SELECT blind, contact FROM vault.contacts WHERE blind = ANY ($5::bytea[]) FOR KEY SHARE
    ), made AS (
      INSERT INTO vault.contacts AS c (blind, contact)
      SELECT DISTINCT ON (blind) blind, contact FROM new
       WHERE blind IS NOT NULL AND blind NOT IN (SELECT blind FROM known)
       ORDER BY blind
      ON CONFLICT (blind) DO UPDATE SET created_at = c.created_at
      RETURNING blind, contact
    ), contacts AS (
      SELECT blind, contact FROM known UNION ALL SELECT blind, contact FROM made
    ), kept AS (
      INSERT INTO vault.persons (person, holder, key_id, wrapped, sealed, contact)
      SELECT n.person, n.holder, $7, n.wrapped, n.sealed, c.contact
        FROM new n LEFT JOIN contacts c ON c.blind = n.blind
      ON CONFLICT (person) DO NOTHING
    )
    SELECT c.blind, c.contact, x.xid
      FROM (SELECT pg_current_xact_id()::text::bigint AS xid) x LEFT JOIN contacts c ON true"""
