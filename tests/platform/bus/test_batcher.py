"""Commands taken together: natural batches, twins, poison, lost connections; answers that wait."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.platform.bus.workshop import (
    SCHEMA,
    Make,
    Poison,
    Touch,
    Touched,
    Workshop,
    idempotency,
    make,
    touch_guarded,
    until,
    until_true,
)
from tradewind import app
from tradewind.kernel.answers import Answer, Pending, Settled
from tradewind.kernel.messages import Decision
from tradewind.platform.bus import batcher, delivery
from tradewind.platform.bus import idempotency as keys
from tradewind.platform.bus.batcher import Busy, OutcomeUnknown
from tradewind.platform.bus.idempotency import IdempotencyKeyReused
from tradewind.platform.database.transaction import Transaction
from tradewind.platform.node import WRITTEN, Node
from tradewind.testing.database import TestServer


class Counting:
    """A handler that remembers the sizes of its batches."""

    def __init__(self, handler: Any = make) -> None:
        self.handler = handler
        self.sizes: list[int] = []
        self.before: Callable[[Transaction], Awaitable[None]] | None = None

    async def __call__(self, tx: Transaction, commands: Sequence[Any]) -> Decision:
        self.sizes.append(len(commands))
        if self.before is not None:
            await self.before(tx)
        decision: Decision = await self.handler(tx, commands)
        return decision


async def made(workshop: Workshop) -> list[str]:
    return [row[0] for row in await workshop.sql("SELECT thing_id FROM toy.things ORDER BY 1")]


def keyed(thing: str, key: str, *, later: bool = False, body: bytes = b"body") -> Make:
    return Make(thing_id=thing, later=later, idempotency=idempotency(key, body))


async def test_many_commands_are_few_units(workshop: Workshop) -> None:
    counting = Counting()
    node = await workshop.start("one", making=counting)
    await asyncio.gather(*(node.submit(Make(thing_id=f"m{n:03}")) for n in range(200)))
    assert sum(counting.sizes) == 200 and len(counting.sizes) <= 4
    assert max(counting.sizes) <= batcher.BATCH_MAX
    assert len(await made(workshop)) == 200
    await node.submit(Make(thing_id="alone"))
    assert counting.sizes[-1] == 1, "nobody waits for company"


async def test_a_full_queue_is_busy_and_nothing_is_done(workshop: Workshop) -> None:
    node = await workshop.start("one", batch_queue_max=8)
    outcomes = await asyncio.gather(
        *(node.submit(Make(thing_id=f"m{n}")) for n in range(50)), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, Busy)]
    assert len(refused) == 42
    assert refused[0].headers == {"retry-after": "1"}
    assert len(await made(workshop)) == 8
    await node.submit(Make(thing_id="later"))


async def test_twins_join_and_have_one_effect(workshop: Workshop) -> None:
    node = await workshop.start("one")
    answers = await asyncio.gather(*(node.submit(keyed("m", "k")) for _ in range(5)))
    assert {(a.status, a.body) for a in answers} == {(201, b"made m")}
    assert await made(workshop) == ["m"]
    with pytest.raises(IdempotencyKeyReused):
        await node.submit(keyed("other", "k", body=b"another"))
    again = await node.submit(keyed("m", "k"))
    assert (again.status, again.body, again.replayed) == (201, b"made m", True)


async def test_a_twin_in_flight_with_another_body_is_refused(workshop: Workshop) -> None:
    node = await workshop.start("one")
    first = asyncio.create_task(node.submit(keyed("m", "k")))
    await asyncio.sleep(0)
    with pytest.raises(IdempotencyKeyReused):
        await node.submit(keyed("other", "k", body=b"another"))
    assert (await first).status == 201


async def test_a_twin_is_not_refused_because_an_impostor_is_in_flight(workshop: Workshop) -> None:
    """The key belongs to whoever took it first, not to whoever is being looked at."""
    node = await workshop.start("one")
    assert (await node.submit(keyed("m", "k"))).status == 201
    impostor = asyncio.create_task(node.submit(keyed("other", "k", body=b"another")))
    await asyncio.sleep(0)
    again = await node.submit(keyed("m", "k"))
    assert (again.status, again.body) == (201, b"made m")
    with pytest.raises(IdempotencyKeyReused):
        await impostor
    assert await made(workshop) == ["m"]


async def test_a_twin_finds_the_first_after_its_caller_went(workshop: Workshop) -> None:
    """The first client hangs up; the second, with the same key, joins what is still at work."""
    counting = Counting()
    node = await workshop.start("one", making=counting)
    first = asyncio.create_task(node.submit(keyed("m", "k")))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert (await node.submit(keyed("m", "k"))).body == b"made m"
    assert counting.sizes == [1]


async def test_one_poison_fails_alone(workshop: Workshop) -> None:
    node = await workshop.start("one")
    things = [f"m{n}" for n in range(30)] + ["poison"] + [f"n{n}" for n in range(30)]
    outcomes = await asyncio.gather(
        *(node.submit(Make(thing_id=thing)) for thing in things), return_exceptions=True
    )
    assert [type(o) for o in outcomes].count(Poison) == 1 and isinstance(outcomes[30], Poison)
    assert len(await made(workshop)) == 60


async def test_a_stale_read_is_decided_anew(workshop: Workshop) -> None:
    """Two nodes write the same things under version guards; every touch is counted."""
    one = await workshop.start("one", touching=touch_guarded)
    two = await workshop.start("two", touching=touch_guarded)
    touches = [node.submit(Touch(things=("a", "b"))) for node in (one, two) for _ in range(40)]
    await asyncio.gather(*touches)
    rows = await workshop.sql("SELECT version FROM toy.things")
    assert [row[0] for row in rows] == [80, 80]


async def test_who_is_always_too_late_is_told_to_come_back(workshop: Workshop) -> None:
    """Not a fault of the command: nothing was done, and it may be repeated."""

    async def always_late(tx: Transaction, commands: Sequence[Touch]) -> Decision:
        tx.write("DELETE FROM toy.things WHERE thing_id = $1", "nobody", expect=1)
        return Decision(outcomes=[Answer() for _ in commands])

    node = await workshop.start("one", touching=always_late)
    with pytest.raises(Busy):
        await node.submit(Touch(things=("a",)))


async def test_a_handler_that_forgets_an_outcome_commits_nothing(workshop: Workshop) -> None:
    async def forgetful(tx: Transaction, commands: Sequence[Make]) -> Decision:
        decision = await make(tx, commands)
        return Decision(events=decision.events)

    node = await workshop.start("one", making=forgetful)
    with pytest.raises(AssertionError, match="one outcome per command"):
        await node.submit(Make(thing_id="m"))
    assert await made(workshop) == []


async def test_twins_in_two_nodes_have_one_effect_and_one_answer(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both look the key up, neither finds it, both write: the second fails on the key's row."""
    one, two = await workshop.start("one"), await workshop.start("two")
    both_looked = asyncio.Barrier(2)
    look_up = keys.look_up

    async def together(*args: Any) -> Any:
        found = await look_up(*args)
        if not found:
            await both_looked.wait()
        return found

    monkeypatch.setattr(keys, "look_up", together)
    answers = await asyncio.gather(*(n.submit(keyed("m", "k")) for n in (one, two)))
    assert {(a.status, a.body, tuple(a.headers)) for a in answers} == {
        (201, b"made m", ("content-type",))
    }
    assert sorted(answer.replayed for answer in answers) == [False, True]
    assert await made(workshop) == ["m"]


