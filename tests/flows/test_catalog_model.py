"""The catalog as shops have it: a tree, typed attributes, options, media, prices with dates and for
groups, and what changed; told over HTTP, orders included.
"""

import asyncio
import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tradewind.testing.shop import Reply, Shop

PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 100


def money(amount: str, currency: str = "GBP", **dates: datetime) -> dict[str, str]:
    return {"amount": amount, "currency": currency, **{k: v.isoformat() for k, v in dates.items()}}


async def put(shop: Shop, external_id: str, **fields: Any) -> Reply:
    body = {
        "title": external_id.title(),
        "variants": [{"sku": external_id.upper(), "price": money("10"), "on_hand": 100}],
        **fields,
    }
    return await shop.admin("PUT", f"/v1/products/{external_id}", body)


async def read(shop: Shop, sku: str, **options: Any) -> dict[str, Any]:
    reply = await shop.request("GET", f"/v1/products/sku:{sku}", **options)
    assert reply.status == 200, reply.raw
    found: dict[str, Any] = reply.json
    return found


async def price_of(shop: Shop, sku: str, **options: Any) -> str:
    return str((await read(shop, sku, **options))["variants"][0]["price"]["amount"])


async def paid(shop: Shop, sku: str, **options: Any) -> str:
    """What an order of one unit costs."""
    reply = await shop.request(
        "POST", "/v1/orders", shop.order((sku, 1)), key=f"k{time.monotonic_ns()}", **options
    )
    assert reply.status == 201, reply.raw
    return str(reply.json["lines"][0]["unit_price"]["amount"])


# -- the tree


async def test_a_category_that_moves_takes_all_below_it_and_their_products_along(
    shop: Shop,
) -> None:
    for name, category in (("lamp", "Tree/Light/Desk"), ("bulb", "Tree/Light"), ("mat", "Tree")):
        assert (await put(shop, f"tree-{name}", category=category)).status == 201
    listed = (await shop.request("GET", "/v1/categories?limit=100")).json["items"]
    light = next(c for c in listed if c["path"] == "Tree/Light")
    made = await shop.admin("PUT", "/v1/categories/home", {"name": "Living", "position": 3})
    assert (made.status, made.json["path"]) == (201, "Living")
    moved = await shop.admin("PATCH", f"/v1/categories/{light['id']}", {"parent": "home"})
    assert (moved.status, moved.json["path"]) == (200, "Living/Light"), moved.raw
    assert (await read(shop, "TREE-LAMP"))["category"] == "Living/Light/Desk"
    assert (await read(shop, "TREE-BULB"))["category"] == "Living/Light"
    assert (await read(shop, "TREE-MAT"))["category"] == "Tree"
    found = await shop.request("GET", "/v1/products?category=Living")
    assert len(found.json["items"]) == 2
    tree = (await shop.request("GET", "/v1/categories?tree=true")).json["items"]
    living = next(c for c in tree if c["id"] == "home")
    assert [c["name"] for c in living["children"]] == ["Light"]
    assert [c["name"] for c in living["children"][0]["children"]] == ["Desk"]
    renamed = await shop.admin("PATCH", "/v1/categories/home", {"name": "Rooms"})
    assert renamed.json["path"] == "Rooms"
    assert (await read(shop, "TREE-LAMP"))["category"] == "Rooms/Light/Desk"


