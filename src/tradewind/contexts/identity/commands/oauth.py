"""What identity can be asked about OAuth: clients, signing keys, codes, grants, devices.

No command carries a secret: codes, refresh tokens and client secrets are derived from their ids.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, get_args

from msgspec import Struct

from tradewind.kernel.messages import Command

Authentication = Literal["secret", "certificate", "none"]
GrantType = Literal[
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code",
]
DEVICE_GRANT: GrantType = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES: tuple[GrantType, ...] = get_args(GrantType)

# What a program may be told about a person, and that it may come back; not rights of the API.
# `account` opens what belongs to the person: their orders and carts. Managing the account itself
# (its password, its sessions, its end) is for sessions alone.
ABOUT_PEOPLE = ("openid", "profile", "email", "account", "offline_access")


class ProvideSigningKey(Command, frozen=True, kw_only=True):
    """Add a key that signs tokens, if one is due. The outcome is whether it was."""

    kid: str
    public: str
    master_key_id: str
    sealed: bytes
    readable: Sequence[str]  # the keys that the asking process can sign with


class RegisterClient(Command, frozen=True, kw_only=True):
    """Let a program ask for tokens. The answer is a `tables.ClientShown`."""

    client_id: str
    name: str
    authentication: Authentication
    certificates: tuple[str, ...]
    redirect_uris: tuple[str, ...]
    logout_uris: tuple[str, ...]
    grants: tuple[GrantType, ...]
    scopes: tuple[str, ...]
    registered_by: str
    held: frozenset[str]  # the scopes of who asks: nobody can give what they do not have


class RenewClientSecret(Command, frozen=True, kw_only=True):
    """Another secret for a client; the one before is good for a day. The answer is the client."""

    client_id: str
    generation: int  # the one that is to be replaced: a repeat changes nothing


class RevokeClient(Command, frozen=True, kw_only=True):
    """Shut a program out for ever, with every token it has. Repeating it changes nothing."""

    client_id: str
    revoked_by: str


class SignedIn(Struct, frozen=True):
    """Who agreed, and how they had signed in."""

    account_id: str
    session_id: str
    at: datetime
    second_factor: bool


class GiveCode(Command, frozen=True, kw_only=True):
    """Somebody agreed: a code that the program exchanges. What was agreed to is remembered."""

    code_id: str
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str
    nonce: str | None
    who: SignedIn


class ExchangeCode(Command, frozen=True, kw_only=True):
    """Exchange a code for a grant. The outcome is a `tables.GrantRow`; a second time, a refusal
    and the end of the grant."""

    code_id: str
    client_id: str
    redirect_uri: str | None
    challenge: str  # made of the verifier that came
    grant_id: str


class UseRefreshToken(Command, frozen=True, kw_only=True):
    """Go on with a grant. The outcome is a `tables.GrantRow` of the next generation."""

    grant_id: str
    generation: int
    client_id: str
    scopes: tuple[str, ...] | None  # None: all that were given


class EndGrant(Command, frozen=True, kw_only=True):
    """End what a person lets a program do, and all tokens of it. Repeating changes nothing."""

    grant_id: str
    client_id: str | None  # who asks, where it is a program: only its own
    because: Literal["revoked", "signed_out"]


class VoidToken(Command, frozen=True, kw_only=True):
    """One access token is void from now on."""

    token_id: str


class AskForDevice(Command, frozen=True, kw_only=True):
    """A device waits for somebody to agree elsewhere."""

    device_id: str
    user_code_hash: bytes
    client_id: str
    scopes: tuple[str, ...]


class DecideDevice(Command, frozen=True, kw_only=True):
    """Somebody agreed to a device, or did not. The outcome is whether it was still waiting."""

    user_code_hash: bytes
    allowed: bool
    who: SignedIn


class PollDevice(Command, frozen=True, kw_only=True):
    """A device asks whether somebody agreed. The outcome is a `tables.GrantRow` once they did."""

    device_id: str
    client_id: str
    grant_id: str
