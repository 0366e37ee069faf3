"""The vault's keys on a real PostgreSQL: versions, rotation while everything serves, erasure."""

import asyncio

import pytest

from tests.platform.test_vault import ADA, MASTER, NEWER, migrated, pool, server, value, vault
from tradewind.kernel.ids import new_id
from tradewind.platform.database.pool import Pool
from tradewind.platform.security.secrets import Secrets, SecretsError
from tradewind.platform.vault import rotation, texts
from tradewind.platform.vault.erasing import Erasure
from tradewind.platform.vault.masters import FileMasters
from tradewind.platform.vault.rotation import RotationRuns, reindex, rotate, standing
from tradewind.platform.vault.sealing import new_key, seal
from tradewind.platform.vault.vault import ROLE, OwnerErased, Vault

__all__ = ["migrated", "pool", "server", "vault"]


async def rotated(pool: Pool, *masters: bytes) -> rotation.Rotated:
    async with pool.lend(ROLE) as connection:
        return await rotate(connection, FileMasters(Secrets(masters)))


async def test_a_master_key_is_replaced_while_everything_stays_readable(pool: Pool) -> None:
    before = Vault(pool, Secrets([MASTER]))
    kept = [await before.keep({"email": f"{n}@example.org"}) for n in range(5)]
    await before.erase(kept[4].person)
    text = await before.seal_text(None, "about nobody")
    both = Vault(pool, Secrets([NEWER, MASTER]))
    late = await both.keep(ADA)
    assert await rotated(pool, NEWER, MASTER) == rotation.Rotated(2, 5, 1)
    assert await rotated(pool, NEWER) == rotation.Rotated(3, 5, 1)
    after = Vault(pool, Secrets([NEWER]))
    opened = await after.open([k.person for k in kept] + [late.person])
    assert opened.pop(late.person) == ADA
    assert list(opened.values()) == [{"email": f"{n}@example.org"} for n in range(4)] + [None]
    assert await after.find_contact("0@example.org") == kept[0].contact
    assert await after.open_texts([text]) == {text: "about nobody"}
    with pytest.raises(SecretsError):
        await before.open([late.person])  # it reads the keys anew, and they are the new master's


async def test_rotation_runs_while_two_processes_keep_open_and_erase(pool: Pool) -> None:
    """Neither is told; nothing they keep is lost, under whichever version they began."""
    vaults = [Vault(pool, Secrets([MASTER])) for _ in range(2)]
    kept = [await vaults[n % 2].keep({"email": f"{n}@x.org", "name": str(n)}) for n in range(40)]
    going = True

    async def busy(number: int) -> int:
        count = 0
        while going:
            one = await vaults[number].keep({"email": f"{count % 7}@y.org", "name": str(count)})
            found = await vaults[1 - number].open([one.person, kept[count % 40].person])
            assert found[one.person] == {"email": f"{count % 7}@y.org", "name": str(count)}
            assert found[kept[count % 40].person] is not None
            assert await vaults[1 - number].find_contact(f"{count % 7}@y.org") == one.contact
            count += 1
        return count

    works = [asyncio.create_task(busy(n)) for n in range(2)]
    async with pool.lend(ROLE) as connection:
        for round_ in range(3):
            masters = FileMasters(Secrets([MASTER]))
            assert (await rotate(connection, masters)).version == round_ + 2
            assert (await reindex(connection, masters)).version == round_ + 2
    going = False
    assert min(await asyncio.gather(*works)) > 3
    versions = await value(pool, "SELECT array_agg(DISTINCT key_id) FROM vault.persons")
    assert versions == ["wrapping.4"]
    assert await value(pool, "SELECT count(*) FROM vault.contacts") == 40 + 7
    fresh = Vault(pool, Secrets([MASTER]))
    assert None not in (await fresh.open([k.person for k in kept])).values()
    assert await fresh.find_contact("3@x.org") == kept[3].contact


