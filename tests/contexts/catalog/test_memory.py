"""What shoppers are answered from memory: two processes' worth of it, on a real database."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from tests.contexts.catalog.factories import variant
from tests.contexts.catalog.test_routes import WRITER, Answer, Client
from tradewind import app
from tradewind.contexts.catalog import routes
from tradewind.contexts.catalog.context import CONTEXT
from tradewind.contexts.catalog.handlers.availability import redraw_documents, remember_availability
from tradewind.contexts.inventory.events import AvailabilityChanged
from tradewind.kernel.messages import Redraw
from tradewind.platform.cache.memory import FRESH_S, Memory
from tradewind.platform.gateway.admission import Admission
from tradewind.platform.gateway.asgi import Application
from tradewind.platform.gateway.doors import FrontDoor
from tradewind.platform.gateway.endpoint import Endpoint
from tradewind.platform.security.authentication import Credential
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.settings import Settings
from tradewind.testing.database import UnitRunner

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOPPERS = ("/v1/products?limit=3", "/v1/products?category=Home", "/v1/search?q=lamp&facets=colour")


class Process(Client):
    """A node with its memory, and the application before it."""

    def __init__(self, dsn: str, *, memory_mb: int = 8) -> None:
        settings = Settings(limits=False, memory_mb=memory_mb)
        self.node = app.build_node(settings, dsn, [CONTEXT], Secrets([b"k" * 32]))
        self.memories = app.memories([CONTEXT], self.node)
        endpoints = [Endpoint(route, CONTEXT.name) for route in routes.ROUTES]
        admission = Admission(settings, None)
        super().__init__(
            Application(
                endpoints,
                self.node,
                admission,
                FrontDoor(self.node, authenticate, admission),
                pages=(),
                lifespan=None,
                memories=self.memories,
            )
        )

    @property
    def memory(self) -> Memory:
        return self.memories["catalog"]

    async def hits(self, url: str) -> Answer:
        """An answer that comes from memory."""
        for _ in range(100):
            answer = await self.get(url)
            if self.memory.find(url.encode()) is not None:
                return answer
            await asyncio.sleep(0.005)
        raise AssertionError(f"{url} is not remembered")

    async def stop(self) -> None:
        for memory in self.memories.values():
            await memory.close()
        await self.node.stop()


async def authenticate(token: str) -> Credential | None:
    return WRITER if token == "writer" else None


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two(unit: UnitRunner) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes on one database; the first has products."""
    processes = Process(unit.dsn), Process(unit.dsn)
    for process in processes:
        await process.node.start()
    while processes[0].node.members.alone:
        await asyncio.sleep(0.01)
    for number in range(5):
        await processes[0].put(
            f"lamp-{number}", title=f"Lamp {number}", category="Home", attributes={"colour": "red"}
        )
        await asyncio.sleep(0.002)  # ids of one millisecond are unordered
    yield processes
    for process in processes:
        await process.stop()


async def addresses(unit: UnitRunner) -> list[str]:
    """What shoppers look at."""
    [row] = await unit.sql("SELECT product_id FROM catalog.variants WHERE sku = 'lamp-2-1'")
    return [f"/v1/products/{row[0]}", "/v1/products/sku:lamp-2-1", *SHOPPERS]


CHANGES = {
    "a price": lambda first, unit: first.put("lamp-2", variants=[price("lamp-2-1", "13.37")]),
    "a title": lambda first, unit: first.put("lamp-2", title="Lamp renamed"),
    "an attribute": lambda first, unit: first.put("lamp-2", attributes={"colour": "blue"}),
    "a product archived": lambda first, unit: first.send("DELETE", "/v1/products/lamp-2"),
    "a product back": lambda first, unit: first.put("lamp-2", title="Lamp 2", category="Home"),
    "a new product": lambda first, unit: first.put("lamp-9", title="Lamp 9", category="Home"),
    "stock": lambda first, unit: unit.run(
        "catalog",
        remember_availability,
        [AvailabilityChanged(sku="lamp-2-1", availability="in_stock", sequence=1)],
    ),
    "a document lost": lambda first, unit: unit.sql(
        "UPDATE catalog.products SET document = '{\"lost\":1}' WHERE external_id = 'lamp-2'"
    ),
    "documents redrawn": lambda first, unit: unit.run(
        "catalog", redraw_documents, [Redraw(after="")]
    ),
    "an import": lambda first, unit: first.send(
        "POST",
        "/v1/imports/products",
        b'{"external_id": "lamp-8", "title": "Lamp 8", "variants": [{"sku": "lamp-8", "price":'
        b' {"amount": "1", "currency": "GBP"}}]}\n',
        content_type="application/x-ndjson",
    ),
}


def price(sku: str, amount: str) -> dict[str, Any]:
    return variant(sku, amount)


def shown(answer: Answer) -> Any:
    """What an answer says; of a search without scores and order: an index weighs words differently
    than SQL.
    """
    if answer.status != 200:
        return answer.json["code"]
    said = answer.json
    for item in said.get("items", ()):
        item.pop("score", None)
    if "facets" in said:
        said["items"].sort(key=lambda item: str(item.get("id")))
    return said


