"""Signed tokens, read more strictly than a JOSE library does by itself.

The library (joserfc) does the cryptography. Around it stands what it leaves to its caller, each of
which has been an attack on somebody: an algorithm outside the list, a key that is meant for another
algorithm, a header that brings its own key (`jwk`, `jku`, `x5u`), `crit` (joserfc takes
``"crit": ["alg"]``), a member that stands twice (Python's reader takes the last, others the first),
base64 that has two spellings, and numbers that are none.
"""

import base64
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from joserfc import jwk, jws
from joserfc.errors import JoseError
from msgspec import Struct

# A request head is 16 KiB at most; ours are 700 bytes, those of others rarely more than 3,000.
TOKEN_BYTES_MAX = 8_192
KID_CHARACTERS_MAX = 128
# What a header may hold. Everything else is either dangerous or means something we do not do.
HEADERS = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
KID = re.compile(r"[A-Za-z0-9._~:=/+-]{1,128}")
RSA_BITS_MIN = 2_048
# Which algorithms a key is good for, by kind. No symmetric one: a shared secret can sign, too.
BY_CURVE = {"P-256": "ES256", "P-384": "ES384", "Ed25519": "EdDSA"}
BY_RSA = ("RS256", "PS256")
ALGORITHMS = frozenset({*BY_CURVE.values(), *BY_RSA})


class TokenRefused(Exception):
    """A token that proves nothing; the text says why, for logs and tests, never for its bearer."""


class Parsed(Struct, frozen=True):
    """A token taken apart. Nothing in it is proven yet."""

    algorithm: str
    kid: str
    type: str  # lower case, without "application/"
    claims: Mapping[str, Any]


class VerificationKey(Struct, frozen=True):
    """A public key, and what it may verify."""

    kid: str
    algorithms: frozenset[str]
    key: Any  # joserfc's


def take_apart(token: str) -> Parsed:
    """The parts of a compact token. Raises `TokenRefused` for whatever has two readings."""
    if len(token) > TOKEN_BYTES_MAX:
        raise TokenRefused("longer than any token")
    segments = token.split(".")
    if len(segments) != 3:
        raise TokenRefused("not three segments")
    header = json_object(segment(segments[0]))
    unknown = header.keys() - HEADERS
    if unknown:
        raise TokenRefused(f"the header holds {', '.join(sorted(unknown))}")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenRefused("an algorithm that is not allowed")
    if not isinstance(kid, str) or not KID.fullmatch(kid):
        raise TokenRefused("no usable kid")
    if not isinstance(kind, str):
        raise TokenRefused("typ is no text")
    claims = json_object(segment(segments[1]))
    segment(segments[2])
    return Parsed(algorithm, kid, kind.lower().removeprefix("application/"), claims)


def verify(token: str, parsed: Parsed, key: VerificationKey, allowed: Collection[str]) -> None:
    """Raise `TokenRefused` unless `key` made the token, by an algorithm of `allowed`."""
    if parsed.algorithm not in allowed or parsed.algorithm not in key.algorithms:
        raise TokenRefused("an algorithm that is not this key's")
    signed, _, signature = token.rpartition(".")
    algorithm = jws.JWSRegistry.algorithms[parsed.algorithm]
    try:
        algorithm.check_key(key.key)
        good = algorithm.verify(signed.encode(), segment(signature), key.key)
    except (JoseError, ValueError) as error:
        raise TokenRefused(f"the key cannot verify it: {type(error).__name__}") from None
    if not good:
        raise TokenRefused("the signature is wrong")


def segment(text: str) -> bytes:
    """The bytes of a base64url segment in its only spelling."""
    if not SEGMENT.fullmatch(text) or len(text) % 4 == 1:
        raise TokenRefused("a segment is no base64url")
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64url(raw) != text:
        raise TokenRefused("a segment has another spelling")
    return raw


def base64url(raw: bytes) -> str:
    """Without padding, as JOSE writes it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def json_object(raw: bytes) -> dict[str, Any]:
    """A JSON object in which no member stands twice and every number is one."""
    try:
        value = json.loads(raw.decode(), object_pairs_hook=unique, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise TokenRefused(f"no JSON: {error}") from None
    if not isinstance(value, dict):
        raise TokenRefused("no JSON object")
    return value


def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object; twice the same is an error."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def no_number(name: str) -> Any:
    """NaN and Infinity compare with nothing, so that a token with one would never expire."""
    raise ValueError(name)


def seconds(claims: Mapping[str, Any], name: str) -> float | None:
    """A time among the claims; None where it is missing."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenRefused(f"{name} is no time")
    return float(value)


def check_times(claims: Mapping[str, Any], *, now: float, leeway_s: float) -> tuple[float, float]:
    """When the token was issued and when it expires. Raises `TokenRefused` outside of that."""
    issued_at, expires_at = seconds(claims, "iat"), seconds(claims, "exp")
    not_before = seconds(claims, "nbf")
    if issued_at is None or expires_at is None:
        raise TokenRefused("iat or exp is missing")
    if expires_at <= now - leeway_s:
        raise TokenRefused("expired")
    if issued_at > now + leeway_s or (not_before is not None and not_before > now + leeway_s):
        raise TokenRefused("not valid yet")
    return issued_at, expires_at


def check_parties(claims: Mapping[str, Any], *, issuer: str, audience: str) -> str:
    """The subject. Raises `TokenRefused` where the token is another issuer's, or for others."""
    if claims.get("iss") != issuer:
        raise TokenRefused("another issuer's")
    audiences = claims.get("aud")
    if isinstance(audiences, str):
        audiences = [audiences]
    if not isinstance(audiences, list) or not all(isinstance(one, str) for one in audiences):
        raise TokenRefused("aud is neither a text nor a list of texts")
    if audience not in audiences:
        raise TokenRefused("meant for others")
    return text(claims, "sub")


def text(claims: Mapping[str, Any], name: str) -> str:
    """A claim that must be a text of a sensible length, which can be stored and shown."""
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 255 or not value.isprintable():
        raise TokenRefused(f"{name} is no text")
    return value


def public_key(document: Mapping[str, Any]) -> VerificationKey | None:
    """A key of somebody's key set; None for one that we would not use.

    A symmetric key, or a private one, in a public document is never used.
    """
    kid = document.get("kid")
    if not isinstance(kid, str) or not KID.fullmatch(kid) or document.get("use", "sig") != "sig":
        return None
    operations = document.get("key_ops", ["verify"])
    kind = document.get("kty")
    if kind not in ("EC", "RSA", "OKP") or "d" in document or "verify" not in operations:
        return None
    named = {k: document[k] for k in ("kty", "crv", "x", "y", "n", "e") if k in document}
    try:
        if kind == "RSA":
            if int.from_bytes(segment(str(document["n"]))).bit_length() < RSA_BITS_MIN:
                return None
            possible = frozenset(BY_RSA)
        else:
            possible = frozenset({BY_CURVE[str(document.get("crv"))]})
        key = jwk.import_key(named, kind)
    except (JoseError, TokenRefused, ValueError, KeyError, TypeError):
        return None
    if "alg" in document:
        possible &= {str(document["alg"])}
    return VerificationKey(kid, possible, key) if possible else None
