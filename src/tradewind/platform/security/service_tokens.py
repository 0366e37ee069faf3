"""How a service knows that a request comes from the gateway, and for whom.

The gateway signs a token for each request: for one service (`aud`), one operation, a minute. It
carries who calls, what they may do, from where, and the trace. Only the gateway has the private
key; a service has the public ones, so no service can speak for another.

Clocks may be wrong: the gateway dates a token by the clock of the service that it is for, as far as
it knows that (`Offsets`). A service that finds a genuine token out of time says what time it has.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from joserfc import jwk
from msgspec import Struct, field

from tradewind.platform.security import jose
from tradewind.platform.security.credentials import Credential
from tradewind.platform.security.files import folder_lock, write_private_file
from tradewind.platform.security.jose import TokenRefused, VerificationKey, public_key
from tradewind.platform.security.signing import ALGORITHM, Signer

HEADER = b"tradewind-service-token"
TIME_HEADER = b"tradewind-time"
KIND = "service+jwt"
ISSUER = "tradewind-gateway"
LIFE_S = 60
# A token is a second old when it arrives, and clocks are read in whole seconds.
LEEWAY_S = 5.0
# A clock that is further away is broken: its service is not spoken to.
SKEW_S_MAX = 3_600.0
PRIVATE_FILE, PUBLIC_FILE = "gateway.key", "gateway.jwks"


class ServiceKeyError(Exception):
    """The gateway's key cannot be used; the text says which and what to do."""


class OutOfTime(TokenRefused):
    """A genuine token that is not valid at this time, by the clock here."""


class Passed(Struct, frozen=True, omit_defaults=True):
    """What the gateway found out about a caller."""

    credential: Credential | None = None
    client: str = ""  # the network address
    certificate: str | None = None  # SHA-256 of the client's TLS certificate


class Claims(Struct, frozen=True):
    """What stands in a token."""

    iss: str
    aud: str
    sub: str
    iat: float
    exp: float
    op: str  # "POST /v1/orders"
    trace: str
    passed: Passed = field(default_factory=Passed)


class ServiceSigner:
    """Makes the tokens, in a gateway."""

    def __init__(self, signer: Signer, *, clock: Callable[[], float] = time.time) -> None:
        self._signer = signer
        self._clock = clock
        self._ahead_s: dict[str, float] = {}  # by service: its clock's lead over ours

    def token(self, service: str, operation: str, passed: Passed, trace: str) -> str:
        """A token for one request."""
        now = self._clock() + self._ahead_s.get(service, 0.0)
        caller = passed.credential.id if passed.credential is not None else "anonymous"
        claims = Claims(ISSUER, service, caller, now, now + LIFE_S, operation, trace, passed)
        return self._signer.sign(KIND, msgspec.to_builtins(claims))

    def learn_time(self, service: str, theirs: float) -> bool:
        """A service told its time; whether tokens are dated otherwise from now on."""
        ahead_s = theirs - self._clock()
        if abs(ahead_s) > SKEW_S_MAX:
            return False
        before = self._ahead_s.get(service, 0.0)
        self._ahead_s[service] = ahead_s if abs(ahead_s) > LEEWAY_S / 2 else 0.0
        return abs(ahead_s - before) > LEEWAY_S / 2


class ServiceVerifier:
    """Reads the tokens, in a service."""

    def __init__(
        self,
        keys: Sequence[VerificationKey],
        services: Sequence[str],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = {key.kid: key for key in keys}
        self._services = frozenset(services)
        self.clock = clock

    def read(self, token: str, operation: str) -> Claims:
        """What a token says. Raises `TokenRefused`; `OutOfTime` for a genuine one."""
        parsed = jose.take_apart(token)
        key = self._keys.get(parsed.kid)
        if key is None or parsed.type != KIND:
            raise TokenRefused("no gateway's token")
        jose.verify(token, parsed, key, (ALGORITHM,))
        try:
            claims = msgspec.convert(parsed.claims, Claims)
        except msgspec.ValidationError as error:
            raise TokenRefused(str(error)) from None
        if claims.iss != ISSUER or claims.aud not in self._services:
            raise TokenRefused("meant for others")
        if claims.op != operation:
            raise TokenRefused("meant for another operation")
        try:
            jose.check_times(parsed.claims, now=self.clock(), leeway_s=LEEWAY_S)
        except TokenRefused as error:
            raise OutOfTime(str(error)) from None
        return claims


def read_signer(home: Path, given: str | None) -> Signer:
    """The gateway's private key: as given, else that of the home, made where there is none.

    Raises `ServiceKeyError`.
    """
    if given is None:
        path = home / PRIVATE_FILE
        with folder_lock(home):
            if not path.exists():
                make_pair(home)
        given = path.read_text(encoding="utf-8")
    try:
        key = jwk.ECKey.import_key(json.loads(given))
        assert key.is_private
    except Exception as error:
        raise ServiceKeyError(
            "The gateway's private key cannot be read. Set TRADEWIND_GATEWAY_KEY to a JWK of a "
            f"P-256 key, or remove {PRIVATE_FILE} from the home to have a new one made."
        ) from error
    return Signer(key.thumbprint(), key)


def make_pair(home: Path) -> None:
    """A new private key in the home, and its public half beside it."""
    key = jwk.ECKey.generate_key("P-256")
    write_private_file(home / PRIVATE_FILE, json.dumps(key.as_dict(private=True)).encode())
    document = json.dumps({"keys": [published(key)]}, indent=2)
    write_private_file(home / PUBLIC_FILE, document.encode())


def published(key: Any) -> Mapping[str, Any]:
    """The public half of a key, as it stands in a set."""
    return {**key.as_dict(private=False), "kid": key.thumbprint(), "use": "sig", "alg": ALGORITHM}


def read_public_keys(home: Path, given: str | None) -> list[VerificationKey]:
    """The keys of gateways that a service believes. Raises `ServiceKeyError`."""
    text = given
    if text is None:
        read_signer(home, None)  # on one machine whoever comes first makes the pair
        text = (home / PUBLIC_FILE).read_text(encoding="utf-8")
    try:
        documents = json.loads(text)["keys"]
        keys = [key for key in map(public_key, documents) if key is not None]
    except (ValueError, LookupError, TypeError):
        keys = []
    if not keys:
        raise ServiceKeyError(
            "There is no key of a gateway that this service could believe. Set "
            "TRADEWIND_GATEWAY_PUBLIC_KEYS to its JWK set, "
            f"or copy the gateway's {PUBLIC_FILE} into the home."
        )
    return keys
