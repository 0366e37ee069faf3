"""One-time codes of an authenticator app: RFC 6238 with SHA-1, six digits, half a minute.

Those are the parameters that every app reads from the picture it is shown.
"""

import base64
import hmac
import os
from urllib.parse import quote

SECRET_BYTES = 20  # as long as the hash, RFC 4226 section 4
STEP_S = 30
DIGITS = 6
# Clocks of telephones are a little off, and people type slowly: one step to either side.
STEPS_ASIDE = 1


def new_secret() -> bytes:
    """A secret for one person's app."""
    return os.urandom(SECRET_BYTES)


def code_at(secret: bytes, step: int) -> str:
    """The code of a step of time."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def step_of(secret: bytes, code: str, unix_s: float) -> int | None:
    """The step of time that `code` belongs to, if it is one near to `unix_s`; else None.

    Whoever accepts a code remembers its step and takes only later ones: a code is good once.
    """
    now = int(unix_s) // STEP_S
    found = None
    given = code.encode("utf-8", "surrogatepass")
    for step in range(now - STEPS_ASIDE, now + STEPS_ASIDE + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), given):
            found = step
    return found


def uri(secret: bytes, *, issuer: str, account: str) -> str:
    """What an app reads from a QR code."""
    name = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    return (
        f"otpauth://totp/{name}?secret={shown(secret)}&issuer={quote(issuer, safe='')}"
        f"&algorithm=SHA1&digits={DIGITS}&period={STEP_S}"
    )


def shown(secret: bytes) -> str:
    """A secret as people type it where there is no camera."""
    return base64.b32encode(secret).decode().rstrip("=")
