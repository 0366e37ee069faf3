"""Identity, as data."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tradewind.contexts.identity import clients, handlers, queries, routes
from tradewind.contexts.identity.commands import CreateKey, ProvideFirstKey, RecordUse, RevokeKey
from tradewind.contexts.identity.events import KeyCreated, KeyRevoked
from tradewind.platform.context import Context
from tradewind.platform.node import Node
from tradewind.platform.security.authentication import Authenticator, KeyFacts

CONTEXT = Context(
    name="identity",
    topic="user-events",
    announces=(KeyCreated, KeyRevoked),
    migrations=Path(__file__).parent / "migrations",
    routes=routes.ROUTES,
    commands={
        CreateKey: handlers.create_keys,
        RevokeKey: handlers.revoke_keys,
        ProvideFirstKey: handlers.provide_first_key,
        RecordUse: handlers.record_use,
    },
)

first_admin_key = clients.first_admin_key


def authenticator(node: Node) -> Authenticator:
    """What tells the gateway of `node` who a caller is. Close it before the node stops."""
    return Authenticator(node.secrets, Keys(node))


class Keys:
    """Identity's API keys, as authentication asks for them (`KeySource`)."""

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
