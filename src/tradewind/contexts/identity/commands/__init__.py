"""What identity can be asked. No command carries a secret: hashes only.

`address` is the keyed hash of an e-mail address, with which guesses and mails are counted whether
anybody has it or not.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal, get_args

from msgspec import Struct

from tradewind.contexts.identity.commands.oauth import AskForDevice as AskForDevice
from tradewind.contexts.identity.commands.oauth import DecideDevice as DecideDevice
from tradewind.contexts.identity.commands.oauth import EndGrant as EndGrant
from tradewind.contexts.identity.commands.oauth import ExchangeCode as ExchangeCode
from tradewind.contexts.identity.commands.oauth import GiveCode as GiveCode
from tradewind.contexts.identity.commands.oauth import PollDevice as PollDevice
from tradewind.contexts.identity.commands.oauth import ProvideSigningKey as ProvideSigningKey
from tradewind.contexts.identity.commands.oauth import RegisterClient as RegisterClient
from tradewind.contexts.identity.commands.oauth import RenewClientSecret as RenewClientSecret
from tradewind.contexts.identity.commands.oauth import RevokeClient as RevokeClient
from tradewind.contexts.identity.commands.oauth import UseRefreshToken as UseRefreshToken
from tradewind.contexts.identity.commands.oauth import VoidToken as VoidToken
from tradewind.kernel.messages import Command

Scope = Literal[
    "accounts:read",
    "accounts:write",
    "audit:read",
    "carts:read",
    "carts:write",
    "catalog:write",
    "clients:write",
    "events:read",
    "events:write",
    "fraud:review",
    "inventory:read",
    "inventory:write",
    "keys:write",
    "mailbox:read",
    "orders:import",
    "orders:read",
    "orders:write",
    "papers:retained",
    "payments:read",
    "payments:write",
    "persons:erase",
    "persons:export",
    "roles:write",
    "tokens:read",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)

# The key that a new installation starts with. Its id is fixed and its secret follows from the
# master key, so that every process makes the same one and its file can be written again.
FIRST_KEY_ID = "key_" + "0" * 26
FIRST_KEY_NAME = "first admin key"


class CreateKey(Command, frozen=True, kw_only=True):
    """Let a program in. The answer is a `tables.KeyShown`."""

    key_id: str
    secret_hash: bytes
    name: str
    scopes: tuple[Scope, ...]
    expires_at: datetime | None
    created_by: str
    customer_group: str = ""
    limits: str = ""
    held: frozenset[str]  # the scopes of who asks: nobody can give what they do not have


class RevokeKey(Command, frozen=True, kw_only=True):
    """Shut a program out for ever. Repeating it changes nothing. The answer is a `KeyShown`."""

    key_id: str
    revoked_by: str


class ProvideFirstKey(Command, frozen=True, kw_only=True):
    """Make sure that the first key is there, with every scope and this hash.

    The outcome is whether it may be used: False once it was revoked.
    """

    secret_hash: bytes


class RecordUse(Command, frozen=True, kw_only=True):
    """Remember when keys and sessions were last used, by their ids."""

    used_at: Mapping[str, datetime]


# -- accounts


class AskSignUp(Command, frozen=True, kw_only=True):
    """Somebody wants an account: write to the address. Done alike whether it has one or not."""

    errand_id: str
    address: bytes
    token_hash: bytes
    person: str
    contact: str
    password_hash: str


class AskReset(Command, frozen=True, kw_only=True):
    """Somebody forgot a password: write to the address, if it is known. Done alike if it is not."""

    errand_id: str
    address: bytes
    token_hash: bytes
    contact: str | None


class AskNewAddress(Command, frozen=True, kw_only=True):
    """The holder of an account wants another address: have the new one confirmed."""

    errand_id: str
    address: bytes
    token_hash: bytes
    account_id: str
    person: str  # holds nothing but the new address
    contact: str


class VerifyAddress(Command, frozen=True, kw_only=True):
    """Settle a sign-up: the account is opened. A repeat is answered the same."""

    errand_id: str
    token_hash: bytes
    account_id: str


class ResetPassword(Command, frozen=True, kw_only=True):
    """Settle a reset: another password, and nobody is signed in any more."""

    errand_id: str
    token_hash: bytes
    password_hash: str


class MoveAddress(Command, frozen=True, kw_only=True):
    """Settle a change of address. `record` is the new record, made of the one before."""

    errand_id: str
    token_hash: bytes
    record: str
    record_before: str
    letter_id: str  # of the mail that tells the old address


class SetRecord(Command, frozen=True, kw_only=True):
    """Let an account have another record of the vault, made of the one before."""

    account_id: str
    record: str
    record_before: str


class ChangePassword(Command, frozen=True, kw_only=True):
    """Another password for who knew the one before; all other sessions end."""

    account_id: str
    before: str  # the hash that was compared with
    password_hash: str
    session_id: str | None
    errand_id: str  # of the mail that tells


class BeginSignIn(Command, frozen=True, kw_only=True):
    """Count a guess before the password is looked at. Refused while the address is locked."""

    recorded: ClassVar[bool] = False  # a guess is counted, and told with others

    address: bytes


class ForgiveGuesses(Command, frozen=True, kw_only=True):
    """Whoever guessed was right: begin to count anew. Opening a session forgives by itself."""

    address: bytes


class OpenSession(Command, frozen=True, kw_only=True):
    """Sign in who proved to be the holder. The outcome is a `tables.SessionShown`."""

    session_id: str
    secret_hash: bytes
    address: bytes
    account_id: str
    password_hash: str  # that was compared with
    rehashed: str | None  # the same password, hashed as it is done today
    resealed: bytes | None  # the same secret of the app, under the newest master key
    totp_step: int | None
    recovery_hash: bytes | None
    guest_cart: str | None


class EndSessions(Command, frozen=True, kw_only=True):
    """Sign out: one session of an account, or all but `kept`. The outcome is how many ended."""

    account_id: str
    session_id: str | None
    kept: str | None = None


class BeginTotp(Command, frozen=True, kw_only=True):
    """Show the holder a secret for an app; it counts once a code of it was typed in."""

    account_id: str
    sealed: bytes


class ConfirmTotp(Command, frozen=True, kw_only=True):
    """From now on a code is asked for. `sealed` is the secret that the code was compared with."""

    account_id: str
    sealed: bytes
    step: int
    recovery: tuple[bytes, ...]
    errand_id: str


class DropTotp(Command, frozen=True, kw_only=True):
    """Ask for no code any more."""

    account_id: str
    before: str  # the hash of the password that was compared with
    errand_id: str


class RecordConsent(Command, frozen=True, kw_only=True):
    """Somebody agreed to something, or took it back."""

    account_id: str
    purpose: str
    granted: bool
    wording: str
    via: str


class CloseAccount(Command, frozen=True, kw_only=True):
    """End an account for ever; its address is free. The record in the vault is not touched."""

    account_id: str


class SetStatus(Command, frozen=True, kw_only=True):
    """Suspend an account, or let it in again."""

    account_id: str
    status: Literal["active", "suspended"]
    by: str
    held: frozenset[str]


class SetRoles(Command, frozen=True, kw_only=True):
    """Give an account exactly these roles. The answer is an `AccountShown`."""

    account_id: str
    roles: tuple[str, ...]
    by: str
    held: frozenset[str]


class KeepRole(Command, frozen=True, kw_only=True):
    """Make a role of the shop's own, or change it. The answer is a `RoleShown`."""

    role: str
    scopes: tuple[Scope, ...]
    description: str
    by: str
    held: frozenset[str]


class RemoveRole(Command, frozen=True, kw_only=True):
    """Take a role of the shop's own away from everybody who has it."""

    role: str
    by: str
    held: frozenset[str]


class RotateKey(Command, frozen=True, kw_only=True):
    """A new secret for a key; the old one opens for `overlap_s` more. The answer is a `KeyShown`.

    Of two who ask at once, on what both read as `generation`, both get the same new secret.
    """

    key_id: str
    generation: int
    secret_hash: bytes
    overlap_s: int
    by: str
    held: frozenset[str]


class RecordsForgotten(Command, frozen=True, kw_only=True):
    """Records that accounts discarded are destroyed."""

    persons: tuple[str, ...]


class RecordsDiscarded(Struct, frozen=True):
    """Signal: these records are not an account's any more, and no mail needs them."""

    persons: tuple[str, ...]
