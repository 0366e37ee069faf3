"""Reads of OAuth: signing keys, clients, grants, and what is void before it expires."""

from collections.abc import Sequence

from tradewind.contexts.identity.queries import roles
from tradewind.contexts.identity.rules.roles import scopes_of
from tradewind.contexts.identity.tables.oauth import (
    AgreementRow,
    ClientRow,
    DeviceRow,
    GrantRow,
    HolderRow,
    RevocationRow,
    SignedInRow,
    SigningKeyRow,
)
from tradewind.platform.database.transaction import Snapshot

# No index: there are two or three keys.
SIGNING_KEYS = """
    SELECT kid, public, master_key_id, sealed, signs_from, signs_until, served_until
      FROM identity.signing_keys WHERE served_until > now() ORDER BY signs_from"""


async def signing_keys(db: Snapshot) -> list[SigningKeyRow]:
    """The keys that are served, the oldest first."""
    return await db.fetch(SIGNING_KEYS, into=SigningKeyRow)


# revocations_by_time, sessions_ended, accounts_changed, roles_changed and accounts_staff. The
# database's clock on both sides. A token was made of what its holder's account was at that time.
REVOKED = """
    SELECT what, revoked_at FROM identity.revocations
     WHERE revoked_at > now() - make_interval(secs => $1)
    UNION ALL
    SELECT session_id, ended_at FROM identity.sessions
     WHERE ended_at > now() - make_interval(secs => $1)
    UNION ALL
    SELECT account_id, changed_at FROM identity.accounts
     WHERE changed_at > now() - make_interval(secs => $1)
    UNION ALL
    SELECT a.account_id, max(r.changed_at)
      FROM identity.accounts a JOIN identity.roles r ON r.role = ANY (a.roles)
     WHERE a.roles <> '{customer}' AND r.changed_at > now() - make_interval(secs => $1)
     GROUP BY a.account_id"""


async def revoked_tokens(db: Snapshot, seconds: float) -> list[RevocationRow]:
    """Whose access tokens were made void in the last `seconds`."""
    return await db.fetch(REVOKED, seconds, into=RevocationRow)


# oauth_clients_pkey.
CLIENT = """
    SELECT client_id, name, authentication, certificates, redirect_uris, logout_uris, grants,
           scopes, secret_generation, former_until, version, registered_at, registered_by,
           revoked_at, revoked_by
      FROM identity.oauth_clients WHERE client_id = $1"""


async def client(db: Snapshot, client_id: str) -> ClientRow | None:
    """A program, revoked ones too."""
    return await db.fetch_one(CLIENT, client_id, into=ClientRow)


# oauth_clients_pkey, read backwards: ids are in the order of time.
PAGE = """
    SELECT client_id, name, authentication, certificates, redirect_uris, logout_uris, grants,
           scopes, secret_generation, former_until, version, registered_at, registered_by,
           revoked_at, revoked_by
      FROM identity.oauth_clients WHERE $1::text IS NULL OR client_id < $1
     ORDER BY client_id DESC LIMIT $2"""


async def clients(db: Snapshot, *, before: str | None, count_max: int) -> list[ClientRow]:
    """Programs, revoked ones too, newest first, from behind the client `before`."""
    return await db.fetch(PAGE, before, count_max, into=ClientRow)


# oauth_grants_pkey.
GRANT = """
    SELECT grant_id, client_id, account_id, session_id, scopes, signed_in_at, second_factor,
           generation, version, given_at, expires_at, revoked_at, revoked_because
      FROM identity.oauth_grants WHERE grant_id = $1"""


async def grant(db: Snapshot, grant_id: str) -> GrantRow | None:
    """What a person lets a program do."""
    return await db.fetch_one(GRANT, grant_id, into=GrantRow)


# oauth_agreements_pkey.
AGREED = """
    SELECT account_id, client_id, scopes FROM identity.oauth_agreements
     WHERE account_id = $1 AND client_id = $2"""


async def agreed(db: Snapshot, account_id: str, client_id: str) -> Sequence[str]:
    """The scopes that somebody has agreed to give a program."""
    row = await db.fetch_one(AGREED, account_id, client_id, into=AgreementRow)
    return () if row is None else row.scopes


# oauth_devices_user_code_hash_key.
DEVICE = """
    SELECT device_id, user_code_hash, client_id, scopes, status, asked_at, expires_at, polled_at,
           interval_s, account_id, session_id, signed_in_at, second_factor, grant_id
      FROM identity.oauth_devices
     WHERE user_code_hash = $1 AND status = 'waiting' AND expires_at > now()"""


async def waiting_device(db: Snapshot, user_code_hash: bytes) -> DeviceRow | None:
    """The device that waits under this user code."""
    return await db.fetch_one(DEVICE, user_code_hash, into=DeviceRow)


# sessions_pkey, accounts_pkey.
SIGNED_IN = """
    SELECT s.session_id, s.secret_hash, s.account_id, a.person, s.second_factor, s.opened_at
      FROM identity.sessions s JOIN identity.accounts a USING (account_id)
     WHERE s.session_id = $1 AND s.ended_at IS NULL AND s.expires_at > now()
       AND a.status = 'active'"""


async def signed_in(db: Snapshot, session_id: str) -> SignedInRow | None:
    """Who uses a session that has not ended."""
    return await db.fetch_one(SIGNED_IN, session_id, into=SignedInRow)


# accounts_pkey, sessions_pkey.
HOLDER = """
    SELECT a.account_id, a.person, a.status, a.roles, a.customer_group, a.password_at,
           EXISTS (SELECT FROM identity.sessions s
                    WHERE s.session_id = $2 AND s.account_id = a.account_id
                      AND s.ended_at IS NULL AND s.expires_at > now())
      FROM identity.accounts a WHERE a.account_id = $1"""


async def holder(
    db: Snapshot, account_id: str, session_id: str | None = None
) -> tuple[HolderRow, frozenset[str]] | None:
    """An account as tokens are made of it, and the scopes of its roles."""
    row = await db.fetch_one(HOLDER, account_id, session_id, into=HolderRow)
    if row is None:
        return None
    made: dict[str, Sequence[str]] = {}
    if set(row.roles) - {"customer"}:
        made = {each.role: each.scopes for each in await roles(db)}
    return row, scopes_of(row.roles, made)
