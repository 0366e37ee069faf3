"""Identity, as data."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tradewind.contexts.identity import clients, handlers, queries, routes
from tradewind.contexts.identity.commands import (
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
from tradewind.contexts.identity.events import (
    AccountChanged,
    AccountClosed,
    AccountOpened,
    ConsentRecorded,
    KeyCreated,
    KeyRevoked,
    KeyRotated,
    LetterAsked,
    RoleChanged,
    RolesGiven,
    SessionOpened,
)
from tradewind.kernel.subject import Subject
from tradewind.platform.context import Context, Sweep
from tradewind.platform.node import Node
from tradewind.platform.security.authentication import Authenticator, KeyFacts
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
    },
    clients={RecordsDiscarded: clients.forget_persons},
    persons_in_use=queries.persons_in_use,
    personal=Personal(belongings=queries.belongings, export=queries.export, erased=close_erased),
    sweeps=(
        Sweep(name="errands", every_s=300.0, handler=handlers.forget_errands),
        Sweep(name="sessions", every_s=300.0, handler=handlers.forget_sessions),
        Sweep(name="discarded", every_s=60.0, handler=handlers.find_discarded),
    ),
)

first_admin_key = clients.first_admin_key


def authenticator(node: Node) -> Authenticator:
    """What tells the gateway of `node` who a caller is. Close it before the node stops."""
    return Authenticator(node.secrets, Keys(node))


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
