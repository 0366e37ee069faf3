"""Errands, guesses, and what becomes of an account. Pure.

Invariants: an account exists only once its address was verified; a token settles one errand, once;
what is decided about an address does not depend on whether it has an account, but for the mail.
"""

import hmac
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from tradewind.contexts.identity import problems
from tradewind.contexts.identity.commands import (
    AskNewAddress,
    AskReset,
    AskSignUp,
    OpenSession,
)
from tradewind.contexts.identity.events import (
    AccountChanged,
    AccountClosed,
    AccountEvent,
    AccountOpened,
    Letter,
    LetterAsked,
)
from tradewind.contexts.identity.tables.accounts import (
    AccountRow,
    ErrandRow,
    GuessRow,
    SessionRow,
)

CUSTOMER = "customer"

# A verified address proves itself within a day; who may set a password for an account has an hour.
SIGN_UP_LIFE = timedelta(hours=24)
RESET_LIFE = timedelta(hours=1)
# So many mails to one address, whoever asks for them: more would be a way to pester its owner.
MAILS_MAX = 5
MAILS_WITHIN = timedelta(hours=1)

# Five guesses are free; from then on each costs twice the wait of the one before, up to 15 minutes:
# a hundred guesses a day at one address, and a forgotten password is still found by its owner.
GUESSES_FREE = 5
LOCK_S_MIN = 1
LOCK_S_MAX = 900
# Who has not guessed for a day begins anew.
GUESSES_FORGOTTEN = timedelta(hours=24)

# Customers stay signed in for a month; staff for a working day.
SESSION_LIFE = timedelta(days=30)
STAFF_SESSION_LIFE = timedelta(hours=12)


class Asking(Struct, frozen=True):
    """What came of asking: the errand's row, and the mail."""

    row: ErrandRow
    event: LetterAsked


def asked(
    command: AskSignUp | AskReset | AskNewAddress,
    account: AccountRow | None,
    *,
    mails: int,
    now: datetime,
) -> Asking:
    """An errand and its mail. `account` has the address; `mails` went to it of late.

    Where there is nobody to write to, the errand is for nothing, and the event names nobody.
    """
    kind: Literal["sign_up", "reset", "new_address", "nothing"] = "nothing"
    letter: Letter
    person: str | None = None
    contact: str | None = command.contact
    account_id: str | None = None
    life = SIGN_UP_LIFE
    match command:
        case AskSignUp():
            letter = "verify_address" if account is None else "known_address"
            kind = "sign_up" if account is None else "nothing"
            person = command.person if account is None else account.record
        case AskReset():
            letter, life = "reset_password", RESET_LIFE
            if account is not None and account.status == "active":
                kind, person, account_id = "reset", account.record, account.account_id
        case AskNewAddress():
            letter = "new_address" if account is None else "known_address"
            kind = "new_address" if account is None else "nothing"
            person = command.person if account is None else account.record
            account_id = command.account_id
    if mails >= MAILS_MAX:
        kind, person = "nothing", None
    row = ErrandRow(
        errand_id=command.errand_id,
        kind=kind,
        address=command.address,
        token_hash=command.token_hash,
        account_id=account_id,
        person=getattr(command, "person", None),
        contact=contact,
        password_hash=getattr(command, "password_hash", None) if kind == "sign_up" else None,
        asked_at=now,
        expires_at=now + life,
        used_at=None,
    )
    event = LetterAsked(
        sequence=1,
        errand_id=command.errand_id,
        letter=letter,
        person=person,
        contact=contact if person is not None else None,
        expires_at=row.expires_at if kind != "nothing" else None,
    )
    return Asking(row, event)


def told(errand_id: str, letter: Letter, *, person: str, contact: str | None) -> LetterAsked:
    """A mail that only tells: nothing is to be confirmed."""
    return LetterAsked(
        sequence=1,
        errand_id=errand_id,
        letter=letter,
        person=person,
        contact=contact,
        expires_at=None,
    )


def settled(
    row: ErrandRow | None, kind: str, token_hash: bytes, now: datetime
) -> ErrandRow | problems.TokenNotValid:
    """The errand, used; or why its token settles nothing."""
    valid = row is not None and row.kind == kind and hmac.compare_digest(row.token_hash, token_hash)
    if not valid or row is None or row.used_at is not None or row.expires_at <= now:
        return refused_token()
    return replace(row, used_at=now)


def refused_token() -> problems.TokenNotValid:
    """The refusal of a token, the same for every reason."""
    return problems.TokenNotValid("Ask for a new mail: each link is good once, and for a time.")


