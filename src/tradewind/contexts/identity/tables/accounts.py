"""Rows of accounts, errands, guesses and sessions, and shapes of what is answered about them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Status = Literal["active", "suspended", "closed"]


class AccountRow(Struct, frozen=True, kw_only=False):
    """A row of identity.accounts."""

    account_id: str
    version: int
    status: Status
    contact: str | None
    person: str  # for life; `record` is the newest one
    record: str
    password_hash: str | None
    roles: Sequence[str]
    customer_group: str
    totp_sealed: bytes | None
    totp_pending: bytes | None
    totp_step: int
    recovery: Sequence[bytes]
    opened_at: datetime
    verified_at: datetime
    password_at: datetime
    changed_at: datetime


class AccountTold(Struct, frozen=True, kw_only=True):
    """An account as it is told to whom it is: nothing of what lets them in."""

    account_id: str
    status: Status
    person: str
    record: str
    roles: list[str]
    opened_at: datetime
    verified_at: datetime


class SessionTold(Struct, frozen=True, kw_only=True):
    """Where somebody is signed in, as it is told to them."""

    session_id: str
    account_id: str
    opened_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


ACCOUNT_COLUMNS = ", ".join(AccountRow.__struct_fields__)


class ErrandRow(Struct, frozen=True):
    """A row of identity.errands."""

    errand_id: str
    kind: Literal["sign_up", "reset", "new_address", "nothing"]
    address: bytes
    token_hash: bytes
    account_id: str | None
    person: str | None
    contact: str | None
    password_hash: str | None
    asked_at: datetime
    expires_at: datetime
    used_at: datetime | None


ERRAND_COLUMNS = ", ".join(ErrandRow.__struct_fields__)


class OldErrand(Struct, frozen=True):
    """What is left to do about an errand whose time is over."""

    errand_id: str
    person: str | None
    account_id: str | None


class Asked(Struct, frozen=True):
    """How many mails an address was sent of late."""

    address: bytes
    count: int


class GuessRow(Struct, frozen=True):
    """A row of identity.guesses."""

    address: bytes
    failures: int
    locked_until: datetime | None
    last_at: datetime


class SessionRow(Struct, frozen=True):
    """A row of identity.sessions."""

    session_id: str
    account_id: str
    secret_hash: bytes
    second_factor: bool
    opened_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    ended_at: datetime | None


SESSION_COLUMNS = ", ".join(SessionRow.__struct_fields__)


class OpenedSession(Struct, frozen=True):
    """A session and what its account may do."""

    session_id: str
    secret_hash: bytes
    expires_at: datetime
    account_id: str
    contact: str | None
    roles: Sequence[str]
    customer_group: str
    second_factor: bool


# Someone writes to it, so it must have one @ and a dot behind; more is not for us to judge.
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
Password = Annotated[str, Meta(min_length=1, max_length=256)]
PersonName = Annotated[str, Meta(min_length=1, max_length=200)]
Token = Annotated[str, Meta(min_length=1, max_length=100)]
Code = Annotated[str, Meta(min_length=1, max_length=40)]


class SignUp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who wants an account."""

    email: Email
    password: Password
    name: PersonName | None = None


class MailOnItsWay(Struct, frozen=True):
    """The same for every address: whoever reads its mail learns more."""

    status: Literal["mail_on_its_way"] = "mail_on_its_way"


class Verify(Struct, frozen=True, forbid_unknown_fields=True):
    """The token of a mail."""

    token: Token


class AskForReset(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose password was forgotten."""

    email: Email


class Reset(Struct, frozen=True, forbid_unknown_fields=True):
    """The token of a mail, and the password from now on."""

    token: Token
    password: Password


class NewPassword(Struct, frozen=True, forbid_unknown_fields=True):
    """The password until now, and from now on."""

    current_password: Password
    new_password: Password


class NewAddress(Struct, frozen=True, forbid_unknown_fields=True):
    """Where mail goes from now on."""

    email: Email
    password: Password


class AccountId(Struct, frozen=True):
    """An account, by its id alone."""

    id: str


class SignIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who signs in. `totp` is a code of the app, or one of the recovery codes."""

    email: Email
    password: Password
    totp: Code | None = None
    # Of the cart that was filled as a guest: its lines join the cart of the account.
    cart_token: Annotated[str, Meta(min_length=1, max_length=100)] | None = None


class SessionShown(Struct, frozen=True, kw_only=True):
    """A session as its holder sees it."""

    id: str
    account_id: str
    opened_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    second_factor: bool
    current: bool | UnsetType = UNSET


class SessionIssued(SessionShown, frozen=True, kw_only=True):
    """A new session with its token, for who signed in."""

    token: str


class SessionList(Struct, frozen=True):
    """The sessions of an account, newest first."""

    items: list[SessionShown]
    next: None = None


def session_shown(row: SessionRow, current: str | None = None) -> SessionShown:
    """A row as it is shown; `current` is the session that asks."""
    return SessionShown(
        id=row.session_id,
        account_id=row.account_id,
        opened_at=row.opened_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        second_factor=row.second_factor,
        current=UNSET if current is None else row.session_id == current,
    )
