"""One message that cannot be handled stops its own key, and nothing else."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from tests.platform.bus.workshop import Touched, Workshop, stop_retrying, until, until_true
from tradewind.platform.bus import dead_letters
from tradewind.platform.bus.consumer import Work
from tradewind.platform.database.transaction import LeaseLost
from tradewind.platform.node import Node


def echo_of(node: Node) -> Work:
    return next(work for work in node.works if work.name == "toy.echo")


async def letters(workshop: Workshop) -> list[tuple[str, int, str]]:
    """What waits: key, sequence, state, in the order of the log."""
    rows = await workshop.sql(
        "SELECT d.key, l.sequence, d.state FROM bus.dead_letters d"
        " JOIN bus.log l USING (xid, number) ORDER BY d.xid, d.number"
    )
    return [tuple(row) for row in rows]


async def until_empty(workshop: Workshop) -> None:
    async def empty() -> bool:
        return not await letters(workshop)

    await until(empty, "no letters")


async def poisoned(workshop: Workshop, **options: Any) -> Node:
    """A node that stumbles over one message among fifty, and over what came behind it."""
    node = await workshop.start("one", **options)
    workshop.hands_of(node).poisons = {("bad", 1)}
    await workshop.append(
        Touched(sequence=1, thing_id="bad"),
        *(Touched(sequence=1, thing_id=f"t{n}") for n in range(49)),
    )
    await workshop.until_handled(49)
    await workshop.append(
        *(Touched(sequence=n, thing_id="bad") for n in (2, 3)),
        Touched(sequence=2, thing_id="t0"),
    )
    await workshop.until_handled(50)
    await workshop.at_rest(node)
    return node


async def test_one_of_fifty_is_dead_and_its_key_waits(workshop: Workshop) -> None:
    node = await poisoned(workshop)
    sequences = await workshop.sequences()
    assert "bad" not in sequences
    assert sequences.pop("t0") == [1, 2]
    assert sequences == {f"t{n}": [1] for n in range(1, 49)}
    assert await letters(workshop) == [
        ("bad", 1, "dead"),
        ("bad", 2, "parked"),
        ("bad", 3, "parked"),
    ]
    (letter,) = await node.dead_letters(consumer="toy.echo", parked=False, count_max=10)
    assert "Poison: this one never works" in letter.error and "workshop.py" in letter.error
    assert (letter.attempts, letter.type, letter.subject) == (1, Touched.type, "bad")
    # In halves down to one: the size of what went through, not one by one.
    assert max(workshop.hands_of(node).batches) > 8


async def test_dead_and_parked_run_in_order_after_mending(workshop: Workshop) -> None:
    node = await poisoned(workshop)
    workshop.hands_of(node).poisons = set()
    assert await node.retry_dead_letters(consumer=None, key="bad") == 1
    await until_empty(workshop)
    assert (await workshop.sequences())["bad"] == [1, 2, 3]
    await workshop.touch("bad", 4, 4)
    await workshop.until_handled(54)
    assert (await workshop.sequences())["bad"] == [1, 2, 3, 4]
    assert await letters(workshop) == []


async def test_a_retry_that_fails_is_dead_again_and_is_not_repeated(workshop: Workshop) -> None:
    node = await poisoned(workshop)
    assert await node.retry_dead_letters(consumer="toy.echo", key=None) == 1

    async def tried() -> bool:
        rows = await workshop.sql("SELECT max(attempts) FROM bus.dead_letters")
        return bool(rows[0][0] == 2)

    await until(tried, "a second attempt")
    assert await echo_of(node).retry(node.vocabulary) == 0
    assert await tried(), "nobody asked for a third"
    assert await letters(workshop) == [
        ("bad", 1, "dead"),
        ("bad", 2, "parked"),
        ("bad", 3, "parked"),
    ]


async def test_the_next_poison_of_a_key_stops_it_again(workshop: Workshop) -> None:
    node = await poisoned(workshop)
    workshop.hands_of(node).poisons = {("bad", 2)}
    await node.retry_dead_letters(consumer=None, key=None)

    async def stopped() -> bool:
        return await letters(workshop) == [("bad", 2, "dead"), ("bad", 3, "parked")]

    await until(stopped, "the second to be dead")
    assert (await workshop.sequences())["bad"] == [1]
    await workshop.touch("bad", 4, 4)
    await workshop.at_rest(node)
    assert (await letters(workshop))[-1] == ("bad", 4, "parked")


async def test_dropping_a_letter_frees_those_behind_it(workshop: Workshop) -> None:
    node = await poisoned(workshop)
    await node.drop_dead_letter(consumer="toy.echo", key="bad")
    await node.drop_dead_letter(consumer="toy.echo", key="bad")  # twice: the parked ones stay
    await until_empty(workshop)
    assert (await workshop.sequences())["bad"] == [2, 3]


async def test_a_drop_does_not_try_the_next_poison_for_ever(workshop: Workshop) -> None:
    node = await poisoned(workshop)
    workshop.hands_of(node).poisons = {("bad", 2)}
    await node.drop_dead_letter(consumer="toy.echo", key="bad")

    async def stopped() -> bool:
        return await letters(workshop) == [("bad", 2, "dead"), ("bad", 3, "parked")]

    await until(stopped, "the second to be dead")
    for _ in range(3):
        await echo_of(node).retry(node.vocabulary)
    rows = await workshop.sql("SELECT attempts FROM bus.dead_letters WHERE state = 'dead'")
    assert [row[0] for row in rows] == [1]


async def test_dropping_the_only_letter_of_a_key_frees_the_key(workshop: Workshop) -> None:
    """Nothing waits behind it: what comes next must run, not wait behind nothing."""
    node = await workshop.start("one")
    workshop.hands_of(node).poisons = {("bad", 1)}
    await workshop.touch("bad", 1, 1)
    await until_true(lambda: bool(echo_of(node).blocked), "the key to be blocked")
    await node.drop_dead_letter(consumer="toy.echo", key="bad")
    await workshop.touch("bad", 2, 2)
    assert await workshop.until_handled(1) == {"bad": [2]}
    await until_empty(workshop)


async def test_letters_survive_a_restart(workshop: Workshop) -> None:
    """The next process knows which keys wait, before it handles anything."""
    await workshop.crash(await poisoned(workshop))
    node = await workshop.start("two")
    await workshop.append(Touched(sequence=4, thing_id="bad"), Touched(sequence=2, thing_id="t1"))
    await workshop.until_handled(51)
    await workshop.at_rest(node)
    assert [state for _, _, state in await letters(workshop)] == ["dead", *["parked"] * 3]
    await node.retry_dead_letters(consumer=None, key=None)
    await until_empty(workshop)
    assert (await workshop.sequences())["bad"] == [1, 2, 3, 4]


async def test_two_consumers_stumble_apart(workshop: Workshop) -> None:
    """A letter that is dead for one consumer is handled by the other."""
    node = await workshop.start("one", consumers=("echo", "other"))
    handle = echo_of(node).handler

    async def only_echo_fails(tx: Any, events: Sequence[Any]) -> Any:
        assert not any(event.subject == "bad" for event in events)
        return await handle(tx, events)

    echo_of(node).handler = only_echo_fails
    await workshop.append(Touched(sequence=1, thing_id="bad"), Touched(sequence=1, thing_id="good"))
    assert await workshop.until_handled(2, "other") == {"bad": [1], "good": [1]}
    assert await workshop.until_handled(1) == {"good": [1]}


async def test_a_fault_that_passes_kills_no_message(workshop: Workshop) -> None:
    """The database going away is not the message's fault, however often."""
    node = await workshop.start("one")
    work = echo_of(node)
    handle, failures = work.handler, iter(range(6))

    async def unlucky(tx: Any, events: Sequence[Any]) -> Any:
        if next(failures, None) is not None:
            raise ConnectionResetError
        return await handle(tx, events)

    work.handler = unlucky
    await workshop.touch("a", 1, 1)
    assert await workshop.until_handled(1) == {"a": [1]}
    assert await letters(workshop) == []


