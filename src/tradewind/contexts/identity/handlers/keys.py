"""Load, decide, save: API keys.

Keys change rarely, so all decisions about them are made one after the other, under one lock. That
is what makes "the last key that can manage keys" a question with an answer.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tradewind.contexts.identity import rules
from tradewind.contexts.identity.commands import (
    FIRST_KEY_ID,
    CreateKey,
    ProvideFirstKey,
    RecordUse,
    RevokeKey,
    RotateKey,
)
from tradewind.contexts.identity.tables import KEY_COLUMNS, KeyRow, shown
from tradewind.kernel.answers import Answer
from tradewind.kernel.audit import Change
from tradewind.kernel.messages import Decision, Event
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction

LOCK = ("identity.api_keys", ("all",))

# api_keys_pkey.
KEYS = f"SELECT {KEY_COLUMNS} FROM identity.api_keys WHERE key_id = ANY ($1::text[])"


async def create_keys(tx: Transaction, commands: Sequence[CreateKey]) -> Decision:
    """Create keys. Safe to repeat: the id comes with the command, and is made once."""
    await tx.lock(*LOCK)
    rows = {
        row.key_id: row for row in await tx.fetch(KEYS, [c.key_id for c in commands], into=KeyRow)
    }
    events: list[Event] = []
    outcomes: list[Any] = []
    changes: dict[int, Change] = {}
    new: list[KeyRow] = []
    for place, command in enumerate(commands):
        row = rows.get(command.key_id)
        if row is None:
            decided = rules.create(command, tx.now)
            if isinstance(decided, Problem):
                outcomes.append(decided)
                continue
            row = rows[command.key_id] = decided
            new.append(row)
            events.append(rules.created(row))
            changes[place] = Change(row.key_id, None, rules.recorded(row))
        outcomes.append(Answer(status=201, body=shown(row)))
    insert(tx, new)
    return Decision(events=events, outcomes=outcomes, changes=changes)


INSERT = """
    INSERT INTO identity.api_keys
           (key_id, name, scopes, secret_hash, version, created_at, created_by, expires_at,
            customer_group, limits)
    SELECT n.key_id, n.name, string_to_array(n.scopes, ' '), n.secret_hash, n.version,
           n.created_at, n.created_by, n.expires_at, n.customer_group, n.limits
      FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::timestamptz[],
                  $7::text[], $8::timestamptz[], $9::text[], $10::text[])
        AS n (key_id, name, scopes, secret_hash, version, created_at, created_by, expires_at,
              customer_group, limits)"""


def insert(tx: Transaction, rows: Sequence[KeyRow]) -> None:
    """Queue new rows. An array of arrays does not unnest by rows, so scopes travel as one text."""
    if rows:
        tx.write(
            INSERT,
            [row.key_id for row in rows],
            [row.name for row in rows],
            [" ".join(row.scopes) for row in rows],
            [row.secret_hash for row in rows],
            [row.version for row in rows],
            [row.created_at for row in rows],
            [row.created_by for row in rows],
            [row.expires_at for row in rows],
            [row.customer_group for row in rows],
            [row.limits for row in rows],
            expect=len(rows),
        )


# No index: there are a few dozen keys, and a revocation a month.
THAT_MANAGE_KEYS = f"""
    SELECT {KEY_COLUMNS}
      FROM identity.api_keys WHERE $1 = ANY (scopes) AND revoked_at IS NULL"""

# api_keys_pkey.
REVOKE = """
    UPDATE identity.api_keys k
       SET version = n.version, revoked_at = n.revoked_at, revoked_by = n.revoked_by
      FROM unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::text[])
        AS n (key_id, version, revoked_at, revoked_by)
     WHERE k.key_id = n.key_id AND k.revoked_at IS NULL"""


async def revoke_keys(tx: Transaction, commands: Sequence[RevokeKey]) -> Decision:
    """Revoke keys. Safe to repeat: a revoked key is answered as it is."""
    await tx.lock(*LOCK)
    rows = {
        row.key_id: row for row in await tx.fetch(KEYS, [c.key_id for c in commands], into=KeyRow)
    }
    managing = {
        row.key_id: row for row in await tx.fetch(THAT_MANAGE_KEYS, rules.MANAGES_KEYS, into=KeyRow)
    }
    outcomes: list[Any] = []
    changes: dict[int, Change] = {}
    changed: list[KeyRow] = []
    for place, command in enumerate(commands):
        before = rows.get(command.key_id)
        row = rules.revoke(command, before, managing.values(), tx.now)
        if isinstance(row, Problem):
            outcomes.append(row)
            continue
        assert before is not None, "only a key that is there is revoked"
        changes[place] = Change(row.key_id, rules.recorded(before), rules.recorded(row))
        if row is not before:
            rows[row.key_id] = row
            managing.pop(row.key_id, None)
            changed.append(row)
        outcomes.append(Answer(body=shown(row)))
    if changed:
        tx.write(
            REVOKE,
            [row.key_id for row in changed],
            [row.version for row in changed],
            [row.revoked_at for row in changed],
            [row.revoked_by for row in changed],
            expect=len(changed),
        )
    events = [rules.revoked(row) for row in changed]
    return Decision(events=events, outcomes=outcomes, changes=changes)


# api_keys_pkey.
ROTATE = """
    UPDATE identity.api_keys k
       SET version = n.version, generation = n.generation, secret_hash = n.secret_hash,
           former_hash = n.former_hash, former_until = n.former_until, rotated_at = n.rotated_at
      FROM unnest($1::text[], $2::bigint[], $3::int[], $4::bytea[], $5::bytea[],
                  $6::timestamptz[], $7::timestamptz[])
        AS n (key_id, version, generation, secret_hash, former_hash, former_until, rotated_at)
     WHERE k.key_id = n.key_id AND k.revoked_at IS NULL"""


async def rotate_keys(tx: Transaction, commands: Sequence[RotateKey]) -> Decision:
    """Give keys new secrets. Safe to repeat: on what it was asked about, it is done once."""
    await tx.lock(*LOCK)
    before = {
        row.key_id: row for row in await tx.fetch(KEYS, [c.key_id for c in commands], into=KeyRow)
    }
    rows = dict(before)
    outcomes: list[Any] = []
    events: list[Event] = []
    changes: dict[int, Change] = {}
    for index, command in enumerate(commands):
        row = rules.rotate(command, rows.get(command.key_id), tx.now)
        if isinstance(row, Problem):
            outcomes.append(row)
            continue
        was = rows[row.key_id].generation
        changes[index] = Change(row.key_id, {"secret": was}, {"secret": row.generation})
        if row is not rows[row.key_id]:
            rows[row.key_id] = row
            events.append(rules.rotated(row, command.by))
        outcomes.append(Answer(body=shown(row)))
    changed = [row for key, row in rows.items() if row is not before[key]]
    if changed:
        tx.write(
            ROTATE,
            [row.key_id for row in changed],
            [row.version for row in changed],
            [row.generation for row in changed],
            [row.secret_hash for row in changed],
            [row.former_hash for row in changed],
            [row.former_until for row in changed],
            [row.rotated_at for row in changed],
            expect=len(changed),
        )
    return Decision(events=events, outcomes=outcomes, changes=changes)


# api_keys_pkey.
RENEW = """
    UPDATE identity.api_keys SET secret_hash = $2, scopes = $3::text[]
     WHERE key_id = $1 AND revoked_at IS NULL"""


async def provide_first_key(tx: Transaction, commands: Sequence[ProvideFirstKey]) -> Decision:
    """Make the first key, or bring it up to date. Safe to repeat, and to run in many processes."""
    await tx.lock(*LOCK)
    before = next(iter(await tx.fetch(KEYS, [FIRST_KEY_ID], into=KeyRow)), None)
    row = before
    # Processes that start together ask for the same; the newest master key has the last word.
    for command in commands:
        row = rules.first_key(command, row, tx.now)
    assert row is not None, "there is no empty batch"
    outcomes = [row.revoked_at is None for _ in commands]
    if before is None:
        insert(tx, [row])
        return Decision(events=[rules.created(row)], outcomes=outcomes)
    if row is not before:
        tx.write(RENEW, row.key_id, row.secret_hash, list(row.scopes), expect=1)
    return Decision(outcomes=outcomes)


# api_keys_pkey. In the order of the keys, so that two processes do not wait for each other.
RECORD_USE = """
    UPDATE identity.api_keys k SET last_used_at = n.used_at
      FROM (SELECT key_id, used_at FROM unnest($1::text[], $2::timestamptz[]) AS u (key_id, used_at)
             ORDER BY key_id) AS n
     WHERE k.key_id = n.key_id AND (k.last_used_at IS NULL OR k.last_used_at < n.used_at)"""
# sessions_pkey, in its order.
SESSIONS_USED = """
    UPDATE identity.sessions s SET last_used_at = n.used_at
      FROM (SELECT session_id, used_at
              FROM unnest($1::text[], $2::timestamptz[]) AS u (session_id, used_at)
             ORDER BY session_id) AS n
     WHERE s.session_id = n.session_id AND (s.last_used_at IS NULL OR s.last_used_at < n.used_at)"""


async def record_use(tx: Transaction, commands: Sequence[RecordUse]) -> Decision:
    """Remember when keys and sessions were last used; the latest wins. Safe to repeat."""
    used_at: dict[str, datetime] = {}
    for command in commands:
        for key_id, at in command.used_at.items():
            used_at[key_id] = max(at, used_at.get(key_id, at))
    keys = {key: at for key, at in used_at.items() if key.startswith("key_")}
    sessions = {key: at for key, at in used_at.items() if key.startswith("ses_")}
    if keys:
        tx.write(RECORD_USE, list(keys), list(keys.values()))
    if sessions:
        tx.write(SESSIONS_USED, list(sessions), list(sessions.values()))
    return Decision(outcomes=[None] * len(commands))
