"""The composition root: settings and contexts in, a running platform out.

To know what runs, read this file. Contexts are named here and imported only when asked for, so a
service that runs two of them does not load the libraries of the others.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path

from tradewind.kernel.messages import Event
from tradewind.platform import bus, vault
from tradewind.platform.context import Context
from tradewind.platform.database.migrate import SchemaSource, migrate
from tradewind.platform.database.pool import Pool
from tradewind.platform.node import CommandPlan, ConsumerPlan, Node, Plan, SweepPlan
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.settings import Settings

CONTEXTS = (
    "identity",
    "catalog",
    "inventory",
    "orders",
    "payments",
    "fraud",
    "notifications",
)


def load_contexts(names: Sequence[str] = CONTEXTS) -> list[Context]:
    """The declarations of the named contexts."""
    return [
        importlib.import_module(f"tradewind.contexts.{name}.context").CONTEXT for name in names
    ]


def schema_sources(contexts: Sequence[Context]) -> list[SchemaSource]:
    """Every schema of this database and where its migrations stand, platform first."""
    return [
        SchemaSource("bus", folder_of(bus), is_context=False),
        SchemaSource("vault", folder_of(vault), is_context=False),
        *(SchemaSource(context.name, context.migrations) for context in contexts),
    ]


def folder_of(package: object) -> Path:
    """The migrations folder of a package."""
    file = getattr(package, "__file__", None)
    assert isinstance(file, str)
    return Path(file).parent / "migrations"


def plan(contexts: Sequence[Context]) -> Plan:
    """What a node has to run for these contexts."""
    announced: list[type[Event]] = [event for c in contexts for event in c.announces]
    sources: dict[str, tuple[str, ...]] = {}
    for context in contexts:
        sources[context.topic] = (*sources.get(context.topic, ()), context.name)
    return Plan(
        commands=[
            CommandPlan(command, context.name, handler)
            for context in contexts
            for command, handler in context.commands.items()
        ],
        consumers=[
            ConsumerPlan(context.name, c.name, c.handler, c.events, c.batch_max)
            for context in contexts
            for c in context.consumers
        ],
        sweeps=[
            SweepPlan(context.name, s.name, s.every_s, s.handler)
            for context in contexts
            for s in context.sweeps
        ],
        clients={kind: client for c in contexts for kind, client in c.clients.items()},
        announced=announced,
        sources=sources,
    )


async def migrate_all(dsn: str, contexts: Sequence[Context]) -> list[str]:
    """Bring a database up to date; what was applied."""
    pool = Pool(dsn, connections_max=1, application="tradewind migrate")
    try:
        return await migrate(pool, schema_sources(contexts))
    finally:
        await pool.close()


def build_node(settings: Settings, dsn: str, contexts: Sequence[Context], secrets: Secrets) -> Node:
    """A node for these contexts, not yet started."""
    return Node(settings, plan(contexts), dsn=dsn, secrets=secrets)
