"""Searches see the catalog as shops have it: prices with dates and of groups, a tree that moves,
options, sheets that archive.
"""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.flows.test_catalog_model import money, put
from tradewind.testing.shop import Shop

SHOWN_WITHIN_S = 3.0


async def search(shop: Shop, query: str, **options: Any) -> dict[str, Any]:
    """What a search answers; all of it, by the index."""
    reply = await shop.request("GET", f"/v1/search?limit=100&{query}", **options)
    assert reply.status == 200, reply.raw
    found: dict[str, Any] = reply.json
    assert found["exact"], found
    return found


async def ids(shop: Shop, query: str, **options: Any) -> list[str]:
    return [item["external_id"] for item in (await search(shop, query, **options))["items"]]


async def until(shop: Shop, query: str, wanted: list[str]) -> None:
    """Until a search finds this, in this order."""
    end = time.monotonic() + SHOWN_WITHIN_S
    while (found := await ids(shop, query)) != wanted:
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)


async def test_a_price_that_begins_and_ends_moves_a_product(shop: Shop) -> None:
    """In filters and in the order of prices, though nobody changes the product."""
    now = datetime.now(UTC).replace(microsecond=0)
    begins, ends = now + timedelta(seconds=3), now + timedelta(seconds=6)
    dated = [money("50"), money("20", valid_from=begins, valid_until=ends)]
    await put(shop, "zither-one", variants=[{"sku": "ZI-1", "prices": dated}])
    await put(shop, "zither-two", variants=[{"sku": "ZI-2", "prices": [money("30")]}])
    cheap = "q=zither&filter[price]=..25"
    assert await ids(shop, "q=zither&sort=price") == ["zither-two", "zither-one"]
    assert await ids(shop, cheap) == []
    await asyncio.sleep((begins - datetime.now(UTC)).total_seconds())
    await until(shop, "q=zither&sort=price", ["zither-one", "zither-two"])
    await until(shop, cheap, ["zither-one"])
    await asyncio.sleep((ends - datetime.now(UTC)).total_seconds())
    await until(shop, "q=zither&sort=price", ["zither-two", "zither-one"])
    await until(shop, cheap, [])


async def test_a_group_finds_its_own_prices(shop: Shop) -> None:
    """In searches and suggestions; nobody else does, whoever asked before."""
    await put(shop, "lute")
    body = {"name": "lutenists", "scopes": ["orders:read"], "customer_group": "lutenists"}
    key = (await shop.admin("POST", "/v1/keys", body)).json["key"]
    prices = {
        "name": "Lutes",
        "customer_group": "lutenists",
        "currency": "GBP",
        "prices": [{"sku": "LUTE", "amount": "6.5"}],
    }
    assert (await shop.admin("PUT", "/v1/price-lists/lutes", prices)).status == 201
    for path, items in (("/v1/search?q=lute", "items"), ("/v1/search/suggest?q=lut", "products")):
        for bearer, amount in ((None, "10.00"), (key, "6.50"), (None, "10.00"), (key, "6.50")):
            reply = await shop.request("GET", path, bearer=bearer)
            [product] = reply.json[items]
            assert product["variants"][0]["price"]["amount"] == amount, (path, bearer)
            kept_by = "public" if bearer is None else "private"
            said = [value for name, value in reply.headers.items() if name == "Cache-Control"]
            assert said == [f"{kept_by}, no-cache"]
        refused = await shop.request("GET", f"{path}&group=lutenists")
        assert (refused.status, refused.json["code"]) == (403, "group_not_yours")
        staff = await shop.admin("GET", f"{path}&group=lutenists")
        assert staff.json[items][0]["variants"][0]["price"]["amount"] == "6.50"


async def test_what_moves_with_its_category_is_found_there(shop: Shop) -> None:
    for name, category in (("viol-a", "Strings/Bowed"), ("viol-b", "Strings/Bowed/Deep")):
        assert (await put(shop, name, category=category)).status == 201
    assert (await shop.request("GET", "/v1/search?q=viol")).json["total"] == 2
    listed = (await shop.request("GET", "/v1/categories?limit=100")).json["items"]
    bowed = next(c for c in listed if c["path"] == "Strings/Bowed")
    moved = await shop.admin("PATCH", f"/v1/categories/{bowed['id']}", {"name": "Viols"})
    assert moved.status == 200, moved.raw
    found = await search(shop, "q=viol&facets=category,categories")
    paths = {facet["value"]: facet["count"] for facet in found["facets"]["categories"]}
    assert paths == {"Strings": 2, "Strings/Viols": 2, "Strings/Viols/Deep": 1}
    assert await ids(shop, "q=viol&filter[category]=Strings/Bowed") == []
    assert await ids(shop, "q=viol&category=Strings/Viols/Deep") == ["viol-b"]
    suggested = (await shop.request("GET", "/v1/search/suggest?q=viols")).json["categories"]
    assert "Strings/Viols" in [each["path"] for each in suggested]


async def test_options_are_found_counted_and_filtered(shop: Shop) -> None:
    def variant(sku: str, size: str) -> dict[str, Any]:
        return {"sku": sku, "options": {"Size": size}, "price": money("5")}

    sizes = {"cello-a": ["quarter", "full"], "cello-b": ["full"]}
    for name, values in sizes.items():
        variants = [variant(f"{name}-{size}", size) for size in values]
        made = await put(
            shop, name, options=[{"title": "Size", "values": values}], variants=variants
        )
        assert made.status == 201, made.raw
    found = await search(shop, "q=cello&facets=Size")
    assert found["facets"]["Size"] == [
        {"value": "full", "count": 2},
        {"value": "quarter", "count": 1},
    ]
    assert await ids(shop, "q=cello&filter[Size]=quarter") == ["cello-a"]
    assert await ids(shop, "q=cello+quarter&match=all") == ["cello-a"]
    listed = (await shop.request("GET", "/v1/products?q=cello+quarter")).json["items"]
    assert [item["external_id"] for item in listed] == ["cello-a"]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_an_import_takes_products_out_of_searches(shop: Shop, form: str) -> None:
    """A row of a sheet archives a product or a variant; what comes back is found again."""
    name = f"harp-{form}"
    variants = [{"sku": f"{name}-{n}", "price": money(str(9 - n))} for n in (1, 2)]
    assert (await put(shop, name, variants=variants)).status == 201
    assert await ids(shop, f"q={name}&filter[price]=..7") == [name]

    async def send(archived: bool, one: bool) -> None:
        if form == "csv":
            head = "external_id,sku,archived,variant_archived\n"
            row = f"{name},{name}-2,{str(archived).lower()},{str(one).lower()}\n"
            body, kind = (head + row).encode(), "text/csv"
        else:
            told = [{**variants[0]}, {**variants[1], "archived": one}]
            line = {"external_id": name, "title": name.title(), "archived": archived}
            body, kind = json.dumps({**line, "variants": told}).encode(), "application/x-ndjson"
        sent = await shop.admin(
            "POST", "/v1/imports/products", body, headers={"Content-Type": kind}
        )
        assert (sent.status, sent.json["accepted"]) == (202, 1), sent.raw

    await send(archived=False, one=True)
    await until(shop, f"q={name}&filter[price]=..7", [])
    await until(shop, f"q={name}", [name])
    await send(archived=True, one=True)
    await until(shop, f"q={name}", [])
    await send(archived=False, one=False)
    await until(shop, f"q={name}&filter[price]=..7", [name])
