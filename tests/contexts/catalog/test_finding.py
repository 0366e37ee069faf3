"""The index answers as the rows do: the same products, the same counts, page by page."""

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from tests.contexts.catalog.factories import variant
from tests.contexts.catalog.test_memory import Process
from tests.contexts.catalog.test_queries import HOSTILE
from tradewind.contexts.catalog import queries
from tradewind.contexts.catalog.queries import Wanted, finding, words_of
from tradewind.testing.database import UnitRunner

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORDS = ("red", "lamps", "the", "running", "box", "boxes", "café", "t-light", "2nd", "light", "set")
SEARCHES = (
    *WORDS,
    *("red box", "the lamp", "lamp or box", "-red", "box -red", "red (", "ru", "red bo", "li"),
    *("the", "the of", "the red", "ca", "caf", "t", "2", "W-3", "w-3", "w-", "red w", "set set"),
    *("RED Box", "  red   box ", "red/box", "red_box", "ORANGE", "or", "or red", "red or"),
)
PHRASES = ('"red box"', "t-light", "a-b-c", "W-3", "w-3")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def process(unit: UnitRunner) -> AsyncIterator[Process]:
    """A process on a shop of forty products."""
    process = Process(unit.dsn)
    await process.node.start()
    chance = random.Random(7)
    for number in range(40):
        await process.put(
            f"w-{number}",
            title=" ".join(chance.choices(WORDS, k=3)),
            description=" ".join(chance.choices(WORDS, k=6)),
            category=chance.choice(("Home", "Home/Light", "Garden", None)),
            attributes={"colour": chance.choice(("red", "blue", None)), "size": number % 3},
            variants=[variant(f"W-{number}")],
        )
    yield process
    await process.stop()


async def both(process: Process, text: str, category: str = "") -> tuple[Any, Any]:
    """What the index finds, and what the rows say: ids and counts."""
    names = ("category", "colour", "size", "none")
    reading = partial(process.node.reading, "catalog")
    found = []
    for indexed in (True, False):
        wanted = Wanted(words_of(text), category, names, 100, indexed=indexed)
        results = await queries.find(process.memory, reading, wanted)
        ids = sorted(one.product_id for one in results.products)
        found.append((ids, results.counted, results.indexed))
    return found[0], found[1]


@pytest.mark.parametrize("category", ["", "Home", "Home/Light", "Nowhere"])
@pytest.mark.parametrize("text", [*SEARCHES, ""])
async def test_it_finds_and_counts_what_the_rows_say(
    process: Process, text: str, category: str
) -> None:
    index, rows = await both(process, text, category)
    assert index[:2] == rows[:2]
    assert index[2] or text in PHRASES


@pytest.mark.parametrize("text", HOSTILE)
async def test_nothing_that_is_typed_makes_a_difference(process: Process, text: str) -> None:
    index, rows = await both(process, text)
    assert index[:2] == rows[:2]


@pytest.mark.parametrize("text", PHRASES)
async def test_the_order_of_words_is_looked_for_in_the_rows(process: Process, text: str) -> None:
    index, rows = await both(process, text)
    assert (index, index[2]) == (rows, False)


async def test_it_keeps_up(process: Process, unit: UnitRunner) -> None:
    """Renamed, archived, back, new, many at once."""
    await both(process, "zebra")
    for change in (
        process.put("w-1", title="Zebra", variants=[variant("W-1")]),
        process.put("w-99", title="Zebra crossing"),
        process.send("DELETE", "/v1/products/w-1"),
        process.put("w-1", title="Zebra", variants=[variant("Z1")]),
        unit.sql("UPDATE catalog.products SET archived = true WHERE external_id = 'w-99'"),
    ):
        await change
        await process.memory.look_now()
        for text in ("zebra", "Z1", "W-1", "zeb"):
            index, rows = await both(process, text)
            assert index[:2] == rows[:2]
            assert index[2] or text == "W-1"


async def test_pages_go_on_where_they_began(process: Process) -> None:
    """Also in another process, and where the index has to be made anew in between."""
    other = Process(process.node.pool.dsn)
    await other.node.start()
    try:
        await process.get("/v1/search?q=red")
        whole = (await process.get("/v1/search?q=red&limit=100")).json["items"]
        paged, cursor, number = [], "", 0
        while True:
            asked = (process, other)[number % 2]
            if number % 3 == 2:
                asked.memory.forget()
            page = (await asked.get(f"/v1/search?q=red&limit=2{cursor}")).json
            paged += page["items"]
            if page["next"] is None:
                break
            cursor, number = f"&cursor={page['next']}", number + 1
        assert paged == whole
    finally:
        await other.stop()


async def test_a_cursor_of_the_rows_goes_on_in_the_rows(process: Process) -> None:
    """A search that began before the index was there keeps its order."""
    bare = Process(process.node.pool.dsn, memory_mb=0)
    try:
        cursor = ""
        paged: list[Any] = []
        for asked in (bare, process, process, process, process, process, process, process):
            page = (await asked.get(f"/v1/search?q=red&limit=4{cursor}")).json
            paged += page["items"]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert paged == (await bare.get("/v1/search?q=red&limit=100")).json["items"][: len(paged)]
        assert len(paged) > 8
    finally:
        await bare.node.pool.close()


async def test_a_shop_that_is_too_large_is_searched_in_its_rows(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "INDEXED_MAX", 10)
    large = Process(process.node.pool.dsn)
    try:
        index, rows = await both(large, "red")
        assert index == rows and not index[2]
    finally:
        await large.memory.close()
        await large.node.pool.close()


async def test_many_ask_while_it_is_made(process: Process) -> None:
    """One makes it, all get an answer, and the same one."""
    process.memory.forget()
    urls = [f"/v1/search?q=red&limit={limit}" for limit in (5, 6, 7, 8)] * 4
    answers = await asyncio.gather(*(process.get(url) for url in urls))
    assert {answer.status for answer in answers} == {200}
    firsts = {answer.json["items"][0]["id"] for answer in answers}
    assert len(firsts) == 1
