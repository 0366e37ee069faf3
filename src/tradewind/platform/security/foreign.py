"""Another issuer's tokens in place of ours: its keys are found by discovery, its roles mapped.

Invariants: only the issuer named in the settings is asked, where its own document says, over TLS
and on the public internet (or in a network that the settings name); nothing that a token says is
ever fetched. An unknown kid is asked for at most once per `UNKNOWN_AGAIN_S`, whoever invents how
many. What was fetched stays good while the issuer is away, for `STALE_S_MAX`.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tradewind.platform.security import jose
from tradewind.platform.security.access_tokens import (
    ACCESS_TYPE,
    Accepts,
    TokensUnavailable,
)
from tradewind.platform.security.addresses import OutboundRefused
from tradewind.platform.security.credentials import Credential
from tradewind.platform.security.jose import TokenRefused, VerificationKey
from tradewind.platform.telemetry import logs

if TYPE_CHECKING:
    from tradewind.platform.security.outbound import Outbound

READ_AGAIN_S = 600.0
UNKNOWN_AGAIN_S = 30.0
STALE_S_MAX = 24 * 3_600.0
TIMEOUT_S = 5.0
KEYS_MAX = 100
LOOPBACK = ("127.0.0.0/8", "::1/128")
ALGORITHMS = frozenset({"ES256", "ES384", "EdDSA", "RS256", "PS256"})
# Most issuers write JWT on their access tokens, too. What tells these from ID tokens is whom they
# are for, and what only an ID token has.
TYPES = frozenset({ACCESS_TYPE, "jwt"})
OF_ID_TOKENS = ("at_hash", "c_hash", "nonce")

logger = logs.get(__name__)


class ForeignKeys:
    """The keys of another issuer, from memory (`KeyFinder`). One per process."""

    def __init__(
        self,
        issuer: str,
        *,
        networks: Sequence[str] = (),
        timer: Callable[[], float] = time.monotonic,
        unknown_again_s: float = UNKNOWN_AGAIN_S,
    ) -> None:
        self._issuer = issuer
        self._inside = inside(issuer, networks)
        self._timer = timer
        self._unknown_again_s = unknown_again_s
        self._known: dict[str, VerificationKey] = {}
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self._reading = asyncio.Lock()
        self._behind: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> VerificationKey | None:
        """The key with this id. Raises `TokensUnavailable` while none could ever be fetched."""
        now = self._timer()
        if kid not in self._known:
            await self._read(self._unknown_again_s)
        elif now - self._read_at > READ_AGAIN_S and (self._behind is None or self._behind.done()):
            # Known keys need not wait: the set is read again beside the requests.
            self._behind = asyncio.create_task(self._read(self._unknown_again_s))
        if self._timer() - self._read_at > STALE_S_MAX:
            raise TokensUnavailable(f"The keys of {self._issuer} cannot be fetched.")
        return self._known.get(kid)

    async def _read(self, unless_tried_within_s: float) -> None:
        async with self._reading:
            if self._timer() - self._tried_at < unless_tried_within_s:
                return
            self._tried_at = self._timer()
            try:
                documents = await self._fetch()
            except (TimeoutError, OSError, TokenRefused, OutboundRefused) as error:
                logger.warning(
                    "oidc.keys_not_fetched", issuer=self._issuer, fault=repr(error)[:300]
                )
                return
            found = [jose.public_key(one) for one in documents if isinstance(one, dict)]
            self._known = {key.kid: key for key in found if key is not None}
            self._read_at = self._timer()

    async def _fetch(self) -> list[Any]:
        import aiohttp  # half a second to load: only who has another issuer pays

        from tradewind.platform.security.outbound import Outbound

        outbound = Outbound(self._inside)
        try:
            return await fetch_keys(outbound, self._issuer)
        except aiohttp.ClientError as error:
            raise TokenRefused(repr(error)) from error
        finally:
            await outbound.close()


async def fetch_keys(outbound: "Outbound", issuer: str) -> list[Any]:
    """The key set of an issuer, by its discovery document. Raises `TokenRefused` for nonsense."""
    where = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    document = await fetch(outbound, where)
    if document.get("issuer") != issuer:
        raise TokenRefused(f"the document at {where} is another issuer's")
    keys = (await fetch(outbound, str(document.get("jwks_uri", "")))).get("keys")
    if not isinstance(keys, list):
        raise TokenRefused("the key set has no keys")
    return keys[:KEYS_MAX]


async def fetch(outbound: "Outbound", url: str) -> dict[str, Any]:
    """A JSON object from an address that may be asked; no redirect is followed."""
    answer = await outbound.call("GET", url, timeout_s=TIMEOUT_S)
    if answer.status != 200:
        raise TokenRefused(f"{url[:200]!r} answers {answer.status}")
    return jose.json_object(answer.body)


def inside(issuer: str, networks: Sequence[str]) -> list[str]:
    """Where keys may be asked for off the public internet: where the settings say so, and on this
    machine for an issuer on this machine.
    """
    host = urlsplit(issuer).hostname or ""
    return [*networks, *LOOPBACK] if host in ("127.0.0.1", "::1") else list(networks)


def foreign_tokens(
    issuer: str, audience: str, *, known: Collection[str], roles_claim: str, roles: str
) -> Accepts:
    """What the tokens of another issuer must be, and what they open here.

    `known` are the scopes of this API: those in the token's own `scope` count, and those of its
    roles by the mapping `roles`.
    """
    by_role = roles_of(roles)
    scopes = frozenset(known)

    def read(claims: Mapping[str, Any], subject: str) -> Credential:
        for name in OF_ID_TOKENS:
            if name in claims:
                raise TokenRefused("an ID token")
        scope = claims.get("scope", claims.get("scp", ""))
        words = scope.split() if isinstance(scope, str) else texts(scope)
        found = {word for word in words if word in scopes}
        for role in texts(at(claims, roles_claim)):
            found |= by_role.get(role, frozenset()) & scopes
        bound = claims.get("cnf")
        certificate = bound.get("x5t#S256") if isinstance(bound, dict) else None
        if bound is not None and not isinstance(certificate, str):
            raise TokenRefused("bound to something that we cannot check")
        client = claims.get("client_id", claims.get("azp"))
        return Credential(
            f"oidc:{subject}",
            frozenset(found),
            client_id=client if isinstance(client, str) else subject,
            certificate=certificate,
        )

    return Accepts(issuer=issuer, audience=audience, algorithms=ALGORITHMS, types=TYPES, read=read)


def roles_of(text: str) -> dict[str, frozenset[str]]:
    """``clerk=orders:read,orders:write; buyer=catalog:write``."""
    found = {}
    for part in text.split(";"):
        role, equals, scopes = part.strip().partition("=")
        if equals:
            found[role.strip()] = frozenset(scopes.replace(",", " ").split())
    return found


def at(claims: Mapping[str, Any], path: str) -> Any:
    """What stands under a name, or under a path of names with dots; a name comes first."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def texts(value: Any) -> list[str]:
    """The texts of a list; one text is a list of one."""
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
