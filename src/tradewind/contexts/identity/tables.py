"""Rows of identity's table and shapes of its answers, field by field."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from tradewind.contexts.identity.commands import SCOPES, Scope


class KeyRow(Struct, frozen=True):
    """A row of identity.api_keys."""

    key_id: str
    name: str
    scopes: Sequence[str]
    secret_hash: bytes
    version: int
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    last_used_at: datetime | None
    customer_group: str = ""


class KeyId(Struct, frozen=True):
    """A key, by its id alone."""

    key_id: str


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that asks for a key."""

    name: Annotated[str, Meta(min_length=1, max_length=100, description="What it is for.")]
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=len(SCOPES))]
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    # Whose prices its holder is shown and pays.
    customer_group: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$")] | None = None


class KeyShown(Struct, frozen=True, kw_only=True):
    """A key as it is shown: everything but its secret."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    customer_group: str | UnsetType = UNSET


class KeyIssued(KeyShown, frozen=True, kw_only=True):
    """A new key with its secret, for the one who asked for it."""

    key: str


class KeyList(Struct, frozen=True, kw_only=True):
    """A page of keys, newest first."""

    items: list[KeyShown]
    next: str | None


class KeyPage(Struct, frozen=True, kw_only=True):
    """Which page of the keys is wanted."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: str | None = None


def shown(row: KeyRow) -> KeyShown:
    """A row as it is shown."""
    return KeyShown(
        id=row.key_id,
        name=row.name,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        customer_group=row.customer_group or UNSET,
    )
