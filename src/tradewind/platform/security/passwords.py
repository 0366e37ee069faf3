"""Passwords: hashed with argon2id beside the requests, and checked in the same time for everybody.

Invariants: a check takes one whole argon2 run, whether there is a password to compare with or not;
at most `THREADS` run at once, so that many logins cannot take the machine from the other requests;
no password is kept, logged or part of an exception.
"""

import asyncio
import os
import threading
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import argon2
from argon2.low_level import Type

from tradewind.kernel.problems import Problem

Result = TypeVar("Result")

# OWASP's second choice of parameters: 19 MiB and two passes, about 20 ms of one core. A run that
# needs memory is what makes a graphics card no faster than we are.
MEMORY_KIB = 19_456
PASSES = 2
SALT_BYTES = 16
HASH_BYTES = 32
# Half of the cores; the hashing runs outside of the interpreter's lock and behind the requests.
THREADS = max(1, (os.cpu_count() or 2) // 2)
NICENESS = 10
# At 20 ms a run and one thread the last of these waits five seconds: longer, and nobody waits.
WAITING_MAX = 250
# Of a password that nobody has: what is compared where there is no account.
NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$bKFIREVLMcqFpURcSkXg6g$" + (
    "o8DtGxmZZq68xzIXUCyPaECfrHe+fHrDq65122zcuuc"
)

PASSWORD_LENGTH_MIN = 10
PASSWORD_LENGTH_MAX = 128
# What is tried first, with ten letters or more. A list of leaked passwords belongs beside it.
COMMON = frozenset(
    """
    1234567890 12345678910 123456789a 0123456789 0987654321 1q2w3e4r5t 1qaz2wsx3edc q1w2e3r4t5
    qwertyuiop qwerty12345 qwerty123456 asdfghjkl1 zxcvbnm123 password12 password123
    password1234 passw0rd123 mypassword iloveyou12 iloveyou123 letmein123 welcome123
    administrator admin12345 football123 baseball123 sunshine123 princess123 superman123
    michael123 changeme123 abcdefghij abcd1234567 abc123456789 1111111111 0000000000
    aaaaaaaaaa 1122334455 9876543210 unbelievable basketball california
    """.split()  # noqa: SIM905
)

HASHER = argon2.PasswordHasher(
    time_cost=PASSES,
    memory_cost=MEMORY_KIB,
    parallelism=1,
    hash_len=HASH_BYTES,
    salt_len=SALT_BYTES,
    type=Type.ID,
)


class TooManyPasswords(Problem):
    """More people sign in at this moment than can be checked in a few seconds."""

    status = 503
    code = "busy"
    title = "Too much is going on right now."


def polite() -> None:
    """Let every other thread of the machine go first. On Linux a thread has a priority of its own;
    where it has none, nothing is changed for the whole process."""
    if os.uname().sysname == "Linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class Passwords:
    """Hashes and checks passwords in a few threads of its own. One per process is enough."""

    def __init__(self, *, threads: int = THREADS, waiting_max: int = WAITING_MAX) -> None:
        self._pool = ThreadPoolExecutor(threads, "passwords", initializer=polite)
        self._waiting_max = waiting_max
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """What is kept of a password. Raises `TooManyPasswords`."""
        return await self._run(HASHER.hash, prepared(password))

    async def is_right(self, kept: str | None, password: str) -> bool:
        """Whether this is the password that `kept` was made of; never, where there is none.

        Takes the same time in each case. Raises `TooManyPasswords`.
        """
        right = await self._run(matches, kept or NOBODYS, prepared(password))
        return right and kept is not None

    async def _run(self, work: Callable[..., Result], *args: object) -> Result:
        if self._waiting >= self._waiting_max:
            raise TooManyPasswords("Try again in a few seconds.", headers={"Retry-After": "5"})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        finally:
            self._waiting -= 1


def is_outdated(kept: str) -> bool:
    """Whether a hash was made with other parameters than are used now."""
    return HASHER.check_needs_rehash(kept)


def prepared(password: str) -> bytes:
    """A password as bytes: the same for every way in which a keyboard composes its letters."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def matches(kept: str, password: bytes) -> bool:
    """Whether the hash is that of the password."""
    try:
        return HASHER.verify(kept, password)
    except argon2.exceptions.VerifyMismatchError:
        return False


def weakness(password: str, *, about: Sequence[str] = ()) -> str | None:
    """Why this is no password, if so. `about` is what everybody knows of its holder."""
    text = unicodedata.normalize("NFKC", password)
    plain = text.casefold()
    known = [word.casefold() for word in about if len(word) >= 4]
    known += [word.partition("@")[0] for word in known]
    if len(text) < PASSWORD_LENGTH_MIN:
        return f"must have at least {PASSWORD_LENGTH_MIN} characters"
    if len(text) > PASSWORD_LENGTH_MAX:
        return f"must have at most {PASSWORD_LENGTH_MAX} characters"
    if plain in COMMON or len(set(plain)) < 4:
        return "is one of those that are tried first"
    if plain in known:
        return "must not be the address or the name"
    return None


PASSWORDS = Passwords()
