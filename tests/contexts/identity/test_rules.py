"""Who gets a key, and when one is taken away."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tradewind.contexts.identity import rules
from tradewind.contexts.identity.commands import (
    FIRST_KEY_ID,
    SCOPES,
    CreateKey,
    ProvideFirstKey,
    RevokeKey,
    Scope,
)
from tradewind.contexts.identity.problems import InvalidExpiry, KeyNotFound, LastKey, ScopeNotHeld
from tradewind.contexts.identity.tables import KeyRow
from tradewind.kernel.ids import is_id, new_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HASH = b"h" * 32


def asked(
    *scopes: Scope, held: tuple[str, ...] = SCOPES, expires_at: datetime | None = None
) -> CreateKey:
    return CreateKey(
        key_id=new_id("key"),
        secret_hash=HASH,
        name="till",
        scopes=scopes,
        expires_at=expires_at,
        created_by=FIRST_KEY_ID,
        held=frozenset(held),
    )


def made(*scopes: Scope, expires_at: datetime | None = None) -> KeyRow:
    row = rules.create(asked(*scopes, expires_at=expires_at), NOW)
    assert isinstance(row, KeyRow)
    return row


def test_a_key_has_the_scopes_asked_for_once_each() -> None:
    row = made("orders:write", "orders:read", "orders:write")
    assert row.scopes == ["orders:read", "orders:write"]
    assert row.created_at == NOW
    event = rules.created(row)
    assert event.sequence == 1
    assert event.subject == row.key_id


def test_nobody_gives_a_scope_they_do_not_hold() -> None:
    refused = rules.create(asked("orders:read", "payments:write", held=("orders:read",)), NOW)
    assert isinstance(refused, ScopeNotHeld)
    assert refused.members == {"missing": ["payments:write"]}


@pytest.mark.parametrize(
    ("life", "taken"),
    [
        (timedelta(0), False),
        (timedelta(seconds=-1), False),
        (timedelta(microseconds=1), True),
        (rules.LIFE_MAX, True),
        (rules.LIFE_MAX + timedelta(seconds=1), False),
    ],
)
def test_a_key_lives_at_least_a_moment_and_at_most_ten_years(life: timedelta, taken: bool) -> None:
    result = rules.create(asked("orders:read", expires_at=NOW + life), NOW)
    assert isinstance(result, KeyRow if taken else InvalidExpiry)


def revoke(row: KeyRow | None, *others: KeyRow, now: datetime = NOW) -> object:
    key_id = row.key_id if row else new_id("key")
    return rules.revoke(RevokeKey(key_id=key_id, revoked_by=FIRST_KEY_ID), row, others, now)


def test_a_revoked_key_stays_revoked() -> None:
    till, admin = made("orders:read"), made("keys:write")
    once = revoke(till, admin, now=NOW + timedelta(hours=1))
    assert isinstance(once, KeyRow)
    assert once.revoked_at == NOW + timedelta(hours=1)
    assert rules.revoked(once).sequence == 2
    assert revoke(once, admin, now=NOW + timedelta(hours=2)) is once


def test_a_key_does_not_end_before_it_began() -> None:
    """The clock of another process may be behind."""
    row = revoke(made("orders:read"), made("keys:write"), now=NOW - timedelta(milliseconds=5))
    assert isinstance(row, KeyRow)
    assert row.revoked_at == row.created_at


def test_an_unknown_key_is_not_found() -> None:
    assert isinstance(revoke(None, made("keys:write")), KeyNotFound)


def test_the_last_key_that_manages_keys_stays() -> None:
    admin = made("keys:write")
    expiring = made("keys:write", expires_at=NOW + timedelta(days=1))
    assert isinstance(revoke(admin, admin), LastKey)
    assert isinstance(revoke(admin, admin, expiring), KeyRow)
    assert isinstance(revoke(admin, admin, expiring, now=NOW + timedelta(days=2)), LastKey)
    assert isinstance(revoke(made("orders:read")), LastKey), "nobody could make another one"


def first(secret_hash: bytes, row: KeyRow | None) -> KeyRow:
    return rules.first_key(ProvideFirstKey(secret_hash=secret_hash), row, NOW)


def test_the_first_key_may_do_everything() -> None:
    row = first(HASH, None)
    assert is_id(row.key_id, "key")
    assert set(row.scopes) == set(SCOPES)
    assert first(HASH, row) is row


def test_the_first_key_follows_the_master_key_and_new_scopes() -> None:
    row = first(HASH, None)
    assert first(b"n" * 32, row) == replace(row, secret_hash=b"n" * 32)
    assert first(HASH, replace(row, scopes=["keys:write"])) == row


def test_a_revoked_first_key_does_not_come_back() -> None:
    row = replace(first(HASH, None), revoked_at=NOW, revoked_by="key_x")
    assert first(b"n" * 32, row) is row