async def test_an_error_that_postgres_cannot_store_is_stored_anyway(workshop: Workshop) -> None:
    """NUL and lone surrogates in an error's text must not stop the consumer."""
    node = await workshop.start("one")
    hands = workshop.hands_of(node)
    hands.poisons, hands.error = {("bad", 1)}, "what is \x00 and \ud800?" + "x" * 5_000 + "the end"
    await workshop.append(Touched(sequence=1, thing_id="bad"), Touched(sequence=1, thing_id="good"))
    assert await workshop.until_handled(1) == {"good": [1]}
    await until_true(lambda: bool(echo_of(node).blocked), "the letter")
    (letter,) = await node.dead_letters(consumer=None, parked=False, count_max=10)
    assert letter.error.rstrip().endswith("the end"), "the end of a traceback says most"


async def test_a_zombie_may_not_retry(workshop: Workshop) -> None:
    """The letter was tried by its new holder; the old one must neither run it nor bury it anew."""
    node = await poisoned(workshop)
    work = echo_of(node)
    stop_retrying(node)
    await workshop.sql("UPDATE bus.offsets SET epoch = epoch + 1 WHERE consumer = 'toy.echo'")
    await workshop.sql("UPDATE bus.dead_letters SET state = 'retry' WHERE state = 'dead'")
    workshop.hands_of(node).poisons = set()
    with pytest.raises(LeaseLost):
        await work.retry(node.vocabulary)
    assert "bad" not in await workshop.sequences()
    assert [state for _, _, state in await letters(workshop)] == ["retry", "parked", "parked"]


