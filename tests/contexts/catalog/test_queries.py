"""What shoppers find, on a real database."""

import asyncio
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from tests.contexts.catalog.factories import body, variant
from tradewind.contexts.catalog import queries
from tradewind.contexts.catalog.commands import ArchiveProduct, UpsertProduct
from tradewind.contexts.catalog.handlers.products import archive_products, upsert_products
from tradewind.contexts.catalog.queries import Filters, Wanted, products, words_of
from tradewind.contexts.catalog.tables import FacetValue
from tradewind.kernel.ids import new_id
from tradewind.testing.database import UnitRunner

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOP: dict[str, dict[str, Any]] = {
    "lamp": {"title": "Desk lamp", "category": "Home/Lighting", "attributes": {"colour": "red"}},
    "shade": {
        "title": "Shade",
        "description": "Fits every lamp we sell.",
        "category": "Home/Lighting",
        "attributes": {"colour": "red"},
    },
    "lighting": {"title": "Lighting set", "category": "Home", "attributes": {"colour": "blue"}},
    "mug": {"title": "Mug", "category": "Homeware", "variants": [variant("THE-1"), variant("M/2")]},
    "gone": {"title": "Old lamp", "category": "Home/Lighting"},
}

HOSTILE = (
    "'; DROP TABLE catalog.products; --",
    '"unbalanced',
    "a & | ! ( ) : * <-> \\",
    ":*",
    "\x00",
    "\ud800",
    "%",
    "_",
    "the",
    "-",
    "- - -",
    'or or or "" or',
    "lamp:*",
    "\u202e\u0000lamp",
    "\uff19 \u2177 \xdf \u0130",
    "a" * 200,
    "(" * 200,
    "'" * 200,
    "\\" * 200,
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(unit: UnitRunner) -> UnitRunner:
    for name, fields in SHOP.items():
        command = UpsertProduct(
            product_id=new_id("prd"),
            external_id=name,
            body=body(**{"variants": [variant(f"{name}-1")], **fields}),
        )
        await unit.run("catalog", upsert_products, [command])
        await asyncio.sleep(0.002)  # ids of one millisecond are unordered
    await unit.run("catalog", archive_products, [ArchiveProduct(external_id="gone")])
    return unit


async def find(shop: UnitRunner, text: str, category: str = "", **more: Any) -> Any:
    """What the rows say, without an index."""
    wanted = Wanted(text, more.pop("limit", 10), Filters(category), **more)
    return await queries.find(None, partial(shop.reading, "catalog"), wanted)


async def names(shop: UnitRunner, text: str, category: str = "") -> list[str]:
    found = (await find(shop, text, category, sort="relevance" if text else "newest")).products
    rows = await shop.sql("SELECT product_id, external_id FROM catalog.products")
    by_id = dict(tuple(row) for row in rows)
    return [by_id[hit.product_id] for hit in found]


async def test_titles_stand_over_descriptions(shop: UnitRunner) -> None:
    assert await names(shop, "lamp") == ["lamp", "shade"]


async def test_words_are_stemmed_and_all_must_occur(shop: UnitRunner) -> None:
    assert await names(shop, "lamps desks") == ["lamp"]
    assert await names(shop, "lamp nowhere") == []


async def test_the_last_word_may_be_unfinished(shop: UnitRunner) -> None:
    assert await names(shop, "lighti") == ["lighting"]
    assert await names(shop, "des") == ["lamp"]
    assert await names(shop, "desk la") == ["lamp"]
    assert await names(shop, '"lighti') == []


async def test_an_exact_sku_comes_first(shop: UnitRunner) -> None:
    """Also one that the parser would drop as a common word or take for a path."""
    for sku, name in (("the-1", "mug"), ("m/2", "mug"), ("LAMP-1", "lamp"), ("Shade-1", "shade")):
        assert (await names(shop, sku))[0] == name


async def test_a_category_holds_all_below_it_and_nothing_beside(shop: UnitRunner) -> None:
    assert await names(shop, "", "Home") == ["lighting", "shade", "lamp"]
    assert await names(shop, "lamp", "Home/Lighting") == ["lamp", "shade"]
    assert await names(shop, "lamp", "Homeware") == []
    assert await names(shop, "", "Home/Light") == []


async def test_a_category_lists_the_same_however_many_lie_below_it(
    shop: UnitRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few are read one by one, many by the products; both leave out what lies beside."""
    for category in ("Home", "Home/Lighting", "Homeware", "Home/Light", "Ho"):
        few = await names(shop, "", category)
        with monkeypatch.context() as patched:
            text = products.LISTED_IN_CATEGORY
            assert text.count(f" {products.BELOW_MAX}\n") == 2
            none = text.replace(f" {products.BELOW_MAX}\n", " -1\n")
            patched.setattr(products, "LISTED_IN_CATEGORY", none)
            assert await names(shop, "", category) == few
    assert await names(shop, "", "Home") == ["lighting", "shade", "lamp"]


async def test_what_is_archived_is_not_found(shop: UnitRunner) -> None:
    assert await names(shop, "old") == []
    async with shop.reading("catalog") as snapshot:
        assert await queries.product_of_sku(snapshot, "gone-1") is None
        found = await queries.product_of_sku(snapshot, "lamp-1")
        assert found is not None and '"Desk lamp"' in found.document


async def test_facets_count_everything_found(shop: UnitRunner) -> None:
    counted = (await find(shop, "lamp", names=["category", "colour", "nothing"])).counted
    whole = (await find(shop, "", "Home", names=["category"])).counted
    assert counted == {
        "category": [FacetValue("Home/Lighting", 2)],
        "colour": [FacetValue("red", 2)],
        "nothing": [],
    }
    assert whole["category"] == [FacetValue("Home/Lighting", 2), FacetValue("Home", 1)]


@pytest.mark.parametrize("text", ["", "lamp"])
@pytest.mark.parametrize("category", ["", "Home"])
async def test_pages_give_everything_once(shop: UnitRunner, text: str, category: str) -> None:
    words = words_of(text)
    whole = (await find(shop, text, category, limit=100)).products
    paged, before = [], None
    while page := await find(shop, text, category, limit=1, before=before):
        paged += page.products
        if page.last is None:
            break
        before = page.last
    async with shop.reading("catalog") as snapshot:
        listed, last = [], None
        while rows := await queries.list_products(
            snapshot, words, category, before=last, count_max=1
        ):
            listed += rows
            last = rows[-1].product_id
    assert paged == whole
    assert [row.product_id for row in listed] == sorted((h.product_id for h in whole), reverse=True)


@pytest.mark.parametrize("text", HOSTILE)
async def test_nothing_that_is_typed_breaks_a_search(shop: UnitRunner, text: str) -> None:
    words = words_of(text)
    category = text.replace("\x00", "").encode("utf-8", "replace").decode()
    async with shop.reading("catalog") as snapshot:
        for where in ("", category):
            await find(shop, text, where, names=["category", category])
            await queries.list_products(snapshot, words, where, before=None, count_max=5)
    assert await names(shop, "desk") == ["lamp"]
