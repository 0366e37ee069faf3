"""Access tokens at the gateway: verified once, then known until they expire or are revoked.

Invariants: a token is believed only for what `jose` proves and its issuer's rules allow; a revoked
one is refused in every process within `FRESH_S` of the commit; the memory is bounded and holds
digests of tokens, never tokens.

A signature costs 100 us and more, a look into memory less than 1 us. Revocations are few, so every
process keeps all that may still matter, and asks for new ones beside the requests.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol

from msgspec import Struct

from tradewind.kernel.ids import is_id, time_of
from tradewind.kernel.problems import Problem
from tradewind.platform.security import jose
from tradewind.platform.security.credentials import Credential
from tradewind.platform.security.jose import TokenRefused, VerificationKey
from tradewind.platform.telemetry import logs

ACCESS_TYPE = "at+jwt"
# Clocks of our own hosts, and of an issuer's, are at most this far apart.
LEEWAY_S = 10.0
# After a revocation commits, a process may honour the token for at most this long.
FRESH_S = 1.0
REFRESH_AFTER_S = 0.4
# How far behind the last question each question reaches back: see `authentication`.
REACH_BACK_S = 30.0
# No access token lives longer: older revocations need not be known.
LIFE_S_MAX = 900.0
# About 600 bytes each: 12 MB.
VERIFIED_MAX = 20_000

logger = logs.get(__name__)


class Revoked(Struct, frozen=True):
    """Tokens of something (a client, an account, a grant, one token) issued until then are void."""

    what: str
    revoked_at: datetime


class RevocationSource(Protocol):
    """Where revocations are kept. Implemented by the identity context."""

    async def revoked_within(self, seconds: float) -> Sequence[Revoked]:
        """The revocations of the last `seconds`, by the database's clock."""
        ...


class KeyFinder(Protocol):
    """Finds the key with an id, loading it if need be."""

    async def find(self, kid: str) -> VerificationKey | None:
        """The public key, if its issuer has one."""
        ...


class TokensUnavailable(Problem):
    """Tokens cannot be checked, so nobody with one is let in."""

    status = 503
    code = "credentials_unavailable"
    title = "Credentials cannot be checked right now."


class Accepts(Struct, frozen=True, kw_only=True):
    """What an issuer's tokens must be to be believed."""

    issuer: str
    audience: str
    algorithms: frozenset[str]
    types: frozenset[str]
    read: Callable[[Mapping[str, Any], str], Credential]  # the claims, and their subject


class Verified(Struct, frozen=True):
    """A token that was verified."""

    credential: Credential
    issued_at: float
    expires_at: float
    ids: tuple[str, ...]  # what may be revoked, and the token with it
    claims: Mapping[str, Any]


