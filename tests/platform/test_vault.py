"""The vault on a real PostgreSQL: what goes in comes out, and what is erased never does."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tradewind.platform.vault as vault_package
from tradewind.kernel.ids import is_id, new_id
from tradewind.platform.database.embedded import EmbeddedPostgres, program
from tradewind.platform.database.migrate import SchemaSource, migrate
from tradewind.platform.database.pool import Pool
from tradewind.platform.security.secrets import Secrets, SecretsError
from tradewind.platform.vault import texts, upkeep
from tradewind.platform.vault.addresses import blind_index, normalise_email
from tradewind.platform.vault.intake import Kept, NewRecord, VaultIsBusy
from tradewind.platform.vault.sealing import RecordUnreadable, new_key, seal, unseal
from tradewind.platform.vault.vault import (
    RECORD_BYTES_MAX,
    ROLE,
    RecordTooLarge,
    Vault,
    VaultUnavailable,
)

MASTER, NEWER = os.urandom(32), os.urandom(32)
TABLES = (
    *("persons", "contacts", "key_versions", "rotations"),
    *("erasures", "retained", "swept"),
)
ADA = {"email": "ada@example.org", "name": "Ada Lovelace", "line1": "12 St James's Square"}


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("vault") / "postgres", shared_buffers_mb=128)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="module")
async def migrated(server: EmbeddedPostgres) -> AsyncIterator[Pool]:
    pool = Pool(server.dsn, connections_max=8, application="test_vault")
    folder = Path(vault_package.__file__).parent / "migrations"
    await migrate(pool, [SchemaSource("vault", folder, is_context=False)])
    yield pool
    await pool.close()


@pytest.fixture
async def pool(migrated: Pool) -> Pool:
    """An empty vault."""
    async with migrated.lend(ROLE) as connection:
        for table in TABLES:
            await connection.execute(f"DELETE FROM vault.{table}")
    return migrated


@pytest.fixture
async def vault(pool: Pool) -> AsyncIterator[Vault]:
    vault = Vault(pool, Secrets([MASTER]))
    yield vault
    await vault.close()


async def value(pool: Pool, sql: str, *args: Any) -> Any:
    async with pool.lend(ROLE) as connection:
        return await connection.fetchval(sql, *args)


async def psql(server: EmbeddedPostgres, sql: str) -> bytes:
    """What another client sees."""
    return await asyncio.to_thread(
        subprocess.check_output, [*program_call(server), sql], stderr=subprocess.STDOUT
    )


def program_call(server: EmbeddedPostgres) -> list[str]:
    return [str(program("psql")), "-d", server.dsn, "-Atc"]


async def test_what_was_kept_opens_again(vault: Vault) -> None:
    kept = await vault.keep({**ADA, "phone": None})
    assert is_id(kept.person, "prs")
    assert kept.contact is not None
    assert is_id(kept.contact, "ctc")
    assert await vault.open([kept.person]) == {kept.person: ADA}


async def test_unknown_persons_open_as_none(vault: Vault) -> None:
    assert await vault.open(["prs_" + "0" * 26, "nonsense"]) == {
        "prs_" + "0" * 26: None,
        "nonsense": None,
    }
    assert await vault.open([]) == {}


async def test_one_address_is_one_contact_however_often_and_from_wherever(pool: Pool) -> None:
    """Two processes, 300 records at once, five addresses none of which is there yet."""
    vaults = [Vault(pool, Secrets([MASTER])) for _ in range(2)]
    kept = await asyncio.gather(
        *(vaults[n % 2].keep({"email": f"p{n % 5}@example.org"}) for n in range(300))
    )
    for address in range(5):
        contacts = {k.contact for n, k in enumerate(kept) if n % 5 == address}
        assert len(contacts) == 1
        contact = contacts.pop()
        assert await vaults[0].find_contact(f"p{address}@EXAMPLE.org ") == contact
        assert contact is not None
        assert len(await vaults[1].persons_of_contact(contact)) == 60
    assert len({k.person for k in kept}) == 300
    assert await value(pool, "SELECT count(*) FROM vault.contacts") == 5


async def test_records_without_an_address_have_no_contact(vault: Vault) -> None:
    kept, empty = await asyncio.gather(vault.keep({"name": "X"}), vault.keep({"email": ""}))
    assert kept.contact is None
    assert empty.contact is None
    assert await vault.find_contact("nobody@example.org") is None


async def test_arrivals_during_a_write_share_the_next_statement(pool: Pool) -> None:
    """Natural batching: the first goes alone, the others together, up to 128 at a time."""
    vault = Vault(pool, Secrets([MASTER]))
    sizes: list[int] = []
    write = vault._intake._write

    async def counted(records: Sequence[NewRecord]) -> Sequence[Kept]:
        sizes.append(len(records))
        return await write(records)

    vault._intake._write = counted
    await vault.keep({"email": "first@example.org"})
    await asyncio.gather(*(vault.keep({"email": f"{n}@example.org"}) for n in range(200)))
    assert sizes == [1, 128, 72]


async def test_a_full_queue_is_busy(pool: Pool) -> None:
    vault = Vault(pool, Secrets([MASTER]), queue_max=3)
    await vault.find_contact("load the index key")
    results = await asyncio.gather(*(vault.keep(ADA) for _ in range(5)), return_exceptions=True)
    assert [type(r) for r in results] == [Kept, Kept, Kept, VaultIsBusy, VaultIsBusy]


async def test_a_caller_that_hangs_up_takes_nothing_from_the_others(vault: Vault) -> None:
    tasks = [asyncio.create_task(vault.keep(ADA)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(r) for r in results] == [Kept, asyncio.CancelledError, Kept]


async def test_a_record_that_is_too_large_is_refused(vault: Vault) -> None:
    with pytest.raises(RecordTooLarge):
        await vault.keep({"name": "x" * (RECORD_BYTES_MAX + 1)})


async def test_erased_is_gone_for_everyone_at_once(pool: Pool, vault: Vault) -> None:
    other = Vault(pool, Secrets([MASTER]))
    kept = await vault.keep(ADA)
    await other.open([kept.person])
    assert await vault.erase(kept.person) is True
    assert await other.open([kept.person]) == {kept.person: None}
    assert await vault.erase(kept.person) is False
    assert await vault.find_contact(ADA["email"]) is None
    left = await value(
        pool,
        "SELECT count(*) FROM vault.persons WHERE person = $1 AND erased_at IS NOT NULL"
        " AND wrapped IS NULL AND sealed IS NULL AND contact IS NULL",
        kept.person,
    )
    assert left == 1


async def test_a_contact_lives_as_long_as_a_record_uses_it(vault: Vault) -> None:
    first, second = [await vault.keep(ADA) for _ in range(2)]
    assert first.contact == second.contact is not None
    await vault.erase(first.person)
    assert await vault.find_contact(ADA["email"]) == first.contact
    await vault.erase(second.person)
    assert await vault.find_contact(ADA["email"]) is None


async def test_after_erasure_the_same_address_is_someone_new(vault: Vault) -> None:
    """Else what was erased would be found again by the address."""
    before = await vault.keep(ADA)
    assert before.contact is not None
    assert await vault.erase_contact(before.contact) == 1
    after = await vault.keep(ADA)
    assert after.contact != before.contact
    assert await vault.persons_of_contact(before.contact) == []


async def test_keeping_while_erasing_never_leaves_a_record_without_its_contact(pool: Pool) -> None:
    """One process keeps, another erases the same address, again and again."""
    vaults = [Vault(pool, Secrets([MASTER])) for _ in range(2)]
    erased = 0
    for _ in range(40):
        kept = await vaults[0].keep(ADA)
        assert kept.contact is not None
        results = await asyncio.gather(
            *(vaults[0].keep(ADA) for _ in range(4)), vaults[1].erase_contact(kept.contact)
        )
        erased += sum(r for r in results if isinstance(r, int))
    lost = await value(
        pool,
        "SELECT count(*) FROM vault.persons p WHERE p.erased_at IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM vault.contacts c WHERE c.contact = p.contact)",
    )
    assert lost == 0
    assert await value(pool, "SELECT count(*) FROM vault.contacts") <= 1
    living = await value(pool, "SELECT count(*) FROM vault.persons WHERE erased_at IS NULL")
    assert living + erased == 40 * 5


async def test_nothing_readable_is_stored(server: EmbeddedPostgres, vault: Vault) -> None:
    """A dump of the vault, with the record and the address in every spelling we know."""
    await vault.keep(ADA)
    dump = await psql(server, "SELECT p, c FROM vault.persons p, vault.contacts c")
    assert b"ctc_" in dump
    for text in (*ADA.values(), "Lovelace", "example.org"):
        assert text.encode() not in dump
        assert text.encode().hex().encode() not in dump


async def test_a_record_copied_over_another_does_not_open(pool: Pool, vault: Vault) -> None:
    mine, theirs = await vault.keep(ADA), await vault.keep({"name": "Someone else"})
    await value(
        pool,
        "UPDATE vault.persons p SET wrapped = o.wrapped, sealed = o.sealed"
        " FROM vault.persons o WHERE p.person = $1 AND o.person = $2",
        mine.person,
        theirs.person,
    )
    with pytest.raises(RecordUnreadable):
        await vault.open([mine.person])


async def test_another_installations_master_key_is_named(pool: Pool, vault: Vault) -> None:
    """A lost server.key must not look like an erasure, and must not make a second index."""
    kept = await vault.keep(ADA)
    stranger = Vault(pool, Secrets([NEWER]))
    with pytest.raises(SecretsError, match="is missing"):
        await stranger.open([kept.person])
    with pytest.raises(SecretsError, match="is missing"):
        await stranger.keep(ADA)


def aged(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Awaitable[Kept]]:
    """Keep a record as if it had been a day and a bit ago."""

    async def keep(email: str) -> Kept:
        with monkeypatch.context() as patch:
            old_ns = time.time_ns() - (upkeep.ORPHAN_AGE_S + 5) * 1_000_000_000
            patch.setattr("tradewind.kernel.ids.time.time_ns", lambda: old_ns)
            return await vault.keep({"email": email})

    return keep


async def test_orphans_go_after_a_day_and_the_used_and_the_young_stay(
    pool: Pool, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = aged(vault, monkeypatch)
    used, orphan, twin = [await keep(e) for e in ("u@x.org", "o@x.org", "u@x.org")]
    young = await vault.keep({"email": "young@x.org"})
    foreign = await vault.keep({"email": "f@x.org"}, holder="notifications")
    asked: list[str] = []

    async def in_use(persons: Sequence[str]) -> set[str]:
        asked.extend(persons)
        return {used.person}

    assert len(await vault.sweep_orphans("orders", in_use)) == 2
    assert sorted(asked) == sorted([used.person, orphan.person, twin.person])
    opened = await vault.open([k.person for k in (used, orphan, twin, young, foreign)])
    assert [fields is not None for fields in opened.values()] == [True, False, False, True, True]
    assert await vault.find_contact("o@x.org") is None
    assert await vault.find_contact("u@x.org") == used.contact
    # Nothing is asked about twice.
    assert await vault.sweep_orphans("orders", in_use) == []
    assert len(asked) == 3


async def test_a_sweep_whose_holder_cannot_answer_deletes_nothing(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await aged(vault, monkeypatch)("o@x.org")

    async def in_use(persons: Sequence[str]) -> set[str]:
        raise ConnectionError("orders is down")

    with pytest.raises(ConnectionError):
        await vault.sweep_orphans("orders", in_use)
    assert (await vault.open([kept.person]))[kept.person] is not None


async def test_a_broken_connection_is_replaced_and_the_record_kept(
    server: EmbeddedPostgres, vault: Vault
) -> None:
    """The server ends every connection of the pool under our hands; nobody notices."""
    await vault.keep(ADA)
    await psql(
        server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'test_vault'",
    )
    kept = await vault.keep(ADA)
    assert await vault.open([kept.person]) == {kept.person: ADA}


async def test_without_a_database_it_says_so() -> None:
    pool = Pool("postgresql://nobody@127.0.0.1:1/none", connections_max=1, application="none")
    with pytest.raises(VaultUnavailable):
        await Vault(pool, Secrets([MASTER])).open(["prs_" + "0" * 26])


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=50), max_size=5))
def test_sealing_gives_back_every_text(fields: dict[str, str]) -> None:
    key = new_key()
    sealed = seal(key, "prs_x", fields)
    assert unseal(key, "prs_x", sealed) == fields
    with pytest.raises(RecordUnreadable):
        unseal(key, "prs_x", sealed[:-1] + bytes([sealed[-1] ^ 1]))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=600))
def test_a_text_that_was_sealed_is_one_and_reads_as_it_was(text: str) -> None:
    key, person = new_key(), new_id("prs")
    sealed = texts.seal_text(key, person, text)
    assert texts.is_sealed(sealed) and texts.key_name_of(sealed) == person
    assert texts.open_text(key, sealed) == text
    assert len(text) < 8 or text not in sealed
    with pytest.raises(RecordUnreadable):
        texts.open_text(new_key(), sealed)


def test_addresses_are_the_same_only_where_they_surely_are() -> None:
    assert normalise_email(" Ada@EXAMPLE.org\n") == "Ada@example.org"
    assert normalise_email("jose\u0301@x.org") == normalise_email("jos\u00e9@X.ORG")
    assert normalise_email("Ada@x.org") != normalise_email("ada@x.org")
    assert normalise_email("No At Sign") == "no at sign"
    assert blind_index(b"k", "a@X.org") == blind_index(b"k", "a@x.org")
    assert blind_index(b"k", "a@x.org") != blind_index(b"l", "a@x.org")


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise_email(text)
    assert normalise_email(once) == once