async def test_a_letter_dropped_while_it_is_tried_stays_dropped(workshop: Workshop) -> None:
    node = await poisoned(workshop)
    work = echo_of(node)
    stop_retrying(node)
    handle = work.handler

    async def drop_first(tx: Any, events: Sequence[Any]) -> Any:
        await workshop.sql("DELETE FROM bus.dead_letters WHERE key = 'bad'")
        return await handle(tx, events)

    work.handler = drop_first
    await workshop.sql("UPDATE bus.dead_letters SET state = 'retry' WHERE state = 'dead'")
    await work.retry(node.vocabulary)
    assert await letters(workshop) == []
    assert "bad" not in await workshop.sequences(), "the deleted ones are gone, with their effects"


async def test_a_burial_is_not_forgotten_by_a_look_at_the_same_time(workshop: Workshop) -> None:
    """A partition is taken over while a batch of another one buries a letter. The list of blocked
    keys that was read just before must not replace the one that knows better."""
    node = await workshop.start("one")
    work = echo_of(node)
    workshop.hands_of(node).poisons = {("bad", 1)}
    looked, go_on = asyncio.Event(), asyncio.Event()
    blocked_keys = dead_letters.blocked_keys

    async def slowly(connection: Any, consumer: str) -> set[str]:
        keys = await blocked_keys(connection, consumer)
        looked.set()
        await go_on.wait()
        return keys

    dead_letters.blocked_keys = slowly
    try:
        looking = asyncio.create_task(work.learn_blocked())
        await looked.wait()
        await workshop.touch("bad", 1, 1)
        await until_true(lambda: "bad" in work.blocked, "the burial")
        go_on.set()
        await looking
    finally:
        dead_letters.blocked_keys = blocked_keys
    await workshop.touch("bad", 2, 2)
    await workshop.at_rest(node)
    assert [state for _, _, state in await letters(workshop)] == ["dead", "parked"]


async def test_conflicts_make_batches_smaller_and_kill_nothing(workshop: Workshop) -> None:
    """A deadlock is decided anew in halves, never buried."""
    node = await workshop.start("one")
    work = echo_of(node)
    handle, sizes = work.handler, []

    async def crowded(tx: Any, events: Sequence[Any]) -> Any:
        sizes.append(len(events))
        if len(events) > 2:
            raise asyncpg.DeadlockDetectedError("too many at once")
        return await handle(tx, events)

    work.handler = crowded
    await workshop.append(*(Touched(sequence=1, thing_id=f"t{n}") for n in range(8)))
    await workshop.until_handled(8)
    assert sizes[0] > 2 and sizes[-1] <= 2
    assert await letters(workshop) == []
