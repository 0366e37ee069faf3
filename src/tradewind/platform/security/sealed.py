"""Small secrets of other parts, sealed under the master key: a dump of their rows tells none.

AES-256-GCM under a key of its purpose, with the name of its owner as authenticated data: a secret
copied into another row does not open. Which master sealed it stands in front.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tradewind.platform.security.secrets import Secrets

NONCE_BYTES = 12
KEY_ID_BYTES = 6


class SecretUnreadable(Exception):
    """A sealed secret was changed, or is another row's. Never a normal state."""


def seal_secret(secrets: Secrets, purpose: str, owner: str, secret: bytes) -> bytes:
    """Seal a secret of `owner` under the newest master key."""
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(secrets.purpose_key(purpose)).encrypt(nonce, secret, owner.encode())
    return bytes.fromhex(secrets.key_id) + nonce + sealed


def open_secret(secrets: Secrets, purpose: str, owner: str, sealed: bytes) -> bytes:
    """The secret. Raises `SecretUnreadable`, or `SecretsError` without its master key."""
    key = secrets.purpose_key(purpose, sealed[:KEY_ID_BYTES].hex())
    rest = sealed[KEY_ID_BYTES:]
    try:
        return AESGCM(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], owner.encode())
    except (InvalidTag, ValueError) as error:
        raise SecretUnreadable(f"The secret of {owner} was changed or moved.") from error


def is_sealed_anew(secrets: Secrets, sealed: bytes) -> bool:
    """Whether the newest master key sealed it."""
    return sealed[:KEY_ID_BYTES].hex() == secrets.key_id
