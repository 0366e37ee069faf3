"""The installation's signing keys as one process knows them: who signs now, who may have signed.

Keys change once a month and are published a day before they sign, so a process reads them now and
then, and again at once when it meets a kid that it does not know (at most once a second: a kid is
the caller's to choose).
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from tradewind.kernel.problems import Problem
from tradewind.platform.security.jose import VerificationKey
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.security.signing import (
    MadeKey,
    Signer,
    StoredKey,
    current,
    make_key,
    open_key,
    published,
)

READ_AGAIN_S = 60.0
UNKNOWN_AGAIN_S = 1.0


class KeyStore(Protocol):
    """Where signing keys are kept. Implemented by the identity context."""

    async def load(self) -> Sequence[StoredKey]:
        """Every key that is still served."""
        ...

    async def provide(self, made: MadeKey, readable: Sequence[str]) -> None:
        """Add a key if one is due. `readable`: the keys that this server can sign with."""
        ...


class NoSigningKey(Problem):
    """The keys cannot be read, so no token can be made."""

    status = 503
    code = "tokens_unavailable"
    title = "Tokens cannot be issued right now."


class Keyring:
    """Signing keys, from memory. One per process."""

    def __init__(
        self,
        store: KeyStore,
        secrets: Secrets,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._clock = clock
        self._timer = timer
        self._stored: Sequence[StoredKey] = ()
        self._signers: dict[str, Signer] = {}
        self._known: dict[str, VerificationKey] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def find(self, kid: str) -> VerificationKey | None:
        """The public key with this id, if it is served."""
        if kid not in self._known or self._age() >= READ_AGAIN_S:
            await self._read(UNKNOWN_AGAIN_S)
        return self._known.get(kid)

    async def signer(self) -> Signer:
        """The private key that signs now; made if there is none. Raises `NoSigningKey`."""
        await self._read(READ_AGAIN_S)
        for _ in range(2):
            now = self._now()
            for stored in current(self._stored, now):
                if stored.kid in self._signers:
                    return self._signers[stored.kid]
            await self.provide()
        raise NoSigningKey("No signing key could be made. Try again in a second.")

    async def provide(self) -> None:
        """Offer a new key, which is taken if one is due. Many processes may: one key is taken."""
        await self._read(0)
        await self._store.provide(make_key(self._secrets), list(self._signers))
        await self._read(0)

    async def documents(self) -> list[Mapping[str, Any]]:
        """The key set that is published: those that sign, will sign, and have signed."""
        await self.signer()
        return [json.loads(key.public) for key in self._stored if key.served_until > self._now()]

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _age(self) -> float:
        return self._timer() - self._read_at if self._read_at is not None else float("inf")

    async def _read(self, unless_younger_s: float) -> None:
        if self._age() < unless_younger_s:
            return
        asked_at = self._timer()
        async with self._reading:
            if self._read_at is not None and self._read_at > asked_at:
                return  # somebody read while we waited
            began = self._timer()
            stored = await self._store.load()
            self._signers = {
                key.kid: signer
                for key in stored
                if (signer := self._signers.get(key.kid) or open_key(self._secrets, key))
            }
            self._known = {key.kid: published(key) for key in stored}
            self._stored = stored
            self._read_at = began
