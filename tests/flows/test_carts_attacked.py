"""Carts in bad hands: too much, too odd, somebody else's, all at once."""

import asyncio
import json

from tests.flows.test_carts import ADDRESS, ask, check_out, guest, ready
from tradewind.kernel.ids import new_id
from tradewind.testing.shop import Shop

ODD = (
    "",
    " ",
    "x" * 101,
    "mug'; DROP TABLE orders.carts; --",
    "\u202e",
    "a\nb",
    "{}",
    "%00",
)


async def test_a_thousand_lines_and_not_one_more(shop: Shop) -> None:
    """Made, read, changed, merged and ordered; the limits of the body and of the cart hold."""
    products = [
        {
            "external_id": f"at-{n}",
            "title": f"Part {n}",
            "variants": [
                {"sku": f"at-{n}", "price": {"amount": "0.10", "currency": "GBP"}, "on_hand": 9}
            ],
        }
        for n in range(1_001)
    ]
    body = "\n".join(map(json.dumps, products)).encode()
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await shop.admin("POST", "/v1/imports/products", body, headers=headers)
    assert answer.status in (200, 202), answer.raw
    await shop.until_idle()
    lines = [(f"at-{n}", 1) for n in range(1_001)]
    too_many = {"currency": "GBP", "lines": [{"sku": s, "quantity": 1} for s, _ in lines]}
    assert (await shop.request("POST", "/v1/carts", too_many)).status == 422
    cart = await ready(shop, *lines[:1_000])
    assert cart["totals"]["total"]["amount"] == "100.00"
    full = await ask(shop, cart, "POST", "/lines", {"sku": "at-1000"})
    assert (full.status, full.json["code"]) == (422, "invalid_cart")
    one_more = await guest(shop, ("at-1000", 1))
    merge = await ask(shop, cart, "POST", "/merge", {"from_token": one_more["cart_token"]})
    assert (merge.status, merge.json["code"]) == (422, "invalid_cart")
    assert (await ask(shop, one_more, "GET")).json["status"] == "open"
    assert (await ask(shop, cart, "DELETE", "/lines/500")).status == 200
    answer = await check_out(shop, cart)
    assert answer.status == 201 and len(answer.json["lines"]) == 999


async def test_odd_words_are_refused_or_kept_as_they_are(shop: Shop) -> None:
    """In every field, path and header: never a 5xx, and the cart is as it was."""
    await shop.given_product("at-odd", on_hand=10)
    cart = await ready(shop, ("at-odd", 1))
    before = (await ask(shop, cart, "GET")).raw
    for odd in ODD:
        for method, path, body in (
            ("POST", "/lines", {"sku": odd}),
            ("POST", "/lines", {"sku": "at-odd", "quantity": odd}),
            ("PATCH", "", {"email": odd}),
            ("PATCH", "", {"shipping_option": odd or "?"}),
            ("PATCH", "", {"shipping_address": {**ADDRESS, "country": odd}}),
            ("POST", "/merge", {"from_token": odd}),
            ("POST", "/checkout", {"payment": {"token": odd}}),
        ):
            answer = await ask(shop, cart, method, path, body, key=new_id("key"))
            assert 400 <= answer.status < 500, (method, path, body, answer.raw)
        claimed = {"currency": "GBP", "customer": odd}
        assert (await shop.admin("POST", "/v1/carts", claimed)).status == 422, odd
    for line in ("0", "-1", "1e3", "999999999999999999999", "\u0661", "%00", "1/../../x"):
        answer = await ask(shop, cart, "PATCH", f"/lines/{line}", {"quantity": 1})
        assert answer.status in (400, 404), (line, answer.raw)
    for tag in ('"0"', 'W/"1"', "1", '"' + "9" * 400 + '"', '"-"', '""'):
        answer = await ask(
            shop, cart, "PATCH", "/lines/1", {"quantity": 2}, headers={"If-Match": tag}
        )
        assert answer.status == 412, (tag, answer.raw)
    assert (await ask(shop, cart, "GET")).raw == before
    said = {"shipping_address": {**ADDRESS, "name": 'Zoë "O\'Neil" {x} \\ 李'}}
    kept = await ask(shop, cart, "PATCH", "", said)
    assert kept.json["shipping_address"] == said["shipping_address"]