async def test_a_rotation_that_is_killed_goes_on_where_it_was(
    pool: Pool, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the first batch; meanwhile records come and go; the second run does the rest."""
    monkeypatch.setattr(rotation, "BATCH_ROWS", 4)
    kept = [await vault.keep({"email": f"{n}@x.org"}) for n in range(10)]
    masters = FileMasters(Secrets([MASTER]))

    class Killed(Exception):
        pass

    def told(done: int, total: int) -> None:
        assert total == 10
        if done == 4:
            raise Killed

    connection = await pool.connect()
    with pytest.raises(Killed):
        await rotate(connection, masters, told)
    await connection.close()
    async with pool.lend(ROLE) as connection:
        under_way = (await standing(connection)).under_way
    assert under_way == [rotation.UnderWay("wrapping", 2, 4, 10)]
    late = await vault.keep(ADA)
    assert await vault.erase(kept[7].person)
    seen: list[tuple[int, int]] = []
    async with pool.lend(ROLE) as connection:
        done = await rotate(connection, masters, lambda d, t: seen.append((d, t)))
        found = await standing(connection)
    assert done == rotation.Rotated(2, 5, 1)  # four were done, one is erased
    assert seen[0] == (4, 10) and seen[-1] == (9, 10)
    assert found.under_way == [] and (found.records, found.erased) == (10, 1)
    wrapping = [key for key in found.keys if key.purpose == "wrapping"]
    assert [(key.version, key.retired, key.uses) for key in wrapping] == [(2, False, 10)]
    opened = await vault.open([k.person for k in kept] + [late.person])
    assert [fields is None for fields in opened.values()] == [n == 7 for n in range(11)]


async def test_two_rotations_at_once_are_one(pool: Pool, vault: Vault) -> None:
    await vault.keep(ADA)
    masters = FileMasters(Secrets([MASTER]))

    async def one() -> rotation.Rotated:
        async with pool.lend(ROLE) as connection:
            return await rotate(connection, masters)

    results = await asyncio.gather(*(one() for _ in range(4)), return_exceptions=True)
    assert {type(r) for r in results} == {rotation.Rotated, RotationRuns}


async def test_records_from_before_keys_had_versions_open_and_are_rotated(
    pool: Pool, vault: Vault
) -> None:
    """As the first release wrote them: the person's key right under a master."""
    masters, key = FileMasters(Secrets([MASTER])), new_key()
    kept = await vault.keep(ADA)
    wrapped = await masters.wrap(kept.person, key)
    await value(
        pool,
        "UPDATE vault.persons SET key_id = $2, wrapped = $3, sealed = $4 WHERE person = $1",
        kept.person,
        wrapped.master,
        wrapped.wrapped,
        seal(key, kept.person, ADA),
    )
    assert await vault.open([kept.person]) == {kept.person: ADA}
    async with pool.lend(ROLE) as connection:
        assert (await standing(connection)).under_masters == 1
    assert (await rotated(pool, MASTER)).changed == 1
    async with pool.lend(ROLE) as connection:
        assert (await standing(connection)).under_masters == 0
    assert await vault.open([kept.person]) == {kept.person: ADA}


async def test_a_new_blind_index_finds_everybody_who_was_found(pool: Pool, vault: Vault) -> None:
    kept = [await vault.keep({"email": f"{n % 6}@x.org"}) for n in range(12)]
    await vault.erase(kept[0].person)  # another record still has the address
    before = await value(pool, "SELECT array_agg(blind ORDER BY blind) FROM vault.contacts")
    async with pool.lend(ROLE) as connection:
        done = await reindex(connection, FileMasters(Secrets([MASTER])))
    assert done == rotation.Rotated(2, 6, 1)
    after = await value(pool, "SELECT array_agg(blind ORDER BY blind) FROM vault.contacts")
    assert not set(before) & set(after)
    for process in (vault, Vault(pool, Secrets([MASTER]))):
        for n in range(6):
            assert await process.find_contact(f"{n}@x.org") == kept[n + 6].contact
        assert (await process.keep({"email": "2@x.org"})).contact == kept[2].contact


async def test_records_of_a_registered_person_have_one_key(pool: Pool, vault: Vault) -> None:
    """Destroying it is destroying them all, at once, for every process."""
    account = await vault.keep(ADA, holder="identity")
    address = await vault.keep({"line1": "Elsewhere 1"}, holder="identity", owner=account.person)
    order = await vault.keep(ADA, owner=account.person)
    guest = await vault.keep({"email": "other@x.org"})
    other = Vault(pool, Secrets([MASTER]))
    persons = [account.person, address.person, order.person]
    assert await vault.owned_by(account.person) == persons
    assert (await other.open(persons))[address.person] == {"line1": "Elsewhere 1"}
    assert (await rotated(pool, MASTER)).changed == 2
    assert (await other.open(persons))[order.person] == ADA
    text = await vault.seal_text(order.person, "leave it with Mrs Byron")
    assert await other.open_texts([text]) == {text: "leave it with Mrs Byron"}
    assert await vault.erase(account.person)
    assert set((await other.open(persons)).values()) == {None}
    assert await other.open_texts([text]) == {text: None}
    assert (await other.open([guest.person]))[guest.person] is not None
    with pytest.raises(OwnerErased):
        await other.keep(ADA, owner=account.person)
    assert await vault.seal_text(order.person, "another word") == texts.GONE
    assert await vault.open_texts([texts.GONE]) == {texts.GONE: None}


async def test_an_erasure_is_one_however_often_it_is_asked_for(pool: Pool) -> None:
    """Four processes at once: all records in one commit, and one note of it."""
    vaults = [Vault(pool, Secrets([MASTER])) for _ in range(4)]
    kept = [await vaults[0].keep(ADA) for _ in range(6)]
    persons = [k.person for k in kept]
    retained = {persons[0]: {"name": "Ada Lovelace"}}

    async def erase(vault: Vault) -> int:
        erasure = Erasure(new_id("era"), "key_x", "she asked, Ada did", 2036)
        return await vault.erase_person(persons, erasure, retained)

    counts = await asyncio.gather(*(erase(vault) for vault in vaults))
    assert sorted(counts) == [0, 0, 0, 6]
    assert await value(pool, "SELECT count(*) FROM vault.erasures") == 1
    assert await vaults[1].find_contact(ADA["email"]) is None
    assert await vaults[2].open_retained(persons) == retained
    assert await vaults[3].end_retention(2035) == 0
    assert await vaults[3].end_retention(2036) == 1
    assert await vaults[2].open_retained(persons) == {}