# -- connections that are lost


async def test_a_connection_lost_in_the_middle_is_nobodys_business(workshop: Workshop) -> None:
    """The backend dies inside the unit: the unit is run again, the client never knows."""
    counting = Counting()
    node = await workshop.start("one", making=counting)

    async def die_once(tx: Transaction) -> None:
        if len(counting.sizes) == 1:
            pid = await tx.fetch_value("SELECT pg_backend_pid()")
            await workshop.sql("SELECT pg_terminate_backend($1)", pid)

    counting.before = die_once
    assert (await node.submit(keyed("m", "k"))).body == b"made m"
    assert counting.sizes == [1, 1]
    assert await made(workshop) == ["m"]


def losing_replies(times: int) -> Any:
    """`delivery.attempt`, whose first replies are lost after the commit."""
    attempt, left = delivery.attempt, iter(range(times))

    async def lost(workplace: Any, unit: Any) -> Any:
        done = await attempt(workplace, unit)
        if unit.keyed and next(left, None) is not None:
            raise asyncpg.ConnectionDoesNotExistError("lost after the commit, before the reply")
        return done

    return lost


@pytest.mark.parametrize("later", [False, True])
async def test_lost_between_commit_and_reply_is_found_by_its_key(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, later: bool
) -> None:
    node = await workshop.start("one")
    monkeypatch.setattr(delivery, "attempt", losing_replies(1))
    answer = await node.submit(keyed("m", "k", later=later))
    assert answer == Pending("m") if later else (answer.body, answer.replayed) == (b"made m", True)
    assert await made(workshop) == ["m"]


