"""What identity can be asked. No command carries a secret: hashes only."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, get_args

from tradewind.kernel.messages import Command

Scope = Literal[
    "carts:read",
    "carts:write",
    "catalog:write",
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
    "payments:read",
    "payments:write",
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
    """Remember when keys were last used."""

    used_at: Mapping[str, datetime]
