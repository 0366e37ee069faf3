"""What identity announces: about keys, accounts, sessions, and mails that people are to get.

No event holds a secret or anything that was made of a password.
"""

from datetime import datetime
from typing import ClassVar, Literal

from tradewind.kernel.messages import Event


class KeyCreated(Event, frozen=True, kw_only=True):
    """A program was let in. Always the first fact about a key.

    Without the key's name: people write their own into it, and a log cannot forget.
    """

    type: ClassVar[str] = "identity.key_created.v1"

    key_id: str
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: str  # the key that asked for it; its own id for the first one
    expires_at: datetime | None

    @property
    def subject(self) -> str:
        """The key."""
        return self.key_id


class KeyRevoked(Event, frozen=True, kw_only=True):
    """A key opens nothing any more. Always the last fact about a key."""

    type: ClassVar[str] = "identity.key_revoked.v1"

    key_id: str
    revoked_at: datetime
    revoked_by: str

    @property
    def subject(self) -> str:
        """The key."""
        return self.key_id


class KeyRotated(Event, frozen=True, kw_only=True):
    """A key has a new secret; the one before opens until `former_until`."""

    type: ClassVar[str] = "identity.key_rotated.v1"

    key_id: str
    rotated_at: datetime
    rotated_by: str
    former_until: datetime

    @property
    def subject(self) -> str:
        """The key."""
        return self.key_id


class AccountEvent(Event, frozen=True, kw_only=True):
    """Anything that happened to an account."""

    account_id: str

    @property
    def subject(self) -> str:
        """The account."""
        return self.account_id


class AccountOpened(AccountEvent, frozen=True, kw_only=True):
    """Somebody proved that the address is theirs, and may sign in. The first fact of an account."""

    type: ClassVar[str] = "identity.account_opened.v1"

    person: str
    contact: str
    opened_at: datetime


class AccountChanged(AccountEvent, frozen=True, kw_only=True):
    """Something that lets people in is another: `what` says which."""

    type: ClassVar[str] = "identity.account_changed.v1"

    what: Literal[
        "password", "password_reset", "address", "second_factor_on", "second_factor_off",
        "recovery_code", "suspended", "activated",
    ]  # fmt: skip
    changed_at: datetime


class RolesGiven(AccountEvent, frozen=True, kw_only=True):
    """An account has these roles now, and no others."""

    type: ClassVar[str] = "identity.roles_given.v1"

    roles: tuple[str, ...]
    given_by: str
    given_at: datetime


class ConsentRecorded(AccountEvent, frozen=True, kw_only=True):
    """The holder of an account agreed to something, or took it back."""

    type: ClassVar[str] = "identity.consent_recorded.v1"

    purpose: str
    granted: bool
    wording: str
    recorded_at: datetime


class AccountClosed(AccountEvent, frozen=True, kw_only=True):
    """An account ended for ever. The last fact about it."""

    type: ClassVar[str] = "identity.account_closed.v1"

    closed_at: datetime


class SessionOpened(Event, frozen=True, kw_only=True):
    """Somebody signed in. `guest_cart` is what they had filled until then."""

    type: ClassVar[str] = "identity.session_opened.v1"

    session_id: str
    account_id: str
    second_factor: bool
    opened_at: datetime
    guest_cart: str | None = None

    @property
    def subject(self) -> str:
        """The session."""
        return self.session_id


class RoleChanged(Event, frozen=True, kw_only=True):
    """A role of the shop's own opens these scopes now; none: it is gone."""

    type: ClassVar[str] = "identity.role_changed.v1"

    role: str
    scopes: tuple[str, ...]
    changed_by: str
    changed_at: datetime

    @property
    def subject(self) -> str:
        """The role."""
        return self.role


# Which mail. `known_address` is what an address that has an account is told at a sign-up.
Letter = Literal[
    "verify_address", "known_address", "reset_password", "new_address",
    "address_changed", "password_changed", "second_factor_changed",
]  # fmt: skip


class LetterAsked(Event, frozen=True, kw_only=True):
    """A mail about an account is to be written, if there is somebody to write to.

    Announced alike for addresses that are known and for those that are not: then nobody is named.
    """

    type: ClassVar[str] = "identity.letter_asked.v1"

    errand_id: str
    letter: Letter
    person: str | None
    contact: str | None
    expires_at: datetime | None  # until when the token in the mail is good

    @property
    def subject(self) -> str:
        """The errand."""
        return self.errand_id
