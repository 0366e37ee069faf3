"""What the wire contract promises beyond the life of one order, each seen from outside."""

import asyncio
from collections import defaultdict
from typing import Any

from tradewind.kernel.ids import new_id
from tradewind.testing.shop import Shop


async def new_key(shop: Shop, *scopes: str) -> str:
    """The secret of a new API key."""
    body = {"name": "a partner", "scopes": list(scopes)}
    answer = await shop.admin("POST", "/v1/keys", body)
    assert answer.status == 201, answer.raw
    return str(answer.json["key"])


async def test_an_external_id_is_unique_per_credential(shop: Shop) -> None:
    """409 for another order under it, the same order for the same key, free for other partners."""
    await shop.given_product("external", on_hand=9)
    ours, theirs = await new_key(shop, "orders:write"), await new_key(shop, "orders:write")
    body, key = shop.order(("external", 1), external_id="PO-1"), new_id("key")
    first = await shop.request("POST", "/v1/orders", body, key=key, bearer=ours)
    assert first.status == 201, first.raw
    assert first.json["external_id"] == "PO-1"
    again = await shop.request("POST", "/v1/orders", body, key=key, bearer=ours)
    assert (again.status, again.raw) == (201, first.raw)
    taken = await shop.request("POST", "/v1/orders", body, key=new_id("key"), bearer=ours)
    assert (taken.status, taken.json["code"]) == (409, "external_id_taken")
    twins = await asyncio.gather(
        *(shop.request("POST", "/v1/orders", body, key=new_id("key"), bearer=theirs) for _ in "123")
    )
    assert sorted(answer.status for answer in twins) == [201, 409, 409]
    anonymous = await shop.request("POST", "/v1/orders", body, key=new_id("key"))
    assert (anonymous.status, anonymous.json["code"]) == (422, "invalid_order")
    await shop.until_idle()
    assert (await shop.stock("external"))["reserved"] == 2


async def test_only_an_import_may_tell_history(shop: Shop) -> None:
    """403 that names the fields, for anonymous shoppers and for keys without the scope."""
    await shop.given_product("history", on_hand=9)
    partner = await new_key(shop, "orders:write", "orders:read")
    historic: dict[str, Any] = {
        "placed_at": "2011-01-04T10:00:00Z",
        "channel": "shop floor",
        "fees": [{"code": "postage", "amount": {"amount": "18.00", "currency": "GBP"}}],
        "customer_ref": "17850",
    }
    for name, value in historic.items():
        body = shop.order(("history", 1), **{name: value})
        for bearer in (None, partner):
            answer = await shop.request(
                "POST", "/v1/orders", body, key=new_id("key"), bearer=bearer
            )
            assert (answer.status, answer.json["code"]) == (403, "field_not_allowed"), name
            assert answer.json["errors"][0]["pointer"] == f"/{name}"
    body = shop.order(("history", 2), **historic)
    body["lines"][0]["unit_price"] = {"amount": "2.555", "currency": "GBP"}
    answer = await shop.admin("POST", "/v1/orders", body, key=new_id("key"))
    assert answer.status == 201, answer.raw
    assert answer.json["placed_at"] == historic["placed_at"]
    totals = {name: total["amount"] for name, total in answer.json["totals"].items()}
    assert (totals["subtotal"], totals["fees"], totals["total"]) == ("5.11", "18.00", "23.11")


async def test_a_price_that_changed(shop: Shop) -> None:
    """The client is told before anything happens; the right expectation goes through."""
    await shop.given_product("priced", on_hand=5, price="10.00")
    for wrong in ("19.99", "20.01", "0.00"):
        answer = await shop.place(
            ("priced", 2), expected_total={"amount": wrong, "currency": "GBP"}
        )
        assert (answer.status, answer.json["code"]) == (409, "price_changed"), answer.raw
        assert "order_id" not in answer.json
    right = await shop.place(("priced", 2), expected_total={"amount": "20.00", "currency": "GBP"})
    assert right.status == 201, right.raw
    await shop.given_product("priced", on_hand=5, price="11.00")
    late = await shop.place(("priced", 2), expected_total={"amount": "20.00", "currency": "GBP"})
    assert (late.status, late.json["code"]) == (409, "price_changed")
    found = await shop.read_order(right.json["id"])
    assert found["totals"]["total"]["amount"] == "20.00"


async def test_a_count_below_what_is_promised(shop: Shop) -> None:
    """Reality wins: nothing is available, `short` says how many, and nobody new is served."""
    await shop.given_product("counted", on_hand=5)
    assert (await shop.place(("counted", 4))).status == 201
    answer = await shop.admin("PUT", "/v1/stock/counted", {"on_hand": 1})
    assert answer.status == 200, answer.raw
    found = await shop.stock("counted")
    assert (found["on_hand"], found["reserved"], found["available"], found["short"]) == (1, 4, 0, 3)
    assert (await shop.place(("counted", 1))).json["code"] == "stock_is_short"
    stale = await shop.admin("PUT", "/v1/stock/counted", {"on_hand": 9, "expected_quantity": 5})
    assert stale.status == 412, stale.raw
    assert (await shop.stock("counted"))["on_hand"] == 1
    right = await shop.admin("PUT", "/v1/stock/counted", {"on_hand": 9, "expected_quantity": 1})
    assert right.status == 200
    assert (await shop.place(("counted", 5))).status == 201
    assert (await shop.stock("counted"))["available"] == 0


