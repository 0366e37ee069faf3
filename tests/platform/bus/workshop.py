"""A small context of its own, and nodes that run it: what the tests of the bus play with."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import msgspec
from msgspec import Struct

from tradewind.kernel.answers import Answer, Idempotency, Pending
from tradewind.kernel.messages import Command, Decision, Event
from tradewind.platform.bus import delivery
from tradewind.platform.bus.delivery import Done, Handler, Unit
from tradewind.platform.database.migrate import SchemaSource
from tradewind.platform.database.transaction import Transaction
from tradewind.platform.node import CommandPlan, ConsumerPlan, Node, Plan
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.settings import Settings
from tradewind.testing.database import UnitRunner

SCHEMA = SchemaSource("toy", Path(__file__).parent / "migrations")
SECRETS = Secrets([bytes(32)])
WITHIN_S = 15.0


class Touched(Event, frozen=True, kw_only=True):
    """Somebody touched a thing."""

    type: ClassVar[str] = "toy.touched.v1"

    thing_id: str
    note: str = ""

    @property
    def subject(self) -> str:
        return self.thing_id


class Rang(Event, frozen=True, kw_only=True):
    """A timer of a thing went off."""

    type: ClassVar[str] = "toy.rang.v1"

    thing_id: str

    @property
    def subject(self) -> str:
        return self.thing_id


class Touch(Command, frozen=True, kw_only=True):
    """Touch these things, in one unit of work."""

    things: tuple[str, ...]
    note: str = ""


class Make(Command, frozen=True, kw_only=True):
    """Make a thing. With `later`, the answer follows with another decision."""

    thing_id: str
    later: bool = False


class Poison(Exception):
    """A handler met what it cannot handle."""


class ThingRow(Struct, frozen=True):
    thing_id: str
    version: int


THINGS = "SELECT thing_id, version FROM toy.things WHERE thing_id = ANY($1::text[])"
SAVE = """
    INSERT INTO toy.things (thing_id, version)
    SELECT * FROM unnest($1::text[], $2::bigint[]) ON CONFLICT (thing_id)
    DO UPDATE SET version = excluded.version
"""
NEW = """
    INSERT INTO toy.things (thing_id, version)
    SELECT * FROM unnest($1::text[], $2::bigint[]) ON CONFLICT DO NOTHING
"""
GUARDED = """
    UPDATE toy.things t SET version = u.version
      FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS u (thing_id, before, version)
     WHERE t.thing_id = u.thing_id AND t.version = u.before
"""
EFFECT = """
    INSERT INTO toy.effects (node, consumer, key, sequence)
    SELECT $1, $2, e.* FROM unnest($3::text[], $4::bigint[]) AS e
