"""Rows of OAuth: signing keys, clients, grants, codes, devices; and what is answered about them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from tradewind.contexts.identity.commands import SCOPES
from tradewind.contexts.identity.commands.oauth import (
    ABOUT_PEOPLE,
    GRANT_TYPES,
    Authentication,
    GrantType,
)


class SigningKeyRow(Struct, frozen=True):
    """A row of identity.signing_keys."""

    kid: str
    public: str
    master_key_id: str
    sealed: bytes
    signs_from: datetime
    signs_until: datetime
    served_until: datetime


class RevocationRow(Struct, frozen=True):
    """A row of identity.revocations."""

    what: str
    revoked_at: datetime


class ClientRow(Struct, frozen=True):
    """A row of identity.oauth_clients."""

    client_id: str
    name: str
    authentication: Authentication
    certificates: Sequence[str]
    redirect_uris: Sequence[str]
    logout_uris: Sequence[str]
    grants: Sequence[str]
    scopes: Sequence[str]
    secret_generation: int
    former_until: datetime | None
    version: int
    registered_at: datetime
    registered_by: str
    revoked_at: datetime | None
    revoked_by: str | None


class GrantRow(Struct, frozen=True):
    """A row of identity.oauth_grants."""

    grant_id: str
    client_id: str
    account_id: str
    session_id: str | None
    scopes: Sequence[str]
    signed_in_at: datetime
    second_factor: bool
    generation: int
    version: int
    given_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    revoked_because: str | None


class Granted(Struct, frozen=True):
    """What tokens are made of: a grant, and what is asked of it this time."""

    grant: GrantRow
    scopes: Sequence[str]
    nonce: str | None = None


class CodeRow(Struct, frozen=True):
    """A row of identity.oauth_codes."""

    code_id: str
    client_id: str
    account_id: str
    session_id: str
    redirect_uri: str
    scopes: Sequence[str]
    challenge: str
    nonce: str | None
    signed_in_at: datetime
    second_factor: bool
    expires_at: datetime
    grant_id: str | None


class DeviceRow(Struct, frozen=True):
    """A row of identity.oauth_devices."""

    device_id: str
    user_code_hash: bytes
    client_id: str
    scopes: Sequence[str]
    status: str
    asked_at: datetime
    expires_at: datetime
    polled_at: datetime | None
    interval_s: int
    account_id: str | None
    session_id: str | None
    signed_in_at: datetime | None
    second_factor: bool
    grant_id: str | None


class AgreementRow(Struct, frozen=True):
    """What somebody has agreed to let a program do."""

    account_id: str
    client_id: str
    scopes: Sequence[str]


class SignedInRow(Struct, frozen=True):
    """Who uses a session, as the pages need to know."""

    session_id: str
    secret_hash: bytes
    account_id: str
    person: str
    second_factor: bool
    opened_at: datetime


class HolderRow(Struct, frozen=True):
    """Whom tokens are made for: the account as it is now, and whether the session goes on."""

    account_id: str
    person: str
    status: str
    roles: Sequence[str]
    customer_group: str
    password_at: datetime
    session_goes_on: bool


Uri = Annotated[str, Meta(min_length=1, max_length=500)]
Thumbprint = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$")]
# The literal types are written out in full for the API's description.
AnyScope = Annotated[str, Meta(min_length=1, max_length=40, pattern="^[a-z_:]+$")]


class NewClient(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that registers a program."""

    name: Annotated[str, Meta(min_length=1, max_length=100, description="Shown to people.")]
    grants: Annotated[tuple[GrantType, ...], Meta(min_length=1, max_length=len(GRANT_TYPES))]
    scopes: Annotated[
        tuple[AnyScope, ...],
        Meta(
            max_length=len(SCOPES) + len(ABOUT_PEOPLE),
            description="Rights of the API, and openid, profile, email, offline_access.",
        ),
    ] = ()
    authentication: Authentication = "secret"
    certificates: Annotated[
        tuple[Thumbprint, ...],
        Meta(max_length=4, description="SHA-256 of each certificate it may come with, base64url."),
    ] = ()
    redirect_uris: Annotated[tuple[Uri, ...], Meta(max_length=10)] = ()
    logout_uris: Annotated[tuple[Uri, ...], Meta(max_length=10)] = ()


class ClientShown(Struct, frozen=True, kw_only=True):
    """A program as it is shown: everything but its secret."""

    id: str
    name: str
    authentication: Authentication
    certificates: tuple[str, ...]
    redirect_uris: tuple[str, ...]
    logout_uris: tuple[str, ...]
    grants: tuple[str, ...]
    scopes: tuple[str, ...]
    registered_at: datetime
    registered_by: str
    revoked_at: datetime | None
    secret_generation: int | UnsetType = UNSET


class ClientIssued(ClientShown, frozen=True, kw_only=True):
    """A program with its secret, for the one who registered it."""

    secret: str | UnsetType = UNSET


class ClientList(Struct, frozen=True, kw_only=True):
    """A page of programs, newest first."""

    items: list[ClientShown]
    next: str | None


def client_shown(row: ClientRow) -> ClientShown:
    """A row as it is shown."""
    return ClientShown(
        id=row.client_id,
        name=row.name,
        authentication=row.authentication,
        certificates=tuple(row.certificates),
        redirect_uris=tuple(row.redirect_uris),
        logout_uris=tuple(row.logout_uris),
        grants=tuple(row.grants),
        scopes=tuple(row.scopes),
        registered_at=row.registered_at,
        registered_by=row.registered_by,
        revoked_at=row.revoked_at,
        secret_generation=row.secret_generation if row.authentication == "secret" else UNSET,
    )
