"""Accounts as staff sees them, and roles: who may do what here."""

import msgspec

from tradewind.contexts.identity import problems, queries
from tradewind.contexts.identity.commands import KeepRole, RemoveRole, SetRoles, SetStatus
from tradewind.contexts.identity.tables.accounts import AccountRow
from tradewind.contexts.identity.tables.roles import (
    AccountPage,
    AccountShown,
    AccountsQuery,
    RoleBody,
    Roles,
    RolesBody,
    RoleShown,
    StatusBody,
    account_shown,
)
from tradewind.kernel.answers import Answer, Settled
from tradewind.kernel.problems import FieldError
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.problems import InvalidBody
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Route, Scope, Whose

NEWEST = "~"  # sorts behind every id
ROLE_LENGTH_MAX = 40


async def with_people(request: Request, rows: list[AccountRow]) -> list[AccountShown]:
    """Accounts with who they are, from the vault."""
    opened = await request.node.vault.open(sorted({row.record for row in rows}))
    shown = []
    for row in rows:
        fields = opened[row.record]
        known = fields or {}
        shown.append(
            msgspec.structs.replace(
                account_shown(row),
                email=known.get("email"),
                name=known.get("name"),
                erased=fields is None,
            )
        )
    return shown


async def get_accounts(request: Request) -> Answer:
    """Accounts, newest first. `email` finds exactly that address, `staff` those with a role."""
    query: AccountsQuery = request.query
    if query.email is not None:
        contact = await request.node.vault.find_contact(query.email)
        async with request.reading() as snapshot:
            row = await queries.account_of(snapshot, contact or "")
        found = [] if row is None else [row]
        return Answer(body=AccountPage(await with_people(request, found), None))
    before = NEWEST if query.cursor is None else decode_cursor(query.cursor, str)[0]
    async with request.reading() as snapshot:
        rows = await queries.accounts(
            snapshot, staff=query.staff, before=before, count_max=query.limit + 1
        )
    page = rows[: query.limit]
    more = encode_cursor(page[-1].account_id) if len(rows) > query.limit else None
    return Answer(body=AccountPage(await with_people(request, page), more))


async def get_account(request: Request) -> Answer:
    """An account: who it is, and what it may do."""
    async with request.reading() as snapshot:
        row = await queries.account(snapshot, request.params["account_id"])
    if row is None:
        raise problems.AccountNotFound("GET /v1/accounts lists those that there are.")
    return Answer(body=(await with_people(request, [row]))[0])


async def put_roles(request: Request) -> Answer | Settled:
    """Give an account exactly these roles. Its sessions have them within a second.

    You can give or take only roles whose every scope you hold.
    """
    body: RolesBody = request.body
    credential = request.credential
    assert credential is not None, "the route needs a scope"
    outcome: Answer | Settled = await request.submit(
        SetRoles(
            account_id=request.params["account_id"],
            roles=body.roles,
            by=credential.id,
            held=credential.scopes,
        )
    )
    return outcome


async def put_status(request: Request) -> Answer | Settled:
    """Suspend an account, which signs it out everywhere within a second, or let it in again."""
    body: StatusBody = request.body
    credential = request.credential
    assert credential is not None, "the route needs a scope"
    outcome: Answer | Settled = await request.submit(
        SetStatus(
            account_id=request.params["account_id"],
            status="suspended" if body.suspended else "active",
            by=credential.id,
            held=credential.scopes,
        )
    )
    return outcome


async def get_roles(request: Request) -> Answer:
    """Every role and what it opens: those of every installation, then the shop's own."""
    async with request.reading() as snapshot:
        return Answer(body=Roles(await queries.all_roles(snapshot)))


async def put_role(request: Request) -> Answer | Settled:
    """Make a role of the shop's own, or change what it opens. You need each of its scopes."""
    body: RoleBody = request.body
    credential = request.credential
    assert credential is not None, "the route needs a scope"
    outcome: Answer | Settled = await request.submit(
        KeepRole(
            role=role_of(request),
            scopes=body.scopes,
            description=body.description,
            by=credential.id,
            held=credential.scopes,
        )
    )
    return outcome


async def delete_role(request: Request) -> Answer | Settled:
    """Remove a role of the shop's own. Whoever has it loses what it opens, within a second."""
    credential = request.credential
    assert credential is not None, "the route needs a scope"
    outcome: Answer | Settled = await request.submit(
        RemoveRole(role=role_of(request), by=credential.id, held=credential.scopes)
    )
    return outcome


def role_of(request: Request) -> str:
    """The role in the address. Raises where it is no name of one."""
    role = request.params["role"]
    plain = role.isascii() and role.replace("_", "a").isalnum() and role.islower()
    if not plain or not role[0].isalpha() or not 2 <= len(role) <= ROLE_LENGTH_MAX:
        error = FieldError("role", "must be a word such as returns_desk")
        raise InvalidBody("Name a role in lower case, with 2 to 40 letters.", errors=(error,))
    return role


ROUTES = (
    Route(
        method="GET",
        path="/v1/accounts",
        handler=get_accounts,
        summary="List accounts.",
        permission=Scope("accounts:read"),
        whose=Whose.SHOP,
        personal=True,
        needs_reason=True,
        query=AccountsQuery,
        answers={200: AccountPage},
        tag="accounts",
    ),
    Route(
        method="GET",
        path="/v1/accounts/{account_id}",
        handler=get_account,
        summary="Read an account.",
        permission=Scope("accounts:read"),
        whose=Whose.SHOP,
        personal=True,
        needs_reason=True,
        answers={200: AccountShown},
        problems=(problems.AccountNotFound,),
        tag="accounts",
    ),
    Route(
        method="PUT",
        path="/v1/accounts/{account_id}/roles",
        handler=put_roles,
        summary="Give an account its roles.",
        permission=Scope("roles:write"),
        whose=Whose.SHOP,
        notice="role_changed",
        body=RolesBody,
        answers={200: AccountShown},
        problems=(problems.AccountNotFound, problems.UnknownRole, problems.ScopeNotHeld),
        tag="roles",
    ),
    Route(
        method="PUT",
        path="/v1/accounts/{account_id}/status",
        handler=put_status,
        summary="Suspend an account, or let it in again.",
        permission=Scope("accounts:write"),
        whose=Whose.SHOP,
        needs_reason=True,
        notice="account_changed",
        body=StatusBody,
        answers={200: AccountShown},
        problems=(problems.AccountNotFound, problems.ScopeNotHeld),
        tag="accounts",
    ),
    Route(
        method="GET",
        path="/v1/roles",
        handler=get_roles,
        summary="List roles.",
        permission=Scope("accounts:read"),
        whose=Whose.SHOP,
        answers={200: Roles},
        tag="roles",
    ),
    Route(
        method="PUT",
        path="/v1/roles/{role}",
        handler=put_role,
        summary="Make or change a role.",
        permission=Scope("roles:write"),
        whose=Whose.SHOP,
        notice="role_changed",
        body=RoleBody,
        answers={200: RoleShown},
        problems=(problems.RoleIsBuiltIn, problems.ScopeNotHeld),
        tag="roles",
    ),
    Route(
        method="DELETE",
        path="/v1/roles/{role}",
        handler=delete_role,
        summary="Remove a role.",
        permission=Scope("roles:write"),
        whose=Whose.SHOP,
        notice="role_changed",
        answers={204: None},
        problems=(problems.RoleIsBuiltIn, problems.RoleNotFound, problems.ScopeNotHeld),
        tag="roles",
    ),
)
