"""Which programs may be registered, and what becomes of codes, grants and devices. Pure.

Invariants: a redirect goes only where the client was registered to be, compared exactly; a code
counts once; of a family of refresh tokens only the newest counts, and an older one ends the family;
nobody hands on a scope that they do not hold.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from msgspec.structs import replace

from tradewind.contexts.identity.commands import SCOPES
from tradewind.contexts.identity.commands.oauth import (
    ABOUT_PEOPLE,
    DEVICE_GRANT,
    DecideDevice,
    ExchangeCode,
    PollDevice,
    ProvideSigningKey,
    RegisterClient,
    UseRefreshToken,
)
from tradewind.contexts.identity.events import (
    ClientRegistered,
    ClientRevoked,
    GrantEnded,
    GrantGiven,
)
from tradewind.contexts.identity.problems import (
    AccessDenied,
    AuthorizationPending,
    ExpiredToken,
    InvalidClientSettings,
    InvalidGrant,
    InvalidScope,
    OAuthProblem,
    ScopeNotHeld,
    SlowDown,
)
from tradewind.contexts.identity.tables.oauth import (
    ClientRow,
    CodeRow,
    DeviceRow,
    GrantRow,
    SigningKeyRow,
)
from tradewind.kernel.problems import FieldError

CODE_LIFE = timedelta(seconds=60)
DEVICE_LIFE = timedelta(minutes=10)
DEVICE_INTERVAL_S = 5
# RFC 8628, 3.5: each time somebody asks too often it becomes so much longer.
DEVICE_SLOWER_S = 5
SECRET_OVERLAP = timedelta(days=1)
# Verifiers keep a key set for an hour at most; a token lives for ten minutes.
SERVED_AFTER = timedelta(days=1)
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
# Visible ASCII but for the backslash, which browsers take for a slash.
URI = re.compile(r"[!-\[\]-~]{1,500}")
# A scheme of an app is a domain name turned round (RFC 8252, 7.1): it has a dot.
APP_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")
HOST = re.compile(r"[a-z0-9.-]+|[0-9a-f:.]+")  # as `urlsplit` gives it: lower case, no brackets


def next_key(
    command: ProvideSigningKey, keys: Sequence[SigningKeyRow], now: datetime, life: timedelta
) -> SigningKeyRow | None:
    """The new key with its times; None where no key is due.

    Only keys count that the asking process can sign with: one that lacks an old master key makes
    a key of its own, and does not touch the others.
    """
    usable = [key for key in keys if key.kid in command.readable]
    usable += [key for key in keys if key.master_key_id == command.master_key_id]
    begins = key_due(usable, now, life)
    if begins is None:
        return None
    return SigningKeyRow(
        kid=command.kid,
        public=command.public,
        master_key_id=command.master_key_id,
        sealed=command.sealed,
        signs_from=begins,
        signs_until=begins + life,
        served_until=begins + life + SERVED_AFTER,
    )


def key_due(keys: Sequence[SigningKeyRow], now: datetime, life: timedelta) -> datetime | None:
    """From when a new key has to sign; None while there is nothing to do."""
    if not any(key.signs_from <= now < key.signs_until for key in keys):
        return now
    last = max(key.signs_until for key in keys)
    return last if last - min(SERVED_AFTER, life / 2) <= now else None


def register(
    command: RegisterClient, now: datetime
) -> ClientRow | ScopeNotHeld | InvalidClientSettings:
    """The new client, or why there is none."""
    errors = tuple(settings_errors(command))
    if errors:
        return InvalidClientSettings("See errors: each names what to change.", errors=errors)
    missing = sorted(set(command.scopes) - command.held - set(ABOUT_PEOPLE))
    if missing:
        return ScopeNotHeld(
            f"Your key lacks {', '.join(missing)}. Ask with a key that has every scope.",
            missing=missing,
        )
    return ClientRow(
        client_id=command.client_id,
        name=command.name,
        authentication=command.authentication,
        certificates=sorted(set(command.certificates)),
        redirect_uris=list(dict.fromkeys(command.redirect_uris)),
        logout_uris=list(dict.fromkeys(command.logout_uris)),
        grants=sorted(set(command.grants)),
        scopes=sorted(set(command.scopes)),
        secret_generation=1,
        former_until=None,
        version=1,
        registered_at=now,
        registered_by=command.registered_by,
        revoked_at=None,
        revoked_by=None,
    )


def settings_errors(command: RegisterClient) -> Iterable[FieldError]:
    """What does not go together."""
    grants = set(command.grants)
    if (command.authentication == "certificate") != bool(command.certificates):
        yield FieldError("/certificates", "belong to the authentication by certificate, and to it")
    if command.authentication == "none" and "client_credentials" in grants:
        yield FieldError("/grants", "client_credentials needs a secret or a certificate")
    if ("authorization_code" in grants) != bool(command.redirect_uris):
        yield FieldError("/redirect_uris", "belong to the grant authorization_code, and to it")
    if "refresh_token" in grants and not grants & {"authorization_code", DEVICE_GRANT}:
        yield FieldError("/grants", "refresh_token comes with a grant that a person gives")
    for index, scope in enumerate(command.scopes):
        if scope not in SCOPES and scope not in ABOUT_PEOPLE:
            yield FieldError(f"/scopes/{index}", "is no scope of this API")
    for name in ("redirect_uris", "logout_uris"):
        for index, uri in enumerate(getattr(command, name)):
            if why := refused_uri(uri):
                yield FieldError(f"/{name}/{index}", why)


def refused_uri(uri: str) -> str | None:
    """Why nobody may be sent there; None where they may."""
    if not URI.fullmatch(uri):
        return "must be visible ASCII, without a backslash"
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URI"
    if "#" in uri or "@" in parts.netloc or "*" in uri:
        return "must have no fragment, no user and no wildcard"
    if parts.scheme in ("https", "http"):
        if not host or not HOST.fullmatch(host):
            return "must name a host"
        if parts.scheme == "http" and host not in LOOPBACK:
            return "must be https, or http on the loopback address"
        return None
    return None if APP_SCHEME.fullmatch(parts.scheme) else "must be https or an app's own scheme"


def renewed(row: ClientRow, now: datetime) -> ClientRow:
    """The client with its next secret."""
    return replace(
        row,
        version=row.version + 1,
        secret_generation=row.secret_generation + 1,
        former_until=now + SECRET_OVERLAP,
    )


def revoked(row: ClientRow, by: str, now: datetime) -> ClientRow:
    """The client, shut out."""
    at = max(now, row.registered_at)
    return replace(row, version=row.version + 1, revoked_at=at, revoked_by=by)


def registered_event(row: ClientRow) -> ClientRegistered:
    """The fact that this client is there."""
    return ClientRegistered(
        sequence=row.version,
        client_id=row.client_id,
        authentication=row.authentication,
        grants=tuple(row.grants),
        scopes=tuple(row.scopes),
        registered_at=row.registered_at,
        registered_by=row.registered_by,
    )


def revoked_event(row: ClientRow) -> ClientRevoked:
    """The fact that this client gets nothing any more."""
    assert row.revoked_at is not None
    assert row.revoked_by is not None
    return ClientRevoked(
        sequence=row.version,
        client_id=row.client_id,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
    )


def exchange(
    command: ExchangeCode, row: CodeRow | None, now: datetime, life: timedelta
) -> GrantRow | InvalidGrant:
    """The grant that a code becomes, or why it does not."""
    if row is None or row.client_id != command.client_id:
        return InvalidGrant("This code is not known, or it is another client's.")
    if row.grant_id is not None:
        return InvalidGrant("This code has been used. All tokens that came of it are void now.")
    if now >= row.expires_at:
        return InvalidGrant("This code has expired: it is good for a minute.")
    if row.redirect_uri != command.redirect_uri:
        return InvalidGrant("redirect_uri is another one than the code was asked for with.")
    if row.challenge != command.challenge:
        return InvalidGrant("code_verifier does not fit the code_challenge.")
    return GrantRow(
        grant_id=command.grant_id,
        client_id=row.client_id,
        account_id=row.account_id,
        session_id=row.session_id,
        scopes=row.scopes,
        signed_in_at=row.signed_in_at,
        second_factor=row.second_factor,
        generation=0,
        version=1,
        given_at=now,
        expires_at=now + life,
        revoked_at=None,
        revoked_because=None,
    )


def with_refresh(grant: GrantRow, client_grants: Collection[str]) -> GrantRow:
    """The new grant; with a first refresh token where the client may go on with one."""
    return replace(grant, generation=1) if "refresh_token" in client_grants else grant


def refresh(
    command: UseRefreshToken, row: GrantRow | None, now: datetime
) -> GrantRow | InvalidGrant | InvalidScope:
    """The grant's next generation, or why there is none. See `is_reused` for the worst case."""
    if row is None or row.client_id != command.client_id:
        return InvalidGrant("This refresh token is not known, or it is another client's.")
    if row.revoked_at is not None or now >= row.expires_at:
        return InvalidGrant("What this refresh token stands for has ended. Ask the person again.")
    if command.generation != row.generation:
        return InvalidGrant(
            "This refresh token was used before. Somebody else may have it, so all tokens of its "
            "family are void now. Ask the person again."
        )
    if command.scopes is not None and not set(command.scopes) <= set(row.scopes):
        return InvalidScope("A refresh token can ask for less than was agreed to, never for more.")
    return replace(row, generation=row.generation + 1, version=row.version + 1)


