"""Reads of identity: for lists, for the process that checks callers, and for signing in."""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from tradewind.contexts.identity.rules.roles import all_shown, scopes_of
from tradewind.contexts.identity.tables import KEY_COLUMNS, KeyId, KeyRow
from tradewind.contexts.identity.tables.accounts import (
    ACCOUNT_COLUMNS,
    ERRAND_COLUMNS,
    SESSION_COLUMNS,
    AccountRow,
    AccountTold,
    ErrandRow,
    OpenedSession,
    SessionRow,
    SessionTold,
)
from tradewind.contexts.identity.tables.people import ConsentRow
from tradewind.contexts.identity.tables.roles import ROLE_COLUMNS, RoleRow, RoleShown
from tradewind.kernel.subject import Subject
from tradewind.platform.database.transaction import Snapshot
from tradewind.platform.security.authentication import KeyFacts

# api_keys_pkey, read backwards: ids are in the order of time.
PAGE = f"""
    SELECT {KEY_COLUMNS}
      FROM identity.api_keys WHERE $1::text IS NULL OR key_id < $1
     ORDER BY key_id DESC LIMIT $2"""


async def keys(db: Snapshot, *, before: str | None, count_max: int) -> list[KeyRow]:
    """Keys, revoked ones too, newest first, from behind the key `before`."""
    return await db.fetch(PAGE, before, count_max, into=KeyRow)


# api_keys_pkey.
ONE_KEY = f"SELECT {KEY_COLUMNS} FROM identity.api_keys WHERE key_id = $1"


async def key(db: Snapshot, key_id: str) -> KeyRow | None:
    """One key."""
    return await db.fetch_one(ONE_KEY, key_id, into=KeyRow)


# api_keys_pkey.
FACTS = """
    SELECT key_id, secret_hash, scopes, expires_at, customer_group, former_hash, former_until,
           limits
      FROM identity.api_keys
     WHERE key_id = ANY ($1::text[]) AND revoked_at IS NULL"""
# sessions_pkey, accounts_pkey. Of staff alone the roles that the shop made are needed, too.
SESSION_FACTS = """
    SELECT s.session_id, s.secret_hash, s.expires_at, a.account_id, a.contact, a.roles,
           a.customer_group, s.second_factor
      FROM identity.sessions s JOIN identity.accounts a USING (account_id)
     WHERE s.session_id = ANY ($1::text[]) AND s.ended_at IS NULL AND a.status = 'active'"""


async def key_facts(db: Snapshot, key_ids: Sequence[str]) -> list[KeyFacts]:
    """What authentication needs of those keys and sessions that exist and are not over."""
    keys = [each for each in key_ids if each.startswith("key_")]
    sessions = [each for each in key_ids if each.startswith("ses_")]
    found: list[KeyFacts] = []
    if keys:
        found += await db.fetch(FACTS, keys, into=KeyFacts)
    if sessions:
        opened = await db.fetch(SESSION_FACTS, sessions, into=OpenedSession)
        made: dict[str, Sequence[str]] = {}
        if any(set(each.roles) - {"customer"} for each in opened):
            made = {row.role: row.scopes for row in await roles(db)}
        found += [
            KeyFacts(
                key_id=each.session_id,
                secret_hash=each.secret_hash,
                scopes=sorted(scopes_of(each.roles, made)),
                expires_at=each.expires_at,
                customer_group=each.customer_group,
                account_id=each.account_id,
                contact=each.contact,
            )
            for each in opened
        ]
    return found


# api_keys_revoked, api_keys_rotated, sessions_ended, accounts_changed, roles_changed and
# accounts_staff. The database's clock on both sides: `tx.now`, which stamps them, follows it.
REVOKED = """
    SELECT key_id FROM identity.api_keys WHERE revoked_at > now() - make_interval(secs => $1)
    UNION ALL
    SELECT key_id FROM identity.api_keys WHERE rotated_at > now() - make_interval(secs => $1)
    UNION ALL
    SELECT session_id FROM identity.sessions WHERE ended_at > now() - make_interval(secs => $1)
    UNION ALL
    SELECT account_id FROM identity.accounts WHERE changed_at > now() - make_interval(secs => $1)
    UNION ALL
    SELECT a.account_id FROM identity.accounts a
     WHERE a.roles <> '{customer}' AND a.roles && (
           SELECT array_agg(r.role) FROM identity.roles r
            WHERE r.changed_at > now() - make_interval(secs => $1))"""


async def revoked_within(db: Snapshot, seconds: float) -> list[str]:
    """Whose credentials were revoked or changed in the last `seconds`: keys, sessions, accounts."""
    return [row.key_id for row in await db.fetch(REVOKED, seconds, into=KeyId)]


# accounts_contact_key.
ACCOUNT_OF = f"SELECT {ACCOUNT_COLUMNS} FROM identity.accounts WHERE contact = $1"
# accounts_pkey.
ACCOUNT = f"SELECT {ACCOUNT_COLUMNS} FROM identity.accounts WHERE account_id = $1"


async def account_of(db: Snapshot, contact: str) -> AccountRow | None:
    """The account that an address belongs to."""
    return await db.fetch_one(ACCOUNT_OF, contact, into=AccountRow)


async def account(db: Snapshot, account_id: str) -> AccountRow | None:
    """One account."""
    return await db.fetch_one(ACCOUNT, account_id, into=AccountRow)


# accounts_pkey, backwards; accounts_staff, backwards.
ACCOUNTS = f"""
    SELECT {ACCOUNT_COLUMNS} FROM identity.accounts WHERE account_id < $1
     ORDER BY account_id DESC LIMIT $2"""
STAFF = f"""
    SELECT {ACCOUNT_COLUMNS} FROM identity.accounts
     WHERE roles <> '{{customer}}' AND account_id < $1 ORDER BY account_id DESC LIMIT $2"""


