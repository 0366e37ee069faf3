"""Two nodes that fight over the same partitions, customers who repeat themselves, a saboteur.

`World.run` lets several hundred orders through and returns what is wrong at the end: an empty list.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import asyncpg
import msgspec
import pytest

from tests.simulation import flow
from tests.simulation.faults import Chaos, FaultyPool, unreliable
from tests.simulation.flow import Line, Note, Place
from tradewind.kernel.answers import Answer, Idempotency, Settled
from tradewind.kernel.messages import Command, Position
from tradewind.platform.bus import batcher, members
from tradewind.platform.bus.batcher import Busy, OutcomeUnknown
from tradewind.platform.database import databases
from tradewind.platform.node import CommandPlan, ConsumerPlan, Node, Plan
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.settings import Settings

ORDERS = 240
CUSTOMERS = 24
SKUS = 8
SETTLED_WITHIN_S = 25.0
STUCK_AFTER_S = 4.0
CONSUMERS: dict[str, tuple[str, tuple[type[flow.OrderFact], ...]]] = {
    "stock": ("shelf", (flow.Placed, flow.Confirmed)),
    "tally": ("shelf", (flow.Placed,)),
    "decide": ("till", (flow.Reserved, flow.Refused)),
    "diary": ("till", flow.ALL),
}


class World:
    """One run of the simulation."""

    def __init__(
        self, dsn: str, seed: int, monkeypatch: pytest.MonkeyPatch, handlers: Mapping[str, Any]
    ) -> None:
        self.dsn = dsn
        self.seed = seed
        self.orders = ORDERS
        self.random = random.Random(seed)
        self.monkeypatch = monkeypatch
        self.handlers = handlers
        self.nodes: list[Node] = []
        self.chaos: dict[int, Chaos] = {}
        self.born = 0
        self.placed: dict[str, tuple[Line, ...]] = {}
        self.notes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.events: Counter[str] = Counter()
        # Everything that waits for time to pass waits less, so that a run is seconds.
        monkeypatch.setattr(members, "TICK_S", 0.05)
        monkeypatch.setattr(members, "BURY", members.BURY.replace("'1 second'", "'0.2 seconds'"))
        monkeypatch.setattr(batcher, "OUTCOME_LOOKED_UP_S", 0.3)

    # -- nodes

    def build(self) -> Node:
        """A node with its own share of bad luck."""
        self.born += 1
        chaos = Chaos(f"{self.seed}/{self.born}")
        with self.monkeypatch.context() as patch:
            patch.setattr(databases, "Pool", partial(FaultyPool, chaos=chaos))
            plan = Plan(
                commands=[
                    CommandPlan(Place, "till", self.handlers["place"]),
                    CommandPlan(Note, "till", self.handlers["note"]),
                ],
                consumers=[
                    ConsumerPlan(context, name, self.handlers[name], events, 16)
                    for name, (context, events) in CONSUMERS.items()
                ],
                sweeps=(),
                clients={},
                announced=flow.ALL,
                sources={},
            )
            settings = msgspec.structs.replace(
                Settings(), lease_s=1.0, connections_max=6, poll_floor_ms=20.0
            )
            node = Node(settings, plan, dsn=self.dsn, secrets=Secrets([bytes(32)]))
        ring = unreliable(node.reader.ring, chaos)
        node.reader.ring = ring  # type: ignore[method-assign]
        for work in node.works:
            work.call_reader = ring
        self.chaos[id(node)] = chaos
        return node

    async def start(self) -> None:
        """One more node."""
        while True:
            node = self.build()
            try:
                await node.start()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await self.bury(node)
                continue
            self.nodes.append(node)
            return

    async def bury(self, node: Node) -> None:
        """End a node without a good-bye."""
        self.chaos[id(node)].kill()
        for task in node._tasks:
            task.cancel()
        await asyncio.gather(*node._tasks, return_exceptions=True)

    # -- customers

    async def ask(self, command: Command) -> None:
        """A careful client: repeats itself, anywhere, until it is answered."""
        deadline = time.monotonic() + SETTLED_WITHIN_S
        while time.monotonic() < deadline:
            asked = self.random.sample(
                self.nodes, k=min(len(self.nodes), self.random.choice([1, 1, 2]))
            )
            answers = await asyncio.gather(
                *(node.submit(command) for node in asked), return_exceptions=True
            )
            for answer in answers:
                if isinstance(answer, Settled | Answer):
                    return
                if not isinstance(answer, Busy | OutcomeUnknown):
                    self.wrong.append(f"{command} was answered {answer!r}")
                    return
            await asyncio.sleep(0.01)
        self.wrong.append(f"{command} was never answered")

    async def customer(self, number: int) -> None:
        """Places orders, one after the other, and says something about some of them."""
        for turn in range(self.orders // CUSTOMERS):
            order_id = f"o{number}_{turn}"
            skus = self.random.sample(range(SKUS), k=self.random.randint(1, 3))
            lines = tuple(Line(f"s{sku}", self.random.randint(1, 3)) for sku in skus)
            self.placed[order_id] = lines
            await self.ask(Place(order_id=order_id, lines=lines, idempotency=key(order_id)))
            for note in range(self.random.choice([0, 0, 1, 2])):
                self.notes[order_id] += 1
                name = f"{order_id}/{note}"
                await self.ask(Note(order_id=order_id, idempotency=key(name)))

    # -- the saboteur

    async def sabotage(self) -> None:
        """Now and then something happens to a node, until cancelled."""
        deeds: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self.steal, 12),
            (self.reread, 4),
            (self.crash, 1),
            (self.forget, 1),
        ]
        while True:
            await asyncio.sleep(self.random.uniform(0.005, 0.04))
            (deed,) = self.random.choices(
                [deed for deed, _ in deeds], weights=[weight for _, weight in deeds]
            )
            self.events[deed.__name__] += 1
            await deed()

    async def steal(self) -> None:
        """A node takes partitions of another, which is not told."""
        thief = self.random.choice(self.nodes)
        work = self.random.choice(thief.works)
        slots = members.slots(work)
        partitions = self.random.sample(slots, k=self.random.randint(1, len(slots)))
        rows = await self.sql(
            "UPDATE bus.offsets SET holder = $1, epoch = epoch + 1"
            " WHERE consumer = $2 AND partition = ANY($3::smallint[])"
            " RETURNING partition, xid::text::bigint, number, epoch",
            thief.members.id,
            work.name,
            partitions,
        )
        work.let_go(partitions)
        for partition, xid, number, epoch in rows:
            work.hold(partition, Position(xid, number), epoch)

    async def reread(self) -> None:
        """A reader reads again what it has read."""
        reader = self.random.choice(self.nodes).reader
        back = self.random.randint(1, 50)
        reader.cursor = min(reader.cursor, Position(max(0, reader.cursor.xid - back), 0))

    async def crash(self) -> None:
        """A node dies anywhere; another is started."""
        node = self.random.choice(self.nodes)
        self.nodes.remove(node)
        await self.bury(node)
        await self.start()

    async def forget(self) -> None:
        """A node loses its session, and with it all its leases."""
        session = self.random.choice(self.nodes).members._session
        if session is not None:
            session.terminate()

    # -- the run

    async def run(self) -> list[str]:
        """What is wrong at the end."""
        await self.sql(
            "INSERT INTO shelf.stock (sku, on_hand, reserved)"
            " SELECT 's' || n, $1, 0 FROM generate_series(0, $2) AS n",
            self.orders // 5,
            SKUS - 1,
        )
        for _ in range(2):
            await self.start()
        saboteur = asyncio.create_task(self.sabotage())
        await asyncio.gather(*(self.customer(number) for number in range(CUSTOMERS)))
        saboteur.cancel()
        await asyncio.gather(saboteur, return_exceptions=True)
        for chaos in self.chaos.values():
            chaos.calm = True
        if not self.nodes:
            await self.start()
        settled = await self.settle()
        for node in self.nodes:
            await node.stop()
        return self.wrong + await self.violations() + ([] if settled else ["it never came to rest"])

    async def settle(self) -> bool:
        """Wait until every consumer has passed the end of the log; False if nothing moves."""
        deadline = time.monotonic() + SETTLED_WITHIN_S
        moved_at, before = time.monotonic(), None
        while time.monotonic() < deadline:
            offsets = await self.sql(
                "SELECT consumer, partition, xid::text, number FROM bus.offsets"
            )
            last = (await self.sql("SELECT max(xid::text::bigint), count(*) FROM bus.log"))[0]
            if all(int(row["xid"]) >= last[0] for row in offsets):
                return True
            now = (sorted(map(tuple, offsets)), tuple(last))
            if now != before:
                moved_at, before = time.monotonic(), now
            elif time.monotonic() - moved_at > STUCK_AFTER_S:
                return False
            await asyncio.sleep(0.05)
        return False

    async def violations(self) -> list[str]:
        """Everything that must be so at the end, and is not."""
        found: list[str] = []
        log: dict[tuple[str, str], list[int]] = {}
        query = "SELECT source, subject, sequence FROM bus.log ORDER BY xid, number"
        for source, subject, sequence in await self.sql(query):
            log.setdefault((source, subject), []).append(sequence)
        found += [f"log out of order: {k} {v}" for k, v in log.items() if v != counted(v)]
        diary: dict[tuple[str, str], list[int]] = {}
        query = "SELECT source, order_id, sequence FROM till.diary ORDER BY number"
        for source, subject, sequence in await self.sql(query):
            diary.setdefault((source, subject), []).append(sequence)
        found += [
            f"diary of {name}: {diary.get(name)} where the log has {seen}"
            for name, seen in log.items()
            if diary.get(name) != seen
        ]
        found += await self.orders_wrong()
        found += await self.stock_wrong()
        letters = await self.sql("SELECT consumer, key, state, error FROM bus.dead_letters")
        found += [f"letter {row['consumer']} {row['key']} {row['error'][-200:]}" for row in letters]
        feed = await self.sql("SELECT position, xid::text, number FROM bus.feed ORDER BY position")
        if [row[0] for row in feed] != list(range(1, len(feed) + 1)):
            found.append("the feed has gaps")
        if len({row[1:] for row in map(tuple, feed)}) != sum(map(len, log.values())):
            found.append(f"the feed has {len(feed)} events, the log {sum(map(len, log.values()))}")
        return found

    async def orders_wrong(self) -> list[str]:
        rows = await self.sql("SELECT order_id, version, status FROM till.orders")
        found = [f"lost: {name}" for name in self.placed.keys() - {row[0] for row in rows}]
        for order_id, version, status in rows:
            if status == "placed":
                found.append(f"{order_id} was never decided")
            elif version != 2 + self.notes[order_id]:
                found.append(f"{order_id} has version {version}, {self.notes[order_id]} notes")
        return found

    async def stock_wrong(self) -> list[str]:
        found: list[str] = []
        confirmed = {
            row[0]
            for row in await self.sql("SELECT order_id FROM till.orders WHERE status = 'confirmed'")
        }
        wanted, promised = Counter[str](), Counter[str]()
        for order_id, lines in self.placed.items():
            for line in lines:
                wanted[line.sku] += line.quantity
                promised[line.sku] += line.quantity if order_id in confirmed else 0
        query = "SELECT sku, on_hand, reserved, allocated, wanted FROM shelf.stock"
        for sku, on_hand, reserved, allocated, counted_wanted in await self.sql(query):
            if not (promised[sku] == reserved == allocated <= on_hand):
                found.append(
                    f"{sku}: promised {promised[sku]}, {reserved=} {allocated=} {on_hand=}"
                )
            if counted_wanted != wanted[sku]:
                found.append(f"{sku}: wanted {wanted[sku]}, counted {counted_wanted}")
        moves = Counter(
            (row[0], row[1], row[2])
            for row in await self.sql("SELECT order_id, kind, sku FROM shelf.movements")
        )
        expected = {
            (order_id, kind, line.sku)
            for order_id in confirmed
            for kind in ("reserve", "allocate")
            for line in self.placed[order_id]
        }
        found += [f"moved {count} times: {move}" for move, count in moves.items() if count != 1]
        found += [f"never moved: {move}" for move in expected - moves.keys()]
        return found + [f"moved for nothing: {move}" for move in moves.keys() - expected]

    async def sql(self, query: str, *args: Any) -> list[Any]:
        """Any statement, as the owner, on a connection that works."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(query, *args))
        finally:
            await connection.close()


def key(name: str) -> Idempotency:
    """The key a client chose."""
    return Idempotency(scope="customer", key=name, fingerprint=b"always the same body")


def counted(sequences: Sequence[int]) -> list[int]:
    """What a gap-free sequence of this length looks like."""
    return list(range(1, len(sequences) + 1))
