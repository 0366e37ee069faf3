"""What is remembered is never believed for too long, and never grows without end."""

import asyncio
from collections.abc import Sequence

import pytest

from tradewind.platform.cache import memory as module
from tradewind.platform.cache.memory import FRESH_S, LOOK_AFTER_S, Change, Depends, Memory, Seen


class Database:
    """Something to look at: commits with numbers, and a clock that tests turn."""

    def __init__(self) -> None:
        self.now = 100.0
        self.commits: list[Change] = []
        self.fails = False
        self.gate: asyncio.Event | None = None
        self.looks = 0

    async def look(self, since: str | None) -> Seen:
        """The changes behind a place: how many commits there were."""
        self.looks += 1
        seen = len(self.commits)
        if self.fails:
            raise ConnectionError("nobody answers")
        if self.gate is not None:
            await self.gate.wait()
        return Seen(str(seen), self.commits[int(since) : seen] if since is not None else ())


class Shelf:
    """A memory and its database, and reads of answers named by what they depend on."""

    def __init__(self, *, bytes_max: int = 1_000_000) -> None:
        self.database = Database()
        self.memory = Memory(
            self.database.look, bytes_max=bytes_max, timer=lambda: self.database.now
        )

    def read(self, key: str, depends: Depends, size: int = 10) -> bool:
        """A read that takes no time."""
        return self.memory.keep(key, f"the {key}", size, depends, mark=self.memory.mark())

    async def look(self) -> None:
        """Let the due look come back."""
        self.memory.find("?")
        await turns()

    def change(self, key: str, *, deep: bool = False) -> None:
        """Something commits."""
        self.database.commits.append(Change(key, deep))


async def turns() -> None:
    """Some turns of the loop: what is ready is done."""
    for _ in range(5):
        await asyncio.sleep(0)


async def begun() -> Shelf:
    """A memory that has looked."""
    shelf = Shelf()
    await shelf.look()
    return shelf


LAMP = Depends(keys=frozenset({"lamp"}))


async def test_nothing_is_remembered_before_the_first_look() -> None:
    """A change between the read and the first look would never be heard of."""
    shelf = Shelf()
    assert not shelf.read("lamp", LAMP)
    await shelf.look()
    assert shelf.read("lamp", LAMP)
    assert shelf.memory.find("lamp") == "the lamp"


async def test_an_answer_counts_from_the_moment_the_look_was_sent() -> None:
    shelf = await begun()
    shelf.read("lamp", LAMP)
    shelf.database.gate = asyncio.Event()
    shelf.database.now += LOOK_AFTER_S * 1.01
    assert shelf.memory.find("lamp")  # starts a look that takes its time
    sent_at = shelf.database.now
    await turns()
    shelf.database.now += FRESH_S
    assert shelf.memory.find("lamp") is None
    shelf.database.gate.set()
    await turns()
    shelf.database.now = sent_at + FRESH_S * 0.99
    assert shelf.memory.find("lamp")
    shelf.database.gate = asyncio.Event()
    shelf.database.now = sent_at + FRESH_S * 1.01
    assert shelf.memory.find("lamp") is None


async def test_a_process_that_was_stopped_believes_nothing_at_first() -> None:
    """The clock went on, and the first request after it must not be answered from memory."""
    shelf = await begun()
    shelf.read("lamp", LAMP)
    shelf.change("lamp")
    shelf.database.now += 60
    assert shelf.memory.find("lamp") is None
    await turns()
    assert shelf.memory.find("lamp") is None
    assert shelf.memory.is_fresh


async def test_who_is_out_of_breath_waits_for_a_look_of_his_own() -> None:
    """Looks that take longer than an answer counts must not mean that nothing is ever known: a look
    that began after the question has seen all that was committed before it.
    """
    shelf = await begun()
    shelf.database.gate = asyncio.Event()
    shelf.database.now += 60
    shelf.memory.find("?")  # a look begins, and is slow
    await turns()
    asked = asyncio.create_task(shelf.memory.fresh())
    shelf.database.now += FRESH_S * 2
    await turns()
    assert not asked.done()
    shelf.database.gate.set()  # the first look comes back too late, and began before the question
    await turns()
    assert await asked
    assert shelf.database.looks == 3
    assert await shelf.memory.fresh()
    assert shelf.database.looks == 3, "nothing is waited for while the last look counts"


async def test_a_slow_look_of_ones_own_is_enough() -> None:
    """Even where it takes longer than what it saw counts for others."""
    shelf = await begun()
    shelf.database.gate = asyncio.Event()
    shelf.database.now += 60
    asked = asyncio.create_task(shelf.memory.fresh())
    await turns()
    shelf.database.now += FRESH_S * 3
    shelf.database.gate.set()
    assert await asked
    assert not shelf.memory.is_fresh
    shelf.database.fails = True
    assert not await shelf.memory.fresh(), "a look that fails has seen nothing"


@pytest.mark.parametrize(
    ("depends", "change", "ends"),
    [
        (Depends(keys=frozenset({"b"})), Change("b", False), True),
        (Depends(keys=frozenset({"b"})), Change("c", True), False),
        (Depends(span=("b", "d")), Change("b", False), True),
        (Depends(span=("b", "d")), Change("c", False), True),
        (Depends(span=("b", "d")), Change("d", True), False),
        (Depends(span=("b", "d")), Change("a", True), False),
        (Depends(keys=frozenset({"b"}), deep=True), Change("z", False), False),
        (Depends(keys=frozenset({"b"}), deep=True), Change("z", True), True),
    ],
)
async def test_a_change_ends_what_depends_on_it(
    depends: Depends, change: Change, ends: bool
) -> None:
    """Both when it was remembered before the change, and when it was read while the look ran."""
    shelf = await begun()
    assert shelf.read("before", depends)
    mark = shelf.memory.mark()
    shelf.change(change.key, deep=change.deep)
    await shelf.memory.look_now()
    assert (shelf.memory.find("before") is None) is ends
    assert shelf.memory.keep("meanwhile", "old", 10, depends, mark=mark) is not ends


