"""Backpressure: what begins something waits while what follows is behind; a full queue says so."""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from tests.platform.bus.workshop import Make, Workshop, until_true
from tradewind.kernel.messages import Decision
from tradewind.platform.bus import batcher, consumer
from tradewind.platform.database.transaction import Transaction
from tradewind.platform.node import EVENTS_BEHIND_MAX


class Begin(Make, frozen=True, kw_only=True):
    """Makes a thing that others go on with."""

    begins: ClassVar[bool] = True


async def test_what_begins_something_waits_while_others_are_behind(workshop: Workshop) -> None:
    """And goes, all the same, when they do not get on; what ends something never waits."""
    node = await workshop.start("one")
    desk = node.batchers[Make]
    desk.crowded = lambda: True
    assert (await node.submit(Make(thing_id="not begun"))).status == 201
    waiting = asyncio.create_task(desk.submit(Begin(thing_id="begun")))
    await asyncio.sleep(0.2)
    assert not waiting.done() and len(desk.queue) == 1
    desk.crowded = lambda: False
    assert (await waiting)[0].status == 201


async def test_a_consumer_that_is_stuck_does_not_close_the_door(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher, "HELD_BACK_S_MAX", 0.1)
    node = await workshop.start("one")
    desk = node.batchers[Make]
    desk.crowded = lambda: True
    assert (await desk.submit(Begin(thing_id="begun")))[0].status == 201


async def test_there_is_room_unless_the_queue_is_long_or_slow(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await workshop.start("one", batch_queue_max=3)
    desk = node.batchers[Make]
    desk.crowded = lambda: True
    assert node.has_room(Make)
    waiting = [asyncio.create_task(desk.submit(Begin(thing_id=f"m{n}"))) for n in range(2)]
    await asyncio.sleep(0.05)
    assert node.has_room(Make)
    node.comes(Make, 1)
    assert not node.has_room(Make), "two wait and one is coming"
    node.comes(Make, -1)
    monkeypatch.setattr(batcher, "WAITED_S_MAX", 0.01)
    assert not node.has_room(Make), "the first has waited for long"
    desk.crowded = lambda: False
    await asyncio.gather(*waiting)
    assert node.has_room(Make)


async def test_what_begins_something_waits_for_who_is_about_to_come(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go in one unit. Alone nobody waits, and not longer than a unit takes."""
    node = await workshop.start("one")
    desk = node.batchers[Make]
    sizes: list[int] = []
    handler = desk.handler

    async def counted(tx: Transaction, commands: Sequence[Any]) -> Decision:
        sizes.append(len(commands))
        decision: Decision = await handler(tx, commands)
        return decision

    desk.handler = counted
    monkeypatch.setattr(batcher, "GATHERED_S_MAX", 30.0)
    node.workplace.pace.unit_s = 30.0
    await desk.submit(Begin(thing_id="alone"))
    node.workplace.pace.unit_s = 30.0  # as if units took so long: that one did not
    node.comes(Make, 1)
    first = asyncio.create_task(desk.submit(Begin(thing_id="first")))
    await asyncio.sleep(0.1)
    assert not first.done()
    second = asyncio.create_task(desk.submit(Begin(thing_id="second")))
    await asyncio.sleep(0)
    node.comes(Make, -1)
    await asyncio.gather(first, second)
    assert sizes == [1, 2]

    node.comes(Make, 1)
    node.workplace.pace.unit_s = 0.01
    await desk.submit(Begin(thing_id="not kept waiting"))
    assert sizes == [1, 2, 1]


async def test_what_waits_for_company_is_no_crowd(workshop: Workshop) -> None:
    node = await workshop.start("one")
    await until_true(lambda: not node.crowded(), "a node at rest")
    work = node.works[0]
    async with work.gate:
        await workshop.touch("a", 1, EVENTS_BEHIND_MAX + 1)
        await until_true(node.crowded, "a crowd")
        work.resting = True
        assert not node.crowded()
        work.resting = False
    await until_true(lambda: not node.crowded(), "a node at rest again")


async def test_patience_is_measured_by_the_pace_where_much_comes(workshop: Workshop) -> None:
    """A full batch, or somebody who waits for it, ends it at once."""
    node = await workshop.start("one")
    work, pace = node.works[0], node.workplace.pace
    pace.unit_s = 60.0
    work.last_size = 1
    assert work.patience_s == consumer.PATIENCE_S
    work.last_size = consumer.COMPANY_MIN
    assert work.patience_s == consumer.PATIENCE_S_MAX
    pace.unit_s = 0.02
    assert work.patience_s == consumer.PATIENCE_UNITS * 0.02
    pace.unit_s = 0.001
    assert work.patience_s == consumer.PATIENCE_S
    work.pressing.set()
    async with asyncio.timeout(consumer.PATIENCE_S / 2):
        await work.rest()
    assert not work.resting


async def test_a_node_is_crowded_by_what_its_consumers_have_not_done(workshop: Workshop) -> None:
    node = await workshop.start("one")
    await until_true(lambda: not node.crowded(), "a node at rest")
    work = node.works[0]
    async with work.gate:
        await workshop.touch("a", 1, EVENTS_BEHIND_MAX + 1)
        await until_true(node.crowded, "a crowd")
    await until_true(lambda: not node.crowded(), "a node at rest again")
