"""Load, decide, save: roles, and who has them.

Roles change rarely, so everything about them is decided under one lock: a role that is removed
while it is given ends up with nobody.
"""

from collections.abc import Sequence
from typing import Any

from tradewind.contexts.identity.commands import KeepRole, RemoveRole, SetRoles, SetStatus
from tradewind.contexts.identity.handlers.accounts import (
    accounts_of,
    end_sessions,
    save_accounts,
)
from tradewind.contexts.identity.problems import AccountNotFound
from tradewind.contexts.identity.rules import accounts as account_rules
from tradewind.contexts.identity.rules import roles as rules
from tradewind.contexts.identity.tables.roles import (
    ROLE_COLUMNS,
    RoleRow,
    account_shown,
)
from tradewind.kernel.answers import Answer
from tradewind.kernel.audit import Change
from tradewind.kernel.messages import Decision, Event
from tradewind.kernel.problems import Problem
from tradewind.platform.database.literals import text_array
from tradewind.platform.database.transaction import Transaction

LOCK = ("identity.roles", ("all",))

# All of them: a shop has a dozen.
ROLES = f"SELECT {ROLE_COLUMNS} FROM identity.roles"


async def set_roles(tx: Transaction, commands: Sequence[SetRoles]) -> Decision:
    """Give accounts roles. Safe to repeat: what an account has it is not given again."""
    await tx.lock(*LOCK)
    made = {row.role: row.scopes for row in await tx.fetch(ROLES, into=RoleRow) if not row.removed}
    before = await accounts_of(tx, (command.account_id for command in commands))
    accounts = dict(before)
    events: list[Event] = []
    outcomes: list[Any] = []
    changes: dict[int, Change] = {}
    for index, command in enumerate(commands):
        decided = rules.give(command, accounts.get(command.account_id), made, tx.now)
        if isinstance(decided, Problem):
            outcomes.append(decided)
            continue
        row, event = decided
        before_roles = {"roles": sorted(accounts[row.account_id].roles)}
        changes[index] = Change(row.account_id, before_roles, {"roles": sorted(row.roles)})
        accounts[row.account_id] = row
        if event is not None:
            events.append(event)
        outcomes.append(Answer(body=account_shown(row)))
    pairs = [(before[key], row) for key, row in accounts.items()]
    save_accounts(tx, [pair for pair in pairs if pair[0] is not pair[1]])
    return Decision(events=events, outcomes=outcomes, changes=changes)


async def set_statuses(tx: Transaction, commands: Sequence[SetStatus]) -> Decision:
    """Suspend accounts, which signs them out, or let them in again. Safe to repeat."""
    await tx.lock(*LOCK)
    made = {row.role: row.scopes for row in await tx.fetch(ROLES, into=RoleRow) if not row.removed}
    before = await accounts_of(tx, (command.account_id for command in commands))
    accounts = dict(before)
    events: list[Event] = []
    outcomes: list[Any] = []
    changes: dict[int, Change] = {}
    for index, command in enumerate(commands):
        row = accounts.get(command.account_id)
        if row is None or row.status == "closed":
            outcomes.append(AccountNotFound())
            continue
        if missing := sorted(rules.scopes_of(row.roles, made) - command.held):
            outcomes.append(rules.not_held(missing))
            continue
        changes[index] = Change(row.account_id, {"status": row.status}, {"status": command.status})
        if row.status != command.status:
            row, event = account_rules.with_status(row, command.status, tx.now)
            accounts[row.account_id] = row
            events.append(event)
        outcomes.append(Answer(body=account_shown(row)))
    pairs = [(before[key], row) for key, row in accounts.items()]
    changed = [pair for pair in pairs if pair[0] is not pair[1]]
    save_accounts(tx, changed)
    end_sessions(tx, [(row.account_id, None) for _, row in changed if row.status == "suspended"])
    return Decision(events=events, outcomes=outcomes, changes=changes)


SAVE_ROLES = """
    INSERT INTO identity.roles (role, scopes, description, version, removed, changed_at, changed_by)
    SELECT n.role, n.scopes::text[], n.description, n.version, n.removed, n.changed_at, n.changed_by
      FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bool[], $6::timestamptz[],
                  $7::text[])
        AS n (role, scopes, description, version, removed, changed_at, changed_by)
    ON CONFLICT (role) DO UPDATE
       SET scopes = EXCLUDED.scopes, description = EXCLUDED.description,
           version = EXCLUDED.version, removed = EXCLUDED.removed,
           changed_at = EXCLUDED.changed_at, changed_by = EXCLUDED.changed_by"""


async def keep_roles(tx: Transaction, commands: Sequence[KeepRole]) -> Decision:
    """Make or change roles. Safe to repeat: a role that is so already stays as it is."""
    return await decide(tx, commands)


async def remove_roles(tx: Transaction, commands: Sequence[RemoveRole]) -> Decision:
    """Remove roles. Whoever has one keeps its name, and it opens nothing. Safe to repeat."""
    return await decide(tx, commands)


async def decide(tx: Transaction, commands: Sequence[KeepRole | RemoveRole]) -> Decision:
    """Roles, one command after the other; each row is written once."""
    await tx.lock(*LOCK)
    before = {row.role: row for row in await tx.fetch(ROLES, into=RoleRow)}
    rows = dict(before)
    events: list[Event] = []
    outcomes: list[Any] = []
    changes: dict[int, Change] = {}
    for index, command in enumerate(commands):
        row = rows.get(command.role)
        decided: RoleRow | Problem
        if isinstance(command, KeepRole):
            decided = rules.keep(command, row, tx.now)
        else:
            decided = rules.remove(command, row, tx.now)
        if isinstance(decided, Problem):
            outcomes.append(decided)
            continue
        same = row is not None and rules.says_the_same(decided, row)
        changes[index] = Change(command.role, standing(row), standing(decided))
        if not same:
            rows[decided.role] = decided
            events.append(rules.changed(decided))
        keeps = isinstance(command, KeepRole)
        outcomes.append(Answer(body=decided.shown) if keeps else Answer(status=204))
    changed = [row for role, row in rows.items() if row is not before.get(role)]
    if changed:
        tx.write(
            SAVE_ROLES,
            [row.role for row in changed],
            [text_array(row.scopes) for row in changed],
            [row.description for row in changed],
            [row.version for row in changed],
            [row.removed for row in changed],
            [row.changed_at for row in changed],
            [row.changed_by for row in changed],
            expect=len(changed),
        )
    return Decision(events=events, outcomes=outcomes, changes=changes)


def standing(row: RoleRow | None) -> dict[str, Any] | None:
    """A role as the record holds it."""
    return None if row is None else {"scopes": sorted(row.scopes), "removed": row.removed}
