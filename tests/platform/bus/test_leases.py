"""Who works for which partition: shared, taken over, fenced; nothing is handled twice or lost."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from tests.platform.bus.workshop import Hands, Touched, Workshop, until, until_true
from tradewind.kernel.messages import PARTITIONS, Position
from tradewind.platform.bus import delivery, members
from tradewind.platform.bus.consumer import WHOLE, Work
from tradewind.platform.bus.delivery import Fence, Unit
from tradewind.platform.bus.members import Member, share
from tradewind.platform.database.pool import Connection
from tradewind.platform.database.transaction import LeaseLost, Transaction
from tradewind.platform.node import Node

ALL = set(range(PARTITIONS))


def work_of(node: Node, name: str = "toy.echo") -> Work:
    return next(work for work in node.works if work.name == name)


def shared(*nodes: Node) -> bool:
    """Whether these nodes hold all partitions between them, each once."""
    held = [partition for node in nodes for partition in work_of(node).held]
    return sorted(held) == sorted(ALL)


async def feed_in(workshop: Workshop, *, things: int = 40, first: int = 1, last: int = 5) -> int:
    """Facts about many things, in the order a real platform would mix them; how many."""
    for sequence in range(first, last + 1):
        await workshop.append(
            *(Touched(sequence=sequence, thing_id=f"t{n}") for n in range(things))
        )
    return things * (last - first + 1)


def once_and_in_order(sequences: dict[str, list[int]], *, things: int, last: int) -> bool:
    expected = list(range(1, last + 1))
    return len(sequences) == things and all(seen == expected for seen in sequences.values())


def test_every_member_computes_the_same_shares() -> None:
    living = [Member(3, ("a", "b")), Member(7, ("a",)), Member(9, ("a", "b"))]
    shares = [share(member.id, "a", living, range(PARTITIONS)) for member in living]
    assert sorted(partition for one in shares for partition in one) == sorted(ALL)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert share(7, "b", living, range(PARTITIONS)) == []
    assert [bool(share(m.id, "a", living, [WHOLE])) for m in living] == [True, False, False]


async def test_two_nodes_share_the_partitions(workshop: Workshop) -> None:
    one, two = await workshop.start("one"), await workshop.start("two")
    await until_true(lambda: shared(one, two), "an even share")
    count = await feed_in(workshop)
    sequences = await workshop.until_handled(count)
    assert once_and_in_order(sequences, things=40, last=5)
    assert {effect.node for effect in await workshop.effects()} == {"one", "two"}


async def test_a_killed_node_is_replaced_within_the_lease(workshop: Workshop) -> None:
    """Killed with batches in its hands: the other does them, each once."""
    one, two = await workshop.start("one"), await workshop.start("two")
    await until_true(lambda: shared(one, two), "an even share")
    await workshop.until_handled(await feed_in(workshop, last=2))
    workshop.hands_of(one).hold = asyncio.Event()  # stands still inside a unit of work
    workshop.hands_of(one).reached.clear()
    await feed_in(workshop, first=3, last=5)
    await workshop.hands_of(one).reached.wait()
    killed_at = time.monotonic()
    await workshop.crash(one)
    sequences = await workshop.until_handled(200)
    lease_s = two.settings.lease_s
    assert time.monotonic() - killed_at < lease_s + 3, "longer than the lease and a few ticks"
    assert once_and_in_order(sequences, things=40, last=5)
    assert work_of(two).held.keys() == ALL


async def test_a_node_that_leaves_hands_over_at_once(workshop: Workshop) -> None:
    one, two = await workshop.start("one"), await workshop.start("two")
    await until_true(lambda: shared(one, two), "an even share")
    await feed_in(workshop, last=1)
    await workshop.stop(one)
    await until_true(lambda: work_of(two).held.keys() == ALL, "the whole share")
    assert once_and_in_order(await workshop.until_handled(40), things=40, last=1)


async def test_the_commit_of_a_zombie_is_refused(workshop: Workshop) -> None:
    """It began under a lease that somebody else has since: none of its effects stays."""
    node = await workshop.start("one")
    await workshop.until_handled(await feed_in(workshop, things=1, last=1))
    work = work_of(node)
    partition = next(p for p, held in work.held.items() if held.seen == held.committed)
    held = work.held[partition]
    hands = Hands("zombie")

    def unit(epoch: int) -> Unit:
        fence = Fence(
            consumer="toy.echo",
            partitions=[partition],
            before=[held.committed],
            after=[Position(held.committed.xid, held.committed.number)],
            epochs=[epoch],
        )
        event = Touched(sequence=9, thing_id="z")
        return Unit(context="toy", handler=hands.consumer("echo"), messages=[event], fence=fence)

    await workshop.sql(
        "UPDATE bus.offsets SET epoch = epoch + 1 WHERE consumer = 'toy.echo' AND partition = $1",
        partition,
    )
    with pytest.raises(LeaseLost):
        await delivery.run(workshop.runner.workplace, unit(held.epoch))
    assert "zombie" not in {effect.node for effect in await workshop.effects()}
    await delivery.run(workshop.runner.workplace, unit(held.epoch + 1))
    assert "zombie" in {effect.node for effect in await workshop.effects()}


async def test_a_paused_node_is_fenced_and_comes_back(workshop: Workshop) -> None:
    """It stops renewing with a batch in its hands, and wakes after another has taken over."""
    one = await workshop.start("one", lease_s=1.0)
    two = await workshop.start("two", lease_s=1.0)
    await until_true(lambda: shared(one, two), "an even share")
    await workshop.until_handled(await feed_in(workshop, last=1))
    hands = workshop.hands_of(one)
    hands.hold = asyncio.Event()
    hands.reached.clear()
    renewing = next(task for task in one._tasks if task.get_name() == "members")
    renewing.cancel()
    await asyncio.gather(renewing, return_exceptions=True)
    await feed_in(workshop, first=2, last=3)
    await hands.reached.wait()
    before = set(work_of(one).held)
    await until_true(lambda: work_of(two).held.keys() == ALL, "the share of the paused one")
    assert set(work_of(one).held) == before, "it still believes in its leases"
    sequences = await workshop.until_handled(120)
    hands.hold.set()
    await until_true(lambda: not work_of(one).queue, "the paused one to give up its batch")
    assert once_and_in_order(sequences, things=40, last=3)
    one._tasks.append(asyncio.create_task(one.members.run()))
    await until_true(lambda: shared(one, two), "an even share again")
    await feed_in(workshop, first=4, last=4)
    assert once_and_in_order(await workshop.until_handled(160), things=40, last=4)


async def test_a_session_that_breaks_is_opened_anew(workshop: Workshop) -> None:
    """Without its session a node is not sure of any lease, and asks again."""
    node = await workshop.start("one")
    first = node.members.id
    await workshop.until_handled(await feed_in(workshop, last=1))
    await workshop.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'tradewind keeper' AND datname = current_database()"
    )
    await until_true(
        lambda: node.members.id != first and work_of(node).held.keys() == ALL, "its partitions"
    )
    await feed_in(workshop, first=2, last=2)
    assert once_and_in_order(await workshop.until_handled(80), things=40, last=2)


class Late:
    """A connection whose units commit, and whose replies are held back."""

    def __init__(self, connection: Connection, reply: asyncio.Event) -> None:
        self._connection = connection
        self._reply = reply
        self.committed = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        value = await self._connection.fetchval(sql, *args)
        self.committed.set()
        await self._reply.wait()
        return value


@pytest.mark.parametrize("size", [1, 3])
async def test_leases_that_change_while_a_batch_commits(workshop: Workshop, size: int) -> None:
    """The batch is committed, its reply late. Meanwhile the leases are given up and taken again,
    and the queue is filled anew: the late reply must neither take others out of it nor make the
    batch be done twice."""
    node = await workshop.start("one", batch_max=size)
    await workshop.until_handled(await feed_in(workshop, last=1))
    work = work_of(node)
    reply = asyncio.Event()
    lates: list[Late] = []
    attempt = delivery.attempt

    async def with_late_reply(workplace: Any, unit: Unit) -> Any:
        if unit.name != "toy.echo" or lates:
            return await attempt(workplace, unit)

        async def handler(tx: Transaction, messages: Sequence[Any]) -> Any:
            decision = await unit.handler(tx, messages)
            lates.append(Late(tx._connection, reply))
            tx._connection = lates[0]
            return decision

        changed = Unit(
            context=unit.context,
            handler=handler,
            messages=unit.messages,
            fence=unit.fence,
            name=unit.name,
        )
        return await attempt(workplace, changed)

    delivery.attempt = with_late_reply
    try:
        await workshop.append(*(Touched(sequence=2, thing_id=f"t{n}") for n in range(40)))
        await until_true(lambda: bool(lates) and lates[0].committed.is_set(), "the commit")
        node.members.forget_all()
        node.members.hurry.set()
        await until_true(lambda: work.held.keys() == ALL, "the leases to be taken again")
        await until_true(lambda: len(work.queue) == 40 - size, "the rest to be queued again")
        reply.set()
        sequences = await workshop.until_handled(80)
        await workshop.at_rest(node)
        assert once_and_in_order(sequences, things=40, last=2)
        assert await workshop.sequences() == sequences
    finally:
        delivery.attempt = attempt


async def test_offsets_follow_where_nothing_happens(workshop: Workshop) -> None:
    """A restart does not read again what was of no interest."""
    node = await workshop.start("one")
    await feed_in(workshop, things=1, last=1)
    await workshop.until_handled(1)

    async def followed() -> bool:
        rows = await workshop.sql("SELECT min(xid::text::bigint) FROM bus.offsets")
        last = await workshop.sql("SELECT max(xid::text::bigint) FROM bus.log")
        return bool(rows[0][0] >= last[0][0])

    await until(followed, "all offsets to pass the log's end")
    await workshop.stop(node)
    again = workshop.build("two")
    await again.members.tick()
    again.reader.come_back()
    assert again.reader.cursor > Position(0, 0), "it begins where the first one wants to"
    assert len(await workshop.effects()) == 1


async def test_a_node_waits_for_a_database_that_is_just_getting_up(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started while a killed server replayed its log, a process died of it, and was late."""
    node = workshop.build("one")
    refusals = iter([OSError("no socket yet"), asyncpg.CannotConnectNowError("is starting up")])
    connect = node.members.pool.connect

    async def getting_up(*, name: str = "") -> Connection:
        refusal = next(refusals, None)
        if refusal is not None:
            raise refusal
        return await connect(name=name)

    monkeypatch.setattr(node.members.pool, "connect", getting_up)
    await node.start()
    await until_true(lambda: shared(node), "all partitions")


async def test_a_node_gives_up_a_database_that_is_not_there(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*, name: str = "") -> Connection:
        raise ConnectionRefusedError

    node = workshop.build("one")
    monkeypatch.setattr(members, "AWAITED_S", 0.3)
    monkeypatch.setattr(node.members.pool, "connect", refuse)
    with pytest.raises(ConnectionRefusedError):
        await node.start()
