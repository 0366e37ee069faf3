"""Envelope encryption: every record under a key of its own, that key wrapped under a master key.

AES-256-GCM throughout, with the record's name as authenticated data: a row copied over another
does not open. Destroying the wrapped key is destroying the record, wherever else its bytes lie.
"""

import os
from collections.abc import Mapping
from hashlib import blake2b

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from tradewind.platform.security.secrets import Secrets

KEY_BYTES = 32
NONCE_BYTES = 12
PURPOSE = "vault"

FIELDS = msgspec.json.Encoder()
FIELDS_BACK = msgspec.json.Decoder(dict[str, str])


class RecordUnreadable(Exception):
    """A record does not open: changed bytes, or another record's. Never a normal state."""


class Wrapped(Struct, frozen=True):
    """A key that only the master key with this id can bring back."""

    key_id: str
    wrapped: bytes


class Sealed(Struct, frozen=True):
    """A record as it is stored."""

    key: Wrapped
    content: bytes


def seal(secrets: Secrets, name: str, fields: Mapping[str, str]) -> Sealed:
    """Encrypt `fields` as the record `name`, under a new random key."""
    random = os.urandom(KEY_BYTES + NONCE_BYTES)
    key, nonce = random[:KEY_BYTES], random[KEY_BYTES:]
    content = nonce + AESGCM(key).encrypt(nonce, FIELDS.encode(fields), name.encode())
    return Sealed(wrap(secrets, name, key), content)


def unseal(secrets: Secrets, name: str, sealed: Sealed) -> dict[str, str]:
    """The fields of a record. Raises `RecordUnreadable`, or `SecretsError` without its master."""
    key = unwrap(secrets, name, sealed.key)
    return FIELDS_BACK.decode(decrypt(key, sealed.content, name))


def wrap(secrets: Secrets, name: str, key: bytes) -> Wrapped:
    """Wrap a record's key under the newest master key."""
    nonce = os.urandom(NONCE_BYTES)
    outer = AESGCM(wrapping_key(secrets, name, secrets.key_id))
    return Wrapped(secrets.key_id, nonce + outer.encrypt(nonce, key, name.encode()))


def unwrap(secrets: Secrets, name: str, wrapped: Wrapped) -> bytes:
    """A record's key, from under whichever master key wrapped it."""
    return decrypt(wrapping_key(secrets, name, wrapped.key_id), wrapped.wrapped, name)


def wrapping_key(secrets: Secrets, name: str, key_id: str) -> bytes:
    """The master's wrapping key, made particular to one record.

    With random nonces one GCM key is good for about 2^32 messages: ten days of a busy shop. A key
    per record takes that limit away for 1.5 us.
    """
    return blake2b(
        name.encode(), key=secrets.purpose_key(PURPOSE, key_id), digest_size=KEY_BYTES
    ).digest()


def decrypt(key: bytes, content: bytes, name: str) -> bytes:
    """Nonce and ciphertext back to the plain bytes."""
    try:
        return AESGCM(key).decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], name.encode())
    except (InvalidTag, ValueError) as error:
        raise RecordUnreadable(f"The vault's record {name} was changed or moved.") from error
