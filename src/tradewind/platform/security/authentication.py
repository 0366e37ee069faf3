"""Who a caller is: API keys, checked against the database once and then from memory; tokens.

Access tokens (JWT) are the business of `access_tokens`.

Invariants: a revoked or expired key is refused in every process within `FRESH_S`; a caller with
broken credentials is never anyone; the memory holds digests of keys, not keys.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Protocol

from msgspec import Struct

from tradewind.kernel.ids import is_id
from tradewind.kernel.problems import Problem
from tradewind.platform.security.access_tokens import AccessTokens
from tradewind.platform.security.credentials import Credential as Credential
from tradewind.platform.security.secrets import (
    API_KEY,
    CART_TOKEN,
    ID_CHARACTERS,
    ORDER_TOKEN,
    SESSION_TOKEN,
    Secrets,
)

# After a revocation commits, a process may honour the key for at most this long.
FRESH_S = 1.0
# Revocations are asked for again after this, beside the requests: nobody waits in steady state.
REFRESH_AFTER_S = 0.4
# How far behind the last question each question reaches back. Covers a revocation that carried an
# earlier time than its commit: units of work are bounded to 250 ms, clocks of hosts to seconds.
REACH_BACK_S = 30.0
# About 400 bytes each: 8 MB. Beyond it the entry that was read from the database first goes.
CACHED_MAX = 20_000
# Keys asked for in one statement; more wait for the next one.
LOOK_UP_MAX = 256
# `last used` is coarse, so that reading never costs a write of its own.
USED_EVERY_S = 60.0
LONGEST = len(API_KEY) + ID_CHARACTERS + 1 + 64


class KeyFacts(Struct, frozen=True):
    """What is known of a key, or a session, that is not revoked: all that is needed."""

    key_id: str
    secret_hash: bytes
    scopes: Sequence[str]
    expires_at: datetime | None
    customer_group: str = ""
    former_hash: bytes | None = None  # of the secret before the last rotation
    former_until: datetime | None = None  # when that opens nothing any more
    limits: str = ""
    account_id: str | None = None  # of a session: whose it is
    contact: str | None = None


class KeySource(Protocol):
    """Where API keys and sessions are kept. Implemented by the identity context."""

    async def look_up(self, key_ids: Sequence[str]) -> Sequence[KeyFacts]:
        """The keys among `key_ids` that exist and are not revoked, expired ones included."""
        ...

    async def revoked_within(self, seconds: float) -> Sequence[str]:
        """What was revoked or changed in the last `seconds`, by the database's clock.

        Ids of keys and sessions, and of accounts: then of all sessions of the account.
        """
        ...

    async def mark_used(self, used_at: Mapping[str, float]) -> None:
        """Remember when keys were last used (unix time). Best effort; called once a minute."""
        ...


class KeysUnavailable(Problem):
    """Credentials cannot be checked, so nobody with one is let in."""

    status = 503
    code = "credentials_unavailable"
    title = "Credentials cannot be checked right now."


class Found(Struct, frozen=True):
    """What a look-up told about one key, and when it was sent."""

    asked_at: float
    facts: KeyFacts | None


class Known(Struct, frozen=True):
    """A key that was verified."""

    key_id: str
    credential: Credential
    expires_at: float | None  # unix time


def hash_of_key(bearer: str) -> bytes:
    """What is stored of an API key: SHA-256 of it.

    A fast hash, on purpose: slow ones (argon2) make *guessing* expensive, and a secret of 256
    random bits cannot be guessed at any speed. A slow one would cost each first request 20 ms.
    """
    return sha256(bearer.encode("utf-8", "surrogatepass")).digest()


def key_id_of_bearer(bearer: str) -> str | None:
    """The id inside an API key or a session's token; None where it has not the shape of one."""
    for kind, prefix in (API_KEY, "key"), (SESSION_TOKEN, "ses"):
        if bearer.startswith(kind) and len(bearer) <= LONGEST:
            part, separator, secret = bearer[len(kind) :].partition("_")
            key_id = f"{prefix}_{part}"
            return key_id if separator and secret and is_id(key_id, prefix) else None
    return None


