"""Tokens as a test signs them: right signatures over whatever shall stand in them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from joserfc import jwk, jws

from tradewind.kernel.ids import new_id
from tradewind.platform.security import jose

ISSUER, AUDIENCE = "https://shop.example", "https://shop.example/v1"
NOW = 1_800_000_000.0
KEY = jwk.ECKey.generate_key("P-256")
KID = KEY.thumbprint()
PUBLIC = {**KEY.as_dict(private=False), "kid": KID, "use": "sig", "alg": "ES256"}
HEADER = {"alg": "ES256", "typ": "at+jwt", "kid": KID}


def claims(**more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "iss": ISSUER,
        "sub": "cli_" + "0" * 26,
        "aud": AUDIENCE,
        "client_id": "cli_" + "0" * 26,
        "scope": "orders:read",
        "iat": int(NOW),
        "exp": int(NOW) + 300,
        "jti": new_id("tok", at=datetime.fromtimestamp(NOW, UTC)),
        **more,
    }
    return {name: value for name, value in made.items() if value is not None}


def b64(raw: bytes | str) -> str:
    return jose.base64url(raw.encode() if isinstance(raw, str) else raw)


def signed(header: Mapping[str, Any] | str, payload: Mapping[str, Any] | str | bytes) -> str:
    """A token with a right signature over whatever stands in it."""
    first = b64(header if isinstance(header, str) else json.dumps(header))
    second = b64(payload if isinstance(payload, str | bytes) else json.dumps(payload))
    algorithm = jws.JWSRegistry.algorithms["ES256"]
    return f"{first}.{second}.{b64(algorithm.sign(f'{first}.{second}'.encode(), KEY))}"
