"""Load, decide, save: errands, accounts, and what lets people in."""

import hmac
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from tradewind.contexts.identity.commands import (
    AskNewAddress,
    AskReset,
    AskSignUp,
    ResetPassword,
    VerifyAddress,
)
from tradewind.contexts.identity.rules import accounts as rules
from tradewind.contexts.identity.tables.accounts import (
    ACCOUNT_COLUMNS,
    ERRAND_COLUMNS,
    AccountId,
    AccountRow,
    Asked,
    ErrandRow,
)
from tradewind.kernel.answers import Answer
from tradewind.kernel.messages import Decision, Event
from tradewind.kernel.problems import Problem
from tradewind.platform.database.literals import blobs, text_array
from tradewind.platform.database.transaction import Transaction

# Of two who ask for mails to one address the second counts the mail of the first.
ADDRESS_LOCK = "identity.address"

# accounts_pkey.
ACCOUNTS = f"SELECT {ACCOUNT_COLUMNS} FROM identity.accounts WHERE account_id = ANY ($1::text[])"
# accounts_contact_key.
ACCOUNTS_OF = f"SELECT {ACCOUNT_COLUMNS} FROM identity.accounts WHERE contact = ANY ($1::text[])"
# errands_pkey.
ERRANDS = f"SELECT {ERRAND_COLUMNS} FROM identity.errands WHERE errand_id = ANY ($1::text[])"
# errands_by_address.
MAILS = """
    SELECT address, count(*)::int FROM identity.errands
     WHERE address = ANY ($1::bytea[]) AND asked_at > $2 GROUP BY address"""


async def ask(
    tx: Transaction, commands: Sequence[AskSignUp | AskReset | AskNewAddress]
) -> Decision:
    """Begin errands and have mails written. Safe to repeat: the id came with the command.

    It reads and writes the same, whether the addresses have accounts or not.
    """
    addresses = sorted({command.address for command in commands})
    await tx.lock(ADDRESS_LOCK, [address.hex() for address in addresses])
    contacts = [command.contact or "" for command in commands]
    owners = {row.contact: row for row in await tx.fetch(ACCOUNTS_OF, contacts, into=AccountRow)}
    since = tx.now - rules.MAILS_WITHIN
    rows = await tx.fetch(MAILS, addresses, since, into=Asked)
    mails = {row.address: row.count for row in rows}
    known: set[str] = set()
    if tx.anew:
        found = await tx.fetch(ERRANDS, [c.errand_id for c in commands], into=ErrandRow)
        known = {row.errand_id for row in found}
    asked = []
    for command in commands:
        if command.errand_id in known:
            continue
        count = mails.get(command.address, 0)
        owner = owners.get(command.contact) if command.contact is not None else None
        asked.append(rules.asked(command, owner, mails=count, now=tx.now))
        mails[command.address] = count + 1
    insert_errands(tx, [each.row for each in asked])
    return Decision(events=[each.event for each in asked], outcomes=[None] * len(commands))


INSERT_ERRANDS = """
    INSERT INTO identity.errands (errand_id, kind, address, token_hash, account_id, person,
           contact, password_hash, asked_at, expires_at)
    SELECT n.errand_id, n.kind, n.address, n.token_hash, n.account_id, n.person, n.contact,
           n.password_hash, n.asked_at, n.expires_at
      FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::text[],
                  $7::text[], $8::text[], $9::timestamptz[], $10::timestamptz[])
        AS n (errand_id, kind, address, token_hash, account_id, person, contact, password_hash,
              asked_at, expires_at)"""


def insert_errands(tx: Transaction, rows: Sequence[ErrandRow]) -> None:
    """Queue new errands."""
    if rows:
        tx.write(
            INSERT_ERRANDS,
            [row.errand_id for row in rows],
            [row.kind for row in rows],
            [row.address for row in rows],
            [row.token_hash for row in rows],
            [row.account_id for row in rows],
            [row.person for row in rows],
            [row.contact for row in rows],
            [row.password_hash for row in rows],
            [row.asked_at for row in rows],
            [row.expires_at for row in rows],
            expect=len(rows),
        )


