"""Envelope encryption: a person's data under the person's key, that key under a wrapping key.

AES-256-GCM throughout, with the record's name as authenticated data: a row copied over another
does not open. Destroying the wrapped key is destroying everything under it, wherever else its
bytes lie: in the log, its archive, a backup.
"""

import os
from collections.abc import Mapping
from hashlib import blake2b

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12

FIELDS = msgspec.json.Encoder()
FIELDS_BACK = msgspec.json.Decoder(dict[str, str])


class RecordUnreadable(Exception):
    """A record does not open: changed bytes, or another record's. Never a normal state."""


def new_key() -> bytes:
    """A random key of 256 bits."""
    return os.urandom(KEY_BYTES)


def seal(key: bytes, name: str, fields: Mapping[str, str]) -> bytes:
    """Encrypt `fields` as the record `name`."""
    return encrypt(key, FIELDS.encode(fields), name)


def unseal(key: bytes, name: str, content: bytes) -> dict[str, str]:
    """The fields of a record. Raises `RecordUnreadable`."""
    return FIELDS_BACK.decode(decrypt(key, content, name))


def wrap(outer: bytes, name: str, key: bytes) -> bytes:
    """The key of `name` under a wrapping key."""
    return encrypt(wrapping_key(outer, name), key, name)


def unwrap(outer: bytes, name: str, wrapped: bytes) -> bytes:
    """The key of `name`, from under the wrapping key. Raises `RecordUnreadable`."""
    return decrypt(wrapping_key(outer, name), wrapped, name)


def wrapping_key(outer: bytes, name: str) -> bytes:
    """A wrapping key, made particular to one record.

    With random nonces one GCM key is good for about 2^32 messages: ten days of a busy shop. A key
    per record takes that limit away for 1.5 us.
    """
    return blake2b(name.encode(), key=outer, digest_size=KEY_BYTES).digest()


def encrypt(key: bytes, content: bytes, name: str) -> bytes:
    """Nonce and ciphertext."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, name.encode())


def decrypt(key: bytes, content: bytes, name: str) -> bytes:
    """Nonce and ciphertext back to the plain bytes. Raises `RecordUnreadable`."""
    try:
        return AESGCM(key).decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], name.encode())
    except (InvalidTag, ValueError) as error:
        raise RecordUnreadable(f"The vault's record {name} was changed or moved.") from error