async def test_what_would_break_the_tree_is_refused(shop: Shop) -> None:
    await put(shop, "ring", category="Ring/One/Two")
    listed = (await shop.request("GET", "/v1/categories?limit=100")).json["items"]
    ids = {c["path"]: c["id"] for c in listed}
    one = f"/v1/categories/{ids['Ring/One']}"
    for parent in ("Ring/One", "Ring/One/Two", ids["Ring/One/Two"]):
        refused = await shop.admin("PATCH", one, {"parent": parent})
        assert (refused.status, refused.json["code"]) == (422, "invalid_category"), refused.raw
    assert (await shop.admin("PATCH", one, {"parent": "No/Where"})).status == 422
    assert (await shop.admin("PATCH", one, {"name": "a/b"})).status == 422
    await shop.admin("PUT", "/v1/categories/ring-other", {"name": "Other", "parent": "Ring"})
    refused = await shop.admin("PATCH", one, {"name": "Other"})
    assert (refused.status, refused.json["code"]) == (409, "category_exists")
    assert (await shop.admin("DELETE", one)).json["code"] == "category_in_use"
    assert (await shop.admin("DELETE", "/v1/categories/ring-other")).status == 204
    assert (await shop.admin("GET", "/v1/categories/ring-other")).status == 404
    assert (await shop.admin("PATCH", "/v1/categories/nope", {"name": "x"})).status == 404
    assert (await shop.admin("PUT", "/v1/categories/Not%20Plain", {"name": "x"})).status == 422


# -- attributes


async def test_attributes_that_are_defined_are_checked_where_they_count(shop: Shop) -> None:
    defined = {
        "weight": {"kind": "number", "unit": "g"},
        "grade": {"kind": "choice", "choices": ["A", "B"], "required": True, "categories": ["Ore"]},
        "mined": {"kind": "date", "categories": ["Ore/Deep"]},
        "rare": {"kind": "boolean"},
    }
    for name, body in defined.items():
        assert (await shop.admin("PUT", f"/v1/attributes/{name}", body)).status == 201
    try:
        for attributes, category, pointer in (
            ({"weight": "heavy"}, None, "/attributes/weight"),
            ({"weight": True}, None, "/attributes/weight"),
            ({}, "Ore/Deep", "/attributes/grade"),
            ({"grade": "C"}, "Ore", "/attributes/grade"),
            ({"grade": "A", "mined": "31.1.2026"}, "Ore/Deep", "/attributes/mined"),
        ):
            refused = await put(shop, "ore", attributes=attributes, category=category)
            assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, pointer)
        fine = {"grade": "B", "mined": "2026-01-31", "weight": 1.5, "rare": False, "free": "x"}
        assert (await put(shop, "ore", attributes=fine, category="Ore/Deep")).status == 201
        assert (await put(shop, "tin", attributes={"mined": "long ago"})).status == 201
        sheet = b"sku,title,price,currency,category,attributes.grade,attributes.weight\n"
        sheet += b"O1,Ore,1,GBP,Ore,A,2.5\nO2,Ore,1,GBP,Ore,C,1\n"
        report = await shop.admin(
            "POST", "/v1/imports/products", sheet, headers={"Content-Type": "text/csv"}
        )
        assert (report.json["accepted"], report.json["rejected"]) == (1, 1), report.raw
        assert report.json["errors"][0]["pointer"] == "/attributes/grade"
        assert (await read(shop, "O1"))["attributes"] == {"grade": "A", "weight": 2.5}
        below = (await shop.request("GET", "/v1/attributes?category=Ore/Deep")).json["items"]
        assert {a["name"] for a in below} >= {"grade", "mined", "rare", "weight"}
    finally:
        for name in defined:
            assert (await shop.admin("DELETE", f"/v1/attributes/{name}")).status == 204
    assert (await put(shop, "ore", attributes={"weight": "heavy"})).status == 200


# -- options


async def test_variants_are_one_value_of_each_option_and_differ(shop: Shop) -> None:
    options = [{"title": "Size", "values": ["S", "M"]}, {"title": "Colour", "values": ["red"]}]

    def variant(sku: str, size: str | None) -> dict[str, Any]:
        chosen = {"Colour": "red", **({"Size": size} if size else {})}
        return {"sku": sku, "price": money("5"), "options": chosen}

    for sizes, pointer in (
        (("S", "S"), "/variants/1/options"),
        (("S", "XL"), "/variants/1/options"),
        (("S", None), "/variants/1/options"),
    ):
        variants = [variant(f"OPT-{i}", size) for i, size in enumerate(sizes)]
        refused = await put(shop, "opt", options=options, variants=variants)
        assert refused.status == 422, sizes
        assert refused.json["errors"][0]["pointer"] == pointer
    variants = [variant("OPT-0", "S"), variant("OPT-1", "M")]
    assert (await put(shop, "opt", options=options, variants=variants)).status == 201
    shown = await read(shop, "OPT-1")
    assert shown["options"] == options
    assert shown["variants"][1]["options"] == {"Colour": "red", "Size": "M"}
    again = await shop.admin("PUT", "/v1/products/opt", shown)
    assert again.status == 200 and again.json["version"] == shown["version"]