def is_reused(command: UseRefreshToken, row: GrantRow | None) -> bool:
    """Whether a refresh token of ours has come back that had been replaced.

    One of a later generation than ours was given out before the database was set back: it does not
    count, and proves nothing bad.
    """
    return (
        row is not None
        and row.revoked_at is None
        and row.client_id == command.client_id
        and command.generation < row.generation
    )


def ended(row: GrantRow, because: str, now: datetime) -> GrantRow:
    """The grant, ended."""
    return replace(
        row, version=row.version + 1, revoked_at=max(now, row.given_at), revoked_because=because
    )


def given_event(row: GrantRow) -> GrantGiven:
    """The fact that a person lets a program do something."""
    return GrantGiven(
        sequence=1,
        grant_id=row.grant_id,
        client_id=row.client_id,
        account_id=row.account_id,
        scopes=tuple(row.scopes),
        given_at=row.given_at,
    )


def ended_event(row: GrantRow) -> GrantEnded:
    """The fact that it has ended. A family's refreshes are no facts for others, so it is second."""
    assert row.revoked_at is not None
    return GrantEnded(
        sequence=2,
        grant_id=row.grant_id,
        client_id=row.client_id,
        account_id=row.account_id,
        because=row.revoked_because or "",
        ended_at=row.revoked_at,
    )


