"""The reader: nothing is skipped, whether queues are full, partitions move, or a fact is missing;
timers fire once; the feed has no gaps."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from tests.platform.bus.workshop import Make, Rang, Touched, Workshop, until, until_true
from tradewind.kernel.messages import (
    Decision,
    Position,
    TimerDropped,
    TimerSet,
    partition_of,
)
from tradewind.platform.bus import consumer, delivery, feed, log, timers
from tradewind.platform.bus.consumer import Work
from tradewind.platform.bus.delivery import Unit
from tradewind.platform.database.transaction import Transaction
from tradewind.platform.node import Node


def echo_of(node: Node) -> Work:
    return next(work for work in node.works if work.name == "toy.echo")


async def test_a_full_queue_loses_nothing(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consumer stands still while far more is announced than it can queue."""
    monkeypatch.setattr(consumer, "QUEUE_MAX", 20)
    node = await workshop.start("one", batch_max=7)
    hands = workshop.hands_of(node)
    hands.hold = asyncio.Event()
    for sequence in range(1, 6):
        await workshop.append(*(Touched(sequence=sequence, thing_id=f"t{n}") for n in range(30)))
    work = echo_of(node)
    await until_true(lambda: work.behind and len(work.queue) == 20, "a full queue")
    hands.hold.set()
    sequences = await workshop.until_handled(150)
    assert sequences == {f"t{n}": [1, 2, 3, 4, 5] for n in range(30)}


