"""Making tokens: access tokens (RFC 9068), ID tokens (OpenID Connect), and what is said of them."""

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from msgspec import Struct

from tradewind.kernel.ids import new_id
from tradewind.platform.security.access_tokens import ACCESS_TYPE, AccessTokens
from tradewind.platform.security.jose import base64url
from tradewind.platform.security.keyring import Keyring

ID_TOKEN_S = 600
# The half of a SHA-256 hash that stands in an ID token for the access token beside it.
HALF = 16


class AccessToken(Struct, frozen=True):
    """A token that was made, and what is remembered of it."""

    token: str
    token_id: str
    expires_in: int


class Issuer:
    """Signs tokens under this installation's name. One per process."""

    def __init__(
        self,
        url: str,
        keyring: Keyring,
        *,
        access_s: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url = url
        self.audience = audience_of(url)
        self.keyring = keyring
        self.access_s = access_s
        self.tokens: AccessTokens  # to say whether one is good; set by whoever puts all together
        self._clock = clock

    async def access_token(
        self,
        *,
        subject: str,
        client_id: str,
        scope: str,
        grant_id: str | None = None,
        certificate: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> AccessToken:
        """A new access token. Raises `NoSigningKey`."""
        signer = await self.keyring.signer()
        token_id = new_id("tok")
        now = int(self._clock())
        claims: dict[str, Any] = {
            "iss": self.url,
            "sub": subject,
            "aud": self.audience,
            "client_id": client_id,
            "scope": scope,
            "iat": now,
            "exp": now + self.access_s,
            "jti": token_id,
            **(more or {}),
        }
        if grant_id is not None:
            claims["sid"] = grant_id
        if certificate is not None:
            claims["cnf"] = {"x5t#S256": certificate}
        return AccessToken(signer.sign(ACCESS_TYPE, claims), token_id, self.access_s)

    async def id_token(
        self,
        *,
        subject: str,
        client_id: str,
        access_token: str,
        auth_time: int,
        grant_id: str,
        nonce: str | None,
        more: Mapping[str, Any],
    ) -> str:
        """A new ID token for a client: who signed in, when, and with which access token."""
        signer = await self.keyring.signer()
        now = int(self._clock())
        claims: dict[str, Any] = {
            "iss": self.url,
            "sub": subject,
            "aud": client_id,
            "iat": now,
            "exp": now + ID_TOKEN_S,
            "auth_time": auth_time,
            "sid": grant_id,
            "at_hash": at_hash(access_token),
            **more,
        }
        if nonce is not None:
            claims["nonce"] = nonce
        return signer.sign("JWT", claims)


def at_hash(access_token: str) -> str:
    """What stands in an ID token for the access token that came with it."""
    return base64url(sha256(access_token.encode()).digest()[:HALF])


def audience_of(url: str) -> str:
    """Whom access tokens are for: the API, which is not the audience of any ID token."""
    return f"{url}/v1"
