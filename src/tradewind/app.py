"""The composition root: settings and contexts in, a running platform out.

To know what runs, read this file. Contexts are named here and imported only when asked for, so a
service that runs two of them does not load the libraries of the others.
"""

import asyncio
import functools
import gc
import importlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from tradewind import __version__
from tradewind.contexts.catalog.commands import BeginImport, FinishImport, ImportChunk
from tradewind.contexts.identity import context as identity
from tradewind.kernel.messages import Event
from tradewind.platform import audit, bus, gateway, vault
from tradewind.platform.audit import events as security
from tradewind.platform.audit.heads import Head
from tradewind.platform.bus import rebuild as rebuilding
from tradewind.platform.bus.delivery import Workplace
from tradewind.platform.bus.rebuild import Projected
from tradewind.platform.bus.segments import archive_folder
from tradewind.platform.cache.memory import Memory, Seen
from tradewind.platform.context import Context
from tradewind.platform.database.clock import Clock
from tradewind.platform.database.migrate import SchemaSource, migrate
from tradewind.platform.database.pool import Pool
from tradewind.platform.database.session import Session
from tradewind.platform.gateway import auditing, events, letters, persons
from tradewind.platform.gateway.asgi import Application
from tradewind.platform.gateway.assembly import build_app
from tradewind.platform.gateway.limits import Limits
from tradewind.platform.gateway.quotas import Quotas
from tradewind.platform.gateway.routing import Route
from tradewind.platform.node import CommandPlan, ConsumerPlan, Node, Plan, SweepPlan
from tradewind.platform.security.files import write_private_file
from tradewind.platform.security.secrets import Secrets, read_secrets
from tradewind.platform.settings import Settings
from tradewind.samples import files

# In the order in which the API page shows them.
CONTEXTS = (
    "orders",
    "catalog",
    "inventory",
    "payments",
    "fraud",
    "notifications",
    "identity",
)

# Always the same import, so that a second start finds what the first one did.
SAMPLE_IMPORT = "imp_00000000000000000000sampe0"
SAMPLE_CHUNK_LINES = 500
WARM_UP_AFTER_S = 0.3
SAMPLE_COPIES_TIMEOUT_S = 30


def load_contexts(names: Sequence[str] = CONTEXTS) -> list[Context]:
    """The declarations of the named contexts."""
    return [importlib.import_module(f"tradewind.contexts.{name}.context").CONTEXT for name in names]


def schema_sources(contexts: Sequence[Context]) -> list[SchemaSource]:
    """Every schema of this database and where its migrations stand, platform first."""
    return [
        SchemaSource("bus", folder_of(bus), is_context=False),
        SchemaSource("vault", folder_of(vault), is_context=False),
        SchemaSource("gateway", folder_of(gateway), is_context=False),
        SchemaSource("audit", folder_of(audit), is_context=False, granted=False),
        *(SchemaSource(context.name, context.migrations) for context in contexts),
    ]


def folder_of(package: object) -> Path:
    """The migrations folder of a package."""
    file = getattr(package, "__file__", None)
    assert isinstance(file, str)
    return Path(file).parent / "migrations"


