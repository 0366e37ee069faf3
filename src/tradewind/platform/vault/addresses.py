"""E-mail addresses: when two spellings are the same one, and the index that finds them."""

import unicodedata
from hashlib import blake2b

BLIND_BYTES = 16


def normalise_email(email: str) -> str:
    """The one spelling of an address: outer spaces off, NFC, the domain without letter case.

    Nothing that only looks alike becomes one: `casefold` would make strasse.de of straße.de, which
    is the domain of somebody else. The part before the last @ keeps its case: whether it matters is
    the receiver's business (RFC 5321, 2.4), and taking two people for one would show an order to a
    stranger.
    """
    text = unicodedata.normalize("NFC", email.strip())
    local, at, domain = text.rpartition("@")
    return f"{local}{at}{unicodedata.normalize('NFC', domain.lower())}"


def blind_index(key: bytes, email: str) -> bytes:
    """What stands for an address in the index. Without the key it cannot even be tried.

    128 bits: two of a million million addresses meet with a chance of 10^-15.
    """
    text = normalise_email(email).encode("utf-8", "surrogatepass")
    return blake2b(text, key=key, digest_size=BLIND_BYTES).digest()
