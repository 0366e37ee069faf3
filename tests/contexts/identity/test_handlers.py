"""Identity's units of work and reads on real PostgreSQL, up to who is let in."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from tradewind.contexts.identity import handlers, queries
from tradewind.contexts.identity.commands import (
    FIRST_KEY_ID,
    SCOPES,
    CreateKey,
    ProvideFirstKey,
    RecordUse,
    RevokeKey,
    Scope,
)
from tradewind.contexts.identity.events import KeyCreated, KeyRevoked
from tradewind.contexts.identity.problems import KeyNotFound, LastKey
from tradewind.contexts.identity.routes import issued
from tradewind.contexts.identity.tables import KeyIssued, KeyShown
from tradewind.kernel.answers import Answer, Idempotency, Settled
from tradewind.kernel.ids import new_id
from tradewind.platform.security.authentication import Authenticator, KeyFacts, hash_of_key
from tradewind.platform.security.secrets import Secrets
from tradewind.testing.database import UnitRunner

SECRETS = Secrets([os.urandom(32)])


def create(*scopes: Scope, key_id: str = "", **more: Any) -> CreateKey:
    key_id = key_id or new_id("key")
    return CreateKey(
        key_id=key_id,
        secret_hash=hash_of_key(SECRETS.api_key(key_id)),
        name="till 3",
        scopes=scopes or ("orders:read",),
        expires_at=more.pop("expires_at", None),
        created_by=FIRST_KEY_ID,
        held=frozenset(SCOPES),
        **more,
    )


def provide(secrets: Secrets = SECRETS) -> ProvideFirstKey:
    return ProvideFirstKey(secret_hash=hash_of_key(secrets.api_key(FIRST_KEY_ID)))


@pytest.fixture
async def unit(dsn: str) -> AsyncIterator[UnitRunner]:
    """Units of work on a database of the test's own: the first key has one id everywhere."""
    runner = UnitRunner(dsn)
    yield runner
    await runner.close()


class Keys:
    """Identity's reads for the authenticator, on the test's database."""

    def __init__(self, unit: UnitRunner) -> None:
        self.unit = unit

    async def look_up(self, key_ids: Sequence[str]) -> Sequence[KeyFacts]:
        async with self.unit.reading("identity") as snapshot:
            return await queries.key_facts(snapshot, key_ids)

    async def revoked_within(self, seconds: float) -> Sequence[str]:
        async with self.unit.reading("identity") as snapshot:
            return await queries.revoked_within(snapshot, seconds)

    async def mark_used(self, used_at: Mapping[str, float]) -> None:
        times = {k: datetime.fromtimestamp(at, UTC) for k, at in used_at.items()}
        await self.unit.run("identity", handlers.record_use, [RecordUse(used_at=times)])


def secret_of(command: CreateKey) -> str:
    return SECRETS.api_key(command.key_id)


async def last_used(unit: UnitRunner, key_id: str) -> datetime | None:
    rows = await unit.sql("SELECT last_used_at FROM identity.api_keys WHERE key_id = $1", key_id)
    at: datetime | None = rows[0][0]
    return at


async def test_created_listed_revoked(unit: UnitRunner) -> None:
    await unit.run("identity", handlers.provide_first_key, [provide()])
    till = create("orders:read", "orders:write", expires_at=datetime.now(UTC) + timedelta(days=1))
    decision = await unit.run("identity", handlers.create_keys, [till])
    assert [type(e) for e in decision.events] == [KeyCreated]
    body = decision.outcomes[0].body
    assert (body.id, body.name, body.scopes) == (
        till.key_id,
        "till 3",
        ("orders:read", "orders:write"),
    )
    async with unit.reading("identity") as snapshot:
        rows = await queries.keys(snapshot, before=None, count_max=10)
        assert [row.key_id for row in rows] == [till.key_id, FIRST_KEY_ID]
        assert rows[0].expires_at == till.expires_at
        behind = await queries.keys(snapshot, before=till.key_id, count_max=10)
        assert [row.key_id for row in behind] == [FIRST_KEY_ID]

    command = RevokeKey(key_id=till.key_id, revoked_by=FIRST_KEY_ID)
    decision = await unit.run("identity", handlers.revoke_keys, [command, command])
    assert [(type(e), e.sequence) for e in decision.events] == [(KeyRevoked, 2)]
    first, second = (outcome.body for outcome in decision.outcomes)
    assert first.revoked_at is not None
    assert first == second
    again = await unit.run("identity", handlers.revoke_keys, [command])
    assert again.events == []
    assert again.outcomes[0].body.revoked_at == first.revoked_at


