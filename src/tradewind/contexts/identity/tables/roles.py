"""Rows and shapes of roles, and of accounts as staff sees them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from tradewind.contexts.identity.commands import SCOPES, Scope
from tradewind.contexts.identity.tables.accounts import AccountRow, Email, Status

RoleName = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{1,39}$")]


class RoleShown(Struct, frozen=True, kw_only=True):
    """A role and what it opens."""

    role: str
    scopes: list[str]
    description: str
    built_in: bool


class RoleRow(Struct, frozen=True):
    """A row of identity.roles."""

    role: str
    scopes: Sequence[str]
    description: str
    version: int
    removed: bool
    changed_at: datetime
    changed_by: str

    @property
    def shown(self) -> RoleShown:
        """As it is shown."""
        return RoleShown(
            role=self.role,
            scopes=list(self.scopes),
            description=self.description,
            built_in=False,
        )


ROLE_COLUMNS = ", ".join(RoleRow.__struct_fields__)


class Roles(Struct, frozen=True):
    """Every role."""

    items: list[RoleShown]
    next: None = None


class RoleBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a role opens, and for whom it is."""

    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=len(SCOPES))]
    description: Annotated[str, Meta(min_length=1, max_length=200)]


class RolesBody(Struct, frozen=True, forbid_unknown_fields=True):
    """All roles that the account is to have."""

    roles: Annotated[tuple[RoleName, ...], Meta(max_length=20)]


class StatusBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the account may be used."""

    suspended: bool


class AccountShown(Struct, frozen=True, kw_only=True):
    """An account as staff sees it. `email` and `name` come from the vault."""

    id: str
    email: str | None = None
    name: str | None = None
    status: Status
    roles: list[str]
    second_factor: bool
    opened_at: datetime
    verified_at: datetime
    erased: bool = False


class AccountPage(Struct, frozen=True):
    """Accounts, newest first."""

    items: list[AccountShown]
    next: str | None


class AccountsQuery(Struct, frozen=True, kw_only=True):
    """Which accounts: that of an address, or those of staff, or all."""

    email: Email | None = None
    staff: bool = False
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: str | None = None


def account_shown(row: AccountRow) -> AccountShown:
    """A row as staff sees it, without the person."""
    return AccountShown(
        id=row.account_id,
        status=row.status,
        roles=list(row.roles),
        second_factor=row.totp_sealed is not None,
        opened_at=row.opened_at,
        verified_at=row.verified_at,
    )