class Revocations:
    """What was revoked lately, as this process knows it."""

    def __init__(
        self, source: RevocationSource, *, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._timer = timer
        self._at: dict[str, float] = {}
        self._fresh_at: float | None = None
        self._failure: Exception | None = None
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether nobody needs to be asked yet."""
        return self._age() < REFRESH_AFTER_S

    async def stay_fresh(self) -> None:
        """Return with a memory younger than `FRESH_S`, or than the call. Raises
        `TokensUnavailable`.
        """
        began, age_s = self._timer(), self._age()
        if age_s < REFRESH_AFTER_S:
            return
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(age_s))
        if age_s < FRESH_S:
            return
        await asyncio.shield(self._refreshing)
        if self._older_than(began) and self._failure is None:  # asked for by somebody before us
            if self._refreshing.done():
                self._refreshing = asyncio.create_task(self._refresh(self._age()))
            await asyncio.shield(self._refreshing)
        if self._older_than(began) and self._age() >= FRESH_S:
            raise TokensUnavailable(
                "The database does not answer. Try again in a second.", headers={"Retry-After": "1"}
            ) from self._failure

    def voids(self, ids: Collection[str], issued_at: float) -> bool:
        """Whether one of these was revoked: a token, grant, session or client for good, an account
        for all tokens until then (unix): its holder goes on with new ones.
        """
        at = self._at
        return any(
            issued_at <= at[one] if one.startswith("acc_") else True for one in ids if one in at
        )

    async def close(self) -> None:
        """End what runs beside the requests."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    def _older_than(self, moment: float) -> bool:
        return self._fresh_at is None or self._fresh_at < moment

    def _age(self) -> float:
        return float("inf") if self._fresh_at is None else self._timer() - self._fresh_at

    async def _refresh(self, age_s: float) -> None:
        asked_at = self._timer()
        try:
            revoked = await self._source.revoked_within(min(age_s, LIFE_S_MAX) + REACH_BACK_S)
        except Exception as error:
            self._failure = error  # whoever needs fresh memory sees that it is not, and refuses
            return
        for one in revoked:
            self._at[one.what] = max(one.revoked_at.timestamp(), self._at.get(one.what, 0.0))
        # In the order in which they were told of: what no token can be older than goes.
        horizon = max(self._at.values(), default=0.0) - 2 * LIFE_S_MAX
        self._at = {what: at for what, at in self._at.items() if at > horizon}
        self._fresh_at = asked_at
        self._failure = None


class AccessTokens:
    """Tells whose an access token is. One per process; call `close` when the process stops."""

    def __init__(
        self,
        accepts: Accepts,
        keys: KeyFinder,
        revocations: Revocations | None,
        *,
        clock: Callable[[], float] = time.time,
        verified_max: int = VERIFIED_MAX,
    ) -> None:
        self.accepts = accepts
        self._keys = keys
        self._revocations = revocations
        self._clock = clock
        self._verified_max = verified_max
        self._verified: dict[bytes, Verified] = {}

    async def who(self, token: str) -> Credential | None:
        """Whose token it is; None where it proves nothing. Raises `TokensUnavailable`."""
        verified = await self.check(token)
        return None if verified is None else verified.credential

    def known(self, token: str) -> Credential | None:
        """Whose token it is, where memory alone tells; None where `who` must be asked."""
        if self._revocations is not None and not self._revocations.is_fresh:
            return None
        known = self._verified.get(digest_of(token))
        if known is None or known.expires_at <= self._clock() - LEEWAY_S or self._is_void(known):
            return None
        return known.credential

    async def check(self, token: str) -> Verified | None:
        """The token with its claims; None where it proves nothing. Raises `TokensUnavailable`."""
        if self._revocations is not None:
            await self._revocations.stay_fresh()
        digest = digest_of(token)
        known = self._verified.get(digest)
        if known is None:
            try:
                known = await self._verify(token)
            except TokenRefused as refused:
                logger.debug("token.refused", reason=str(refused))
                return None
            while len(self._verified) >= self._verified_max:
                del self._verified[next(iter(self._verified))]
            self._verified[digest] = known
        if known.expires_at <= self._clock() - LEEWAY_S or self._is_void(known):
            self._verified.pop(digest, None)
            return None
        return known

    async def close(self) -> None:
        """End what runs beside the requests."""
        if self._revocations is not None:
            await self._revocations.close()

    def _is_void(self, known: Verified) -> bool:
        return self._revocations is not None and self._revocations.voids(known.ids, known.issued_at)

    async def _verify(self, token: str) -> Verified:
        """Everything that must hold of a token. Raises `TokenRefused`."""
        accepts = self.accepts
        parsed = jose.take_apart(token)
        if parsed.type not in accepts.types:
            raise TokenRefused("another kind of token")
        if parsed.algorithm not in accepts.algorithms:
            raise TokenRefused("an algorithm that is not allowed")
        # What costs nothing comes first: a forged token shall not cost a signature.
        subject = jose.check_parties(
            parsed.claims, issuer=accepts.issuer, audience=accepts.audience
        )
        issued_at, expires_at = jose.check_times(
            parsed.claims, now=self._clock(), leeway_s=LEEWAY_S
        )
        key = await self._keys.find(parsed.kid)
        if key is None:
            raise TokenRefused("an unknown key")
        jose.verify(token, parsed, key, accepts.algorithms)
        credential = accepts.read(parsed.claims, subject)
        ids = tuple(
            value
            for name in ("jti", "sid", "session", "client_id", "sub")
            if isinstance(value := parsed.claims.get(name), str)
        )
        made = time_of(parsed.claims["jti"]) if isinstance(parsed.claims.get("jti"), str) else None
        # `iat` counts whole seconds; our own ids tell the millisecond.
        if made is not None and abs(made.timestamp() - issued_at) <= 1:
            issued_at = made.timestamp()
        return Verified(credential, issued_at, expires_at, ids, parsed.claims)


def digest_of(token: str) -> bytes:
    """Under which name a token is remembered."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def own_tokens(issuer: str, audience: str) -> Accepts:
    """What the tokens of this installation must be."""
    return Accepts(
        issuer=issuer,
        audience=audience,
        algorithms=frozenset({"ES256"}),
        types=frozenset({ACCESS_TYPE}),
        read=own_credential,
    )


def own_credential(claims: Mapping[str, Any], subject: str) -> Credential:
    """The caller of a token that we issued. Raises `TokenRefused`."""
    client_id = jose.text(claims, "client_id")
    jose.text(claims, "jti")
    scope, bound = claims.get("scope", ""), claims.get("cnf")
    certificate = bound.get("x5t#S256") if isinstance(bound, dict) else None
    if not isinstance(scope, str) or (bound is not None and not isinstance(certificate, str)):
        raise TokenRefused("scope or cnf is not ours")
    return Credential(
        subject,
        frozenset(scope.split()),
        account_id=subject if is_id(subject, "acc") and "account" in scope.split() else None,
        client_id=client_id,
        certificate=certificate,
        customer_group=group if isinstance(group := claims.get("group"), str) else "",
    )
