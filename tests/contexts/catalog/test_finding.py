"""Searches over HTTP, by the index of a process and by the rows where it has none."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.contexts.catalog.factories import variant
from tests.contexts.catalog.test_hostile_inputs import cases
from tests.contexts.catalog.test_memory import Process
from tests.contexts.catalog.test_queries import HOSTILE
from tradewind.contexts.catalog.handlers.availability import remember_availability
from tradewind.contexts.catalog.queries import indexing
from tradewind.contexts.catalog.queries.indexing import Keeper
from tradewind.contexts.catalog.rules import entries
from tradewind.contexts.catalog.rules.entries import Entry, Ware
from tradewind.contexts.inventory.events import AvailabilityChanged
from tradewind.testing.database import UnitRunner

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORDS = ("red", "lamps", "the", "running", "box", "boxes", "café", "t-light", "2nd", "light", "set")
FACETS = "category,categories,brand,price,availability,colour"
SETTINGS = "/v1/search/settings"
KNOWN_AFTER_S = 1.0


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
            attributes={
                "colour": chance.choice(("red", "blue", None)),
                "brand": chance.choice(("Acme", "Bolt")),
                "size": number % 3,
            },
            variants=[variant(f"W-{number}", f"{number % 7 + 1}.50")],
        )
    await process.put("tv", title="Television", variants=[variant("TV-1", "300")])
    yield process
    await process.stop()


async def search(process: Process, text: str, **more: str) -> Any:
    """What a search answers."""
    query = "".join(f"&{quote(name)}={quote(value)}" for name, value in more.items())
    answer = await process.get(f"/v1/search?q={quote(text)}{query}")
    assert answer.status == 200, answer.body
    return answer.json


async def ids(process: Process, text: str, **more: str) -> list[str]:
    return [item["external_id"] for item in (await search(process, text, **more))["items"]]


async def bare(process: Process) -> Process:
    """A process that remembers nothing, so it has no index. It is closed with its pool."""
    return Process(process.node.pool.dsn, memory_mb=0)


@pytest.mark.parametrize("category", ["", "Home", "Home/Light", "Nowhere"])
@pytest.mark.parametrize("text", ["red", "lamp", "red box", "W-3", "running", "red or lamp", ""])
async def test_index_and_rows_find_and_count_the_same(
    process: Process, text: str, category: str
) -> None:
    """Where every product has all the words; in an order of their own."""
    rows = await bare(process)
    try:
        asked = {"category": category, "facets": FACETS, "limit": "100", "match": "all"}
        from_index, from_rows = (
            await search(process, text, **asked),
            await search(rows, text, **asked),
        )
        found, there = (
            {item["id"] for item in answer["items"]} for answer in (from_index, from_rows)
        )
        assert found == there
        assert from_index["facets"] == from_rows["facets"]
        assert from_index["total"] == from_rows["total"] == len(found)
        assert from_index["exact"] and from_rows["exact"]
    finally:
        await rows.node.pool.close()


async def test_a_facet_is_a_filter_and_does_not_narrow_itself(process: Process) -> None:
    everything = await search(process, "", facets=FACETS, limit="100")
    for facet in FACETS.split(","):
        for value in everything["facets"][facet]:
            name = f"filter[{facet}]"
            left = await search(process, "", facets=FACETS, limit="100", **{name: value["value"]})
            assert left["facets"][facet] == everything["facets"][facet]
            if facet != "category":  # there, what stands below it counts with it
                assert left["total"] == len(left["items"]) == value["count"]


async def test_filters_add_up_and_values_of_one_stand_for_each_other(process: Process) -> None:
    path = "/v1/search?limit=100&filter[colour]=red&filter[colour]=blue&filter[brand]=Acme"
    items = (await process.get(f"{path}&filter[price]=2..4")).json["items"]
    assert items
    for item in items:
        assert item["attributes"]["colour"] in ("red", "blue")
        assert item["attributes"]["brand"] == "Acme"
        assert 2 <= float(item["variants"][0]["price"]["amount"]) <= 4
    assert (await ids(process, "", **{"filter[colour]": "nowhere"})) == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("filter[price]=cheap", "filter[price]"),
        ("filter[price]=9..1", "filter[price]"),
        ("filter=red", "filter"),
        ("filter[colour=red", "filter[colour"),
        ("sort=best", "sort"),
        ("currency=euro", "currency"),
        ("match=some", "match"),
        ("cursor=WzEsMl0", "cursor"),
        ("q=" + "a" * 201, "q"),
    ],
)
async def test_what_is_wrong_is_named(process: Process, query: str, parameter: str) -> None:
    refused = await process.get(f"/v1/search?{query}")
    assert refused.status == 400, refused.body
    assert refused.json["errors"][0]["pointer"] == parameter


async def test_it_can_be_sorted(process: Process) -> None:
    async def of(sort: str, name: str) -> list[Any]:
        items = (await search(process, "", sort=sort, limit="100"))["items"]
        assert len(items) == 41
        return [
            float(item["variants"][0]["price"]["amount"]) if name == "price" else item[name]
            for item in items
        ]

    prices = await of("price", "price")
    assert prices == sorted(prices)
    assert await of("-price", "price") == prices[::-1]
    newest = await of("newest", "id")
    assert newest == sorted(newest, reverse=True)
    by_title = [title.replace("é", "e").replace("-", "") for title in await of("title", "title")]
    assert by_title == sorted(by_title, key=str.lower)


@pytest.mark.parametrize("sort", ["relevance", "price", "-price", "newest", "title"])
async def test_pages_go_on_where_they_began(process: Process, sort: str) -> None:
    """Also in another process, and where the index has to be made anew in between."""
    other = Process(process.node.pool.dsn)
    await other.node.start()
    try:
        whole = (await search(process, "red", sort=sort, limit="100"))["items"]
        paged: list[Any] = []
        cursor: dict[str, str] = {}
        number = 0
        while True:
            asked = (process, other)[number % 2]
            if number % 3 == 2:
                asked.memory.forget()
            page = await search(asked, "red", sort=sort, limit="4", **cursor)
            paged += page["items"]
            if page["next"] is None:
                break
            cursor, number = {"cursor": page["next"]}, number + 1
        assert paged == whole
        refused = await process.get(
            f"/v1/search?q=red&sort={'title' if sort != 'title' else 'price'}"
            f"&cursor={cursor['cursor']}"
        )
        assert refused.status == 400
    finally:
        await other.stop()


async def test_a_cursor_of_the_rows_goes_on_in_the_rows(process: Process) -> None:
    """A search that began before the index was there keeps its order."""
    rows = await bare(process)
    try:
        whole = (await search(rows, "red", limit="100"))["items"]
        first = await search(rows, "red", limit="4")
        rest = await search(process, "red", limit="100", cursor=first["next"])
        assert first["items"] + rest["items"] == whole
    finally:
        await rows.node.pool.close()


CHANGES: dict[str, tuple[dict[str, Any], str, dict[str, str]]] = {
    "a title": ({"title": "Zebra"}, "zebra", {}),
    "a price": ({"title": "Zebra", "variants": [variant("Z-1", "77")]}, "zebra", {"p": "70..80"}),
    "a flag of a variant": (
        {"title": "Zebra", "variants": [variant("Z-1") | {"attributes": {"striped": True}}]},
        "",
        {"striped": "true"},
    ),
    "a colour": ({"title": "Zebra", "attributes": {"colour": "teal"}}, "", {"colour": "teal"}),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_is_found_at_once(process: Process, what: str) -> None:
    """By whoever made it; and gone with the product."""
    fields, text, filters = CHANGES[what]
    asked = {f"filter[{'price' if name == 'p' else name}]": v for name, v in filters.items()}
    assert "zebra" not in await ids(process, text, **asked)
    if what == "a flag of a variant":  # of which no word says anything
        await process.put("zebra", title="Zebra", variants=[variant("Z-1")])
        assert "zebra" not in await ids(process, text, **asked)
    fields = {"variants": [variant("Z-1")], **fields}
    assert (await process.put("zebra", **fields)).status in (200, 201)
    try:
        assert await ids(process, text, **asked) == ["zebra"]
    finally:
        await process.send("DELETE", "/v1/products/zebra")
    assert "zebra" not in await ids(process, text, **asked)


async def test_availability_is_followed(process: Process, unit: UnitRunner) -> None:
    """Though no word of the product has changed."""
    asked = {"filter[availability]": "in_stock", "limit": "100"}
    assert "w-5" not in await ids(process, "", **asked)
    event = AvailabilityChanged(sku="W-5", availability="in_stock", sequence=1)
    await unit.run("catalog", remember_availability, [event])
    began = time.monotonic()
    while "w-5" not in await ids(process, "", **asked):
        assert time.monotonic() - began < KNOWN_AFTER_S
        await asyncio.sleep(0.01)


async def test_synonyms_work_in_every_process_without_a_restart(process: Process) -> None:
    other = Process(process.node.pool.dsn)
    await other.node.start()
    try:
        for one in (process, other):
            assert await ids(one, "goggle box") == []
        body = b'{"synonyms": ["goggle box => television"]}'
        assert (await process.send("PUT", SETTINGS, body)).status == 200
        began = time.monotonic()
        for one in (process, other):
            while await ids(one, "goggle box") != ["tv"]:
                assert time.monotonic() - began < KNOWN_AFTER_S
                await asyncio.sleep(0.01)
        kept = (await process.send("GET", SETTINGS)).json
        assert kept == {
            "language": "english",
            "brand": [],
            "synonyms": ["goggle box => television"],
        }
        assert (await process.get(SETTINGS)).status == 401
    finally:
        assert (await process.send("PUT", SETTINGS, b"{}")).status == 200
        await other.stop()
    assert await ids(process, "goggle box") == []


async def test_another_language_is_read_anew(process: Process) -> None:
    await process.put("de", title="Gläserne Lampen", variants=[variant("DE-1")])
    body = b'{"language": "german", "brand": ["size"]}'
    assert (await process.send("PUT", SETTINGS, body)).status == 200
    try:
        assert "de" in await ids(process, "glasern lampe")
        brands = (await search(process, "", facets="brand"))["facets"]["brand"]
        assert brands == []  # sizes are numbers here, and no brands
    finally:
        await process.send("PUT", SETTINGS, b"{}")
        await process.send("DELETE", "/v1/products/de")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"language": "klingon"}', "/language"),
        (b'{"synonyms": ["a => b", "tv"]}', "/synonyms/1"),
    ],
)
async def test_settings_that_cannot_be_are_refused(
    process: Process, body: bytes, pointer: str
) -> None:
    refused = await process.send("PUT", SETTINGS, body)
    assert (refused.status, refused.json["code"]) == (422, "invalid_search_settings")
    assert refused.json["errors"][0]["pointer"] == pointer


async def test_it_says_what_it_looked_for_instead(process: Process) -> None:
    found = await search(process, "televisoin")
    assert [item["external_id"] for item in found["items"]] == ["tv"]
    assert found["did_you_mean"] == "television"
    assert (await search(process, "television"))["did_you_mean"] is None


async def test_suggestions_while_somebody_types(process: Process) -> None:
    found = (await process.get("/v1/search/suggest?q=tele")).json
    assert found["queries"] == ["television"]
    assert [product["external_id"] for product in found["products"]] == ["tv"]
    found = (await process.get("/v1/search/suggest?q=red%20li&limit=3")).json
    assert set(found["queries"]) == {"red light"}
    assert len(found["products"]) == 3
    assert found["categories"] == []
    home = (await process.get("/v1/search/suggest?q=hom")).json["categories"]
    assert [one["path"] for one in home] == ["Home"]
    assert home[0]["count"] == (await search(process, "", category="Home"))["total"]
    assert (await process.get("/v1/search/suggest?q=")).json["products"] == []


@pytest.mark.parametrize("phrase", ["red box", "light set", "lamps running"])
async def test_words_in_quotes_stand_in_this_order(process: Process, phrase: str) -> None:
    rows = await bare(process)
    try:
        found = set(await ids(process, f'"{phrase}"', limit="100"))
        assert found == set(await ids(rows, f'"{phrase}"', limit="100"))
        assert found < set(await ids(process, phrase, limit="100", match="all"))
    finally:
        await rows.node.pool.close()


@pytest.mark.parametrize(
    "text",
    [
        *(text for text in HOSTILE if "\x00" not in text and text.isprintable()),
        *(" ".join(["word"] * 40), "\U0001f600" * 50, "שלום עולם", "a -b or -c or " * 10),
        *('"' * 99, "-" * 199, '-"', '" or "', "- or -", "or", "filter[x]", "1" * 200, "é" * 200),
    ],
)
async def test_nothing_that_is_typed_breaks_a_search(process: Process, text: str) -> None:
    for target in (f"/v1/search?q={quote(text)}", f"/v1/search/suggest?q={quote(text)}"):
        assert (await process.get(target)).status in (200, 400)
    assert await ids(process, "television") == ["tv"]


async def test_a_text_of_ten_kilobytes_is_refused(process: Process) -> None:
    for text in ("word " * 2_000, "a" * 10_000):
        assert (await process.get(f"/v1/search?q={quote(text)}")).status == 400


async def test_a_shop_that_is_too_large_is_searched_in_its_rows(process: Process) -> None:
    large = Process(process.node.pool.dsn)
    large.memory.companions_bytes_max = 1_000
    try:
        assert set(await ids(large, "red", limit="100")) == set(
            await ids(process, "red", limit="100")
        )
        assert (await large.get("/v1/search?q=television&limit=1")).json["did_you_mean"] is None
        assert large.memory.companion(Keeper)._index is None
    finally:
        await large.memory.close()
        await large.node.pool.close()


async def test_of_very_many_some_are_taken_and_it_says_so(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradewind.contexts.catalog.queries.rows.TAKEN_MAX", 5)
    rows = await bare(process)
    try:
        found = await search(rows, "red", limit="100")
        assert 5 <= found["total"] <= 10 and not found["exact"]
        assert (await ids(rows, "TV-1"))[0] == "tv"
    finally:
        await rows.node.pool.close()


async def test_many_ask_while_it_is_made(process: Process) -> None:
    """One makes it, all get an answer, and the same one."""
    process.memory.forget()
    urls = [f"/v1/search?q=red&limit={limit}" for limit in (5, 6, 7, 8)] * 4
    answers = await asyncio.gather(*(process.get(url) for url in urls))
    assert {answer.status for answer in answers} == {200}
    firsts = {answer.json["items"][0]["id"] for answer in answers}
    assert len(firsts) == 1


async def test_it_is_packed_while_it_follows(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes that come while others are indexed are not lost."""
    monkeypatch.setattr("tradewind.contexts.catalog.rules.index.RECENT_MAX", 1)
    monkeypatch.setattr(indexing, "CHUNK", 3)
    await search(process, "red")

    async def change(number: int) -> None:
        await process.put(
            f"p-{number}", title=f"Packed {number}", variants=[variant(f"P-{number}")]
        )
        assert f"p-{number}" in await ids(process, "packed", limit="100")

    await asyncio.gather(*(change(number) for number in range(12)))
    assert len(await ids(process, "packed", limit="100")) == 12