async def test_a_batch_answers_each_command_for_itself(unit: UnitRunner) -> None:
    await unit.run("identity", handlers.provide_first_key, [provide()])
    unknown = RevokeKey(key_id=new_id("key"), revoked_by=FIRST_KEY_ID)
    only = RevokeKey(key_id=FIRST_KEY_ID, revoked_by=FIRST_KEY_ID)
    decision = await unit.run("identity", handlers.revoke_keys, [unknown, only])
    assert [type(outcome) for outcome in decision.outcomes] == [KeyNotFound, LastKey]


async def test_creating_again_with_the_same_id_makes_nothing_new(unit: UnitRunner) -> None:
    """The unit ran, its reply was lost, it runs again."""
    command = create("orders:read")
    first = await unit.run("identity", handlers.create_keys, [command])
    second = await unit.run("identity", handlers.create_keys, [command])
    assert second.outcomes == first.outcomes
    assert second.events == []


async def test_of_two_last_keys_revoking_each_other_one_stays(unit: UnitRunner) -> None:
    for _ in range(10):
        await unit.sql("UPDATE identity.api_keys SET revoked_at = now(), revoked_by = 'test'")
        both = [create("keys:write"), create("keys:write")]
        await unit.run("identity", handlers.create_keys, both)
        decisions = await asyncio.gather(
            *(
                unit.run(
                    "identity", handlers.revoke_keys, [RevokeKey(key_id=k.key_id, revoked_by="x")]
                )
                for k in both
            )
        )
        outcomes = [type(decision.outcomes[0]) for decision in decisions]
        assert sorted(outcomes, key=str) == sorted([Answer, LastKey], key=str)


async def test_the_first_key_is_made_once_by_many_processes(unit: UnitRunner) -> None:
    decisions = await asyncio.gather(
        *(unit.run("identity", handlers.provide_first_key, [provide()]) for _ in range(4))
    )
    assert [decision.outcomes for decision in decisions] == [[True]] * 4
    assert sorted(len(decision.events) for decision in decisions) == [0, 0, 0, 1]


async def test_the_first_key_opens_everything_and_follows_a_new_master(unit: UnitRunner) -> None:
    await unit.run("identity", handlers.provide_first_key, [provide()])
    old = SECRETS.api_key(FIRST_KEY_ID)
    credential = await Authenticator(SECRETS, Keys(unit)).authenticate(old)
    assert credential is not None
    assert all(credential.may(scope) for scope in SCOPES)

    newer = Secrets([os.urandom(32)])
    await unit.run("identity", handlers.provide_first_key, [provide(newer)])
    door = Authenticator(newer, Keys(unit))
    assert await door.authenticate(old) is None
    assert await door.authenticate(newer.api_key(FIRST_KEY_ID)) == credential


async def test_a_revoked_first_key_does_not_come_back(unit: UnitRunner) -> None:
    await unit.run("identity", handlers.provide_first_key, [provide()])
    await unit.run("identity", handlers.create_keys, [create("keys:write")])
    command = RevokeKey(key_id=FIRST_KEY_ID, revoked_by=FIRST_KEY_ID)
    await unit.run("identity", handlers.revoke_keys, [command])
    decision = await unit.run("identity", handlers.provide_first_key, [provide()])
    assert decision.outcomes == [False]
    door = Authenticator(SECRETS, Keys(unit))
    assert await door.authenticate(SECRETS.api_key(FIRST_KEY_ID)) is None