async def test_many_changes_at_once_end_all_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing each with each would stop the process: a read each is cheaper."""
    monkeypatch.setattr(module, "COMPARISONS_MAX", 5)
    shelf = await begun()
    shelf.read("list", Depends(span=("a", "b")))
    for number in range(6):
        shelf.change(f"x{number}")
    await shelf.memory.look_now()
    assert shelf.memory.find("list") is None


async def test_a_look_that_fails_forgets_everything() -> None:
    """The server may have crashed, and give the numbers of its transactions again."""
    shelf = await begun()
    shelf.read("lamp", LAMP)
    mark = shelf.memory.mark()
    shelf.database.fails = True
    shelf.database.now += LOOK_AFTER_S * 1.01
    assert shelf.memory.find("lamp")
    await turns()
    assert shelf.memory.find("lamp") is None
    shelf.database.fails = False
    shelf.database.now += 1
    await shelf.look()
    assert shelf.memory.is_fresh
    assert shelf.memory.find("lamp") is None
    assert not shelf.memory.keep("lamp", "old", 10, LAMP, mark=mark)
    assert shelf.read("lamp", LAMP)


async def test_failing_looks_come_one_after_the_other() -> None:
    shelf = await begun()
    shelf.database.fails = True
    shelf.database.now += 1
    for _ in range(50):
        await shelf.look()
    assert shelf.database.looks == 2


async def test_a_read_that_outlasts_what_is_kept_of_looks_is_not_remembered() -> None:
    """Nobody knows any more what changed since it began."""
    shelf = await begun()
    mark = shelf.memory.mark()
    for number in range(module.LOOKS_KEPT_MAX + 1):
        shelf.change(f"x{number}")
        await shelf.memory.look_now()
    assert not shelf.memory.keep("lamp", "old", 10, LAMP, mark=mark)


async def test_looking_now_waits_for_a_look_that_began_afterwards() -> None:
    """One that was under way may have been sent before the commit."""
    shelf = await begun()
    shelf.read("lamp", LAMP)
    shelf.database.gate = asyncio.Event()
    shelf.database.now += LOOK_AFTER_S * 1.01
    shelf.memory.find("lamp")
    await turns()  # it has seen the database before the change
    shelf.change("lamp")
    waiting = asyncio.create_task(shelf.memory.look_now())
    await turns()
    shelf.database.gate.set()
    await waiting
    assert shelf.memory.find("lamp") is None


async def test_memory_is_bounded_and_the_longest_unused_goes() -> None:
    sizes: Sequence[int] = [1_000] * 20
    shelf = Shelf(bytes_max=8 * (1_000 + module.ENTRY_BYTES))
    await shelf.look()
    for number, size in enumerate(sizes):
        assert shelf.read(f"k{number}", Depends(keys=frozenset({f"p{number % 3}"})), size)
        shelf.memory.find("k0")
    assert len(shelf.memory) == 8
    assert shelf.memory.size <= shelf.memory.bytes_max
    assert shelf.memory.find("k0") and shelf.memory.find("k19")
    assert shelf.memory.find("k1") is None
    assert not shelf.read("huge", LAMP, shelf.memory.bytes_max)
    for number in range(3):
        shelf.change(f"p{number}")
    await shelf.memory.look_now()
    assert (len(shelf.memory), shelf.memory.size) == (0, 0)


async def test_nothing_is_looked_at_while_nobody_asks() -> None:
    shelf = await begun()
    shelf.database.now += 3_600
    await turns()
    assert shelf.database.looks == 1


async def test_closed_it_looks_no_more() -> None:
    shelf = await begun()
    shelf.read("lamp", LAMP)
    await shelf.memory.close()
    assert shelf.memory.find("lamp") is None
    await turns()
    assert shelf.database.looks == 1


async def test_who_keeps_something_made_of_everything_hears_what_he_asked_for() -> None:
    """Of deep changes, or of all; and an answer made of everything ends with any of them."""
    shelf = await begun()
    deep, wide = shelf.memory.follow(), shelf.memory.follow(wide=True)
    for key, depends in (("found", Depends(deep=True)), ("sold", Depends(wide=True))):
        assert shelf.read(key, depends)
    shelf.change("price")
    await shelf.memory.look_now()
    assert (deep.keys, wide.keys) == (set(), {"price"})
    assert shelf.memory.find("found") and shelf.memory.find("sold") is None
    shelf.change("title", deep=True)
    await shelf.memory.look_now()
    assert (deep.keys, wide.keys) == ({"title"}, {"price", "title"})
    assert shelf.memory.find("found") is None
    assert len(shelf.memory) == 0 and shelf.memory.size == 0


async def test_what_nobody_asks_again_does_not_push_out_what_it_is_made_of() -> None:
    """Searches by the thousand, each another one, over the same few products."""
    shelf = Shelf(bytes_max=100_000)
    await shelf.look()
    for number in range(40):
        shelf.read(f"product {number}", Depends(keys=frozenset({f"{number}"})))
    for number in range(1_000):
        shelf.read(f"search {number}", Depends(keys=frozenset({"1", "2"})), 3_000)
    assert all(shelf.memory.find(f"product {number}") for number in range(40))
    assert shelf.memory.find("search 999") is None
    assert shelf.read("search 999", Depends(keys=frozenset({"1", "2"})), 3_000)
    assert shelf.memory.find("search 999"), "the second time it is worth the room"