async def test_totals_in_another_currency_and_of_nothing(shop: Shop) -> None:
    """What cannot be a total of this cart is refused, and nothing is charged."""
    await shop.given_product("at-eur", on_hand=10, currency="EUR")
    await shop.given_product("at-free", on_hand=10, price="0.00")
    cart = await ready(shop, ("at-free", 1))
    refused = await ask(shop, cart, "POST", "/lines", {"sku": "at-eur"})
    assert (refused.status, refused.json["code"]) == (422, "unknown_sku")
    assert "GBP" in refused.json["errors"][0]["message"]
    nothing = await check_out(shop, cart)
    assert (nothing.status, nothing.json["code"]) == (422, "invalid_order")
    wrong = {"expected_total": {"amount": "0.00", "currency": "EUR"}}
    assert (await check_out(shop, cart, body=wrong)).json["code"] == "invalid_cart"
    assert (await ask(shop, cart, "GET")).json["status"] == "open"


async def test_tokens_open_what_they_are_for(shop: Shop) -> None:
    """A cart's token opens no order, not even its own; an order's no cart; neither a list."""
    await shop.given_product("at-token", on_hand=10)
    cart = await ready(shop, ("at-token", 1))
    order = (await check_out(shop, cart)).json
    path, own = f"/v1/orders/{order['id']}", order["order_token"]
    assert (await shop.request("GET", path, bearer=cart["cart_token"])).status == 404
    assert (await shop.request("GET", path, bearer=own)).status == 200
    assert (await ask(shop, cart, "GET", bearer=own)).status == 404
    for listed in ("/v1/carts?customer=x", "/v1/orders", "/v1/stock", "/v1/events"):
        assert (await shop.request("GET", listed, bearer=cart["cart_token"])).status == 403
    seen = (await ask(shop, cart, "GET", bearer=shop.admin_key)).json
    assert "order_token" not in seen["order"], "a key has its own right to orders"
    for forged in (own.replace("ot_", "ct_"), "ct_", "ct_" + "0" * 26, cart["cart_token"] + "x"):
        assert (await ask(shop, cart, "GET", bearer=forged)).status == 401


async def test_one_key_for_many_things(shop: Shop) -> None:
    """A key means one request of one caller: another cart, body or route is another, or refused."""
    await shop.given_product("at-key", on_hand=100)
    key = new_id("key")
    one, two = await ready(shop, ("at-key", 1)), await ready(shop, ("at-key", 2))
    first, second = await check_out(shop, one, key=key), await check_out(shop, two, key=key)
    assert first.status == second.status == 201 and first.json["id"] != second.json["id"]
    staff = [await ready(shop, ("at-key", 1)) for _ in range(2)]
    answers = [await check_out(shop, cart, key=key, bearer=shop.admin_key) for cart in staff]
    assert answers[0].status == 201
    assert (answers[1].status, answers[1].json["code"]) == (422, "idempotency_key_reused")
    other = await check_out(shop, one, key=key, token="tok_declined")
    assert other.json["code"] == "idempotency_key_reused"
    late = await check_out(shop, one, key=key)
    assert late.raw == first.raw and late.headers["Idempotent-Replayed"] == "true"


async def test_everything_at_once(shop: Shop) -> None:
    """Changes, merges, checkouts and the end of one cart, released together, again and again: one
    order at most, whose lines are the cart's, and never an internal error.
    """
    await shop.given_product("at-all", on_hand=1_000)
    for _ in range(5):
        cart = await ready(shop, ("at-all", 1))
        others = [await guest(shop, ("at-all", 1)) for _ in range(3)]
        answers = await asyncio.gather(
            *(check_out(shop, cart) for _ in range(4)),
            *(ask(shop, cart, "POST", "/lines", {"sku": "at-all"}) for _ in range(4)),
            *(ask(shop, cart, "PATCH", "", {"email": f"{n}@example.com"}) for n in range(3)),
            *(ask(shop, cart, "POST", "/merge", {"from_token": o["cart_token"]}) for o in others),
            *(ask(shop, cart, "GET") for _ in range(4)),
        )
        assert {a.status for a in answers} <= {200, 201, 409}, [a.raw for a in answers]
        placed = [a.json for a in answers if a.status == 201]
        seen = (await ask(shop, cart, "GET")).json
        assert len(placed) == 1 and seen["order"]["id"] == placed[0]["id"]
        units = seen["lines"][0]["quantity"]
        assert placed[0]["lines"][0]["quantity"] == units
        merged = [(await ask(shop, other, "GET")).json["status"] for other in others]
        put_in = [a for a in answers[4:8] if a.status == 200]
        assert units == 1 + len(put_in) + merged.count("merged")