async def test_a_revocation_reaches_another_process_within_a_second(unit: UnitRunner) -> None:
    await unit.run("identity", handlers.provide_first_key, [provide()])
    till = create("orders:read")
    await unit.run("identity", handlers.create_keys, [till])
    doors = [Authenticator(SECRETS, Keys(unit)) for _ in range(2)]
    for door in doors:
        assert await door.authenticate(secret_of(till)) is not None
    await unit.run(
        "identity",
        handlers.revoke_keys,
        [RevokeKey(key_id=till.key_id, revoked_by=FIRST_KEY_ID)],
    )
    await asyncio.sleep(1)
    for door in doors:
        assert await door.authenticate(secret_of(till)) is None
        await door.close()


async def test_an_expired_key_is_refused(unit: UnitRunner) -> None:
    till = create("orders:read", expires_at=datetime.now(UTC) + timedelta(milliseconds=300))
    await unit.run("identity", handlers.create_keys, [till])
    door = Authenticator(SECRETS, Keys(unit))
    assert await door.authenticate(secret_of(till)) is not None
    await asyncio.sleep(0.35)
    assert await door.authenticate(secret_of(till)) is None
    assert await Authenticator(SECRETS, Keys(unit)).authenticate(secret_of(till)) is None


async def test_last_use_moves_forward_only(unit: UnitRunner) -> None:
    till = create("orders:read")
    await unit.run("identity", handlers.create_keys, [till])
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    uses = [RecordUse(used_at={till.key_id: at}) for at in (early, late, early)]
    await unit.run("identity", handlers.record_use, uses)
    assert await last_used(unit, till.key_id) == late
    await unit.run("identity", handlers.record_use, uses[:1])
    assert await last_used(unit, till.key_id) == late

    door = Authenticator(SECRETS, Keys(unit))
    await door.authenticate(secret_of(till))
    await door.close()
    used = await last_used(unit, till.key_id)
    assert used is not None
    assert abs(used - datetime.now(UTC)) < timedelta(seconds=30)


async def test_no_secret_is_stored_and_a_repetition_still_shows_it(unit: UnitRunner) -> None:
    """The kept answer has no secret; it is added on the way out, from the id that was kept."""
    key = Idempotency("key_x POST /v1/keys", "k1", b"fingerprint")
    first = create("orders:read", idempotency=key)
    await unit.run("identity", handlers.create_keys, [first], keyed=True)
    kept = unit.done[-1].settled[0]
    assert SECRETS.api_key(first.key_id).rpartition("_")[2].encode() not in kept.body

    once = issued(kept, SECRETS)
    again = issued(msgspec.structs.replace(kept, replayed=True), SECRETS)
    assert isinstance(once, Settled)
    assert isinstance(again, Settled)
    assert once.body == again.body
    made = msgspec.json.decode(once.body, type=KeyIssued)
    assert await Authenticator(SECRETS, Keys(unit)).authenticate(made.key) is not None
    plain = issued(Answer(status=201, body=msgspec.json.decode(kept.body, type=KeyShown)), SECRETS)
    assert isinstance(plain, Answer)
    assert plain.body == made
    refusal = Settled(422, b"{}", {})
    assert issued(refusal, SECRETS) is refusal

    stored = await unit.sql("SELECT k::text FROM identity.api_keys k")
    stored += await unit.sql("SELECT body FROM bus.log WHERE source = 'identity'")
    assert stored
    assert made.key.rpartition("_")[2] not in repr(stored)


@pytest.mark.parametrize(
    "change",
    [
        "scopes = '{}'",
        "secret_hash = 'short'",
        "name = ''",
        "revoked_at = now()",
        "expires_at = created_at",
        "version = 0",
    ],
)
async def test_the_table_refuses_what_no_rule_would_write(unit: UnitRunner, change: str) -> None:
    await unit.run("identity", handlers.create_keys, [create("orders:read")])
    with pytest.raises(asyncpg.CheckViolationError):
        await unit.sql(f"UPDATE identity.api_keys SET {change}")