async def test_a_product_has_a_tag(shop: Shop) -> None:
    """304 while it is the same, 200 with another tag when its price or availability is not."""
    path = "/v1/products/sku:tagged"
    seen = []
    for price, on_hand in (("10.00", 100), ("12.00", 100), ("12.00", 0)):
        await shop.given_product("tagged", on_hand=on_hand, price=price)
        await shop.until_idle()
        answer = await shop.request("GET", path)
        tag = answer.headers["ETag"]
        assert answer.status == 200
        assert tag.startswith('"')
        assert tag not in seen
        seen.append(tag)
        for told in (tag, f'"other", {tag}', "*", f"W/{tag}"):
            same = await shop.request("GET", path, headers={"If-None-Match": told})
            assert (same.status, same.raw) == (304, b""), told
            assert same.headers["ETag"] == tag
    old = await shop.request("GET", path, headers={"If-None-Match": seen[0]})
    assert old.status == 200
    assert old.json["variants"][0]["availability"] == "out_of_stock"


async def test_the_feed_tells_everything_once(shop: Shop) -> None:
    """1..n for each source and subject; the same cursor, the same page; `next` is always given."""
    await shop.given_product("fed", on_hand=50)
    answers = await asyncio.gather(*(shop.place(("fed", 1)) for _ in range(20)))
    order = answers[0].json
    await shop.until(order["id"], payment="captured")
    await shop.until_idle()
    sequences: dict[tuple[str, str], list[int]] = defaultdict(list)
    ids: list[tuple[str, str]] = []
    pages = []
    after = ""
    while True:
        path = f"/v1/events?limit=100{after}"
        page = await shop.admin("GET", path)
        assert page.status == 200
        for event in page.json["items"]:
            sequences[event["source"], event["subject"]].append(event["sequence"])
            ids.append((event["source"], event["id"]))
        if not page.json["items"]:
            break
        pages.append((path, page.raw))
        after = f"&after={page.json['next']}"
    assert len(set(ids)) == len(ids) > 100
    for name, found in sequences.items():
        assert found == list(range(1, len(found) + 1)), name
    for path, raw in pages[:-1]:
        assert (await shop.admin("GET", path)).raw == raw
    assert (await shop.place(("fed", 1))).status == 201
    await shop.until_idle()
    fresh = (await shop.admin("GET", f"/v1/events?limit=100{after}")).json["items"]
    assert fresh[0]["type"] == "orders.order_placed.v1"
    assert not {(event["source"], event["id"]) for event in fresh} & set(ids)
    payments = (await shop.admin("GET", "/v1/events?topic=payment-events&limit=100")).json["items"]
    assert {event["source"] for event in payments} == {"/tradewind/payments"}
    assert "@example.com" not in str(pages), "no personal data"
    assert "Lovelace" not in str(pages)


async def walk(shop: Shop, path: str, *, while_at_it: Any) -> list[str]:
    """All ids of a list, something happening after each page."""
    found: list[str] = []
    cursor = ""
    while True:
        page = (await shop.admin("GET", f"{path}?limit=7{cursor}")).json
        found += [item["id"] for item in page["items"]]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"
        await while_at_it()


async def test_pages_are_complete_while_new_ones_arrive(shop: Shop) -> None:
    """Whoever was there when the reading began is read exactly once."""
    await shop.given_product("paged", on_hand=10_000)
    orders = [
        a.json["id"] for a in await asyncio.gather(*(shop.place(("paged", 1)) for _ in "x" * 40))
    ]
    made: list[str] = []

    async def place() -> None:
        assert (await shop.place(("paged", 1))).status == 201

    async def put() -> None:
        made.append(f"new-{len(made)}")
        await shop.given_product(made[-1], on_hand=1)

    found = await walk(shop, "/v1/orders", while_at_it=place)
    assert len(set(found)) == len(found)
    assert set(orders) <= set(found)
    for number in range(20):
        await shop.given_product(f"old-{number}", on_hand=1)
    before = {
        item["id"] for item in (await shop.request("GET", "/v1/products?limit=100")).json["items"]
    }
    listed = await walk(shop, "/v1/products", while_at_it=put)
    assert len(set(listed)) == len(listed)
    assert before <= set(listed)
    assert made


async def test_who_may_read_an_order(shop: Shop) -> None:
    """No credential or a wrong one: 401. A good one without the right: 404, as for no order."""
    await shop.given_product("secret", on_hand=9)
    order = (await shop.place(("secret", 1))).json
    reader, other = await new_key(shop, "orders:read"), await new_key(shop, "catalog:write")
    for path in (f"/v1/orders/{order['id']}", f"/v1/orders/{order['id']}/timeline"):
        assert (await shop.request("GET", path)).status == 401
        for wrong in (
            "ot_wrong",
            order["order_token"] + "x",
            order["order_token"][:-1],
            "tw_live_x",
        ):
            assert (await shop.request("GET", path, bearer=wrong)).status == 401, wrong
        assert (await shop.request("GET", path, bearer=other)).status == 404
        assert (await shop.request("GET", path, bearer=reader)).status == 200
        assert (await shop.request("GET", path, bearer=order["order_token"])).status == 200
    for path in (
        "/v1/orders",
        f"/v1/payments/{order['payment']['id']}",
        "/v1/events",
        "/v1/mailbox",
    ):
        assert (await shop.request("GET", path)).status == 401
        assert (await shop.request("GET", path, bearer=order["order_token"])).status in (403, 404)
        assert (await shop.request("GET", path, bearer=other)).status in (403, 404)
    missing = await shop.request("GET", "/v1/orders/ord_nothing", bearer=reader)
    assert (missing.status, missing.json["code"]) == (404, "order_not_found")
    cancel = f"/v1/orders/{order['id']}/cancel"
    for bearer, status in ((None, 401), (reader, 403), (order["order_token"], 403)):
        answer = await shop.request("POST", cancel, {"reason": "x"}, key="k", bearer=bearer)
        assert answer.status == status, answer.raw
    assert (await shop.read_order(order["id"]))["status"] == "confirmed"
