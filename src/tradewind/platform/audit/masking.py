"""What keeps personal data out of the record: tokens of addresses, sealed reasons."""

import base64
import os
from functools import lru_cache
from ipaddress import ip_address

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tradewind.platform.security.secrets import Secrets

ADDRESSES = "audit addresses"
REASONS = "audit reasons"
NONCE_BYTES = 12
TOKEN_BYTES = 10  # 80 bits: two addresses of all there are never share a token
ADDRESSES_KEPT_MAX = 10_000


class Mask:
    """Tokens and seals under the keys of this server."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        # One for each process; hashing again is 2 us, so what is thrown out costs little.
        self.address = lru_cache(maxsize=ADDRESSES_KEPT_MAX)(self._address)

    def _address(self, address: str) -> str:
        """Where a request came from: as it is where it lies inside a house, else its token.

        The address of a person on the internet is personal. Its token is the same each time, so
        what came from one place can be found together, by who knows the address too.
        """
        if not address:
            return ""
        try:
            if not ip_address(address).is_global:
                return address
        except ValueError:
            pass
        digest = self._secrets.keyed_hash(ADDRESSES, address.encode())[:TOKEN_BYTES]
        return f"net_{base64.b32encode(digest).decode().lower()}"

    def seal(self, reason: str, entry_id: str) -> str:
        """A reason that only this server can read, and only in the entry it belongs to."""
        if not reason:
            return ""
        nonce = os.urandom(NONCE_BYTES)
        cipher = AESGCM(self._secrets.purpose_key(REASONS))
        sealed = nonce + cipher.encrypt(nonce, reason.encode(), entry_id.encode())
        return f"{self._secrets.key_id}:{base64.b64encode(sealed).decode()}"

    def unseal(self, sealed: str, entry_id: str) -> str | None:
        """The reason of an entry; None where it was changed or belongs to another.

        Raises `SecretsError` without the master key that sealed it.
        """
        if not sealed:
            return ""
        key_id, _, content = sealed.partition(":")
        cipher = AESGCM(self._secrets.purpose_key(REASONS, key_id))
        try:
            raw = base64.b64decode(content, validate=True)
            return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], entry_id.encode()).decode()
        except (InvalidTag, ValueError):
            return None