"""


async def load(tx: Transaction, things: Iterable[str]) -> dict[str, int]:
    """The versions of things; 0 for one that nobody touched."""
    names = sorted(set(things))
    found = {row.thing_id: row.version for row in await tx.fetch(THINGS, names, into=ThingRow)}
    return {name: found.get(name, 0) for name in names}


def touch(versions: dict[str, int], commands: Sequence[Touch]) -> list[Event]:
    """The events of these commands, one version after the other."""
    events: list[Event] = []
    for command in commands:
        for thing in command.things:
            versions[thing] += 1
            events.append(Touched(sequence=versions[thing], thing_id=thing, note=command.note))
    return events


def accepted(commands: Sequence[Command]) -> list[Any]:
    """An answer for each."""
    return [Answer(status=200, body=b"touched") for _ in commands]


async def touch_locked(tx: Transaction, commands: Sequence[Touch]) -> Decision:
    """Right by a lock."""
    things = [thing for command in commands for thing in command.things]
    await tx.lock("thing", things)
    versions = await load(tx, things)
    events = touch(versions, commands)
    tx.write(SAVE, list(versions), list(versions.values()))
    return Decision(events=events, outcomes=accepted(commands))


async def touch_guarded(tx: Transaction, commands: Sequence[Touch]) -> Decision:
    """Right by a version: nothing is locked, a faster rival undoes the unit."""
    before = await load(tx, [thing for command in commands for thing in command.things])
    versions = dict(before)
    events = touch(versions, commands)
    old = [name for name, version in before.items() if version]
    new = [name for name, version in before.items() if not version]
    if old:
        tx.write(
            GUARDED,
            old,
            [before[name] for name in old],
            [versions[name] for name in old],
            expect=len(old),
        )
    if new:
        tx.write(NEW, new, [versions[name] for name in new], expect=len(new))
    return Decision(events=events, outcomes=accepted(commands))


async def make(tx: Transaction, commands: Sequence[Make]) -> Decision:
    """Make things; one called "poison" fails."""
    if any(command.thing_id.startswith("poison") for command in commands):
        raise Poison("this one never works")
    tx.write(
        "INSERT INTO toy.things (thing_id, version) SELECT n, 1 FROM unnest($1::text[]) AS n",
        [command.thing_id for command in commands],
    )
    return Decision(
        events=[Touched(sequence=1, thing_id=command.thing_id) for command in commands],
        outcomes=[
            Pending(command.thing_id)
            if command.later
            else Answer(status=201, body=f"made {command.thing_id}".encode())
            for command in commands
        ],
    )


class Hands:
    """The consumer of one node: writes down what it handles, and fails on what it is told to."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.poisons: set[tuple[str, int]] = set()
        self.error = "this one never works"
        self.batches: list[int] = []
        self.hold: asyncio.Event | None = None
        self.reached = asyncio.Event()
        self.answers = False

    def consumer(self, name: str) -> Handler:
        async def handle(tx: Transaction, events: Sequence[Any]) -> Decision:
            self.reached.set()
            if self.hold is not None:
                await self.hold.wait()
            for event in events:
                if (event.subject, event.sequence) in self.poisons:
                    raise Poison(self.error)
            self.batches.append(len(events))
            if events:
                tx.write(
                    EFFECT,
                    self.node,
                    name,
                    [event.subject for event in events],
                    [event.sequence for event in events],
                )
            answers: Mapping[str, Answer] = {}
            if self.answers:
                answers = {e.subject: Answer(status=201, body=b"decided") for e in events}
            return Decision(answers=answers)

        return handle


def idempotency(key: str, fingerprint: bytes = b"body") -> Idempotency:
    """A key as the gateway hands it on."""
    return Idempotency(scope="test", key=key, fingerprint=fingerprint)


class Effect(Struct, frozen=True):
    node: str
    consumer: str
    key: str
    sequence: int