def new_session_token(session_id: str) -> str:
    """A token for a session: chance, kept nowhere but with its holder."""
    assert is_id(session_id, "ses"), session_id
    return f"{SESSION_TOKEN}{session_id[4:]}_{secrets.token_urlsafe(32)}"


class Authenticator:
    """Tells who a bearer is. One per process; call `close` when the process stops."""

    def __init__(
        self,
        keys: Secrets,
        source: KeySource,
        *,
        tokens: AccessTokens | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secrets = keys
        self._source = source
        self._tokens = tokens
        self._clock = clock
        self._timer = timer
        self._known: dict[bytes, Known] = {}
        self._digests: dict[str, set[bytes]] = {}  # by key id: what a revocation must drop
        self._waiting: dict[str, asyncio.Future[Found]] = {}
        self._used_at: dict[str, float] = {}
        self._used_written_at = timer()
        self._fresh_at = timer()  # an empty memory knows nothing that could be outdated
        self._failure: Exception | None = None
        self._looking_up: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._marking: asyncio.Task[None] | None = None

    async def authenticate(self, bearer: str) -> Credential | None:
        """Who holds `bearer` (without the word Bearer); None when nobody does.

        Raises `KeysUnavailable` while the database cannot be asked.
        """
        if bearer.startswith(ORDER_TOKEN):
            order_id = self._secrets.order_of_token(bearer)
            return None if order_id is None else Credential(order_id, order_id=order_id)
        if bearer.startswith(CART_TOKEN):
            cart_id = self._secrets.cart_of_token(bearer)
            return None if cart_id is None else Credential(cart_id, cart_id=cart_id)
        key_id = key_id_of_bearer(bearer)
        if key_id is None:
            return await self._tokens.who(bearer) if self._tokens and "." in bearer else None
        await self._stay_fresh()
        digest = hash_of_key(bearer)
        known = self._known.get(digest)
        if known is None:
            known = await self._verify(key_id, digest)
            if known is None:
                return None
        now = self._clock()
        if known.expires_at is not None and known.expires_at <= now:
            return None
        self._used_at[key_id] = now
        return known.credential

    def known(self, bearer: str) -> Credential | None:
        """Who holds `bearer`, where memory alone tells; None where `authenticate` must be asked."""
        if not bearer.startswith((API_KEY, SESSION_TOKEN)):
            return self._tokens.known(bearer) if self._tokens and "." in bearer else None
        if self._timer() - self._fresh_at >= REFRESH_AFTER_S:
            return None
        known = self._known.get(hash_of_key(bearer))
        if known is None:
            return None
        now = self._clock()
        if known.expires_at is not None and known.expires_at <= now:
            return None
        self._used_at[known.key_id] = now
        return known.credential

    def forget(self, key_id: str) -> None:
        """Drop a key, or all of an account, at once. Unknown ids are fine."""
        for digest in self._digests.pop(key_id, ()):
            known = self._known.pop(digest, None)
            if known is None:
                continue
            for name in (known.key_id, known.credential.account_id):
                others = self._digests.get(name or "")
                if others is not None:
                    others.discard(digest)
                    if not others:
                        del self._digests[name or ""]

    async def close(self) -> None:
        """Write down what was used, and end what runs beside the requests."""
        if self._tokens is not None:
            await self._tokens.close()
        for task in (self._looking_up, self._refreshing, self._marking):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for future in self._waiting.values():
            future.cancel()
        await self._mark_used()

    async def _verify(self, key_id: str, digest: bytes) -> Known | None:
        """Ask the database about a key that this process has not seen yet."""
        found = await self._ask(key_id)
        facts = found.facts
        if facts is None:
            return None
        expires_at = None if facts.expires_at is None else facts.expires_at.timestamp()
        if not hmac.compare_digest(facts.secret_hash, digest):
            if facts.former_hash is None or facts.former_until is None:
                return None
            if not hmac.compare_digest(facts.former_hash, digest):
                return None
            former_until = facts.former_until.timestamp()
            expires_at = former_until if expires_at is None else min(expires_at, former_until)
        known = Known(key_id, credential_of(facts), expires_at)
        # A refresh that was sent after this look-up may have reported a revocation that the look-up
        # did not see. Then the answer holds for this request only.
        if found.asked_at >= self._fresh_at:
            self._remember(key_id, digest, known)
        return known

    def _remember(self, key_id: str, digest: bytes, known: Known) -> None:
        while len(self._known) >= CACHED_MAX:
            oldest = next(iter(self._known))
            self.forget(self._known[oldest].key_id)
        self._known[digest] = known
        self._digests.setdefault(key_id, set()).add(digest)
        if known.credential.account_id is not None:
            self._digests.setdefault(known.credential.account_id, set()).add(digest)

    async def _ask(self, key_id: str) -> Found:
        """Facts of one key; all that are asked for at the same time share one statement."""
        future = self._waiting.get(key_id)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._waiting[key_id] = future
            if self._looking_up is None or self._looking_up.done():
                self._looking_up = asyncio.create_task(self._look_up())
        # Shielded: one caller that hangs up must not take the answer from the others.
        return await asyncio.shield(future)

    async def _look_up(self) -> None:
        while self._waiting:
            batch = dict(list(self._waiting.items())[:LOOK_UP_MAX])
            asked_at = self._timer()
            try:
                facts = {f.key_id: f for f in await self._source.look_up(list(batch))}
            except Exception as error:
                for future in batch.values():
                    future.set_exception(unavailable(error))
                    future.exception()  # the caller may have hung up: nobody else will read it
            else:
                for key_id, future in batch.items():
                    future.set_result(Found(asked_at, facts.get(key_id)))
            for key_id in batch:
                del self._waiting[key_id]

    async def _stay_fresh(self) -> None:
        """Drop revoked keys: beside the request while memory is fresh enough, else before it.

        What was asked for after the request came is fresh for it, however long the answer took.
        """
        began = self._timer()
        age_s = began - self._fresh_at
        if age_s < REFRESH_AFTER_S:
            return
        if not self._known:
            self._fresh_at = self._timer()
            return
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(age_s))
        if age_s < FRESH_S:
            return
        await asyncio.shield(self._refreshing)
        if self._fresh_at < began and self._failure is None:  # asked for by somebody before us
            if self._refreshing.done():
                self._refreshing = asyncio.create_task(self._refresh(began - self._fresh_at))
            await asyncio.shield(self._refreshing)
        if self._fresh_at < min(began, self._timer() - FRESH_S):
            raise unavailable(self._failure)

    async def _refresh(self, age_s: float) -> None:
        """Ask what was revoked since the last time. Leaves memory stale if that fails."""
        asked_at = self._timer()
        try:
            revoked = await self._source.revoked_within(age_s + REACH_BACK_S)
        except Exception as error:
            self._failure = error  # whoever needs fresh memory sees that it is not, and refuses
            return
        for key_id in revoked:
            self.forget(key_id)
        self._fresh_at = asked_at
        self._failure = None
        if asked_at - self._used_written_at >= USED_EVERY_S and (
            self._marking is None or self._marking.done()
        ):
            self._used_written_at = asked_at
            self._marking = asyncio.create_task(self._mark_used())

    async def _mark_used(self) -> None:
        used_at, self._used_at = self._used_at, {}
        if used_at:
            try:
                await self._source.mark_used(used_at)
            except Exception:
                return  # a minute of "last used" is not worth a failed request


def credential_of(facts: KeyFacts) -> Credential:
    """Who holds a key or a session. Whoever is signed in is the account, in whichever session: what
    is asked twice, counted or limited is so for the person.
    """
    signed_in = facts.account_id is not None
    return Credential(
        facts.account_id or facts.key_id,
        frozenset(facts.scopes),
        customer_group=facts.customer_group,
        account_id=facts.account_id,
        contact=facts.contact,
        session_id=facts.key_id if signed_in else None,
        limits=facts.limits,
    )


def unavailable(cause: Exception | None) -> KeysUnavailable:
    """The refusal for the time in which keys cannot be checked."""
    problem = KeysUnavailable(
        "The key store does not answer. Try again in a second.", headers={"Retry-After": "1"}
    )
    problem.__cause__ = cause
    return problem