async def test_an_index_whose_connection_was_lost_is_mended(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what differs is read: new, changed, gone; while nobody looked."""
    for name in ("m-1", "m-2", "m-3"):
        await process.put(name, title=f"Mended {name}", variants=[variant(name)])
    assert set(await ids(process, "mended")) == {"m-1", "m-2", "m-3"}
    process.memory.forget()
    await process.send("DELETE", "/v1/products/m-1")
    await process.put("m-2", title="Changed", variants=[variant("m-2")])
    await process.put("m-4", title="Mended m-4", variants=[variant("m-4")])
    read: list[str] = []
    entry_of = entries.entry_of

    def noted(ware: Ware, *rest: Any) -> Entry:
        read.append(ware.external_id)
        return entry_of(ware, *rest)

    monkeypatch.setattr(entries, "entry_of", noted)
    assert set(await ids(process, "mended")) == {"m-3", "m-4"}
    assert set(read) == {"m-2", "m-4"}


async def test_naughty_strings_can_be_looked_for(process: Process) -> None:
    """What cannot be told in an address is refused by name; all else finds something or nothing."""
    for case in cases("naughty_strings"):
        text = quote(case["s"].encode("utf-8", "replace").decode()[:150])
        for target in (f"/v1/search?q={text}", f"/v1/search?filter[{text}]={text}&facets={text}"):
            answer = await process.get(target)
            assert answer.status in (200, 400), (answer.status, case)
    assert await ids(process, "television") == ["tv"]
