"""Keys that sign tokens: made, sealed under the server's master key, opened, and used.

ES256 (ECDSA on P-256 with SHA-256): a signature of 64 bytes, which every OAuth library verifies. A
key's id is its RFC 7638 thumbprint, so two processes cannot give two keys one id.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from joserfc import jwk, jws
from msgspec import Struct

from tradewind.platform.security.jose import VerificationKey, public_key
from tradewind.platform.security.sealed import SecretUnreadable, open_secret, seal_secret
from tradewind.platform.security.secrets import Secrets, SecretsError

ALGORITHM = "ES256"
PURPOSE = "signing keys"


class StoredKey(Struct, frozen=True):
    """A signing key as it is kept: readable by everybody but for the sealed part."""

    kid: str
    public: str  # the JWK, as JSON
    master_key_id: str
    sealed: bytes
    signs_from: datetime
    signs_until: datetime
    served_until: datetime


class Signer(Struct, frozen=True):
    """An opened private key."""

    kid: str
    key: Any  # joserfc's

    def sign(self, kind: str, claims: Mapping[str, Any]) -> str:
        """A compact token of this type."""
        header = {"alg": ALGORITHM, "typ": kind, "kid": self.kid}
        payload = json.dumps(claims, ensure_ascii=False, separators=(",", ":"))
        return jws.serialize_compact(header, payload, self.key, algorithms=[ALGORITHM])


class MadeKey(Struct, frozen=True):
    """A new key, not yet in use."""

    kid: str
    public: str
    master_key_id: str
    sealed: bytes


def make_key(secrets: Secrets) -> MadeKey:
    """A new key, its private part sealed under the newest master key."""
    key = jwk.ECKey.generate_key("P-256")
    kid = key.thumbprint()
    public = {**key.as_dict(private=False), "kid": kid, "use": "sig", "alg": ALGORITHM}
    private = json.dumps(key.as_dict(private=True)).encode()
    sealed = seal_secret(secrets, PURPOSE, kid, private)
    return MadeKey(kid, json.dumps(public, sort_keys=True), secrets.key_id, sealed)


def open_key(secrets: Secrets, stored: StoredKey) -> Signer | None:
    """The private key; None where this server lacks its master key, or the row was changed."""
    try:
        private = json.loads(open_secret(secrets, PURPOSE, stored.kid, stored.sealed))
    except (SecretsError, SecretUnreadable):
        return None
    return Signer(stored.kid, jwk.ECKey.import_key(private))


def published(stored: StoredKey) -> VerificationKey:
    """The public key, to verify with."""
    key = public_key(json.loads(stored.public))
    assert key is not None, "we made it"
    return key


def current(keys: Sequence[StoredKey], now: datetime) -> list[StoredKey]:
    """The keys that sign now, the newest first."""
    signing = [key for key in keys if key.signs_from <= now < key.signs_until]
    return sorted(signing, key=lambda key: key.signs_from, reverse=True)
