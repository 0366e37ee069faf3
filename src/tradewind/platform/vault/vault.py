"""Where names, addresses, e-mail and telephone numbers live; elsewhere only their tokens.

Invariants: a record opens only here, with the master key; an erased record opens nowhere and never
again, in no process, at once (nothing opened is kept in memory, nor any person's key); a contact
token exists as long as a record uses it, and an address that comes back after its erasure gets a
new one, so that nothing new is ever linked with what was erased.

Writing comes first: a route keeps the record, then sends its command with the tokens. Kept twice
means two records; the one that no command came to use is found by `sweep_orphans` a day later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import asyncpg

from tradewind.kernel.ids import new_id
from tradewind.kernel.problems import Problem
from tradewind.platform.database.pool import Connection, Pool
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.vault import erasing, rows, texts, upkeep
from tradewind.platform.vault.erasing import Erasure
from tradewind.platform.vault.intake import Intake, Kept, NewRecord
from tradewind.platform.vault.keyring import (
    RETENTION,
    TEXTS,
    Keyring,
    VersionUnknown,
    read_keyring,
    unwrap_person,
)
from tradewind.platform.vault.masters import FileMasters, Masters
from tradewind.platform.vault.sealing import new_key, seal, unseal
from tradewind.platform.vault.upkeep import InUse

ROLE = "tradewind_vault"
# Five seconds of work at 200 records a second, half of one at 2,000: more would only wait.
QUEUE_MAX = 1_024
# An order's names and addresses are 400 bytes, a mail's text a few thousand.
RECORD_BYTES_MAX = 65_536
# A version of a key is retired in the middle of a batch at most now and then.
TRIES = 3

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


class OwnerErased(Problem):
    """The person was erased: nothing new is kept under a key that is gone."""

    status = 410
    code = "erased"
    title = "The personal data of this person has been erased."


class Vault:
    """Keeps, opens, finds and erases personal data. One per process; `close` when it stops."""

    def __init__(
        self,
        pool: Pool,
        secrets: Secrets,
        *,
        masters: Masters | None = None,
        queue_max: int = QUEUE_MAX,
        wrote: Callable[[int, int], None] = lambda xid, life: None,
    ) -> None:
        self._pool = pool
        # Told of each transaction that kept records, and of the server's life it was in.
        self._wrote = wrote
        self.masters = masters or FileMasters(secrets)
        self._intake = Intake(self._write, queue_max=queue_max)
        self._ring: Keyring | None = None
        self._ring_lock = asyncio.Lock()

    async def keep(
        self, fields: Mapping[str, str | None], *, holder: str = "orders", owner: str | None = None
    ) -> Kept:
        """Seal one person's fields; returns their tokens once they are committed.

        `fields["email"]`, where there is one, decides the contact. Fields that are None are left
        out. `holder` names the context that will use the record: it is asked before an orphan goes.
        `owner` is the record of a registered person whose key this one shares: erasing that is
        erasing this. Raises `VaultIsBusy`, `VaultUnavailable`, `RecordTooLarge`, `OwnerErased`.
        """
        person = new_id("prs")
        given = {name: value for name, value in fields.items() if value is not None}
        if owner is None:
            own = key = new_key()
        else:
            own, found = None, (await self._keys_of([owner])).get(owner)
            if found is None:
                raise OwnerErased
            key = found
        content = seal(key, person, given)
        if len(content) > RECORD_BYTES_MAX:
            raise RecordTooLarge(f"All fields together may have {RECORD_BYTES_MAX} bytes.")
        email = given.get("email") or None
        contact = new_id("ctc") if email else None
        record = NewRecord(person, holder, own, content, email, contact, owner)
        return await self._intake.put(record)

    async def open(self, persons: Sequence[str]) -> dict[str, dict[str, str] | None]:
        """The fields of every person asked for; None for one that is erased or was never there.

        Raises `RecordUnreadable` when stored bytes were tampered with, `SecretsError` when this
        server lacks the master key: neither may pass for an erasure.
        """
        found: dict[str, dict[str, str] | None] = dict.fromkeys(persons)
        if not found:
            return found
        for person, (key, content) in (await self._sealed_of(list(found))).items():
            found[person] = unseal(key, person, content)
        return found

    async def seal_text(self, person: str | None, text: str) -> str:
        """A text somebody wrote, as it may stand anywhere; about a person, or about nobody.

        Of a person who is erased no text is kept: it reads as null from the beginning.
        """
        if person is None:
            ring = await self._keyring()
            version = ring.newest[TEXTS]
            name = f"{texts.NOBODY}.{version}"
            return texts.seal_text(ring.key(TEXTS, version), name, text)
        key = (await self._keys_of([person])).get(person)
        return texts.GONE if key is None else texts.seal_text(key, person, text)

    async def open_texts(self, sealed: Iterable[str]) -> dict[str, str | None]:
        """What sealed texts say; None for one whose person is erased."""
        names = {text: texts.key_name_of(text) for text in sealed}
        persons = {name for name in names.values() if name and name.startswith("prs_")}
        keys = await self._keys_of(sorted(persons)) if persons else {}
        opened: dict[str, str | None] = {}
        for text, name in names.items():
            if name is not None and name.startswith(texts.NOBODY):
                key = await self._own_key(TEXTS, int(name.partition(".")[2]))
            else:
                key = keys.get(name or "")
            opened[text] = None if key is None else texts.open_text(key, text)
        return opened

    async def find_contact(self, email: str) -> str | None:
        """The token of exactly this address, if any record has it."""
        for _ in range(TRIES):
            ring = await self._keyring()
            contact, current = await self._with_connection(
                partial(rows.find, ring=ring, email=email)
            )
            if contact is not None or current:
                return contact
            await self._read_keyring_again(ring)
        return None

    async def persons_of_contact(self, contact: str) -> list[str]:
        """All records with this contact's address, oldest first."""
        found = await self._with_connection(lambda c: c.fetch(rows.PERSONS_OF_CONTACT, contact))
        return [row[0] for row in found]

    async def contacts_of(self, persons: Sequence[str]) -> dict[str, str | None]:
        """The contact of each record that is not erased."""
        found = await self._with_connection(lambda c: c.fetch(rows.CONTACTS_OF, list(persons)))
        return {row[0]: row[1] for row in found}

    async def owned_by(self, *owners: str) -> list[str]:
        """The records that share the key of one of these, those themselves first."""
        found = await self._with_connection(lambda c: c.fetch(rows.OWNED_BY, list(owners)))
        return [*owners, *(row[0] for row in found)]

    async def erased_lately(self) -> list[str]:
        """Who was erased in the last two days."""
        found = await self._with_connection(lambda c: c.fetch(rows.ERASED_LATELY))
        return [row[0] for row in found]

    async def erase(self, person: str) -> bool:
        """Destroy a record's key and content for ever; False if there was nothing left to destroy.

        The contact goes with its last record, and with a registered person's record all that share
        its key. When this returns, no process can open any of them.
        """
        return bool(await self._with_connection(lambda c: erasing.erase_all(c, [person])))

    async def erase_contact(self, contact: str) -> int:
        """Erase every record with this contact's address; returns how many there were."""
        count = 0
        # Again until none is left: an order may have come in between.
        while persons := await self.persons_of_contact(contact):
            count += len(await self._with_connection(partial(erasing.erase_all, persons=persons)))
        return count

    async def erase_person(
        self, persons: Sequence[str], erasure: Erasure, retained: Mapping[str, Mapping[str, str]]
    ) -> int:
        """Erase all of these in one transaction, and write down that it was done.

        `retained`: of whom what must stay for tax papers, until the end of `erasure.retain_until`.
        Returns how many there were; 0: another was faster, and nothing is written down twice.
        """
        keys: dict[str, bytes] = {}
        if retained:
            year = erasure.retain_until
            key = await self._with_connection(
                lambda c: erasing.retention_key(c, self.masters, year)
            )
            keys = {p: seal(key, f"paper of {p}", fields) for p, fields in retained.items()}
        reason = await self.seal_text(None, erasure.reason)
        return await self._with_connection(
            lambda c: erasing.erase_person(c, persons, erasure, reason, keys)
        )

    async def open_retained(self, persons: Sequence[str]) -> dict[str, dict[str, str]]:
        """What the tax papers of erased persons still say of them."""
        found = await self._with_connection(lambda c: c.fetch(rows.RETAINED, list(persons)))
        opened = {}
        for person, version, content in found:
            key = await self._own_key(RETENTION, version)
            if key is not None:
                opened[person] = unseal(key, f"paper of {person}", content)
        return opened

    async def end_retention(self, year: int) -> int:
        """Destroy what was retained until a year that is over; how many records that were."""
        return await self._with_connection(lambda c: erasing.end_retention(c, year))

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

    async def close(self) -> None:
        """Finish what is being written."""
        await self._intake.close()

    async def _write(self, records: Sequence[NewRecord]) -> Sequence[Kept]:
        """One statement for the whole batch. Safe to send again: every row has its own token.

        It waits for the disk, though the order's commit comes after it: between the two the server
        may crash, come back without the record, and take the order that points to it.
        """
        for _ in range(TRIES):
            ring = await self._keyring()
            to_keep = rows.to_keep(ring, records)
            found, life = await self._with_connection(partial(self._keep_all, to_keep=to_keep))
            if not found[0][3]:  # a key that it would have used was retired
                await self._read_keyring_again(ring)
                continue
            contacts: dict[bytes, str] = {row[0]: row[1] for row in found}
            self._wrote(found[0][2], life)
            return [
                Kept(r.person, None if blind is None else contacts[blind])
                for r, blind in zip(records, to_keep.blinds, strict=True)
            ]
        raise VaultUnavailable(
            "Keys are being changed. Try again in a second.", headers={"Retry-After": "1"}
        )

    async def _keep_all(
        self, connection: Connection, to_keep: rows.ToKeep
    ) -> tuple[Sequence[Any], int]:
        found = await connection.fetch(to_keep.statement, *to_keep.columns)
        return found, self._pool.life_of(connection)

    # -- keys

    async def _keyring(self) -> Keyring:
        """This process's keys; made, by the first process that ever needs them."""
        if self._ring is not None:
            return self._ring
        return await self._read_keyring_again(None)

    async def _read_keyring_again(self, seen: Keyring | None) -> Keyring:
        async with self._ring_lock:
            if self._ring is None or self._ring is seen:
                self._ring = await self._with_connection(lambda c: read_keyring(c, self.masters))
            return self._ring

    async def _own_key(self, purpose: str, version: int) -> bytes | None:
        """A key of the vault's own; None for one that is destroyed."""
        ring = await self._keyring()
        if (purpose, version) not in ring.keys:
            ring = await self._read_keyring_again(ring)
        return ring.keys.get((purpose, version))

    async def _sealed_of(self, persons: Sequence[str]) -> dict[str, tuple[bytes, bytes]]:
        """Key and content of those that are not erased."""
        for _ in range(TRIES):
            ring = await self._keyring()
            found = await self._with_connection(lambda c: rows.read(c, persons))
            try:
                return {
                    row.person: (
                        await unwrap_person(
                            ring, self.masters, row.key_of, row.key_id, row.wrapped
                        ),
                        row.content,
                    )
                    for row in found
                }
            except VersionUnknown:
                # Wrapped again under a newer version, or read just before the older one went.
                await self._read_keyring_again(ring)
        raise VaultUnavailable(
            "Keys are being changed. Try again in a second.", headers={"Retry-After": "1"}
        )

    async def _keys_of(self, persons: Sequence[str]) -> dict[str, bytes]:
        return {p: key for p, (key, _) in (await self._sealed_of(persons)).items()}

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
