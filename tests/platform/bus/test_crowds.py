"""Backpressure: what begins something waits while what follows is behind; a full queue says so."""

import asyncio
from typing import ClassVar

import pytest

from tests.platform.bus.workshop import Make, Workshop, until_true
from tradewind.platform.bus import batcher
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


async def test_a_node_is_crowded_by_what_its_consumers_have_not_done(workshop: Workshop) -> None:
    node = await workshop.start("one")
    await until_true(lambda: not node.crowded(), "a node at rest")
    work = node.works[0]
    async with work.gate:
        await workshop.touch("a", 1, EVENTS_BEHIND_MAX + 1)
        await until_true(node.crowded, "a crowd")
    await until_true(lambda: not node.crowded(), "a node at rest again")
