"""Which scopes a role opens, and who may give it. Pure.

Invariant: nobody gives or takes a right that they do not hold themselves.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from tradewind.contexts.identity import problems
from tradewind.contexts.identity.commands import SCOPES, KeepRole, RemoveRole, SetRoles
from tradewind.contexts.identity.events import RoleChanged, RolesGiven
from tradewind.contexts.identity.rules.accounts import CUSTOMER
from tradewind.contexts.identity.tables.accounts import AccountRow
from tradewind.contexts.identity.tables.roles import RoleRow, RoleShown
from tradewind.kernel.problems import FieldError

# What every installation has. A customer's own things are theirs without any scope.
BUILT_IN: Mapping[str, tuple[str, tuple[str, ...]]] = {
    CUSTOMER: ("Buys here: has their own orders, carts and addresses.", ()),
    "support": (
        "Helps customers: sees and calls off orders, takes returns, finds accounts.",
        ("accounts:read", "carts:read", "orders:read", "orders:write", "payments:read"),
    ),
    "merchandiser": (
        "Keeps the catalog: products, categories, prices.",
        ("catalog:write", "inventory:read"),
    ),
    "warehouse": (
        "Counts and moves stock, sends orders and opens parcels.",
        ("inventory:read", "inventory:write", "orders:read", "orders:write"),
    ),
    "finance": (
        "Sees payments and the ledger, gives money back.",
        ("orders:read", "payments:read", "payments:write"),
    ),
    "fraud_analyst": (
        "Decides about orders that are held.",
        ("fraud:review", "orders:read", "payments:read"),
    ),
    "administrator": ("May do everything.", SCOPES),
}


def scopes_of(roles: Iterable[str], made: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Everything that these roles open; `made` are the scopes of the shop's own."""
    found: set[str] = set()
    for role in roles:
        found.update(BUILT_IN[role][1] if role in BUILT_IN else made.get(role, ()))
    return frozenset(found)


def give(
    command: SetRoles, account: AccountRow | None, made: Mapping[str, Sequence[str]], now: datetime
) -> (
    tuple[AccountRow, RolesGiven | None]
    | problems.AccountNotFound
    | problems.UnknownRole
    | problems.ScopeNotHeld
):
    """An account with other roles, and the fact; no fact where it has them already."""
    if account is None or account.status == "closed":
        return problems.AccountNotFound(f"There is no account {command.account_id[:64]!r}.")
    wanted = tuple(sorted(set(command.roles)))
    errors = tuple(
        FieldError(f"/roles/{index}", f"{role!r} is no role")
        for index, role in enumerate(command.roles)
        if role not in BUILT_IN and role not in made
    )
    if errors:
        return problems.UnknownRole("GET /v1/roles lists those that there are.", errors=errors)
    touched = set(wanted) ^ set(account.roles)
    if missing := sorted(scopes_of(touched, made) - command.held):
        return not_held(missing)
    if wanted == tuple(sorted(account.roles)):
        return account, None
    after = replace(account, version=account.version + 1, roles=wanted, changed_at=now)
    return after, RolesGiven(
        sequence=after.version,
        account_id=after.account_id,
        roles=wanted,
        given_by=command.by,
        given_at=now,
    )


def not_held(missing: Sequence[str]) -> problems.ScopeNotHeld:
    """The refusal of who would give or take more than they have."""
    return problems.ScopeNotHeld(
        f"You lack {', '.join(missing)}. Ask somebody who has every scope of the role.",
        missing=list(missing),
    )


def keep(
    command: KeepRole, row: RoleRow | None, now: datetime
) -> RoleRow | problems.RoleIsBuiltIn | problems.ScopeNotHeld:
    """A role of the shop's own as it is to be."""
    if command.role in BUILT_IN:
        return problems.RoleIsBuiltIn("Make a role under another name.")
    before = set(row.scopes) if row is not None and not row.removed else set()
    if missing := sorted((set(command.scopes) ^ before) - command.held):
        return not_held(missing)
    return RoleRow(
        role=command.role,
        scopes=tuple(sorted(set(command.scopes))),
        description=command.description,
        version=1 if row is None else row.version + 1,
        removed=False,
        changed_at=now,
        changed_by=command.by,
    )


def remove(
    command: RemoveRole, row: RoleRow | None, now: datetime
) -> RoleRow | problems.RoleIsBuiltIn | problems.RoleNotFound | problems.ScopeNotHeld:
    """A role that opens nothing any more; the row as it is where it was removed already."""
    if command.role in BUILT_IN:
        return problems.RoleIsBuiltIn("Take it away from those who have it.")
    if row is None:
        return problems.RoleNotFound(f"There is no role {command.role[:64]!r}.")
    if row.removed:
        return row
    if missing := sorted(set(row.scopes) - command.held):
        return not_held(missing)
    return replace(
        row, version=row.version + 1, removed=True, changed_at=now, changed_by=command.by
    )


def says_the_same(one: RoleRow, other: RoleRow) -> bool:
    """Whether two versions of a role open and say the same."""
    return (set(one.scopes), one.description, one.removed) == (
        set(other.scopes),
        other.description,
        other.removed,
    )


def changed(row: RoleRow) -> RoleChanged:
    """The fact that a role is another."""
    return RoleChanged(
        sequence=row.version,
        role=row.role,
        scopes=() if row.removed else tuple(row.scopes),
        changed_by=row.changed_by,
        changed_at=row.changed_at,
    )


def all_shown(rows: Collection[RoleRow]) -> list[RoleShown]:
    """Every role: those of every installation, then the shop's own."""
    built_in = [
        RoleShown(role=name, scopes=list(scopes), description=text, built_in=True)
        for name, (text, scopes) in BUILT_IN.items()
    ]
    return built_in + [row.shown for row in rows if not row.removed]