def decide_device(command: DecideDevice, row: DeviceRow | None, now: datetime) -> DeviceRow | None:
    """The device as it is once somebody decided; None where nobody waits any more."""
    if row is None or row.status != "waiting" or now >= row.expires_at:
        return None
    who = command.who
    return replace(
        row,
        status="allowed" if command.allowed else "denied",
        account_id=who.account_id,
        session_id=who.session_id,
        signed_in_at=who.at,
        second_factor=who.second_factor,
    )


def poll_device(
    command: PollDevice, row: DeviceRow | None, now: datetime
) -> tuple[DeviceRow | None, OAuthProblem | None]:
    """The device as it is after this question, and why there is no grant; None: there is one."""
    if row is None or row.client_id != command.client_id:
        return None, InvalidGrant("This device code is not known, or it is another client's.")
    if row.status == "used":
        return None, InvalidGrant("This device code has been used.")
    if row.status == "denied":
        return None, AccessDenied()
    if now >= row.expires_at:
        return None, ExpiredToken()
    if row.status == "allowed":
        return replace(row, status="used", polled_at=now, grant_id=command.grant_id), None
    early = row.polled_at is not None and now < row.polled_at + timedelta(seconds=row.interval_s)
    if early:
        slower = replace(row, polled_at=now, interval_s=row.interval_s + DEVICE_SLOWER_S)
        return slower, SlowDown(f"Wait {slower.interval_s} s between two questions.")
    return replace(row, polled_at=now), AuthorizationPending()


def grant_of_device(row: DeviceRow, now: datetime, life: timedelta) -> GrantRow:
    """What somebody agreed to elsewhere."""
    assert row.account_id is not None
    assert row.grant_id is not None
    assert row.signed_in_at is not None
    return GrantRow(
        grant_id=row.grant_id,
        client_id=row.client_id,
        account_id=row.account_id,
        session_id=row.session_id,
        scopes=row.scopes,
        signed_in_at=row.signed_in_at,
        second_factor=row.second_factor,
        generation=0,
        version=1,
        given_at=now,
        expires_at=now + life,
        revoked_at=None,
        revoked_because=None,
    )