async def without_memory(unit: UnitRunner, urls: Sequence[str]) -> dict[str, Answer]:
    """What the rows say."""
    bare = Process(unit.dsn, memory_mb=0)
    try:
        return {url: await bare.get(url) for url in urls}
    finally:
        await bare.node.pool.close()


@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_is_seen_by_all_in_time(
    two: tuple[Process, Process], unit: UnitRunner, what: str
) -> None:
    """Whoever brings it: after the promised time each process answers as the rows do."""
    first, second = two
    urls = await addresses(unit)
    for process in two:
        for url in urls:
            if (await process.get(url)).status == 200:
                await process.hits(url)
    before = {url: shown(await second.get(url)) for url in urls}
    await CHANGES[what](first, unit)
    await asyncio.sleep(FRESH_S)
    now = await without_memory(unit, urls)
    assert any(shown(now[url]) != before[url] for url in urls), "nothing has changed"
    for process in two:
        for url in urls:
            answer = await process.get(url)
            assert shown(answer) == shown(now[url])
            if "/search" not in url:  # the tag is made of the body, scores too
                assert answer.headers.get("etag") == now[url].headers.get("etag")


async def test_who_changes_something_sees_it_wherever_he_asks(
    two: tuple[Process, Process],
) -> None:
    """The answer to a change is sent once no process answers as if it had not been."""
    first, second = two
    url = "/v1/products/sku:lamp-1-1"
    for number in range(1, 6):
        await first.hits(url)
        await second.hits(url)
        changed = await first.put("lamp-1", variants=[price("lamp-1-1", f"{number}.25")])
        for process in (second, first):
            read = await process.get(url)
            assert read.json["variants"][0]["price"]["amount"] == f"{number}.25"
            assert read.headers["etag"] == changed.headers["etag"]


async def test_an_answer_from_memory_is_the_same_answer(two: tuple[Process, Process]) -> None:
    """Conditional requests and HEAD, with and without a credential; only ids of requests differ."""
    first, _ = two
    for url in ("/v1/products/sku:lamp-3-1", *SHOPPERS):
        await first.hits(url)
        known = await first.get(url, x_request_id="mine")
        first.memory._entries.clear()
        fresh = await first.get(url, x_request_id="mine")
        assert known == fresh
        assert (await first.send("GET", url, x_request_id="mine")).body == fresh.body
        assert (await first.send("HEAD", url, writes=False, x_request_id="mine")).headers == (
            fresh.headers
        )
    tag = (await first.hits("/v1/products/sku:lamp-3-1")).headers["etag"]
    for told, status in (
        (tag, 304),
        (f"W/{tag}", 304),
        ("*", 304),
        ('"no", ' + tag, 304),
        ("x", 200),
    ):
        assert (await first.get("/v1/products/sku:lamp-3-1", if_none_match=told)).status == status
    refused = await first.send("GET", SHOPPERS[0], writes=False, authorization="Bearer wrong")
    assert refused.status == 401


async def test_what_is_not_there_is_not_remembered(two: tuple[Process, Process]) -> None:
    first, second = two
    assert (await second.get("/v1/products/sku:later-1")).status == 404
    await first.put("later")
    assert (await second.get("/v1/products/sku:later-1")).status == 200


CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE $1
"""


async def test_a_cut_connection_costs_memory_and_no_truth(
    two: tuple[Process, Process], unit: UnitRunner
) -> None:
    """Of the session that looks, and of the one that listens to others."""
    _, second = two
    url = "/v1/products/sku:lamp-4-1"
    for number, name in enumerate(("tradewind memory%", "tradewind keeper", "tradewind%"), 1):
        await second.hits(url)
        assert await unit.sql(CUT, name)
        begun = time.monotonic()
        await unit.sql(
            "UPDATE catalog.products SET document = $1 WHERE external_id = 'lamp-4'", f"{number}"
        )
        while (await second.get(url)).body != f"{number}".encode():
            assert time.monotonic() - begun < FRESH_S + 0.1
            await asyncio.sleep(0.005)
        assert (await second.hits(url)).body == f"{number}".encode()
    await unit.run("catalog", redraw_documents, [Redraw(after="")])


async def test_racing_readers_never_see_an_older_price_again(
    two: tuple[Process, Process],
) -> None:
    """Each process for itself: once a version was answered, no earlier one is."""
    first, second = two
    ended = asyncio.Event()

    async def read(process: Process) -> int:
        newest = reads = 0
        while not ended.is_set():
            version = (await process.get("/v1/products/sku:lamp-0-1")).json["version"]
            assert version >= newest
            newest, reads = version, reads + 1
            await asyncio.sleep(0)
        return reads

    readers = [asyncio.create_task(read(process)) for process in two for _ in range(3)]
    for number in range(8):
        await (first, second)[number % 2].put("lamp-0", variants=[price("lamp-0-1", f"{number}.5")])
    ended.set()
    assert all(await asyncio.gather(*readers))