# -- media


async def test_a_picture_is_kept_by_its_content_and_served_for_ever(shop: Shop) -> None:
    product = (await put(shop, "seen")).json
    url = f"/v1/products/{product['id']}/media"
    kind = {"Content-Type": "image/png"}
    first = await shop.admin("POST", f"{url}?alt=Front", PNG, headers=kind)
    name = hashlib.sha256(PNG).hexdigest() + ".png"
    assert first.status == 201, first.raw
    assert first.json["items"] == [{"id": name, "url": f"/v1/media/{name}", "alt": "Front"}]
    other = await shop.admin("POST", "/v1/products/seen/media", b"GIF89a" + PNG, headers=kind)
    second = other.json["items"][1]["id"]
    assert second.endswith(".gif"), "what it is is seen by its bytes"
    again = await shop.admin("POST", f"{url}?alt=Front", PNG, headers=kind)
    assert (again.status, len(again.json["items"])) == (200, 2)
    served = await shop.request("GET", f"/v1/media/{name}")
    assert served.raw == PNG
    assert served.headers["Content-Type"] == "image/png"
    assert "immutable" in served.headers["Cache-Control"]
    assert served.headers["X-Content-Type-Options"] == "nosniff"
    tag = {"If-None-Match": served.headers["ETag"]}
    assert (await shop.request("GET", f"/v1/media/{name}", headers=tag)).status == 304
    turned = {"media": [{"id": second, "alt": "Moving"}, {"id": name}]}
    arranged = await shop.admin("PUT", url, turned)
    assert [m["alt"] for m in arranged.json["items"]] == ["Moving", ""]
    assert [m["id"] for m in (await read(shop, "SEEN"))["media"]] == [second, name]
    kept = await put(shop, "seen", title="Seen again")
    assert [m["id"] for m in kept.json["media"]] == [second, name], "a PUT without media keeps them"


@pytest.mark.parametrize(
    "content", [b"", b"<svg onload=alert(1)>", b"<html>", b"MZ\x90", b"RIFFxx"]
)
async def test_what_is_no_picture_is_refused(shop: Shop, content: bytes) -> None:
    await put(shop, "unseen")
    refused = await shop.admin(
        "POST", "/v1/products/unseen/media", content, headers={"Content-Type": "image/png"}
    )
    assert (refused.status, refused.json["code"]) == (422, "invalid_medium")
    assert not list((shop.settings.home / "media" / "incoming").iterdir())


async def test_a_file_has_no_other_address_and_no_other_size(shop: Shop) -> None:
    await put(shop, "unseen")
    for name in ("..%2fadmin.key", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "a" * 64 + ".png", "x"):
        assert (await shop.request("GET", f"/v1/media/{name}")).status == 404
    large = PNG + b"x" * (10 * 1024 * 1024)
    refused = await shop.admin(
        "POST", "/v1/products/unseen/media", large, headers={"Content-Type": "image/png"}
    )
    assert refused.status == 413
    ghost = await shop.admin(
        "POST", "/v1/products/ghost/media", PNG, headers={"Content-Type": "image/png"}
    )
    assert ghost.status == 404


# -- prices


async def shown_as(shop: Shop, sku: str, amount: str) -> None:
    """Return once everybody is shown this price, which takes a second where nothing else runs."""
    async with asyncio.timeout(15):
        while await price_of(shop, sku) != amount:
            await asyncio.sleep(0.1)


