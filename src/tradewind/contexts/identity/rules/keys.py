"""Who gets a key, and when one is taken away. Pure.

Invariants: nobody gives away a scope they do not hold; a revoked key stays revoked; there is always
a key that can manage keys, because a shop that locked itself out would need its database changed
by hand.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from tradewind.contexts.identity.commands import (
    FIRST_KEY_ID,
    FIRST_KEY_NAME,
    SCOPES,
    CreateKey,
    ProvideFirstKey,
    RevokeKey,
    RotateKey,
)
from tradewind.contexts.identity.events import KeyCreated, KeyRevoked, KeyRotated
from tradewind.contexts.identity.problems import (
    FirstKey,
    InvalidExpiry,
    KeyNotFound,
    LastKey,
    ScopeNotHeld,
)
from tradewind.contexts.identity.tables import KeyRow
from tradewind.kernel.problems import FieldError

MANAGES_KEYS = "keys:write"
# Longer, and nobody remembers it when it stops a shop.
LIFE_MAX = timedelta(days=3_660)


def create(command: CreateKey, now: datetime) -> KeyRow | ScopeNotHeld | InvalidExpiry:
    """The new key, or why there is none."""
    if missing := sorted(set(command.scopes) - command.held):
        return ScopeNotHeld(
            f"Your key lacks {', '.join(missing)}. Ask with a key that has every scope.",
            missing=missing,
        )
    if command.expires_at is not None and not now < command.expires_at <= now + LIFE_MAX:
        return InvalidExpiry(
            "Give a time in the next ten years, or none for a key that does not expire.",
            errors=(FieldError("/expires_at", "must be in the future, at most ten years away"),),
        )
    return KeyRow(
        key_id=command.key_id,
        name=command.name,
        scopes=sorted(set(command.scopes)),
        secret_hash=command.secret_hash,
        version=1,
        created_at=now,
        created_by=command.created_by,
        expires_at=command.expires_at,
        revoked_at=None,
        revoked_by=None,
        last_used_at=None,
        customer_group=command.customer_group,
        limits=command.limits,
    )


def first_key(command: ProvideFirstKey, row: KeyRow | None, now: datetime) -> KeyRow:
    """The first key as it has to be; the row as it is where it was revoked or is right already."""
    if row is None:
        return KeyRow(
            key_id=FIRST_KEY_ID,
            name=FIRST_KEY_NAME,
            scopes=SCOPES,
            secret_hash=command.secret_hash,
            version=1,
            created_at=now,
            created_by=FIRST_KEY_ID,
            expires_at=None,
            revoked_at=None,
            revoked_by=None,
            last_used_at=None,
        )
    if row.revoked_at is not None:
        return row
    # Another hash: the master key was replaced. More scopes: a new release brought some.
    if row.secret_hash == command.secret_hash and set(row.scopes) >= set(SCOPES):
        return row
    return replace(row, secret_hash=command.secret_hash, scopes=SCOPES)


def revoke(
    command: RevokeKey, row: KeyRow | None, others: Iterable[KeyRow], now: datetime
) -> KeyRow | KeyNotFound | LastKey:
    """The key, revoked; unchanged where it was already. `others` are all keys that manage keys."""
    if row is None:
        return KeyNotFound(f"There is no key {command.key_id}. GET /v1/keys lists them.")
    if row.revoked_at is not None:
        return row
    left = [other for other in others if other.key_id != row.key_id and works(other, now)]
    if not left:
        return LastKey(
            "Create another key with the scope keys:write first: after this one nobody could."
        )
    # Clocks of two processes differ by milliseconds; a key does not end before it began.
    at = max(now, row.created_at)
    return replace(row, version=row.version + 1, revoked_at=at, revoked_by=command.revoked_by)


def works(row: KeyRow, now: datetime) -> bool:
    """Whether the key opens anything now."""
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > now)


def created(row: KeyRow) -> KeyCreated:
    """The fact that this key is there."""
    return KeyCreated(
        sequence=row.version,
        key_id=row.key_id,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
    )


def revoked(row: KeyRow) -> KeyRevoked:
    """The fact that this key opens nothing any more."""
    assert row.revoked_at is not None
    assert row.revoked_by is not None
    return KeyRevoked(
        sequence=row.version,
        key_id=row.key_id,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
    )


def rotate(
    command: RotateKey, row: KeyRow | None, now: datetime
) -> KeyRow | KeyNotFound | FirstKey | ScopeNotHeld:
    """A key with its next secret; as it is, where it was rotated meanwhile."""
    if row is None or not works(row, now):
        return KeyNotFound(f"There is no key {command.key_id} in use. GET /v1/keys lists them.")
    if row.key_id == FIRST_KEY_ID:
        return FirstKey("Make a key of your own with every scope, and revoke the first one.")
    if missing := sorted(set(row.scopes) - command.held):
        return ScopeNotHeld(
            f"You lack {', '.join(missing)}: its new secret would be yours to see.",
            missing=missing,
        )
    if row.generation != command.generation:
        return row
    return replace(
        row,
        version=row.version + 1,
        generation=row.generation + 1,
        secret_hash=command.secret_hash,
        former_hash=row.secret_hash,
        former_until=now + timedelta(seconds=command.overlap_s),
        rotated_at=now,
    )


def rotated(row: KeyRow, by: str) -> KeyRotated:
    """The fact that a key has a new secret."""
    assert row.rotated_at is not None, "it was just rotated"
    assert row.former_until is not None, "the secret before has an end"
    return KeyRotated(
        sequence=row.version,
        key_id=row.key_id,
        rotated_at=row.rotated_at,
        rotated_by=by,
        former_until=row.former_until,
    )


def recorded(row: KeyRow) -> dict[str, Any]:
    """What the record holds of a key: no name, which people choose, and no secret."""
    return {
        "scopes": sorted(row.scopes),
        "expires_at": None if row.expires_at is None else row.expires_at.isoformat(),
        "customer_group": row.customer_group,
        "revoked": row.revoked_at is not None,
    }