async def accounts(db: Snapshot, *, staff: bool, before: str, count_max: int) -> list[AccountRow]:
    """Accounts from an id on, newest first: all, or those with more than the customer's role."""
    return await db.fetch(STAFF if staff else ACCOUNTS, before, count_max, into=AccountRow)


# accounts_contact_key, accounts_by_person, accounts_by_record, accounts_pkey.
ACCOUNTS_OF_SUBJECT = f"""
    SELECT {ACCOUNT_COLUMNS} FROM identity.accounts
     WHERE contact = ANY ($1::text[]) OR person = ANY ($2::text[]) OR record = ANY ($2::text[])
        OR account_id = ANY ($3::text[])
     ORDER BY account_id"""
# errands_by_person does not help: an account has a few errands a year, and they go after days.
ERRANDS_OF_ACCOUNTS = """
    SELECT errand_id, person FROM identity.errands WHERE account_id = ANY ($1::text[])"""


class OwnErrand(Struct, frozen=True):
    """An errand of an account."""

    errand_id: str
    person: str | None


async def accounts_of_subject(db: Snapshot, subject: Subject) -> list[AccountRow]:
    """The accounts of a person."""
    return await db.fetch(
        ACCOUNTS_OF_SUBJECT,
        list(subject.contacts),
        list(subject.persons),
        list(subject.accounts),
        into=AccountRow,
    )


async def belongings(db: Snapshot, subject: Subject) -> Subject:
    """The subject with its accounts, and every record that those point to."""
    rows = await accounts_of_subject(db, subject)
    accounts = [row.account_id for row in rows]
    records = [record for row in rows for record in (row.person, row.record)]
    errands = await db.fetch(ERRANDS_OF_ACCOUNTS, accounts, into=OwnErrand)
    records += [each.person for each in errands if each.person is not None]
    contacts = [row.contact for row in rows if row.contact is not None]
    return replace(
        subject,
        accounts=tuple(dict.fromkeys((*subject.accounts, *accounts))),
        persons=tuple(dict.fromkeys((*subject.persons, *records))),
        contacts=tuple(dict.fromkeys((*subject.contacts, *contacts))),
        errands=tuple(dict.fromkeys((*subject.errands, *(each.errand_id for each in errands)))),
    )


async def export(db: Snapshot, subject: Subject) -> Mapping[str, Sequence[Struct]]:
    """Accounts without what lets anybody in, what they agreed to, where they are signed in."""
    told = [
        AccountTold(
            account_id=row.account_id,
            status=row.status,
            person=row.person,
            record=row.record,
            roles=list(row.roles),
            opened_at=row.opened_at,
            verified_at=row.verified_at,
        )
        for row in await accounts_of_subject(db, subject)
    ]
    consented = [each for row in told for each in await consents(db, row.account_id)]
    signed_in = [
        SessionTold(
            session_id=each.session_id,
            account_id=each.account_id,
            opened_at=each.opened_at,
            expires_at=each.expires_at,
            last_used_at=each.last_used_at,
        )
        for row in told
        for each in await sessions(db, row.account_id)
    ]
    return {"accounts": told, "consents": consented, "sessions": signed_in}


# errands_pkey.
ERRAND = f"SELECT {ERRAND_COLUMNS} FROM identity.errands WHERE errand_id = $1"


async def errand(db: Snapshot, errand_id: str) -> ErrandRow | None:
    """One errand."""
    return await db.fetch_one(ERRAND, errand_id, into=ErrandRow)


# sessions_by_account, backwards: nobody is signed in in more places than a page has.
SESSIONS_MAX = 100
SESSIONS = f"""
    SELECT {SESSION_COLUMNS} FROM identity.sessions
     WHERE account_id = $1 AND ended_at IS NULL AND expires_at > $2
     ORDER BY session_id DESC LIMIT {SESSIONS_MAX}"""


async def sessions(db: Snapshot, account_id: str) -> list[SessionRow]:
    """Where somebody is signed in, newest first."""
    return await db.fetch(SESSIONS, account_id, db.now, into=SessionRow)


# All of them: a shop has a dozen.
ROLES = f"SELECT {ROLE_COLUMNS} FROM identity.roles WHERE NOT removed ORDER BY role"


async def roles(db: Snapshot) -> list[RoleRow]:
    """The roles that the shop made for itself."""
    return await db.fetch(ROLES, into=RoleRow)


async def all_roles(db: Snapshot) -> list[RoleShown]:
    """Every role: those of every installation, then the shop's own."""
    return all_shown(await roles(db))


# consents_pkey, backwards.
CONSENTS_MAX = 1_000
CONSENTS = f"""
    SELECT account_id, number, purpose, granted, wording, via, at FROM identity.consents
     WHERE account_id = $1 ORDER BY number DESC LIMIT {CONSENTS_MAX}"""


async def consents(db: Snapshot, account_id: str) -> list[ConsentRow]:
    """What somebody agreed to and took back, newest first."""
    return await db.fetch(CONSENTS, account_id, into=ConsentRow)


# errands_by_person, accounts_by_person, accounts_by_record. Discarded ones have a sweep
# of their own.
IN_USE = """
    SELECT person FROM identity.accounts WHERE person = ANY ($1::text[])
    UNION SELECT record FROM identity.accounts WHERE record = ANY ($1::text[])
    UNION SELECT person FROM identity.errands WHERE person = ANY ($1::text[])
    UNION SELECT person FROM identity.discarded_persons WHERE person = ANY ($1::text[])"""


async def persons_in_use(db: Snapshot, persons: Sequence[str]) -> set[str]:
    """Which of the vault's records an account or an errand points to."""
    return set(await db.fetch_values(IN_USE, list(persons)))
