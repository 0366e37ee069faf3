"""The row of an API key, and the shapes in which it is asked for and shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from tradewind.contexts.identity.commands import SCOPES, Scope

# Classes of limits that a key may be put into; platform/gateway/limits.py has their figures.
KeyLimits = Literal["partner", "batch"]


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
    generation: int = 1
    former_hash: bytes | None = None
    former_until: datetime | None = None
    rotated_at: datetime | None = None
    limits: str = ""


KEY_COLUMNS = ", ".join(KeyRow.__struct_fields__)


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
    # Which limits count for its holder, where those of every key do not fit.
    limits: KeyLimits | None = None


class Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the old secret opens beside the new one: a day, unless it says otherwise."""

    overlap_s: Annotated[int, Meta(ge=0, le=30 * 86_400)] = 86_400


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
    limits: str | UnsetType = UNSET
    generation: int | UnsetType = UNSET
    former_until: datetime | UnsetType = UNSET


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
        limits=row.limits or UNSET,
        generation=UNSET if row.generation == 1 else row.generation,
        former_until=UNSET if row.former_until is None else row.former_until,
    )
