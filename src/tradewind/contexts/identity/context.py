"""Identity, as data."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import astuple

from tradewind.contexts.identity import clients, handlers, queries, routes
from tradewind.contexts.identity.commands import (
    SCOPES,
    AskNewAddress,
    AskReset,
    AskSignUp,
    BeginSignIn,
    BeginTotp,
    ChangePassword,
    CloseAccount,
    ConfirmTotp,
    CreateKey,
    DropTotp,
    EndSessions,
    ForgiveGuesses,
    KeepRole,
    MoveAddress,
    OpenSession,
    ProvideFirstKey,
    RecordConsent,
    RecordsDiscarded,
    RecordsForgotten,
    RecordUse,
    RemoveRole,
    ResetPassword,
    RevokeKey,
    RotateKey,
    SetRecord,
    SetRoles,
    SetStatus,
    VerifyAddress,
)
from tradewind.contexts.identity.commands.oauth import (
    AskForDevice,
    DecideDevice,
    EndGrant,
    ExchangeCode,
    GiveCode,
    PollDevice,
    ProvideSigningKey,
    RegisterClient,
    RenewClientSecret,
    RevokeClient,
    UseRefreshToken,
    VoidToken,
)
from tradewind.contexts.identity.events import (
    AccountChanged,
    AccountClosed,
    AccountOpened,
    ClientRegistered,
    ClientRevoked,
    ClientSecretRenewed,
    ConsentRecorded,
    GrantEnded,
    GrantGiven,
    KeyCreated,
    KeyRevoked,
    KeyRotated,
    LetterAsked,
    RoleChanged,
    RolesGiven,
    SessionOpened,
)
from tradewind.contexts.identity.handlers import oauth_clients, oauth_grants
from tradewind.contexts.identity.handlers.oauth_clients import SigningKeyDue
from tradewind.contexts.identity.queries import oauth as oauth_queries
from tradewind.kernel.subject import Subject
from tradewind.platform.context import Context, Sweep
from tradewind.platform.node import Node
from tradewind.platform.security.access_tokens import (
    AccessTokens,
    Revocations,
    Revoked,
    own_tokens,
)
from tradewind.platform.security.authentication import Authenticator, KeyFacts
from tradewind.platform.security.foreign import ForeignKeys, foreign_tokens
from tradewind.platform.security.issuing import Issuer, audience_of
from tradewind.platform.security.keyring import Keyring
from tradewind.platform.security.signing import MadeKey, StoredKey
from tradewind.platform.vault.personal import Personal


async def close_erased(node: Node, persons: Sequence[str]) -> None:
    """End the accounts of people who were erased. Harmless to repeat."""
    erased = frozenset(persons)
    async with node.reading("identity") as snapshot:
        rows = await queries.accounts_of_subject(snapshot, Subject(persons=tuple(persons)))
    for row in rows:
        if row.status != "closed" and not erased.isdisjoint((row.person, row.record)):
            await node.submit(CloseAccount(account_id=row.account_id))


CONTEXT = Context(
    name="identity",
    topic="user-events",
    announces=(
        KeyCreated,
        KeyRotated,
        KeyRevoked,
        AccountOpened,
        AccountChanged,
        RolesGiven,
        ConsentRecorded,
        AccountClosed,
        SessionOpened,
        RoleChanged,
        LetterAsked,
        ClientRegistered,
        ClientSecretRenewed,
        ClientRevoked,
        GrantGiven,
        GrantEnded,
    ),
    migrations=Path(__file__).parent / "migrations",
    routes=routes.ROUTES,
    commands={
        CreateKey: handlers.create_keys,
        RotateKey: handlers.rotate_keys,
        RevokeKey: handlers.revoke_keys,
        ProvideFirstKey: handlers.provide_first_key,
        RecordUse: handlers.record_use,
        AskSignUp: handlers.ask,
        AskReset: handlers.ask,
        AskNewAddress: handlers.ask,
        VerifyAddress: handlers.verify_addresses,
        ResetPassword: handlers.reset_passwords,
        MoveAddress: handlers.move_addresses,
        SetRecord: handlers.set_records,
        ChangePassword: handlers.change_passwords,
        BeginSignIn: handlers.begin_sign_ins,
        ForgiveGuesses: handlers.forgive_guesses,
        OpenSession: handlers.open_sessions,
        EndSessions: handlers.end_sessions,
        BeginTotp: handlers.begin_totp,
        ConfirmTotp: handlers.confirm_totp,
        DropTotp: handlers.drop_totp,
        RecordConsent: handlers.record_consents,
        CloseAccount: handlers.close_accounts,
        SetStatus: handlers.set_statuses,
        SetRoles: handlers.set_roles,
        KeepRole: handlers.keep_roles,
        RemoveRole: handlers.remove_roles,
        RecordsForgotten: handlers.note_forgotten,
        ProvideSigningKey: oauth_clients.provide_signing_keys,
        RegisterClient: oauth_clients.register_clients,
        RenewClientSecret: oauth_clients.renew_client_secrets,
        RevokeClient: oauth_clients.revoke_clients,
        VoidToken: oauth_clients.void_tokens,
        GiveCode: oauth_grants.give_codes,
        ExchangeCode: oauth_grants.exchange_codes,
        UseRefreshToken: oauth_grants.use_refresh_tokens,
        EndGrant: oauth_grants.end_asked_grants,
        AskForDevice: oauth_grants.ask_for_devices,
        DecideDevice: oauth_grants.decide_devices,
        PollDevice: oauth_grants.poll_devices,
    },
    clients={
        RecordsDiscarded: clients.forget_persons,
        SigningKeyDue: clients.make_signing_key,
    },
    persons_in_use=queries.persons_in_use,
    personal=Personal(belongings=queries.belongings, export=queries.export, erased=close_erased),
    sweeps=(
        Sweep(name="errands", every_s=300.0, handler=handlers.forget_errands),
        Sweep(name="sessions", every_s=300.0, handler=handlers.forget_sessions),
        Sweep(name="discarded", every_s=60.0, handler=handlers.find_discarded),
        Sweep(name="signing_keys", every_s=60.0, handler=oauth_clients.sweep_signing_keys),
        Sweep(name="oauth_expired", every_s=300.0, handler=oauth_grants.sweep_expired),
    ),
)

first_admin_key = clients.first_admin_key


def authenticator(node: Node, issuer: Issuer | None = None) -> Authenticator:
    """What tells the gateway of `node` who a caller is. Close it before the node stops."""
    tokens = issuer.tokens if issuer is not None else others_tokens(node)
    return Authenticator(node.secrets, Keys(node), tokens=tokens)


def issuer(node: Node) -> Issuer | None:
    """What makes tokens for the gateway of `node`; None where another issuer does."""
    if node.settings.oidc_issuer is not None:
        return None

    def clock() -> float:
        # The database's clock: what one process dates, another compares.
        return node.clock.now().timestamp()

    url = node.settings.shop_url
    keyring = Keyring(SigningKeys(node), node.secrets, clock=clock)
    made = Issuer(url, keyring, access_s=node.settings.access_token_s, clock=clock)
    made.tokens = AccessTokens(
        own_tokens(made.url, made.audience), keyring, Revocations(VoidTokens(node)), clock=clock
    )
    return made


def others_tokens(node: Node) -> AccessTokens | None:
    """What tells whose an access token of the issuer in the settings is."""
    settings = node.settings
    if settings.oidc_issuer is None:
        return None
    accepts = foreign_tokens(
        settings.oidc_issuer,
        settings.oidc_audience or audience_of(settings.shop_url),
        known=SCOPES,
        roles_claim=settings.oidc_roles_claim,
        roles=settings.oidc_roles,
    )
    foreign = ForeignKeys(settings.oidc_issuer, networks=settings.outbound_networks)
    return AccessTokens(accepts, foreign, None)


class SigningKeys:
    """Identity's signing keys, as a keyring asks for them (`KeyStore`)."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def load(self) -> Sequence[StoredKey]:
        """Every key that is still served."""
        async with self._node.reading("identity") as snapshot:
            rows = await oauth_queries.signing_keys(snapshot)
        return [StoredKey(*astuple(row)) for row in rows]

    async def provide(self, made: MadeKey, readable: Sequence[str]) -> None:
        """Add a key if one is due."""
        await clients.provide_signing_key(self._node, made, readable)


class VoidTokens:
    """What was revoked, as access tokens are checked against it (`RevocationSource`)."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def revoked_within(self, seconds: float) -> Sequence[Revoked]:
        """The revocations of the last `seconds`."""
        async with self._node.reading("identity") as snapshot:
            rows = await oauth_queries.revoked_tokens(snapshot, seconds)
        return [Revoked(row.what, row.revoked_at) for row in rows]


class Keys:
    """Identity's API keys and sessions, as authentication asks for them (`KeySource`)."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def look_up(self, key_ids: Sequence[str]) -> Sequence[KeyFacts]:
        """Those of the keys that are not revoked."""
        async with self._node.reading("identity") as snapshot:
            return await queries.key_facts(snapshot, key_ids)

    async def revoked_within(self, seconds: float) -> Sequence[str]:
        """The keys that were revoked in the last `seconds`."""
        async with self._node.reading("identity") as snapshot:
            return await queries.revoked_within(snapshot, seconds)

    async def mark_used(self, used_at: Mapping[str, float]) -> None:
        """Remember when keys were last used."""
        await clients.mark_used(self._node, used_at)