class Workshop:
    """A database, and the nodes on it."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.runner = UnitRunner(dsn)
        self.nodes: list[Node] = []
        self.hands: dict[int, Hands] = {}

    def build(
        self,
        name: str,
        *,
        consumers: Sequence[str] = ("echo",),
        touching: Handler = touch_locked,
        making: Handler = make,
        batch_max: int = 128,
        events: tuple[type[Event], ...] = (Touched, Rang),
        **settings: Any,
    ) -> Node:
        """A node that is not started."""
        hands = Hands(name)
        plan = Plan(
            commands=[
                CommandPlan(Touch, "toy", touching),
                CommandPlan(Make, "toy", making),
            ],
            consumers=[
                ConsumerPlan("toy", each, hands.consumer(each), events, batch_max)
                for each in consumers
            ],
            sweeps=(),
            clients={},
            announced=(Touched,),
            sources={"toy-events": ("toy",)},
            listens={
                f"toy.{each}": frozenset(e.type for e in events) for each in ("echo", *consumers)
            },
        )
        changes = {"lease_s": 2.0, "connections_max": 6, **settings}
        node = Node(
            msgspec.structs.replace(Settings(), **changes), plan, dsn=self.dsn, secrets=SECRETS
        )
        self.hands[id(node)] = hands
        self.nodes.append(node)
        return node

    async def start(self, name: str, **options: Any) -> Node:
        """A node at work."""
        node = self.build(name, **options)
        await node.start()
        return node

    def hands_of(self, node: Node) -> Hands:
        return self.hands[id(node)]

    async def append(self, *events: Event) -> Done:
        """Put events on the log, as somebody would of whom no node knows."""

        async def announce(tx: Transaction, messages: Sequence[Any]) -> Decision:
            return Decision(events=events)

        unit = Unit(context="toy", handler=announce, messages=())
        return await delivery.run(self.runner.workplace, unit)

    async def touch(self, thing: str, first: int, last: int, note: str = "") -> None:
        """Append the facts `first` to `last` about a thing."""
        await self.append(
            *(Touched(sequence=n, thing_id=thing, note=note) for n in range(first, last + 1))
        )

    async def effects(self, consumer: str = "echo") -> list[Effect]:
        """What was handled, in the order of the commits."""
        rows = await self.sql(
            "SELECT node, consumer, key, sequence FROM toy.effects WHERE consumer = $1"
            " ORDER BY number",
            consumer,
        )
        return [Effect(*row) for row in rows]

    async def sequences(self, consumer: str = "echo") -> dict[str, list[int]]:
        """What was handled of each thing, in order."""
        found: dict[str, list[int]] = {}
        for effect in await self.effects(consumer):
            found.setdefault(effect.key, []).append(effect.sequence)
        return found

    async def until_handled(self, count: int, consumer: str = "echo") -> dict[str, list[int]]:
        """Wait until so many messages were handled; what was handled."""
        query = "SELECT count(*) FROM toy.effects WHERE consumer = $1"

        async def enough() -> bool:
            return bool((await self.sql(query, consumer))[0][0] >= count)

        await until(enough, f"{count} effects of {consumer}")
        return await self.sequences(consumer)

    async def at_rest(self, node: Node) -> None:
        """Wait until a node has handled, or refused, all that stands in the log."""

        async def read() -> bool:
            last = (await self.sql("SELECT coalesce(max(xid::text::bigint), 0) FROM bus.log"))[0][0]
            return node.reader.cursor.xid >= last and await node.idle(0.05)

        await until(read, "the node to come to rest")

    async def sql(self, query: str, *args: Any) -> list[Any]:
        """Any statement, as the owner."""
        return await self.runner.sql(query, *args)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection by hand, as the owner."""
        connection = await asyncpg.connect(self.dsn)
        try:
            yield connection
        finally:
            await connection.close()

    async def crash(self, node: Node) -> None:
        """End a node as kill -9 would: no good-bye, its connections simply gone."""
        self.nodes.remove(node)
        for task in node._tasks:
            task.cancel()
        await asyncio.gather(*node._tasks, return_exceptions=True)
        await node.members.close_session()
        node.reader.close()
        for _, connection in node.pool._idle:
            connection.terminate()

    async def stop(self, node: Node) -> None:
        """End a node properly."""
        self.nodes.remove(node)
        await node.stop()

    async def close(self) -> None:
        """End everything."""
        for node in list(self.nodes):
            await self.stop(node)
        await self.runner.close()


def stop_retrying(node: Node) -> None:
    """From now on only the test retries dead letters and looks at leases, not the node's own loops
    once a second."""
    for task in node._tasks:
        if task.get_name() in ("retries", "members"):
            task.cancel()


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until something has come about."""
    deadline = time.monotonic() + WITHIN_S
    while not await condition():
        assert time.monotonic() < deadline, f"waited {WITHIN_S} s for {what}"
        await asyncio.sleep(0.02)


async def until_true(condition: Callable[[], bool], what: str) -> None:
    """Wait until something of this process is so."""

    async def look() -> bool:
        return condition()

    await until(look, what)
