"""Load, decide, save: guesses, sessions, and what time takes away."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tradewind.contexts.identity.commands import (
    BeginSignIn,
    EndSessions,
    ForgiveGuesses,
    OpenSession,
    RecordsDiscarded,
)
from tradewind.contexts.identity.events import SessionOpened
from tradewind.contexts.identity.handlers.accounts import FORGIVE, accounts_of, save_accounts
from tradewind.contexts.identity.handlers.holders import DISCARD
from tradewind.contexts.identity.rules import accounts as rules
from tradewind.contexts.identity.tables.accounts import (
    SESSION_COLUMNS,
    GuessRow,
    OldErrand,
    SessionRow,
    session_shown,
)
from tradewind.kernel.answers import Answer
from tradewind.kernel.audit import Change
from tradewind.kernel.messages import NOTHING, Decision, Event
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction

SWEPT_AT_ONCE_MAX = 500
# An errand that was settled is answered again for as long as its token was good; a day on top.
ERRANDS_KEPT = timedelta(days=1)
# Sessions that ended are shown no more, and asked for by no process.
SESSIONS_KEPT = timedelta(days=7)

# guesses_pkey.
GUESSES = """
    SELECT address, failures, locked_until, last_at
      FROM identity.guesses WHERE address = ANY ($1::bytea[])"""
SAVE_GUESSES = """
    INSERT INTO identity.guesses AS g (address, failures, locked_until, last_at)
    SELECT n.address, n.failures, n.locked_until, n.last_at
      FROM unnest($1::bytea[], $2::int[], $3::timestamptz[], $4::timestamptz[])
        AS n (address, failures, locked_until, last_at)
    ON CONFLICT (address) DO UPDATE
       SET failures = EXCLUDED.failures, locked_until = EXCLUDED.locked_until,
           last_at = EXCLUDED.last_at"""


async def begin_sign_ins(tx: Transaction, commands: Sequence[BeginSignIn]) -> Decision:
    """Count guesses before they are looked at, so that a thousand at once are not a thousand.

    Not safe to repeat, on purpose: a guess that is sent twice is two.
    """
    addresses = sorted({command.address for command in commands})
    await tx.lock("identity.guesses", [address.hex() for address in addresses])
    rows = {row.address: row for row in await tx.fetch(GUESSES, addresses, into=GuessRow)}
    counted: dict[bytes, GuessRow] = {}
    outcomes: list[Problem | None] = []
    for command in commands:
        row = rules.guess(command.address, rows.get(command.address), tx.now)
        if isinstance(row, Problem):
            outcomes.append(row)
            continue
        rows[command.address] = counted[command.address] = row
        outcomes.append(None)
    if counted:
        tx.write(
            SAVE_GUESSES,
            [row.address for row in counted.values()],
            [row.failures for row in counted.values()],
            [row.locked_until for row in counted.values()],
            [row.last_at for row in counted.values()],
        )
    return Decision(outcomes=outcomes)


async def forgive_guesses(tx: Transaction, commands: Sequence[ForgiveGuesses]) -> Decision:
    """Forget guesses of who was right. Safe to repeat."""
    tx.write(FORGIVE, sorted({command.address for command in commands}))
    return Decision(outcomes=[None] * len(commands))


# sessions_pkey.
SESSIONS = f"SELECT {SESSION_COLUMNS} FROM identity.sessions WHERE session_id = ANY ($1::text[])"
INSERT_SESSIONS = """
    INSERT INTO identity.sessions (session_id, account_id, secret_hash, second_factor, opened_at,
           expires_at)
    SELECT n.session_id, n.account_id, n.secret_hash, n.second_factor, n.opened_at, n.expires_at
      FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bool[], $5::timestamptz[],
                  $6::timestamptz[])
        AS n (session_id, account_id, secret_hash, second_factor, opened_at, expires_at)"""


async def open_sessions(tx: Transaction, commands: Sequence[OpenSession]) -> Decision:
    """Sign people in. Safe to repeat: the session's id came with the command.

    What the caller compared the password with is compared again: a password that was changed
    meanwhile, or a code that another request used, opens nothing.
    """
    known: dict[str, SessionRow] = {}
    if tx.anew:
        ids = [command.session_id for command in commands]
        known = {row.session_id: row for row in await tx.fetch(SESSIONS, ids, into=SessionRow)}
    before = await accounts_of(tx, (command.account_id for command in commands))
    accounts = dict(before)
    opened: list[SessionRow] = []
    events: list[Event] = []
    forgiven: set[bytes] = set()
    outcomes: list[Any] = []
    changes: dict[int, Change] = {}
    for index, command in enumerate(commands):
        if command.session_id in known:
            outcomes.append(session_shown(known[command.session_id]))
            continue
        decided = rules.sign_in(command, accounts.get(command.account_id), tx.now)
        if isinstance(decided, Problem):
            outcomes.append(decided)
            continue
        accounts[command.account_id] = decided.account
        changes[index] = Change(command.account_id, None, {"session": command.session_id})
        opened.append(decided.session)
        forgiven.add(command.address)
        events.append(
            SessionOpened(
                sequence=1,
                session_id=decided.session.session_id,
                account_id=command.account_id,
                second_factor=decided.session.second_factor,
                opened_at=tx.now,
                guest_cart=command.guest_cart,
            )
        )
        outcomes.append(session_shown(decided.session))
    pairs = [(before[key], row) for key, row in accounts.items()]
    save_accounts(tx, [pair for pair in pairs if pair[0] is not pair[1]])
    if opened:
        tx.write(
            INSERT_SESSIONS,
            [row.session_id for row in opened],
            [row.account_id for row in opened],
            [row.secret_hash for row in opened],
            [row.second_factor for row in opened],
            [row.opened_at for row in opened],
            [row.expires_at for row in opened],
            expect=len(opened),
        )
        tx.write(FORGIVE, sorted(forgiven))
    return Decision(events=events, outcomes=outcomes, changes=changes)


# sessions_by_account. An empty id stands for every session of the account.
OPEN_SESSIONS = """
    SELECT s.session_id, s.account_id, s.secret_hash, s.second_factor, s.opened_at, s.expires_at,
           s.last_used_at, s.ended_at
      FROM identity.sessions s
     WHERE s.account_id = ANY ($1::text[]) AND s.ended_at IS NULL"""
# sessions_pkey.
END_SESSIONS = """
    UPDATE identity.sessions SET ended_at = $2
     WHERE session_id = ANY ($1::text[]) AND ended_at IS NULL"""


async def end_sessions(tx: Transaction, commands: Sequence[EndSessions]) -> Decision:
    """Sign people out. Safe to repeat: who is out stays out."""
    ids = sorted({command.account_id for command in commands})
    rows = await tx.fetch(OPEN_SESSIONS, ids, into=SessionRow)
    ended: set[str] = set()
    outcomes = []
    for command in commands:
        mine = [row.session_id for row in rows if row.account_id == command.account_id]
        if command.session_id is not None:
            chosen = [each for each in mine if each == command.session_id]
        else:
            chosen = [each for each in mine if each != command.kept]
        ended.update(chosen)
        outcomes.append(Answer(status=204, body=None) if command.idempotency else len(chosen))
    if ended:
        tx.write(END_SESSIONS, sorted(ended), tx.now)
    return Decision(outcomes=outcomes)


# errands_by_expiry.
OLD_ERRANDS = """
    SELECT errand_id, person, account_id FROM identity.errands
     WHERE expires_at < $1 ORDER BY expires_at LIMIT $2"""
# accounts_by_person, accounts_by_record.
OF_ACCOUNTS = """
    SELECT person FROM identity.accounts WHERE person = ANY ($1::text[])
    UNION SELECT record FROM identity.accounts WHERE record = ANY ($1::text[])"""
# errands_pkey.
DROP_ERRANDS = "DELETE FROM identity.errands WHERE errand_id = ANY ($1::text[])"


async def forget_errands(tx: Transaction) -> Decision:
    """Delete errands whose time is over, and discard the records that only they pointed to."""
    rows = await tx.fetch(OLD_ERRANDS, tx.now - ERRANDS_KEPT, SWEPT_AT_ONCE_MAX, into=OldErrand)
    if not rows:
        return NOTHING
    persons = sorted({row.person for row in rows if row.person is not None})
    used = set(await tx.fetch_values(OF_ACCOUNTS, persons))
    tx.write(DROP_ERRANDS, [row.errand_id for row in rows])
    unused = [person for person in persons if person not in used]
    if unused:
        tx.write(DISCARD, unused, tx.now)
    return NOTHING


# sessions_by_expiry.
OLD_SESSIONS = """
    DELETE FROM identity.sessions WHERE session_id IN (
      SELECT session_id FROM identity.sessions WHERE expires_at < $1
       ORDER BY expires_at LIMIT $2)"""
# sessions_ended.
ENDED_SESSIONS = """
    DELETE FROM identity.sessions WHERE session_id IN (
      SELECT session_id FROM identity.sessions
       WHERE ended_at IS NOT NULL AND ended_at < $1 AND expires_at >= $1
       ORDER BY ended_at LIMIT $2)"""
# guesses_by_last.
OLD_GUESSES = """
    DELETE FROM identity.guesses WHERE last_at < $1 AND address IN (
      SELECT address FROM identity.guesses WHERE last_at < $1 ORDER BY last_at LIMIT $2)"""
ANYTHING_OLD = """
    SELECT EXISTS (SELECT FROM identity.sessions WHERE expires_at < $1)
        OR EXISTS (SELECT FROM identity.sessions WHERE ended_at IS NOT NULL AND ended_at < $1)
        OR EXISTS (SELECT FROM identity.guesses WHERE last_at < $2)"""


async def forget_sessions(tx: Transaction) -> Decision:
    """Delete sessions that ended long ago, and guesses that count no more."""
    sessions = tx.now - SESSIONS_KEPT
    guesses = tx.now - rules.GUESSES_FORGOTTEN
    if await tx.fetch_value(ANYTHING_OLD, sessions, guesses):
        tx.write(OLD_SESSIONS, sessions, SWEPT_AT_ONCE_MAX)
        tx.write(ENDED_SESSIONS, sessions, SWEPT_AT_ONCE_MAX)
        tx.write(OLD_GUESSES, guesses, SWEPT_AT_ONCE_MAX)
    return NOTHING


# A small table: it is emptied all the time.
DISCARDED = "SELECT person FROM identity.discarded_persons WHERE due_at <= $1 LIMIT $2"


async def find_discarded(tx: Transaction) -> Decision:
    """Have records destroyed that no account points to any more; till then it finds them."""
    persons = await tx.fetch_values(DISCARDED, tx.now, SWEPT_AT_ONCE_MAX)
    return Decision(signals=[RecordsDiscarded(tuple(persons))] if persons else [])