async def test_an_outcome_that_cannot_be_looked_up_is_called_unknown(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a batch are told at once, in the time of one, and the same key tells them later."""
    monkeypatch.setattr(batcher, "OUTCOME_LOOKED_UP_S", 0.3)
    counting = Counting()
    node = await workshop.start("one", making=counting)
    attempt = delivery.attempt

    async def gone(workplace: Any, unit: Any) -> Any:
        await attempt(workplace, unit)
        raise asyncpg.ConnectionDoesNotExistError("gone")

    async def no_look(*args: Any) -> Any:
        raise asyncpg.CannotConnectNowError("still starting")

    monkeypatch.setattr(delivery, "attempt", gone)
    monkeypatch.setattr(keys, "look_up", no_look)
    counting.before = None
    began = time.monotonic()
    outcomes = await asyncio.gather(
        *(node.submit(keyed(f"m{n}", f"k{n}")) for n in range(64)), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {OutcomeUnknown}
    assert time.monotonic() - began < 10 * batcher.OUTCOME_LOOKED_UP_S, "one deadline, not 127"
    monkeypatch.undo()
    assert (await node.submit(keyed("m1", "k1"))).replayed
    assert len(await made(workshop)) == 64 and counting.sizes == [64]


async def test_a_node_outlives_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL goes away and comes back: the node says so meanwhile, and recovers by itself."""
    monkeypatch.setattr(batcher, "OUTCOME_LOOKED_UP_S", 0.3)
    server = TestServer(tmp_path / "data")
    await server.start([*app.schema_sources([]), SCHEMA])
    workshop = Workshop(await server.create_database())
    try:
        node = await workshop.start("one")
        await node.submit(keyed("before", "k1"))
        await workshop.until_handled(1)
        await server.server.stop()
        with pytest.raises((OutcomeUnknown, Busy)):
            await node.submit(keyed("meanwhile", "k2"))
        await server.server.start()

        async def answered() -> bool:
            try:
                await node.submit(keyed("meanwhile", "k2"))
            except (OutcomeUnknown, Busy):
                return False
            return True

        await until(answered, "the database to be back")
        assert await workshop.until_handled(2) == {"before": [1], "meanwhile": [1]}
        assert await made(workshop) == ["before", "meanwhile"]
        await workshop.close()
    finally:
        await server.stop()


# -- answers that come later


async def decides(workshop: Workshop, name: str, **options: Any) -> Node:
    """A node whose consumer answers what is pending."""
    node = workshop.build(name, **options)
    workshop.hands_of(node).answers = True
    await node.start()
    return node


async def test_an_answer_is_waited_for_in_the_same_process(workshop: Workshop) -> None:
    node = await decides(workshop, "one")
    pending = await node.submit(keyed("m", "k", later=True))
    assert pending == Pending("m")
    answer = await node.answers.wait("m", 10)
    assert answer is not None and (answer.status, answer.body) == (201, b"decided")
    replay = await node.submit(keyed("m", "k", later=True))
    assert isinstance(replay, Settled) and replay.body == b"decided" and replay.replayed


async def test_an_answer_is_waited_for_across_processes(workshop: Workshop) -> None:
    """Taken here, decided there, told here."""
    front = await workshop.start("front", consumers=())
    await decides(workshop, "back")
    await until_true(lambda: not front.members.alone, "company")
    pendings = await asyncio.gather(
        *(front.submit(keyed(f"m{n}", f"k{n}", later=True)) for n in range(20))
    )
    answers = await asyncio.gather(*(front.answers.wait(p.resource, 10) for p in pendings))
    assert [answer.body for answer in answers if answer is not None] == [b"decided"] * 20
    assert len(front.answers) == 0


async def test_an_answer_is_waited_for_after_a_restart(workshop: Workshop) -> None:
    """The process that took the request is gone; its key leads the next one to the answer."""
    first = await workshop.start("first", consumers=())
    assert await first.submit(keyed("m", "k", later=True)) == Pending("m")
    await workshop.crash(first)
    node = await workshop.start("second", consumers=())
    assert await node.submit(keyed("m", "k", later=True)) == Pending("m")
    waiting = asyncio.create_task(node.answers.wait("m", 10))
    await decides(workshop, "third")
    answer = await waiting
    assert answer is not None and answer.body == b"decided"


async def test_waiting_ends_in_time_and_is_bounded(workshop: Workshop) -> None:
    node = await workshop.start("one", waiting_max=2)
    assert await node.answers.wait("never", 0.05) is None
    waiting = [asyncio.create_task(node.answers.wait(f"w{n}", 10)) for n in range(2)]
    await until_true(lambda: len(node.answers) == 2, "two to wait")
    assert await node.answers.wait("one too many", 10) is None
    node.begin_stop()
    assert await asyncio.gather(*waiting) == [None, None]


# -- reading one's own writes


async def test_caught_up_says_when_copies_have_passed(workshop: Workshop) -> None:
    node = await workshop.start("one", batch_max=4)
    hands = workshop.hands_of(node)
    WRITTEN.set(None)
    assert await node.caught_up(["toy.echo"], 0), "nothing was written"
    hands.hold = asyncio.Event()
    await node.submit(Touch(things=("a",) * 10))
    assert not await node.caught_up(["toy.echo"], 0.1)
    hands.hold.set()
    assert await node.caught_up(["toy.echo"], 10)
    assert await workshop.sequences() == {"a": list(range(1, 11))}


async def test_caught_up_in_the_middle_of_a_transaction_is_not_caught_up(
    workshop: Workshop,
) -> None:
    """One transaction announced more than one batch holds: the first batch is not all of it."""
    one = await workshop.start("one", consumers=())
    two = await workshop.start("two", batch_max=4)
    work = next(w for w in two.works if w.name == "toy.echo")
    handle, stopped, go_on = work.handler, asyncio.Event(), asyncio.Event()

    async def stop_at_the_second(tx: Transaction, events: Sequence[Touched]) -> Decision:
        if events[0].sequence > 4:
            stopped.set()
            await go_on.wait()
        return await handle(tx, events)

    work.handler = stop_at_the_second
    await until_true(lambda: not one.members.alone, "company")
    for node, thing in ((one, "elsewhere"), (two, "here")):
        WRITTEN.set(None)
        stopped.clear()
        go_on.clear()
        await node.submit(Touch(things=(thing,) * 10))
        await stopped.wait()
        assert not await node.caught_up(["toy.echo"], 0.15)
        go_on.set()
        assert await node.caught_up(["toy.echo"], 10)
        assert (await workshop.sequences())[thing] == list(range(1, 11))
