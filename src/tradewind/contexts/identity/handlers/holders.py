"""Load, decide, save: what the holder of an account changes of it, or ends."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from tradewind.contexts.identity.commands import (
    BeginTotp,
    ChangePassword,
    CloseAccount,
    ConfirmTotp,
    DropTotp,
    MoveAddress,
    RecordConsent,
    RecordsForgotten,
    SetRecord,
)
from tradewind.contexts.identity.events import ConsentRecorded
from tradewind.contexts.identity.handlers.accounts import (
    ACCOUNTS_OF,
    accounts_of,
    end_sessions,
    errands_of,
    save_accounts,
    use_errands,
)
from tradewind.contexts.identity.problems import AccountHasChanged, AccountNotFound, TotpNotBegun
from tradewind.contexts.identity.rules import accounts as rules
from tradewind.contexts.identity.tables.accounts import AccountRow, ErrandRow
from tradewind.contexts.identity.tables.people import ConsentRow, Numbered
from tradewind.kernel.answers import Answer
from tradewind.kernel.messages import Decision, Event
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction

# A mail that tells the old address of the change is tried for 32 hours; then its record may go.
DISCARDED_AFTER = timedelta(days=3)


class Desk:
    """Accounts as a batch changes them, one command after the other."""

    def __init__(self, accounts: Mapping[str, AccountRow]) -> None:
        self.before = accounts
        self.rows = dict(accounts)
        self.events: list[Event] = []
        self.outcomes: list[Any] = []

    def active(self, account_id: str) -> AccountRow | AccountNotFound:
        """An account that is in use."""
        row = self.rows.get(account_id)
        if row is None or row.status != "active":
            return AccountNotFound(f"There is no account {account_id[:64]!r} in use.")
        return row

    def keep(self, row: AccountRow, *events: Event, answer: Answer | None = None) -> None:
        """An account as it is from now on, and what is to be said of it."""
        self.rows[row.account_id] = row
        self.events += events
        self.outcomes.append(answer or Answer(status=204))

    def close(self, tx: Transaction) -> Decision:
        """Queue what changed."""
        pairs = [(self.before[key], row) for key, row in self.rows.items()]
        save_accounts(tx, [pair for pair in pairs if pair[0] is not pair[1]])
        return Decision(events=self.events, outcomes=self.outcomes)


async def change_passwords(tx: Transaction, commands: Sequence[ChangePassword]) -> Decision:
    """Set passwords for who knew the one before. Safe to repeat: then it is another one by now."""
    accounts = await accounts_of(tx, (command.account_id for command in commands))
    desk = Desk(accounts)
    kept = []
    for command in commands:
        row = desk.active(command.account_id)
        if isinstance(row, Problem) or row.password_hash != command.before:
            desk.outcomes.append(row if isinstance(row, Problem) else AccountHasChanged())
            continue
        after, event = rules.changed(row, "password", tx.now)
        desk.keep(
            replace(after, password_hash=command.password_hash, password_at=tx.now),
            event,
            rules.told(
                command.errand_id, "password_changed", person=row.record, contact=row.contact
            ),
        )
        kept.append((row.account_id, command.session_id))
    end_sessions(tx, kept)
    return desk.close(tx)


async def move_addresses(tx: Transaction, commands: Sequence[MoveAddress]) -> Decision:
    """Give accounts the address that was confirmed. The old one is told, by its old record.

    The unique key of the contact sends back who meets another account with the same address.
    """
    errands = await errands_of(tx, (command.errand_id for command in commands))
    ids = (row.account_id for row in errands.values() if row.account_id)
    desk = Desk(await accounts_of(tx, ids))
    contacts = sorted({row.contact for row in errands.values() if row.contact})
    taken = {row.contact for row in await tx.fetch(ACCOUNTS_OF, contacts, into=AccountRow)}
    used: list[ErrandRow] = []
    discarded: list[str] = []
    for command in commands:
        errand = rules.settled(
            errands.get(command.errand_id), "new_address", command.token_hash, tx.now
        )
        row = None if isinstance(errand, Problem) else desk.active(errand.account_id or "")
        if isinstance(errand, Problem) or row is None or isinstance(row, Problem):
            desk.outcomes.append(errand if isinstance(errand, Problem) else rules.refused_token())
            continue
        if errand.contact in taken:
            desk.outcomes.append(rules.refused_token())
            continue
        if row.record != command.record_before:
            desk.outcomes.append(AccountHasChanged())
            continue
        errands[errand.errand_id] = errand
        used.append(errand)
        taken.add(errand.contact)
        if row.record != row.person:
            discarded.append(row.record)
        after, event = rules.changed(row, "address", tx.now)
        letter = rules.told(
            command.letter_id, "address_changed",
            person=row.record, contact=row.contact,
        )  # fmt: skip
        desk.keep(replace(after, contact=errand.contact, record=command.record), event, letter)
    use_errands(tx, used)
    discard(tx, discarded)
    return desk.close(tx)


# discarded_persons_pkey.
DISCARD = """
    INSERT INTO identity.discarded_persons (person, due_at)
    SELECT person, $2 FROM unnest($1::text[]) AS n (person) ON CONFLICT (person) DO NOTHING"""


def discard(tx: Transaction, persons: Sequence[str]) -> None:
    """Queue the end of records that no account points to any more."""
    if persons:
        tx.write(DISCARD, sorted(set(persons)), tx.now + DISCARDED_AFTER)


async def set_records(tx: Transaction, commands: Sequence[SetRecord]) -> Decision:
    """Give accounts their newest records. Of two that were made of the same one, one is refused."""
    desk = Desk(await accounts_of(tx, (command.account_id for command in commands)))
    discarded: list[str] = []
    for command in commands:
        row = desk.active(command.account_id)
        if isinstance(row, Problem):
            desk.outcomes.append(row)
        elif row.record == command.record:
            desk.keep(row)
        elif row.record != command.record_before:
            desk.outcomes.append(AccountHasChanged())
        else:
            if row.record != row.person:
                discarded.append(row.record)
            desk.keep(replace(row, record=command.record))
    discard(tx, discarded)
    return desk.close(tx)


async def begin_totp(tx: Transaction, commands: Sequence[BeginTotp]) -> Decision:
    """Remember secrets that were shown. The last one shown counts."""
    desk = Desk(await accounts_of(tx, (command.account_id for command in commands)))
    for command in commands:
        row = desk.active(command.account_id)
        if isinstance(row, Problem):
            desk.outcomes.append(row)
        else:
            desk.keep(replace(row, totp_pending=command.sealed))
    return desk.close(tx)


async def confirm_totp(tx: Transaction, commands: Sequence[ConfirmTotp]) -> Decision:
    """Ask for codes from now on. A repeat finds nothing to confirm."""
    desk = Desk(await accounts_of(tx, (command.account_id for command in commands)))
    for command in commands:
        row = desk.active(command.account_id)
        if isinstance(row, Problem) or row.totp_pending != command.sealed:
            desk.outcomes.append(row if isinstance(row, Problem) else TotpNotBegun())
            continue
        after, event = rules.changed(row, "second_factor_on", tx.now)
        after = replace(
            after,
            totp_sealed=command.sealed,
            totp_pending=None,
            totp_step=command.step,
            recovery=command.recovery,
        )
        letter = rules.told(
            command.errand_id, "second_factor_changed", person=row.record, contact=row.contact
        )
        desk.keep(after, event, letter)
    return desk.close(tx)


async def drop_totp(tx: Transaction, commands: Sequence[DropTotp]) -> Decision:
    """Ask for codes no more. A repeat changes nothing and tells nobody."""
    desk = Desk(await accounts_of(tx, (command.account_id for command in commands)))
    for command in commands:
        row = desk.active(command.account_id)
        if isinstance(row, Problem) or row.password_hash != command.before:
            desk.outcomes.append(row if isinstance(row, Problem) else AccountHasChanged())
        elif row.totp_sealed is None:
            desk.keep(row)
        else:
            after, event = rules.changed(row, "second_factor_off", tx.now)
            after = replace(after, totp_sealed=None, totp_pending=None, recovery=())
            letter = rules.told(
                command.errand_id, "second_factor_changed", person=row.record, contact=row.contact
            )
            desk.keep(after, event, letter)
    return desk.close(tx)


async def close_accounts(tx: Transaction, commands: Sequence[CloseAccount]) -> Decision:
    """End accounts: nobody is signed in, the address is free. A repeat changes nothing."""
    desk = Desk(await accounts_of(tx, (command.account_id for command in commands)))
    ended = []
    for command in commands:
        row = desk.rows.get(command.account_id)
        if row is None:
            desk.outcomes.append(AccountNotFound())
        elif row.status == "closed":
            desk.keep(row)
        else:
            after, event = rules.closed(row, tx.now)
            desk.keep(after, event)
            ended.append((row.account_id, None))
    end_sessions(tx, ended)
    return desk.close(tx)


# consents_pkey, from its end.
LAST_NUMBERS = """
    SELECT account_id, max(number) FROM identity.consents
     WHERE account_id = ANY ($1::text[]) GROUP BY account_id"""
ADD_CONSENTS = """
    INSERT INTO identity.consents (account_id, number, purpose, granted, wording, via, at)
    SELECT n.account_id, n.number, n.purpose, n.granted, n.wording, n.via, n.at
      FROM unnest($1::text[], $2::int[], $3::text[], $4::bool[], $5::text[], $6::text[],
                  $7::timestamptz[])
        AS n (account_id, number, purpose, granted, wording, via, at)"""


async def record_consents(tx: Transaction, commands: Sequence[RecordConsent]) -> Decision:
    """Write down what people agreed to. The version of the account keeps two apart."""
    ids = sorted({command.account_id for command in commands})
    desk = Desk(await accounts_of(tx, ids))
    numbers = {
        row.account_id: row.number for row in await tx.fetch(LAST_NUMBERS, ids, into=Numbered)
    }
    added: list[ConsentRow] = []
    for command in commands:
        row = desk.active(command.account_id)
        if isinstance(row, Problem):
            desk.outcomes.append(row)
            continue
        number = numbers[row.account_id] = numbers.get(row.account_id, 0) + 1
        consent = ConsentRow(
            account_id=row.account_id,
            number=number,
            purpose=command.purpose,
            granted=command.granted,
            wording=command.wording,
            via=command.via,
            at=tx.now,
        )
        added.append(consent)
        event = ConsentRecorded(
            sequence=row.version + 1,
            account_id=row.account_id,
            purpose=command.purpose,
            granted=command.granted,
            wording=command.wording,
            recorded_at=tx.now,
        )
        desk.keep(replace(row, version=row.version + 1), event, answer=Answer(body=consent.shown))
    if added:
        tx.write(
            ADD_CONSENTS,
            [row.account_id for row in added],
            [row.number for row in added],
            [row.purpose for row in added],
            [row.granted for row in added],
            [row.wording for row in added],
            [row.via for row in added],
            [row.at for row in added],
            expect=len(added),
        )
    return desk.close(tx)


# discarded_persons_pkey.
FORGOTTEN = "DELETE FROM identity.discarded_persons WHERE person = ANY ($1::text[])"


async def note_forgotten(tx: Transaction, commands: Sequence[RecordsForgotten]) -> Decision:
    """What was destroyed need not be destroyed again."""
    tx.write(FORGOTTEN, sorted({person for c in commands for person in c.persons}))
    return Decision(outcomes=[None] * len(commands))
