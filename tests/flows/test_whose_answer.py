"""Never one person's answer to another: whoever asks for whatever, in whatever order.

A model of the gateway's memory that must not exist: each answer of a shop that remembers is
compared with that of a shop on the same rows that is made to forget before each question.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.flows.hostile import ROUTES
from tradewind.platform.cache.memory import FRESH_S
from tradewind.platform.telemetry import metrics
from tradewind.testing.database import TestServer
from tradewind.testing.shop import Reply, Shop, SimulatorProcess

GROUPS = ("trade", "staff")
OPEN = [r for r in ROUTES if r.method == "GET" and r.cache.startswith("public")]
# What a cache before us may go by, and what belongs to one request alone.
OF_THE_REQUEST = {"date", "x-request-id", "content-length"}
TARGETS = (
    "/v1/products/sku:lamp",
    "/v1/products/sku:lamp?group=trade",
    "/v1/products/sku:none",
    "/v1/products",
    "/v1/products?limit=1",
    "/v1/products?group=staff",
    "/v1/search?q=lamp",
    "/v1/search?q=lamp&facets=price",
    "/v1/search?q=lamp&group=trade",
    "/v1/search/suggest?q=la",
    "/v1/categories",
    "/v1/categories?tree=true",
    "/v1/attributes",
    "/v1/orders",
    "/v1/keys",
)
COOKIES = (None, "session=ada", "session=bob", "tw_session=__Host; a=b")
CACHES = (None, "no-cache", "max-age=0", "only-if-cached")


class Asked(NamedTuple):
    """One request."""

    target: str
    bearer: str | None
    cookie: str | None
    cache: str | None
    method: str


class Two(NamedTuple):
    """Two shops on one database, and who may ask them."""

    remembers: Shop
    forgets: Shop
    bearers: dict[str, str | None]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two(
    server: TestServer, simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Two]:
    """Prices for two groups, and a caller of each kind."""
    dsn = await server.create_database()
    home = tmp_path_factory.mktemp("whose")
    remembers = Shop(dsn, home, simulator.url)
    forgets = Shop(dsn, home, simulator.url)
    await remembers.start()
    await forgets.start()
    bearers: dict[str, str | None] = {"nobody": None, "admin": remembers.admin_key}
    await remembers.given_product("lamp", on_hand=500)
    await remembers.given_product("vase", on_hand=0)
    for number, group in enumerate(GROUPS, 1):
        listed = {"name": group, "customer_group": group, "currency": "GBP"}
        reply = await remembers.admin("PUT", f"/v1/price-lists/{group}", listed)
        assert reply.status in (200, 201), reply.raw
        prices = [{"sku": "lamp", "amount": f"{number}.00"}]
        reply = await remembers.admin(
            "PATCH", f"/v1/price-lists/{group}/prices", {"prices": prices}
        )
        assert reply.status in (200, 202), reply.raw
        body = {"name": group, "scopes": ["orders:read"], "customer_group": group}
        reply = await remembers.admin("POST", "/v1/keys", body, key=f"key of {group}")
        assert reply.status == 201, reply.raw
        bearers[group] = reply.json["key"]
    placed = await remembers.place(("lamp", 1))
    bearers["customer"] = placed.json["order_token"]
    bearers["wrong"] = "tw_live_wrong"
    await forgets.until_idle()
    await remembers.until_idle()
    yield Two(remembers, forgets, bearers)
    await remembers.stop()
    await forgets.stop()
    await server.drop_database(dsn)


def headers_of(asked: Asked, bearer: str | None) -> dict[str, str]:
    found = {"Authorization": f"Bearer {bearer}", "Cookie": asked.cookie}
    found["Cache-Control"] = asked.cache
    return {
        name: value
        for name, value in found.items()
        if value is not None and (name != "Authorization" or bearer is not None)
    }


async def ask(shop: Shop, asked: Asked, bearers: dict[str, str | None]) -> Reply:
    headers = headers_of(asked, bearers[asked.bearer or "nobody"])
    return await shop.request(asked.method, asked.target, headers=headers)


def comparable(reply: Reply) -> Any:
    """What an answer tells; refusals have an id of their own."""
    told = {name.lower(): value for name, value in reply.headers.items()}
    headers = {name: value for name, value in told.items() if name not in OF_THE_REQUEST}
    body = reply.json if reply.headers["Content-Type"].endswith("json") else reply.raw
    if isinstance(body, dict):
        body.pop("trace_id", None)
    return reply.status, headers, body


requests = st.lists(
    st.builds(
        Asked,
        st.sampled_from(TARGETS),
        st.sampled_from(["nobody", "nobody", "admin", *GROUPS, "customer", "wrong"]),
        st.sampled_from(COOKIES),
        st.sampled_from(CACHES),
        st.sampled_from(["GET", "GET", "GET", "HEAD"]),
    ),
    min_size=2,
    max_size=10,
)


# The shops use chance of their own beside the examples.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
async def test_nobody_is_given_the_answer_to_somebody_else(two: Two) -> None:
    """Routes x credentials x cookies, in any order, as if nothing were remembered."""
    loop = asyncio.get_running_loop()
    hits = metrics.REMEMBERED.labels("catalog", "hit")
    before = hits._value.get()

    # What an example leaves behind is in memory: a smaller one would be another story.
    @settings(max_examples=30, phases=(Phase.explicit, Phase.generate))
    @given(requests)
    def run(told: list[Asked]) -> None:
        asyncio.run_coroutine_threadsafe(compare(told), loop).result(60)

    async def compare(told: list[Asked]) -> None:
        for asked in told:
            for memory in two.forgets.application.memories.values():
                memory._entries.clear()
            quick, slow = await asyncio.gather(
                ask(two.remembers, asked, two.bearers), ask(two.forgets, asked, two.bearers)
            )
            if asked.method == "HEAD":
                assert (quick.status, quick.raw) == (slow.status, b"")
            else:
                assert comparable(quick) == comparable(slow), asked

    await asyncio.to_thread(run)
    assert hits._value.get() > before + 20, "nothing was remembered: nothing was tried"


async def test_what_may_be_kept_on_the_way_says_so(two: Two) -> None:
    """A shared cache that goes by the headers alone does no harm, and can be told what to drop."""
    for target in TARGETS:
        for name, bearer in two.bearers.items():
            asked = Asked(target, name, None, None, "GET")
            reply = await ask(two.remembers, asked, {name: bearer})
            cache = reply.headers["Cache-Control"]
            if reply.status != 200 or target in ("/v1/orders", "/v1/keys"):
                assert cache == "no-store", asked
                continue
            assert reply.headers["Vary"] == "Authorization", asked
            assert "ETag" in reply.headers
            priced = not target.startswith(("/v1/categories", "/v1/attributes"))
            grouped = priced and (name in GROUPS or "group=" in target)
            assert cache == ("private, no-cache" if grouped else "public, no-cache"), asked
            if grouped:
                assert "Surrogate-Key" not in reply.headers, asked


async def test_an_answer_names_what_it_is_made_of(two: Two) -> None:
    product = await two.remembers.request("GET", "/v1/products/sku:lamp")
    assert product.headers["Surrogate-Key"] == f"{product.json['id']} catalog"
    for target in ("/v1/products", "/v1/search?q=lamp", "/v1/search/suggest?q=la"):
        reply = await two.remembers.request("GET", target)
        assert reply.headers["Surrogate-Key"] == "catalog-lists catalog"


@pytest.mark.parametrize("target", [t for t in TARGETS if "group" not in t][:9])
async def test_who_has_an_answer_is_told_so(two: Two, target: str) -> None:
    """Lists and searches too; a tag is that of what is shown, to whomever."""
    first = await two.remembers.request("GET", target)
    if first.status != 200:
        return
    headers = {"If-None-Match": first.headers["ETag"]}
    again = await two.remembers.request("GET", target, headers=headers)
    assert (again.status, again.raw) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["Vary"] == "Authorization"
    assert again.headers["Cache-Control"] == first.headers["Cache-Control"]


def test_every_open_read_is_one_of_these() -> None:
    """A new one is tried too: put a target of it into the list above."""
    known = {
        "/v1/products",
        "/v1/products/{id}",
        "/v1/products/sku:{sku}",
        "/v1/search",
        "/v1/search/suggest",
        "/v1/categories",
        "/v1/categories/{id}",
        "/v1/attributes",
        "/v1/media/{id}",
        "/oauth/jwks",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    }
    assert {route.path for route in OPEN} == known


async def test_a_change_reaches_every_process_within_a_second(two: Two) -> None:
    """By look, not by word: also the shop that did not make the change. Measured, not assumed."""
    shop = two.remembers
    await shop.given_product("vase", on_hand=0, price="1.00")
    worst_s = 0.0
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session:
        url = f"{shop.url}/v1/products/sku:vase"

        async def price() -> str:
            async with session.get(url) as reply:
                body = await reply.json()
                return str(body["variants"][0]["price"]["amount"])

        for number in range(2, 8):
            for _ in range(5):
                await price()
            body = {
                "title": "Vase",
                "variants": [
                    {"sku": "vase", "price": {"amount": f"{number}.00", "currency": "GBP"}}
                ],
            }
            # Through the other process, which does not know this one's memory.
            reply = await two.forgets.admin("PUT", "/v1/products/vase", body)
            assert reply.status in (200, 201, 202)
            changed_at = loop.time()
            while await price() != f"{number}.00":
                assert loop.time() < changed_at + 1.0, "an old price after a second"
                await asyncio.sleep(0.005)
            worst_s = max(worst_s, loop.time() - changed_at)
    assert worst_s <= 1.0 and FRESH_S < 1.0


async def test_the_share_of_hits_is_a_figure(two: Two) -> None:
    """Worked out of the counters, as every process of the machine adds to them."""
    for _ in range(20):
        await two.remembers.request("GET", "/v1/products/sku:lamp")
    text = (await two.remembers.request("GET", "/metrics")).raw.decode()
    ratios = [x for x in text.splitlines() if x.startswith("tradewind_remembered_ratio{")]
    [line] = [x for x in ratios if '"catalog"' in x]
    share = float(line.rpartition(" ")[2])
    hits, misses = (metrics.REMEMBERED.labels("catalog", o)._value.get() for o in ("hit", "miss"))
    assert 0 < share < 1
    assert abs(share - hits / (hits + misses)) < 0.05