async def test_a_price_begins_and_ends_by_the_clock(shop: Shop) -> None:
    """In orders at once, soon after in what is shown."""
    now = datetime.now(UTC).replace(microsecond=0)
    begins, ends = now + timedelta(seconds=4), now + timedelta(seconds=12)
    prices = [money("10"), money("7", valid_from=begins, valid_until=ends)]
    await put(shop, "sale", variants=[{"sku": "SALE", "prices": prices, "on_hand": 50}])
    await shop.until_idle()
    before = await shop.request("GET", "/v1/products/sku:SALE")
    assert await price_of(shop, "SALE") == "10.00" and await paid(shop, "SALE") == "10.00"
    await asyncio.sleep((begins - datetime.now(UTC)).total_seconds() + 0.05)
    assert await paid(shop, "SALE") == "7.00"
    await shown_as(shop, "SALE", "7.00")
    tag = {"If-None-Match": before.headers["ETag"]}
    assert (await shop.request("GET", "/v1/products/sku:SALE", headers=tag)).status == 200
    await asyncio.sleep((ends - datetime.now(UTC)).total_seconds() + 0.05)
    assert await paid(shop, "SALE") == "10.00"
    await shown_as(shop, "SALE", "10.00")


@pytest.mark.parametrize(
    ("prices", "place"),
    [
        ([{"valid_from": "2026-01-01T00:00:00Z"}], "/variants/0/price"),
        ([{}, {"valid_until": "2026-01-01T00:00:00Z"}], "/variants/0/prices/1/valid_from"),
        (
            [{}, {"valid_from": "2026-01-02T00:00:00Z", "valid_until": "2026-01-01T00:00:00Z"}],
            "/variants/0/prices/1/valid_until",
        ),
        ([{}, {"amount": "2"}], "/variants/0/prices/1"),
        (
            [{}, {"valid_from": "2026-01-01T00:00:00.2Z", "valid_until": "2026-01-01T00:00:00.8Z"}],
            "/variants/0/prices/1/valid_until",
        ),
    ],
)
async def test_prices_that_contradict_each_other_are_refused(
    shop: Shop, prices: list[dict[str, str]], place: str
) -> None:
    told = [{**money("1"), **more} for more in prices]
    refused = await put(shop, "odd", variants=[{"sku": "ODD", "prices": told}])
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, place), refused.raw


async def test_a_group_is_shown_and_pays_its_own_prices(shop: Shop) -> None:
    await put(shop, "bolt")
    await put(shop, "nut")
    key = (
        await shop.admin(
            "POST",
            "/v1/keys",
            {"name": "trade", "scopes": ["orders:read"], "customer_group": "trade"},
        )
    ).json["key"]
    body = {
        "name": "Trade",
        "customer_group": "trade",
        "currency": "GBP",
        "prices": [{"sku": "bolt", "amount": "6.5"}],
    }
    made = await shop.admin("PUT", "/v1/price-lists/trade-gbp", body)
    assert made.status == 201, made.raw
    assert await price_of(shop, "BOLT") == "10.00"
    assert await price_of(shop, "BOLT", bearer=key) == "6.50"
    assert await price_of(shop, "BOLT") == "10.00", "the group's answer is not remembered for all"
    listed = (await shop.request("GET", "/v1/products?limit=100", bearer=key)).json["items"]
    shown = {p["external_id"]: p["variants"][0]["price"]["amount"] for p in listed}
    assert (shown["bolt"], shown["nut"]) == ("6.50", "10.00")
    found = (await shop.request("GET", "/v1/search?q=bolt", bearer=key)).json["items"]
    assert found[0]["variants"][0]["price"]["amount"] == "6.50"
    assert await paid(shop, "BOLT") == "10.00"
    assert await paid(shop, "BOLT", bearer=key) == "6.50"
    refused = await shop.request("GET", "/v1/products/sku:BOLT?group=trade")
    assert (refused.status, refused.json["code"]) == (403, "group_not_yours")
    staff = await shop.admin("GET", "/v1/products/sku:BOLT?group=trade")
    assert staff.json["variants"][0]["price"]["amount"] == "6.50"
    path = "/v1/price-lists/trade-gbp/prices"
    changed = await shop.admin("PATCH", path, {"prices": [
        {"sku": "NUT", "amount": "1.2345"}, {"sku": "BOLT", "amount": None}]})  # fmt: skip
    assert changed.status == 200, changed.raw
    assert (await shop.admin("GET", path)).json["items"] == [{"sku": "NUT", "amount": "1.2345"}]
    assert await paid(shop, "BOLT", bearer=key) == "10.00"
    assert await price_of(shop, "NUT", bearer=key) == "1.2345"
    assert (
        await put(shop, "nut", title="Nut again")
        and await price_of(shop, "NUT", bearer=key) == "1.2345"
    ), "a PUT of the product leaves the prices of lists alone"
    again = await shop.admin("PATCH", path, {"prices": [{"sku": "nut", "amount": "1.2345"}]})
    assert again.status == 200
    wrong = await shop.admin("PATCH", path, {"prices": [{"sku": "NOPE", "amount": "1"}]})
    assert wrong.json["errors"][0]["pointer"] == "/prices/0/sku"
    later = {**body, "prices": None, "valid_from": "2999-01-01T00:00:00Z"}
    assert (await shop.admin("PUT", "/v1/price-lists/trade-gbp", later)).status == 200
    assert await price_of(shop, "NUT", bearer=key) == "10.00"
    assert (await shop.admin("DELETE", "/v1/price-lists/trade-gbp")).status == 204
    assert (await shop.admin("GET", "/v1/price-lists/trade-gbp")).status == 404