# errands_pkey. Nothing of a password stays once it is an account's.
USE_ERRANDS = """
    UPDATE identity.errands e
       SET used_at = n.used_at, account_id = n.account_id, password_hash = NULL
      FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS n (errand_id, account_id, used_at)
     WHERE e.errand_id = n.errand_id AND e.used_at IS NULL"""


def use_errands(tx: Transaction, rows: Sequence[ErrandRow]) -> None:
    """Queue that errands are settled; the whole unit fails if somebody else settled one."""
    if rows:
        tx.write(
            USE_ERRANDS,
            [row.errand_id for row in rows],
            [row.account_id for row in rows],
            [row.used_at for row in rows],
            expect=len(rows),
        )


async def errands_of(tx: Transaction, errand_ids: Iterable[str]) -> dict[str, ErrandRow]:
    """Errands by id."""
    return {
        row.errand_id: row
        for row in await tx.fetch(ERRANDS, sorted(set(errand_ids)), into=ErrandRow)
    }


async def accounts_of(tx: Transaction, account_ids: Iterable[str]) -> dict[str, AccountRow]:
    """Accounts by id."""
    found = await tx.fetch(ACCOUNTS, sorted(set(account_ids)), into=AccountRow)
    return {row.account_id: row for row in found}


async def verify_addresses(tx: Transaction, commands: Sequence[VerifyAddress]) -> Decision:
    """Open accounts. Safe to repeat: who settled an errand before is told the same account.

    Of two sign-ups of one address the first that is verified has it; the unique key of the contact
    sends the other one back, and then it sees the account.
    """
    errands = await errands_of(tx, (command.errand_id for command in commands))
    contacts = sorted({row.contact for row in errands.values() if row.contact})
    taken = {row.contact for row in await tx.fetch(ACCOUNTS_OF, contacts, into=AccountRow)}
    outcomes: list[Any] = []
    used: list[ErrandRow] = []
    opened: list[AccountRow] = []
    for command in commands:
        errand = errands.get(command.errand_id)
        if errand is not None and errand.kind == "sign_up" and errand.account_id is not None:
            same = hmac.compare_digest(errand.token_hash, command.token_hash)
            outcomes.append(
                Answer(body=AccountId(errand.account_id)) if same else rules.refused_token()
            )
            continue
        settled = rules.settled(errand, "sign_up", command.token_hash, tx.now)
        if not isinstance(settled, Problem) and settled.contact in taken:
            settled = rules.refused_token()
        if isinstance(settled, Problem):
            outcomes.append(settled)
            continue
        account = rules.opened(settled, command.account_id, tx.now)
        taken.add(account.contact)
        opened.append(account)
        settled = replace(settled, account_id=account.account_id)
        errands[settled.errand_id] = settled
        used.append(settled)
        outcomes.append(Answer(body=AccountId(account.account_id)))
    use_errands(tx, used)
    insert_accounts(tx, opened)
    return Decision(events=[rules.account_opened(row) for row in opened], outcomes=outcomes)


INSERT_ACCOUNTS = """
    INSERT INTO identity.accounts (account_id, version, status, contact, person, record,
           password_hash, roles, opened_at, verified_at, password_at, changed_at)
    SELECT n.account_id, n.version, 'active', n.contact, n.person, n.person, n.password_hash,
           n.roles::text[], n.at, n.at, n.at, n.at
      FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                  $7::timestamptz[])
        AS n (account_id, version, contact, person, password_hash, roles, at)"""


def insert_accounts(tx: Transaction, rows: Sequence[AccountRow]) -> None:
    """Queue new accounts."""
    if rows:
        tx.write(
            INSERT_ACCOUNTS,
            [row.account_id for row in rows],
            [row.version for row in rows],
            [row.contact for row in rows],
            [row.person for row in rows],
            [row.password_hash for row in rows],
            [text_array(row.roles) for row in rows],
            [row.opened_at for row in rows],
            expect=len(rows),
        )