def opened(row: ErrandRow, account_id: str, now: datetime) -> AccountRow:
    """The account that a sign-up becomes."""
    assert row.contact is not None, "a sign-up has an address"
    assert row.person is not None, "a sign-up has a record in the vault"
    assert row.password_hash is not None, "a sign-up has a password"
    return AccountRow(
        account_id=account_id,
        version=1,
        status="active",
        contact=row.contact,
        person=row.person,
        record=row.person,
        password_hash=row.password_hash,
        roles=(CUSTOMER,),
        customer_group="",
        totp_sealed=None,
        totp_pending=None,
        totp_step=0,
        recovery=(),
        opened_at=now,
        verified_at=now,
        password_at=now,
        changed_at=now,
    )


def account_opened(row: AccountRow) -> AccountOpened:
    """The fact that an account is there."""
    assert row.contact is not None, "it was just opened"
    return AccountOpened(
        sequence=row.version,
        account_id=row.account_id,
        person=row.person,
        contact=row.contact,
        opened_at=row.opened_at,
    )


def closed(row: AccountRow, now: datetime) -> tuple[AccountRow, AccountEvent]:
    """An account after its end: nothing in it lets anybody in."""
    after = replace(
        row,
        version=row.version + 1,
        status="closed",
        contact=None,
        password_hash=None,
        roles=(),
        totp_sealed=None,
        totp_pending=None,
        recovery=(),
        changed_at=now,
    )
    return after, AccountClosed(sequence=after.version, account_id=after.account_id, closed_at=now)


def changed(
    row: AccountRow,
    what: Literal[
        "password", "password_reset", "address", "second_factor_on", "second_factor_off",
        "recovery_code", "suspended", "activated",
    ],
    now: datetime,
) -> tuple[AccountRow, AccountChanged]:  # fmt: skip
    """The next version of an account, and the fact that it is another."""
    after = replace(row, version=row.version + 1, changed_at=now)
    return after, AccountChanged(
        sequence=after.version, account_id=after.account_id, what=what, changed_at=now
    )


def with_status(
    row: AccountRow, status: Literal["active", "suspended"], now: datetime
) -> tuple[AccountRow, AccountChanged]:
    """An account that may, or may not, be used from now on."""
    after, event = changed(row, "activated" if status == "active" else "suspended", now)
    return replace(after, status=status), event


def guess(
    address: bytes, row: GuessRow | None, now: datetime
) -> GuessRow | problems.TooManyAttempts:
    """One more guess, counted before anybody looks whether it is right."""
    if row is not None and row.last_at + GUESSES_FORGOTTEN <= now:
        row = None
    if row is not None and row.locked_until is not None and row.locked_until > now:
        wait_s = int((row.locked_until - now).total_seconds()) + 1
        return problems.TooManyAttempts(
            f"Wait {wait_s} s, or have the password reset by mail.",
            headers={"Retry-After": str(wait_s)},
        )
    failures = 1 if row is None else row.failures + 1
    locked_until = None
    if failures >= GUESSES_FREE:
        locked_until = now + timedelta(seconds=lock_s(failures))
    return GuessRow(address=address, failures=failures, locked_until=locked_until, last_at=now)


def lock_s(failures: int) -> int:
    """How long an address is locked after so many guesses in a row that were wrong."""
    return min(LOCK_S_MIN << min(failures - GUESSES_FREE, 20), LOCK_S_MAX)


class SignedIn(Struct, frozen=True):
    """A new session, and the account after it."""

    session: SessionRow
    account: AccountRow


def sign_in(
    command: OpenSession, account: AccountRow | None, now: datetime
) -> SignedIn | problems.InvalidCredentials:
    """Open a session for who proved to be the holder, if what was proven is still so."""
    if (
        account is None
        or account.status != "active"
        or account.password_hash != command.password_hash
    ):
        return problems.InvalidCredentials()
    factor = command.totp_step is not None or command.recovery_hash is not None
    if account.totp_sealed is not None and not factor:
        return problems.InvalidCredentials()
    after = account
    if command.totp_step is not None:
        if command.totp_step <= account.totp_step:
            return problems.InvalidCredentials("A code is good once: wait for the next one.")
        after = replace(after, totp_step=command.totp_step)
    elif command.recovery_hash is not None:
        if command.recovery_hash not in account.recovery:
            return problems.InvalidCredentials()
        left = tuple(code for code in account.recovery if code != command.recovery_hash)
        after = replace(after, recovery=left)
    if command.rehashed is not None:
        after = replace(after, password_hash=command.rehashed)
    if command.resealed is not None:
        after = replace(after, totp_sealed=command.resealed)
    life = SESSION_LIFE if set(account.roles) <= {CUSTOMER} else STAFF_SESSION_LIFE
    session = SessionRow(
        session_id=command.session_id,
        account_id=account.account_id,
        secret_hash=command.secret_hash,
        second_factor=factor,
        opened_at=now,
        expires_at=now + life,
        last_used_at=None,
        ended_at=None,
    )
    return SignedIn(session, after)