async def test_the_ends_of_the_calendar_are_dates_too(shop: Shop) -> None:
    """Years that UTC does not have are meant as since ever and for ever."""
    always = {**money("2"), "valid_from": "0001-01-01T00:00:00+14:00"}
    made = await put(shop, "ever", variants=[{"sku": "EVER", "prices": [money("3"), always]}])
    assert made.status == 201, made.raw
    listed = {
        "name": "Ever",
        "customer_group": "ever",
        "currency": "GBP",
        "valid_until": "9999-12-31T23:59:59-14:00",
    }
    assert (await shop.admin("PUT", "/v1/price-lists/ever", listed)).status == 201
    orders = await shop.admin("GET", "/v1/orders?placed_after=0001-01-01T00:00:00%2B14:00")
    assert orders.status == 200, orders.raw


async def test_of_lists_that_are_put_at_once_one_is_whole(shop: Shop) -> None:
    """Not a mixture, though all of them are decided in one unit of work."""
    skus = [f"PL-{number}" for number in range(9)]
    for sku in skus:
        await put(shop, sku, variants=[{"sku": sku, "prices": [money("10")]}])
    body = {"name": "Mixed", "customer_group": "mixed", "currency": "GBP"}
    for _ in range(3):
        await asyncio.gather(
            *(
                shop.admin(
                    "PUT",
                    "/v1/price-lists/mixed",
                    {**body, "prices": [{"sku": sku, "amount": "8"}]},
                )
                for sku in skus
            )
        )
        left = (await shop.admin("GET", "/v1/price-lists/mixed/prices")).json["items"]
        assert len(left) == 1, left


async def test_a_product_with_many_former_variants_comes_back_as_it_was_exported(
    shop: Shop,
) -> None:
    """Skus of variants that are archived stay theirs, so they are in exports, too."""

    def named(first: int, count: int) -> list[dict[str, Any]]:
        return [
            {"sku": f"FORMER-{first + number}", "prices": [money("1")]} for number in range(count)
        ]

    assert (await put(shop, "former", variants=named(0, 100))).status == 201
    assert (await put(shop, "former", variants=named(100, 60))).status == 200
    exported = await shop.admin("GET", "/v1/exports/products?format=ndjson")
    line = next(line for line in exported.raw.splitlines() if b'"former"' in line)
    lines = {"Content-Type": "application/x-ndjson"}
    told = await shop.admin("POST", "/v1/imports/products", line, headers=lines)
    assert (told.json["accepted"], told.json["rejected"]) == (1, 0), told.raw
    refused = await put(shop, "many", variants=named(200, 101))
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/variants")