async def test_the_reader_goes_back_only_as_far_as_there_is_room(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One consumer stands still while another goes on: the reader goes back for it until it is
    full again, and from there to where the other one is, not over all that lies between."""
    monkeypatch.setattr(consumer, "QUEUE_MAX", 100)
    monkeypatch.setattr(log, "READ_ROWS_MAX", 50)
    read, rows = log.read, 0

    async def counted(connection: Any, after: Position) -> Any:
        nonlocal rows
        found, cursor = await read(connection, after, rows_max=50)
        rows += len(found)
        return found, cursor

    monkeypatch.setattr(log, "read", counted)
    node = await workshop.start("one", consumers=("echo", "slow"))
    slow = next(work for work in node.works if work.name == "toy.slow")
    async with slow.gate:
        for sequence in range(1, 31):
            await workshop.append(
                *(Touched(sequence=sequence, thing_id=f"t{n}") for n in range(30))
            )
        await workshop.until_handled(900)
        others = [work for work in node.works if work is not slow]
        await until_true(
            lambda: not any(work.behind or work.queue for work in others), "others to be through"
        )
        assert slow.behind and len(slow.queue) == 100
        next(task for task in node._tasks if task.get_name() == "reader").cancel()
    await workshop.until_handled(100, "slow")
    front, rows = node.reader.cursor, 0
    async with slow.gate:
        while await node.reader.step():
            pass
        assert slow.behind
        assert node.reader.cursor >= front
        assert rows <= 300, "of 800"
    node._tasks.append(asyncio.create_task(node.reader.run()))
    everything = {f"t{n}": list(range(1, 31)) for n in range(30)}
    assert await workshop.until_handled(900, "slow") == everything
    assert await workshop.sequences() == everything, "the other one was given nothing twice"


async def test_nothing_is_read_that_nobody_has_room_for(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is behind would read the same rows over and over."""
    monkeypatch.setattr(consumer, "QUEUE_MAX", 20)
    node = await workshop.start("one")
    async with AsyncExitStack() as stood_still:
        for work in node.works:
            await stood_still.enter_async_context(work.gate)
        await workshop.append(*(Touched(sequence=1, thing_id=f"t{n}") for n in range(99)))

        def full() -> bool:
            return not any(held.ready for work in node.works for held in work.held.values())

        # All partitions of all consumers, one after the other.
        for sequence in range(2, 12):
            await workshop.append(
                *(Touched(sequence=sequence, thing_id=f"t{n}") for n in range(99))
            )
            await asyncio.sleep(0.01)
        await until_true(full, "queues to be full")
        assert await node.reader.step() == 0
    sequences = await workshop.until_handled(99 * 11)
    assert sequences == {f"t{n}": list(range(1, 12)) for n in range(99)}


async def test_the_reader_goes_back_for_partitions_that_are_gained(workshop: Workshop) -> None:
    """What came while nobody held them stands before the cursor of whoever takes them."""
    node = await workshop.start("one")
    await workshop.append(*(Touched(sequence=1, thing_id=f"t{n}") for n in range(30)))
    await workshop.until_handled(30)
    lost = [p for p in range(16) if p % 2]
    echo_of(node).let_go(lost)
    await workshop.append(*(Touched(sequence=2, thing_id=f"t{n}") for n in range(30)))
    sequences = await workshop.until_handled(60)
    assert sequences == {f"t{n}": [1, 2] for n in range(30)}


async def test_a_missing_fact_halts_its_partition_and_says_so(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guessing what stood between would be worse; others go on, and nothing is passed over."""
    node = await workshop.start("one")
    await workshop.touch("a", 1, 2)
    await workshop.until_handled(2)
    await workshop.touch("a", 4, 4)
    partition = partition_of("a")
    neighbour = next(n for n in map(str, range(99)) if partition_of(n) == partition)
    other = next(n for n in map(str, range(99)) if partition_of(n) != partition)
    await workshop.touch(neighbour, 1, 1)
    await workshop.touch(other, 1, 1)
    assert await workshop.until_handled(3) == {"a": [1, 2], other: [1]}
    assert node.reader.halted == {partition}
    assert "bus.gap" in capsys.readouterr().out

    async def others_followed() -> bool:
        rows = await workshop.sql(
            "SELECT min(xid::text::bigint) FROM bus.offsets WHERE consumer = 'toy.echo'"
            " AND partition <> $1",
            partition,
        )
        return bool(rows[0][0] > node.reader.awaited and rows[0][0] >= await end(workshop))

    await until(others_followed, "the other offsets to follow")
    query = "SELECT xid::text::bigint FROM bus.offsets WHERE consumer = $1 AND partition = $2"
    ((stopped,),) = await workshop.sql(query, "toy.echo", partition)
    assert stopped < await end(workshop), "the halted offset stays before what was not handled"
    # The feed numbers what is there.
    page = await node.feed_page(after=0, topic=None, limit=10)
    assert [(e.subject, e.sequence) for e in page.items] == [
        ("a", 1), ("a", 2), ("a", 4), (neighbour, 1), (other, 1)
    ]  # fmt: skip


async def end(workshop: Workshop) -> int:
    """The last transaction in the log."""
    return int((await workshop.sql("SELECT max(xid::text::bigint) FROM bus.log"))[0][0])


async def test_facts_handled_elsewhere_are_no_gap(workshop: Workshop) -> None:
    """A node that lost all its leases and took them again later begins where the others ended."""
    node = await workshop.start("one")
    await workshop.touch("a", 1, 1)
    await workshop.until_handled(1)
    for task in node._tasks:
        if task.get_name() == "members":
            task.cancel()
    node.members.forget_all()
    await workshop.touch("a", 2, 3)
    last = await end(workshop)
    await workshop.sql("UPDATE bus.offsets SET xid = $1::text::xid8, number = $2", str(last), 2**62)
    await workshop.touch("a", 4, 4)
    node._tasks.append(asyncio.create_task(node.members.run()))
    assert await workshop.until_handled(2) == {"a": [1, 4]}
    assert not node.reader.halted


async def test_the_end_of_the_session_is_heard_at_once(workshop: Workshop) -> None:
    """A server that crashes may be up again before the next look: nothing that was handed out may
    be handled then, since it may be lost and its place be given again."""
    node = await workshop.start("one", poll_floor_ms=10_000)
    await workshop.touch("a", 1, 1)
    await workshop.until_handled(1)
    life, held = node.reader.life, dict(echo_of(node).held)
    pid = node.reader._session.get_server_pid()  # type: ignore[union-attr]
    await workshop.sql("SELECT pg_terminate_backend($1)", pid)
    async with asyncio.timeout(2):
        while node.reader.life == life:
            await asyncio.sleep(0.001)
    assert not any(echo_of(node).held.get(p) is one for p, one in held.items())


async def test_what_was_handed_out_before_a_crash_is_not_handled_after_it(
    workshop: Workshop,
) -> None:
    """A batch may have waited for a connection, or its process stood still, while the server came
    up again: what it has in hand may be in the log no more."""
    node = await workshop.start("one")
    await workshop.touch("a", 1, 1)
    await workshop.until_handled(1)
    async with echo_of(node).gate:
        await node.submit(Make(thing_id="b"))
        await until_true(lambda: bool(echo_of(node).queue), "an event in hand")
        for task in node._tasks:
            if task.get_name() in ("reader", "members"):
                task.cancel()  # they would notice, a moment later
        await workshop.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    await asyncio.sleep(0.5)
    assert await workshop.sequences() == {"a": [1]}


# -- timers


async def set_timers(workshop: Workshop, *changes: TimerSet | TimerDropped) -> None:
    async def decide(tx: Transaction, messages: Any) -> Decision:
        return Decision(timers=changes)

    await delivery.run(workshop.runner.workplace, Unit(context="toy", handler=decide, messages=()))


def timer(workshop: Workshop, thing: str, *, in_s: float) -> TimerSet:
    due_at = workshop.runner.workplace.clock.now() + timedelta(seconds=in_s)
    return TimerSet(name="nap", key=thing, due_at=due_at, event=Rang(sequence=1, thing_id=thing))


async def test_timers_are_set_moved_and_dropped(workshop: Workshop) -> None:
    """Two nodes pump; each timer fires once, as it stood last, in the partition of its key."""
    await workshop.start("one")
    await workshop.start("two")
    await set_timers(workshop, *(timer(workshop, f"t{n}", in_s=60) for n in range(3)))
    await set_timers(workshop, *(timer(workshop, f"s{n}", in_s=0) for n in range(20)))
    await set_timers(workshop, timer(workshop, "t0", in_s=-1), TimerDropped(name="nap", key="t1"))
    await set_timers(workshop, TimerDropped(name="nap", key="never set"))
    rang = await workshop.until_handled(21)
    await asyncio.sleep(0.6)  # one more round of both pumps
    assert await workshop.sequences() == rang == {**{f"s{n}": [1] for n in range(20)}, "t0": [1]}
    assert [row[0] for row in await workshop.sql("SELECT key FROM bus.timers")] == ["t2"]


async def test_a_timer_fires_once_however_many_pump(workshop: Workshop) -> None:
    await set_timers(workshop, *(timer(workshop, f"t{n}", in_s=-1) for n in range(200)))

    async def pump() -> int:
        async with workshop.connection() as connection:
            await connection.execute("SET ROLE tradewind_bus")
            return await timers.fire(connection)

    assert sum(await asyncio.gather(*(pump() for _ in range(6)))) == 200
    assert (await workshop.sql("SELECT count(*) FROM bus.log"))[0][0] == 200


async def test_a_timer_survives_a_restart(workshop: Workshop) -> None:
    node = await workshop.start("one")
    await set_timers(workshop, timer(workshop, "a", in_s=0.3))
    await workshop.crash(node)
    await workshop.start("two")
    assert await workshop.until_handled(1) == {"a": [1]}


async def test_a_context_sets_its_own_timers_only(workshop: Workshop) -> None:
    async with workshop.runner.pool.lend("tradewind_toy") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(timers.SET, "orders", ["n"], ["k"], [None], ["t"], [""], [0])


# -- the feed


async def read_all(node: Node, **options: Any) -> list[feed.FeedEvent]:
    """Follow the cursor from the beginning."""
    found: list[feed.FeedEvent] = []
    after = 0
    while True:
        page = await node.feed_page(after=after, topic=options.get("topic"), limit=7)
        reached = feed.decode_cursor(page.next)
        assert reached is not None
        found += page.items
        if not page.items and reached == after:
            return found
        after = reached


async def numbered(workshop: Workshop, count: int) -> None:
    async def enough() -> bool:
        return bool((await workshop.sql("SELECT count(*) FROM bus.feed"))[0][0] >= count)

    await until(enough, f"{count} events in the feed")


async def test_the_feed_has_everything_once_and_in_order(workshop: Workshop) -> None:
    node = await workshop.start("one")
    await workshop.append(Rang(sequence=1, thing_id="timer:ring:a"))
    for n in range(1, 11):
        await workshop.append(*(Touched(sequence=n, thing_id=thing) for thing in "abc"))
    await numbered(workshop, 30)
    events = await read_all(node)
    assert [e.subject for e in events] == list("abc" * 10)
    assert [e.sequence for e in events if e.subject == "b"] == list(range(1, 11))
    positions = [r[0] for r in await workshop.sql("SELECT position FROM bus.feed ORDER BY 1")]
    assert positions == list(range(1, 31))
    assert await read_all(node, topic="toy-events") == events
    assert await read_all(node, topic="order-events") == []


async def test_two_sequencers_fight_and_the_feed_has_no_gap(workshop: Workshop) -> None:
    """Both believe that they number the feed."""
    one, two = await workshop.start("one"), await workshop.start("two")
    works = [next(w for w in node.works if w.whole) for node in (one, two)]
    for n in range(1, 16):
        thief = works[n % 2]
        rows = await workshop.sql(
            "UPDATE bus.offsets SET epoch = epoch + 1 WHERE consumer = $1"
            " RETURNING xid::text::bigint, number, epoch",
            thief.name,
        )
        thief.hold(-1, Position(rows[0][0], rows[0][1]), rows[0][2])
        await workshop.append(*(Touched(sequence=n, thing_id=thing) for thing in "abcdef"))
        await asyncio.sleep(0.02)
    await numbered(workshop, 90)
    events = await read_all(one)
    assert len({e.id for e in events}) == len(events) == 90
    positions = [r[0] for r in await workshop.sql("SELECT position FROM bus.feed ORDER BY 1")]
    assert positions == list(range(1, 91))
    for thing in "abcdef":
        assert [e.sequence for e in events if e.subject == thing] == list(range(1, 16))


@pytest.mark.parametrize("sources", [None, ["toy"], ["orders"]])
async def test_a_page_passes_over_nothing_that_comes_meanwhile(
    workshop: Workshop, sources: list[str] | None
) -> None:
    """Events are numbered between the statements of one page: the cursor must not skip them."""
    node = await workshop.start("one")
    await workshop.touch("a", 1, 3)
    await numbered(workshop, 3)

    class Interrupted:
        """Something is announced and numbered before every statement but the first."""

        def __init__(self, connection: Any) -> None:
            self.connection = connection
            self.count = 3

        async def more(self) -> None:
            self.count += 1
            await workshop.touch("a", self.count, self.count)
            await numbered(workshop, self.count)

        async def fetch(self, *args: Any) -> Any:
            rows = await self.connection.fetch(*args)
            await self.more()
            return rows

        async def fetchval(self, *args: Any) -> Any:
            value = await self.connection.fetchval(*args)
            await self.more()
            return value

    async with node.pool.lend("tradewind_bus") as connection:
        seen, after = [], 3
        interrupted = Interrupted(connection)
        for _ in range(3):
            page = await feed.page(interrupted, after=after, sources=sources, limit=5)
            seen += [event.sequence for event in page.items]
            after = feed.decode_cursor(page.next) or 0
        rest = await feed.page(connection, after=after, sources=sources, limit=50)
    seen += [event.sequence for event in rest.items]
    last = interrupted.count
    assert seen == ([] if sources == ["orders"] else list(range(4, last + 1)))


async def test_doorbells_reach_other_nodes(workshop: Workshop) -> None:
    """With the floor far away, an event of one node is handled by the other all the same."""
    one = await workshop.start("one", consumers=(), poll_floor_ms=9_000)
    two = await workshop.start("two", poll_floor_ms=9_000)
    await until_true(lambda: not one.members.alone and len(echo_of(two).held) == 16, "company")
    await until_true(lambda: bool(one.workplace.bells), "bells")
    for n in range(3):
        await one.submit(Make(thing_id=f"m{n}"))
        await workshop.until_handled(n + 1)
    assert await workshop.sequences() == {f"m{n}": [1] for n in range(3)}