# accounts_pkey. Only while the row is as it was read: version, step, codes and password decide.
SAVE_ACCOUNTS = """
    UPDATE identity.accounts a
       SET version = n.version, status = n.status, contact = n.contact, record = n.record,
           password_hash = n.password_hash, roles = n.roles::text[],
           totp_sealed = n.totp_sealed, totp_pending = n.totp_pending, totp_step = n.totp_step,
           recovery = n.recovery::bytea[], password_at = n.password_at, changed_at = n.changed_at
      FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                  $7::text[], $8::bytea[], $9::bytea[], $10::bigint[], $11::text[],
                  $12::timestamptz[], $13::timestamptz[], $14::bigint[], $15::bigint[],
                  $16::text[], $17::text[], $18::bytea[], $19::text[])
        AS n (account_id, version, status, contact, record, password_hash, roles, totp_sealed,
              totp_pending, totp_step, recovery, password_at, changed_at, version_before,
              step_before, recovery_before, hash_before, pending_before, record_before)
     WHERE a.account_id = n.account_id AND a.version = n.version_before
       AND a.record = n.record_before AND a.totp_step = n.step_before
       AND a.recovery = n.recovery_before::bytea[]
       AND coalesce(a.password_hash, '') = coalesce(n.hash_before, '')
       AND coalesce(a.totp_pending, '') = coalesce(n.pending_before, '')"""


def save_accounts(tx: Transaction, pairs: Sequence[tuple[AccountRow, AccountRow]]) -> None:
    """Queue changes of accounts: each as it was read, and as it is to be."""
    if not pairs:
        return
    rows = [after for _, after in pairs]
    tx.write(
        SAVE_ACCOUNTS,
        [row.account_id for row in rows],
        [row.version for row in rows],
        [row.status for row in rows],
        [row.contact for row in rows],
        [row.record for row in rows],
        [row.password_hash for row in rows],
        [text_array(row.roles) for row in rows],
        [row.totp_sealed for row in rows],
        [row.totp_pending for row in rows],
        [row.totp_step for row in rows],
        [blobs(row.recovery) for row in rows],
        [row.password_at for row in rows],
        [row.changed_at for row in rows],
        [before.version for before, _ in pairs],
        [before.totp_step for before, _ in pairs],
        [blobs(before.recovery) for before, _ in pairs],
        [before.password_hash for before, _ in pairs],
        [before.totp_pending for before, _ in pairs],
        [before.record for before, _ in pairs],
        expect=len(rows),
    )


# sessions_by_account. Whom `kept` names stays signed in.
END_ALL = """
    UPDATE identity.sessions s SET ended_at = $3
      FROM unnest($1::text[], $2::text[]) AS n (account_id, kept)
     WHERE s.account_id = n.account_id AND s.session_id <> n.kept AND s.ended_at IS NULL"""


def end_sessions(tx: Transaction, kept: Sequence[tuple[str, str | None]]) -> None:
    """Queue the end of all sessions of accounts, but one of each where it is named."""
    if kept:
        tx.write(END_ALL, [a for a, _ in kept], [session or "" for _, session in kept], tx.now)


# guesses_pkey.
FORGIVE = "DELETE FROM identity.guesses WHERE address = ANY ($1::bytea[])"


async def reset_passwords(tx: Transaction, commands: Sequence[ResetPassword]) -> Decision:
    """Set passwords by mail: everybody is signed out, guesses are forgiven. A repeat is refused."""
    errands = await errands_of(tx, (command.errand_id for command in commands))
    ids = (row.account_id for row in errands.values() if row.account_id)
    accounts = await accounts_of(tx, ids)
    before = dict(accounts)
    outcomes: list[Any] = []
    used: list[ErrandRow] = []
    events: list[Event] = []
    for command in commands:
        errand = rules.settled(errands.get(command.errand_id), "reset", command.token_hash, tx.now)
        if isinstance(errand, Problem):
            outcomes.append(errand)
            continue
        account = accounts.get(errand.account_id or "")
        if account is None or account.status != "active":
            outcomes.append(rules.refused_token())
            continue
        errands[errand.errand_id] = errand
        used.append(errand)
        after, event = rules.changed(account, "password_reset", tx.now)
        after = replace(after, password_hash=command.password_hash, password_at=tx.now)
        accounts[after.account_id] = after
        events.append(event)
        outcomes.append(Answer(status=204))
    use_errands(tx, used)
    changed = [(before[key], row) for key, row in accounts.items() if row is not before[key]]
    save_accounts(tx, changed)
    end_sessions(tx, [(row.account_id, None) for _, row in changed])
    if used:
        tx.write(FORGIVE, sorted({row.address for row in used}))
    return Decision(events=events, outcomes=outcomes)