async def test_a_cart_costs_what_whoever_began_it_is_shown(shop: Shop) -> None:
    """At this moment, and at the checkout."""
    hour, now = timedelta(hours=1), datetime.now(UTC)
    prices = [money("10"), money("8", valid_from=now - hour, valid_until=now + hour)]
    await put(shop, "rivet", variants=[{"sku": "RIVET", "prices": prices, "on_hand": 50}])
    body = {
        "name": "riveters",
        "scopes": ["carts:read", "carts:write"],
        "customer_group": "riveters",
    }
    key = (await shop.admin("POST", "/v1/keys", body)).json["key"]
    listed = {
        "name": "Rivets",
        "customer_group": "riveters",
        "currency": "GBP",
        "prices": [{"sku": "RIVET", "amount": "6.5"}],
    }
    assert (await shop.admin("PUT", "/v1/price-lists/rivets", listed)).status == 201
    address = {
        "name": "Ada Lovelace",
        "line1": "12 St James's Square",
        "city": "London",
        "postal_code": "SW1Y 4JH",
        "country": "GB",
    }
    told = {"currency": "GBP", "email": "ada@example.com", "shipping_address": address}
    for bearer, amount in ((None, "8.00"), (key, "6.50")):
        lines = [{"sku": "RIVET", "quantity": 1}]
        begun = await shop.request("POST", "/v1/carts", {**told, "lines": lines}, bearer=bearer)
        assert begun.status == 201, begun.raw
        assert begun.json["lines"][0]["unit_price"]["amount"] == amount
        place, by = f"/v1/carts/{begun.json['id']}", bearer or begun.json["cart_token"]
        more = await shop.request(
            "POST", f"{place}/lines", {"sku": "RIVET", "quantity": 1}, bearer=by
        )
        assert more.json["lines"][0]["unit_price"]["amount"] == amount, more.raw
        seen = await shop.request("GET", place, bearer=by)
        assert seen.json["totals"]["total"]["amount"] == f"{2 * float(amount):.2f}"
        ordered = await shop.request(
            "POST",
            f"{place}/checkout",
            {"payment": {"token": "tok_ok"}},
            bearer=by,
            key=f"k{time.monotonic_ns()}",
            headers={"Prefer": "wait=30"},
        )
        assert ordered.status == 201, ordered.raw
        assert ordered.json["lines"][0]["unit_price"]["amount"] == amount


# -- history


async def test_the_history_says_who_changed_what(shop: Shop) -> None:
    await put(shop, "told", description="Old")
    await put(
        shop,
        "told",
        description="New",
        attributes={"colour": "red"},
        variants=[{"sku": "TOLD", "price": money("11")}],
    )
    await shop.admin("DELETE", "/v1/products/told")
    assert (await shop.request("GET", "/v1/products/told/history")).status == 401
    items = (await shop.admin("GET", "/v1/products/told/history")).json["items"]
    assert [item["version"] for item in items] == [3, 2, 1]
    assert all(item["by"].startswith("key_") and item["at"].endswith("Z") for item in items)
    fields = {c["field"]: (c["before"], c["after"]) for c in items[1]["changes"]}
    assert fields["/description"] == ("Old", "New")
    assert fields["/attributes/colour"] == (None, "red")
    assert fields["/variants/TOLD/prices"][1] == [{"currency": "GBP", "amount_e4": 110000}]
    assert {c["field"] for c in items[0]["changes"]} == {"/archived", "/variants/TOLD/archived"}
    assert items[2]["changes"][0]["after"] == "created"


async def test_only_the_last_hundred_changes_are_kept(shop: Shop) -> None:
    for number in range(105):
        await put(shop, "often", title=f"Often {number}")
    items = (await shop.admin("GET", "/v1/products/often/history")).json["items"]
    assert [item["version"] for item in items] == list(range(105, 5, -1))
