"""Prefixed, time-ordered ids: ``ord_01jd8zq4m7e0srv2k3w9p5x6yt``.

An id is a UUIDv7 written in 26 characters of Crockford base32 behind a prefix that names the kind.
Text order is time order, so an index on ids is filled at its right end. Ids are plain ``str``
everywhere: on the wire, in events and in the database (``COLLATE "C"``), so nothing converts them.
"""

import re
import secrets
import time
from datetime import UTC, datetime
from threading import get_native_id

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# Ten bits at a time: 13 look-ups instead of 26 divisions an id.
PAIRS = tuple(a + b for a in ALPHABET for b in ALPHABET)
SHIFTS = tuple(range(120, -1, -10))
LOW_62 = (1 << 62) - 1

PREFIXES = {
    "acc": "account",
    "adr": "entry of an address book",
    "aud": "entry of the audit",
    "cat": "category",
    "chg": "change of a cart",
    "clm": "claim of orders that were placed as a guest",
    "crt": "cart",
    "cus": "customer",
    "ctc": "contact (one e-mail address)",
    "ern": "errand of an account: what a mail asks somebody to confirm",
    "cli": "OAuth client",
    "cod": "authorization code",
    "dev": "device that waits for somebody to sign in",
    "evt": "event",
    "gra": "grant: what a person lets a program do",
    "imp": "import",
    "key": "API key",
    "loc": "stock location",
    "mov": "movement of stock",
    "msg": "message to a person",
    "ord": "order",
    "pay": "payment",
    "lst": "price list",
    "prd": "product",
    "prs": "personal data in the vault",
    "ref": "refund",
    "ses": "session",
    "tok": "access token",
}
SHAPE = re.compile(r"[a-z]{3}_[0-7][0-9a-hjkmnp-tv-z]{25}")


# Asking the system for random bytes costs more than everything else here, so it is asked for many
# at once. By thread, as the system numbers them: neither a thread nor a forked process shares them.
ASKED_AT_ONCE = 256
_random: dict[int, list[bytes]] = {}


def random_bits() -> int:
    """74 bits nobody can guess."""
    thread = get_native_id()
    pieces = _random.get(thread)
    if not pieces:
        block = secrets.token_bytes(10 * ASKED_AT_ONCE)
        pieces = _random[thread] = [block[at : at + 10] for at in range(0, len(block), 10)]
    return int.from_bytes(pieces.pop()) >> 6


def new_id(prefix: str, *, at: datetime | None = None) -> str:
    """A new id of the kind that `prefix` names; within one millisecond ids are unordered.

    `at` dates it: ids made before that instant sort before it.
    """
    unix_ms = time.time_ns() // 1_000_000 if at is None else int(at.timestamp() * 1000)
    bits = random_bits()
    value = (
        (unix_ms << 80)
        | (0x7 << 76)
        | ((bits >> 62) << 64)
        | (0b10 << 62)
        | (bits & ((1 << 62) - 1))
    )
    pairs = PAIRS
    return prefix + "_" + "".join([pairs[(value >> shift) & 1023] for shift in SHIFTS])


def time_of(text: str) -> datetime | None:
    """When an id was made, to the millisecond; None of a text that is none."""
    if not SHAPE.fullmatch(text):
        return None
    value = 0
    for letter in text[4:14]:
        value = value << 5 | ALPHABET.index(letter)
    try:
        return datetime.fromtimestamp(value / 1000, UTC)
    except (OverflowError, ValueError):
        return None


def is_id(text: str, prefix: str) -> bool:
    """Whether `text` has the shape of an id of this kind. Says nothing about whether it exists."""
    return text.startswith(prefix + "_") and SHAPE.fullmatch(text) is not None