def plan(contexts: Sequence[Context], known: Sequence[Context] = ()) -> Plan:
    """What a node has to run for these contexts; the `known` others are asked about persons."""
    everybody = [*contexts, *(other for other in known if other not in contexts)]
    announced: list[type[Event]] = [event for c in contexts for event in c.announces]
    announced.append(security.SecurityNoticed)
    sources: dict[str, tuple[str, ...]] = {security.TOPIC: (security.SOURCE,)}
    for context in everybody:
        sources[context.topic] = (*sources.get(context.topic, ()), context.name)
    return Plan(
        commands=[
            CommandPlan(command, context.name, handler)
            for context in contexts
            for command, handler in context.commands.items()
        ],
        consumers=[
            ConsumerPlan(context.name, c.name, c.handler, c.events, c.batch_max, c.patient)
            for context in contexts
            for c in context.consumers
        ],
        sweeps=[
            SweepPlan(context.name, s.name, s.every_s, s.handler)
            for context in contexts
            for s in context.sweeps
        ],
        clients={
            Head: lambda node, heads: node.audit.sealed(heads),
            **{kind: client for c in contexts for kind, client in c.clients.items()},
        },
        announced=announced,
        sources=sources,
        persons_in_use={c.name: c.persons_in_use for c in contexts if c.persons_in_use},
        personal={c.name: c.personal for c in everybody if c.personal},
        listens={
            f"{context.name}.{c.name}": frozenset(event.type for event in c.events)
            for context in everybody
            for c in context.consumers
        },
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


def memories(contexts: Sequence[Context], node: Node) -> dict[str, Memory]:
    """What the process of a node remembers, by context. Whoever makes them closes them."""
    bytes_max = node.settings.memory_mb * 1024 * 1024
    if not bytes_max:
        return {}
    return {c.name: memory_of(c, node, bytes_max) for c in contexts if c.changes is not None}


def memory_of(context: Context, node: Node, bytes_max: int) -> Memory:
    """What is remembered of one context, with the session that watches over it."""
    changes = context.changes
    assert changes is not None
    session = Session(
        node.pool, node.clock, role=context.role, name=f"tradewind memory of {context.name}"
    )

    async def look(since: str | None) -> Seen:
        async with session.reading() as snapshot:
            return await changes(snapshot, since)

    return Memory(
        look,
        bytes_max=bytes_max,
        companions_bytes_max=node.settings.search_mb * 1024 * 1024,
        name=context.name,
        closed=session.close,
    )


def routes(contexts: Sequence[Context]) -> dict[str, Sequence[Route]]:
    """Every route, by the context whose role it reads with."""
    return {
        **{context.name: context.routes for context in contexts},
        "bus": (*events.ROUTES, *letters.ROUTES),
        "audit": auditing.ROUTES,
        "vault": persons.ROUTES,
    }


def rebuildable() -> list[str]:
    """The names of all that `rebuild` can make again."""
    contexts = load_contexts()
    names = [projection.table for context in contexts for projection in context.projections]
    return names + [drawn.name for context in contexts for drawn in context.redrawings]


async def rebuild(settings: Settings, dsn: str, name: str) -> str:
    """Make one of `rebuildable` again; what that came to, in a sentence."""
    for context in load_contexts():
        for each in context.projections:
            if each.table == name:
                wanted = Projected(
                    table=each.table,
                    consumer=f"{context.name}.{each.consumer}",
                    event=each.event,
                    column=each.column,
                    whose=each.whose,
                    key=each.key,
                    rows=each.rows,
                )
                return str(await rebuilding.rebuild(dsn, wanted, archive_folder(settings)))
        for drawn in context.redrawings:
            if drawn.name == name:
                pool = Pool(dsn, connections_max=1, application="tradewind rebuild")
                try:
                    place = Workplace(
                        pool=pool, clock=Clock(), settings=settings, committed=lambda done: None
                    )
                    done = await rebuilding.redraw(place, context.name, drawn.handler)
                finally:
                    await pool.close()
                return f"{name}: {done.seen:,} looked at, {done.mended:,} drawn anew."
    raise KeyError(name)


def create(settings: Settings) -> Application:
    """The ASGI application of one web process; its node starts and stops with it."""
    assert settings.database_url is not None, "whoever starts a process says where its database is"
    contexts = load_contexts()
    secrets = read_secrets(settings.home, settings.secret_key)
    node = build_node(settings, settings.database_url, contexts, secrets)
    issuer = identity.issuer(node)
    authenticator = identity.authenticator(node, issuer)
    remembered = memories(contexts, node)
    limits = quotas = None
    if settings.limits:
        limits = Limits(
            secrets.purpose_key("rate limits"), time.time, path=settings.home / "limits.table"
        )
        quotas = Quotas(node.pool)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with at_work(contexts, node, remembered):
            try:
                yield
            finally:
                await authenticator.close()
                if quotas is not None:
                    await quotas.close()

    return build_app(
        routes(contexts),
        node,
        authenticate=authenticator.authenticate,
        limits=limits,
        quotas=quotas,
        version=__version__,
        unready=node.unready,
        lifespan=lifespan,
        memories=remembered,
        issuer=issuer,
        holder=authenticator.known,
    )


@asynccontextmanager
async def at_work(
    contexts: Sequence[Context], node: Node, remembered: Mapping[str, Memory]
) -> AsyncIterator[None]:
    """A node from its start to its stop, with what is loaded once it serves."""
    await node.start()
    warming = asyncio.create_task(warm_up(contexts, node, remembered))
    try:
        yield
    finally:
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)
        for memory in remembered.values():
            await memory.close()
        await node.stop()


async def warm_up(
    contexts: Sequence[Context], node: Node, remembered: Mapping[str, Memory]
) -> None:
    """Load, once the process serves, what its start did not wait for."""
    await asyncio.sleep(WARM_UP_AFTER_S)
    for context in contexts:
        if context.warm_up is not None:
            await asyncio.to_thread(context.warm_up)
        memory = remembered.get(context.name)
        if context.make_ready is not None and memory is not None:
            await context.make_ready(memory, functools.partial(node.reading, context.name))
    if node.settings.gc_freeze:
        gc.freeze()  # what was loaded stays: the collector need not look at it


class Prepared(Struct, frozen=True):
    """What preparing a database came to, in sentences."""

    lines: Sequence[str]


async def prepare(settings: Settings, dsn: str) -> Prepared:
    """Make a database ready to serve: schemas, first key, sample shop. Safe to repeat at any time,
    and to be killed at any moment: what is missing is done the next time.
    """
    contexts = load_contexts()
    secrets = read_secrets(settings.home, settings.secret_key)
    applied = await migrate_all(dsn, contexts)
    lines = [f"{len(applied)} migrations applied"] if applied else []
    node = build_node(settings, dsn, contexts, secrets)
    try:
        key = await identity.first_admin_key(node)
        path = settings.home / "admin.key"
        if key is not None and (not path.exists() or path.read_text().strip() != key):
            write_private_file(path, f"{key}\n".encode())
            lines.append(f"admin key written to {path}")
        if settings.sample and (count := await load_sample(node)):
            lines.append(f"sample shop loaded: {count:,} products")
    finally:
        await node.stop()
    return Prepared(lines)


async def load_sample(node: Node) -> int:
    """Import the sample shop's products, from where an earlier try ended; how many were new.

    The node is started only if there is something to do: the copies that orders and inventory keep
    are then filled before the first request.
    """
    lines = [line.rstrip(b"\n") for line in files.product_lines()]
    progress = await node.submit(BeginImport(import_id=SAMPLE_IMPORT))
    if progress.lines_taken >= len(lines):
        return 0
    await node.start()
    taken = progress.lines_taken
    while taken < len(lines):
        chunk = tuple(lines[taken : taken + SAMPLE_CHUNK_LINES])
        progress = await node.submit(
            ImportChunk(import_id=SAMPLE_IMPORT, first_line=taken + 1, lines=chunk)
        )
        taken = progress.lines_taken
    await node.submit(FinishImport(import_id=SAMPLE_IMPORT))
    await node.idle(SAMPLE_COPIES_TIMEOUT_S)
    return int(progress.accepted)
