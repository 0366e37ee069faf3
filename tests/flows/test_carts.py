"""Carts over HTTP: filled, priced, merged, checked out; by a guest's token, or with a scope."""

import asyncio
import time
from typing import Any

import pytest

from tradewind.kernel.ids import new_id
from tradewind.testing.shop import Reply, Shop

ADDRESS = {
    "name": "Ada Lovelace",
    "line1": "12 St James's Square",
    "city": "London",
    "postal_code": "SW1Y 4JH",
    "country": "GB",
}


async def guest(shop: Shop, *lines: tuple[str, int], **more: Any) -> Any:
    """A cart of a guest, as the guest was shown it."""
    body = {
        "currency": "GBP",
        "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines],
        **more,
    }
    answer = await shop.request("POST", "/v1/carts", body)
    assert answer.status == 201, answer.raw
    return answer.json


async def ready(shop: Shop, *lines: tuple[str, int]) -> Any:
    """A cart that lacks nothing."""
    return await guest(shop, *lines, email=f"{new_id('cus')}@example.com", shipping_address=ADDRESS)


async def ask(
    shop: Shop, cart: Any, method: str, path: str = "", body: Any = None, **o: Any
) -> Reply:
    """A request of the guest who holds the cart."""
    options = {"bearer": cart["cart_token"], **o}
    return await shop.request(method, f"/v1/carts/{cart['id']}{path}", body, **options)


async def check_out(
    shop: Shop, cart: Any, *, token: str = "tok_ok", key: str | None = None, **more: Any
) -> Reply:
    """The guest orders."""
    body = {"payment": {"token": token}, **more.pop("body", {})}
    more.setdefault("headers", {"Prefer": "wait=30"})
    return await ask(shop, cart, "POST", "/checkout", body, key=key or new_id("key"), **more)


async def test_from_an_empty_cart_to_an_order(shop: Shop) -> None:
    """Each step answers the whole cart; the order is as if it had been placed at once."""
    await shop.given_product("ct-mug", on_hand=10, price="2.50")
    await shop.given_product("ct-pin", on_hand=10, price="1.00")
    cart = await guest(shop)
    assert cart["status"] == "open" and cart["lines"] == [] and cart["email"] is None
    assert cart["totals"]["total"] == {"amount": "0.00", "currency": "GBP"}
    await ask(shop, cart, "POST", "/lines", {"sku": "CT-MUG", "quantity": 1})
    await ask(shop, cart, "POST", "/lines", {"sku": "ct-pin"})
    added = await ask(shop, cart, "POST", "/lines", {"sku": "ct-mug", "quantity": 2})
    assert [(line["sku"], line["quantity"]) for line in added.json["lines"]] == [
        ("ct-mug", 3),
        ("ct-pin", 1),
    ]
    assert added.json["totals"]["total"]["amount"] == "8.50"
    line = added.json["lines"][0]["id"]
    fewer = await ask(shop, cart, "PATCH", f"/lines/{line}", {"quantity": 2})
    assert fewer.json["totals"]["total"]["amount"] == "6.00"
    options = (await ask(shop, cart, "GET", "/shipping-options")).json["items"]
    assert [option["id"] for option in options] == ["standard"]
    told = {
        "email": "ada@example.com",
        "shipping_address": ADDRESS,
        "shipping_option": options[0]["id"],
    }
    patched = await ask(shop, cart, "PATCH", "", told)
    assert patched.status == 200, patched.raw
    assert patched.json["email"] == "ada@example.com"
    assert patched.json["shipping_address"] == ADDRESS
    assert patched.json["shipping_option"]["id"] == "standard"
    answer = await check_out(shop, cart)
    assert answer.status == 201, answer.raw
    order = answer.json
    assert order["status"] == "confirmed" and order["totals"]["total"]["amount"] == "6.00"
    assert order["email"] == "ada@example.com" and order["shipping_address"] == ADDRESS
    seen = (await ask(shop, cart, "GET")).json
    assert seen["status"] == "ordered"
    assert seen["order"] == {
        "id": order["id"],
        "status": "confirmed",
        "order_token": order["order_token"],
    }
    late = await ask(shop, cart, "POST", "/lines", {"sku": "ct-pin"})
    assert (late.status, late.json["code"]) == (409, "cart_ordered")
    assert late.json["order_id"] == order["id"]
    assert (await shop.stock("ct-mug"))["reserved"] == 2


async def test_who_does_not_wait_is_told_where_to_look(shop: Shop) -> None:
    """202 with the order's address, as a placed order is; meanwhile the cart is in checkout."""
    await shop.given_product("ct-wait", on_hand=10)
    cart = await ready(shop, ("ct-wait", 1))
    answer = await check_out(shop, cart, token="tok_slow", headers={"Prefer": "wait=0"})
    assert answer.status == 202, answer.raw
    assert answer.headers["Location"] == f"/v1/orders/{answer.json['id']}"
    assert (await ask(shop, cart, "GET")).json["status"] == "checking_out"
    late = await ask(shop, cart, "DELETE")
    assert (late.status, late.json["code"]) == (409, "cart_in_checkout")
    await shop.until(answer.json["id"], payment="captured")
    assert (await ask(shop, cart, "GET")).json["status"] == "ordered"


@pytest.mark.parametrize("token", ["tok_declined", "tok_ok"])
async def test_a_refused_cart_is_open_again_and_says_why(shop: Shop, token: str) -> None:
    """Card declined, or stock short: the same cart, bettered, becomes an order."""
    sku = f"ct-{token}".replace("_", "-")
    await shop.given_product(sku, on_hand=3)
    cart = await ready(shop, (sku, 2 if token == "tok_declined" else 5))
    key = new_id("key")
    refused = await check_out(shop, cart, token=token, key=key)
    assert refused.status == (402 if token == "tok_declined" else 409), refused.raw
    assert refused.json["order_id"] and refused.json["order_token"]
    again = await check_out(shop, cart, token=token, key=key)
    assert again.raw == refused.raw and again.headers["Idempotent-Replayed"] == "true"
    seen = (await ask(shop, cart, "GET")).json
    assert seen["status"] == "open" and seen["refusal"]["code"] == refused.json["code"]
    line = seen["lines"][0]["id"]
    assert (await ask(shop, cart, "PATCH", f"/lines/{line}", {"quantity": 1})).status == 200
    answer = await check_out(shop, cart)
    assert answer.status == 201, answer.raw
    seen = (await ask(shop, cart, "GET")).json
    assert seen["status"] == "ordered" and "refusal" not in seen
    await shop.until_idle()
    assert (await shop.stock(sku))["reserved"] == 1


async def test_parallel_checkouts_make_one_order(shop: Shop) -> None:
    """Under keys of their own and under one: one order, everybody is told of it."""
    await shop.given_product("ct-many", on_hand=100)
    cart = await ready(shop, ("ct-many", 1))
    key = new_id("key")
    keys = [key] * 6 + [new_id("key") for _ in range(6)]
    answers = await asyncio.gather(*(check_out(shop, cart, key=k) for k in keys))
    placed = {a.json["id"] for a in answers if a.status == 201}
    assert len(placed) == 1, [a.raw for a in answers]
    others = [a for a in answers if a.status != 201]
    assert {a.json["code"] for a in others} <= {"cart_in_checkout", "cart_ordered"}
    assert {a.json["order_id"] for a in others} <= placed
    await shop.until_idle()
    assert (await shop.stock("ct-many"))["reserved"] == 1


async def test_a_price_that_was_not_shown_is_not_paid(shop: Shop) -> None:
    """409 with old and new; then the cart shows the new price, and a new key accepts it."""
    await shop.given_product("ct-dear", on_hand=10, price="2.00")
    await shop.given_product("ct-same", on_hand=10, price="1.00")
    cart = await ready(shop, ("ct-dear", 2), ("ct-same", 1))
    await shop.given_product("ct-dear", on_hand=10, price="2.50")
    await shop.until_idle()
    key = new_id("key")
    refused = await check_out(shop, cart, key=key)
    assert (refused.status, refused.json["code"]) == (409, "price_changed"), refused.raw
    (line,) = refused.json["lines"]
    assert (line["sku"], line["unit_price_before"]["amount"]) == ("ct-dear", "2.00")
    assert line["unit_price"]["amount"] == "2.50"
    assert refused.json["expected_total"]["amount"] == "5.00"
    assert refused.json["total"]["amount"] == "6.00"
    assert "order_id" not in refused.json
    again = await check_out(shop, cart, key=key)
    assert again.raw == refused.raw, "the same key must not accept a price that nobody saw"
    seen = (await ask(shop, cart, "GET")).json
    assert seen["status"] == "open" and seen["totals"]["total"]["amount"] == "6.00"
    assert seen["lines"][0]["price_when_added"]["amount"] == "2.00"
    assert "price_when_added" not in seen["lines"][1]
    assert (await check_out(shop, cart)).status == 201


async def test_reading_a_cart_shows_its_prices(shop: Shop) -> None:
    """Who read the new price need not be asked again; who may only read shows it to nobody."""
    await shop.given_product("ct-read", on_hand=10, price="2.00")
    cart = await ready(shop, ("ct-read", 1))
    key = await shop.admin("POST", "/v1/keys", {"name": "reader", "scopes": ["carts:read"]})
    reader = key.json["key"]
    await shop.given_product("ct-read", on_hand=10, price="3.00")
    await shop.until_idle()
    read = await ask(shop, cart, "GET", bearer=reader)
    assert read.json["totals"]["total"]["amount"] == "3.00"
    assert (await check_out(shop, cart)).json["code"] == "price_changed"
    await shop.given_product("ct-read", on_hand=10, price="4.00")
    await shop.until_idle()
    before = (await ask(shop, cart, "GET")).json
    assert before["totals"]["total"]["amount"] == "4.00"
    wrong = {"expected_total": {"amount": "3.00", "currency": "GBP"}}
    refused = await check_out(shop, cart, body=wrong)
    assert (refused.status, refused.json["lines"]) == (409, []), refused.raw
    right = {"expected_total": {"amount": "4.00", "currency": "GBP"}}
    assert (await check_out(shop, cart, body=right)).status == 201


async def test_what_is_not_sold_any_more_says_so(shop: Shop) -> None:
    """The line stays, without a price; a checkout points at it, until it is taken out."""
    await shop.given_product("ct-gone", on_hand=10)
    await shop.given_product("ct-stays", on_hand=10, price="1.00")
    cart = await ready(shop, ("ct-gone", 1), ("ct-stays", 1))
    assert (await shop.admin("DELETE", "/v1/products/ct-gone")).status in (200, 202, 204)
    await shop.until_idle()
    seen = (await ask(shop, cart, "GET")).json
    gone, stays = seen["lines"]
    assert (gone["for_sale"], gone["unit_price"], gone["total"]) == (False, None, None)
    assert gone["price_when_added"]["amount"] == "10.00" and gone["title"]
    assert stays["for_sale"] and seen["totals"]["total"]["amount"] == "1.00"
    key = new_id("key")
    refused = await check_out(shop, cart, key=key)
    assert (refused.status, refused.json["code"]) == (422, "unknown_sku")
    assert refused.json["errors"][0]["pointer"] == "/lines/0/sku"
    assert (await ask(shop, cart, "DELETE", f"/lines/{gone['id']}")).status == 200
    assert (await check_out(shop, cart, key=key)).status == 201, "a 422 leaves nothing behind"
    refused = await ask(shop, await guest(shop), "POST", "/lines", {"sku": "ct-gone"})
    assert (refused.status, refused.json["code"]) == (422, "unknown_sku")


async def test_what_is_missing_may_come_with_the_checkout(shop: Shop) -> None:
    """Without it 422 names it, and the cart is as it was."""
    await shop.given_product("ct-miss", on_hand=10)
    cart = await guest(shop, ("ct-miss", 1))
    refused = await check_out(shop, cart)
    assert (refused.status, refused.json["code"]) == (422, "cart_incomplete")
    assert [e["pointer"] for e in refused.json["errors"]] == ["/email", "/shipping_address"]
    answer = await check_out(
        shop, cart, body={"email": "grace@example.com", "shipping_address": ADDRESS}
    )
    assert answer.status == 201, answer.raw
    assert answer.json["email"] == "grace@example.com"
    empty = await ready(shop)
    assert (await check_out(shop, empty)).json["errors"][0]["pointer"] == "/lines"


async def test_a_guests_cart_joins_that_of_the_signed_in(shop: Shop) -> None:
    """Quantities add up, the guest's cart ends, a repeat changes nothing."""
    await shop.given_product("ct-both", on_hand=10)
    await shop.given_product("ct-only", on_hand=10)
    body = {"currency": "GBP", "customer": "c-17", "lines": [{"sku": "ct-both", "quantity": 1}]}
    mine = (await shop.admin("POST", "/v1/carts", body)).json
    theirs = await ready(shop, ("CT-BOTH", 2), ("ct-only", 4))
    path, token = f"/v1/carts/{mine['id']}/merge", {"from_token": theirs["cart_token"]}
    merged = await shop.admin("POST", path, token)
    assert merged.status == 200, merged.raw
    assert [(line["sku"], line["quantity"]) for line in merged.json["lines"]] == [
        ("ct-both", 3),
        ("ct-only", 4),
    ]
    assert merged.json["shipping_address"] == ADDRESS, "a cart without takes the guest's"
    answers = await asyncio.gather(*(shop.admin("POST", path, token) for _ in range(5)))
    assert {a.raw for a in answers} == {merged.raw}
    ended = (await ask(shop, theirs, "GET")).json
    assert (ended["status"], ended["merged_into"]) == ("merged", mine["id"])
    assert ended["email"] is None
    late = await ask(shop, theirs, "POST", "/lines", {"sku": "ct-only"})
    assert (late.status, late.json["code"]) == (409, "cart_ended")
    found = (await shop.admin("GET", "/v1/carts?customer=c-17")).json
    assert [cart["id"] for cart in found["items"]] == [mine["id"]]
    forged = await shop.admin("POST", path, {"from_token": theirs["cart_token"][:-1] + "x"})
    assert forged.json["code"] == "invalid_cart"
    own = await shop.admin("POST", path, {"from_token": mine["cart_token"]})
    assert own.json["code"] == "invalid_cart"


async def test_changes_compare_versions(shop: Shop) -> None:
    """A stale ETag is 412 and changes nothing; the tag tells prices apart, If-Match does not."""
    await shop.given_product("ct-tag", on_hand=10, price="2.00")
    cart = await ready(shop, ("ct-tag", 1))
    first = await ask(shop, cart, "GET")
    tag = first.headers["ETag"]
    same = await ask(shop, cart, "GET", headers={"If-None-Match": tag})
    assert same.status == 304
    await shop.given_product("ct-tag", on_hand=10, price="3.00")
    await shop.until_idle()
    other = await ask(shop, cart, "GET", headers={"If-None-Match": tag})
    assert other.status == 200 and other.headers["ETag"] != tag
    changed = await ask(shop, cart, "PATCH", "/lines/1", {"quantity": 2}, headers={"If-Match": tag})
    assert changed.status == 200, changed.raw
    assert changed.headers["ETag"] == (await ask(shop, cart, "GET")).headers["ETag"]
    for method, path, body in (
        ("PATCH", "/lines/1", {"quantity": 9}),
        ("DELETE", "/lines/1", None),
        ("POST", "/lines", {"sku": "ct-tag"}),
        ("PATCH", "", {"email": "x@example.com"}),
        ("DELETE", "", None),
    ):
        stale = await ask(shop, cart, method, path, body, headers={"If-Match": tag})
        assert (stale.status, stale.json["code"]) == (412, "version_mismatch"), method + path
    stale = await check_out(shop, cart, headers={"If-Match": tag})
    assert stale.status == 412
    assert (await ask(shop, cart, "GET")).json["lines"][0]["quantity"] == 2


async def test_a_repeated_change_takes_effect_once(shop: Shop) -> None:
    """Twins under one key, at once and later: one change, the same bytes."""
    await shop.given_product("ct-twin", on_hand=10)
    key = new_id("key")
    body = {
        "currency": "GBP",
        "email": f"{new_id('cus')}@example.com",
        "lines": [{"sku": "ct-twin", "quantity": 1}],
    }
    made = [await shop.request("POST", "/v1/carts", body, key=key) for _ in range(2)]
    assert made[0].raw == made[1].raw and made[0].json["email"] == body["email"]
    cart = made[0].json
    twins = await asyncio.gather(
        *(ask(shop, cart, "POST", "/lines", {"sku": "ct-twin"}, key=key) for _ in range(8))
    )
    assert {a.raw for a in twins} == {twins[0].raw} and twins[0].json["lines"][0]["quantity"] == 2
    reused = await ask(shop, cart, "POST", "/lines", {"sku": "ct-twin", "quantity": 5}, key=key)
    assert reused.json["code"] == "idempotency_key_reused"
    patches = [
        await ask(shop, cart, "PATCH", "", {"email": "b@example.com"}, key=key) for _ in range(2)
    ]
    assert patches[0].raw == patches[1].raw and patches[0].json["email"] == "b@example.com"


async def test_addresses_changed_at_the_same_moment_are_all_kept(shop: Shop) -> None:
    """One says the e-mail, another the address, a third the invoice's: none is lost."""
    cart = await guest(shop)
    answers = await asyncio.gather(
        ask(shop, cart, "PATCH", "", {"email": "ada@example.com"}),
        ask(shop, cart, "PATCH", "", {"shipping_address": ADDRESS}),
        ask(shop, cart, "PATCH", "", {"billing_address": {**ADDRESS, "city": "Paris"}}),
    )
    assert {a.status for a in answers} == {200}, [a.raw for a in answers]
    seen = (await ask(shop, cart, "GET")).json
    assert seen["email"] == "ada@example.com" and seen["shipping_address"] == ADDRESS
    assert seen["billing_address"]["city"] == "Paris"
    cleared = await ask(shop, cart, "PATCH", "", {"email": None, "billing_address": None})
    assert cleared.json["email"] is None and cleared.json["billing_address"] is None
    assert cleared.json["shipping_address"] == ADDRESS


async def persons_of(shop: Shop, cart: Any) -> str | None:
    """The vault's token in a cart's row."""
    async with shop.node.reading("orders") as db:
        found: str | None = await db.fetch_value(
            "SELECT person FROM orders.carts WHERE cart_id = $1", cart["id"]
        )
    return found


async def test_what_a_cart_no_longer_knows_the_vault_forgets(shop: Shop) -> None:
    """Replaced, or thrown away with the cart; but not what an order still needs."""
    await shop.given_product("ct-vault", on_hand=10)
    cart = await ready(shop, ("ct-vault", 1))
    first = await persons_of(shop, cart)
    refused = await check_out(shop, cart, token="tok_declined")
    assert refused.status == 402
    await ask(shop, cart, "PATCH", "", {"email": "second@example.com"})
    second = await persons_of(shop, cart)
    await ask(shop, cart, "PATCH", "", {"email": "third@example.com"})
    third = await persons_of(shop, cart)
    assert (await ask(shop, cart, "DELETE")).status == 204
    assert first and second and third and len({first, second, third}) == 3
    until = time.monotonic() + 30
    while True:
        opened = await shop.node.vault.open([first, second, third])
        if opened[second] is None and opened[third] is None:
            break
        assert time.monotonic() < until, "the vault still knows who threw the cart away"
        await asyncio.sleep(0.2)
    assert opened[first] is not None, "the refused order still points to it"
    async with shop.node.reading("orders") as db:
        while await db.fetch_value("SELECT count(*) FROM orders.discarded_persons"):
            assert time.monotonic() < until, "what was forgotten is not noted"
            await asyncio.sleep(0.2)


async def test_a_shopper_who_was_erased_is_not_shown(shop: Shop) -> None:
    """The cart stays, without them; a new address may be given."""
    await shop.given_product("ct-erased", on_hand=10)
    cart = await ready(shop, ("ct-erased", 1))
    person = await persons_of(shop, cart)
    await shop.node.vault.erase(person)
    seen = (await ask(shop, cart, "GET")).json
    assert (seen["email"], seen["erased"]) == (None, True)
    refused = await check_out(shop, cart)
    assert (refused.status, refused.json["code"]) == (422, "cart_incomplete"), refused.raw
    answer = await check_out(
        shop, cart, body={"email": "new@example.com", "shipping_address": ADDRESS}
    )
    assert answer.status == 201, answer.raw
    assert answer.json["email"] == "new@example.com"


async def test_whose_a_cart_is(shop: Shop) -> None:
    """401 without a credential, 404 without the right, whatever is asked; a wrong token is 401."""
    await shop.given_product("ct-whose", on_hand=10)
    cart, other = await ready(shop, ("ct-whose", 1)), await ready(shop, ("ct-whose", 1))
    calls: tuple[tuple[str, str, Any], ...] = (
        ("GET", "", None),
        ("PATCH", "", {"email": "x@example.com"}),
        ("DELETE", "", None),
        ("POST", "/lines", {"sku": "ct-whose"}),
        ("PATCH", "/lines/1", {"quantity": 2}),
        ("DELETE", "/lines/1", None),
        ("GET", "/shipping-options", None),
        ("POST", "/merge", {"from_token": other["cart_token"]}),
        ("POST", "/checkout", {"payment": {"token": "tok_ok"}}),
    )
    for method, path, body in calls:
        key = new_id("key") if path == "/checkout" else None
        for bearer, status in (
            (None, 401),
            (cart["cart_token"][:-1] + ("A" if cart["cart_token"][-1] != "A" else "B"), 401),
            (other["cart_token"], 404),
        ):
            answer = await ask(shop, cart, method, path, body, bearer=bearer, key=key)
            assert answer.status == status, (method, path, answer.raw)
    assert (await ask(shop, cart, "GET", bearer=shop.admin_key)).status == 200
    wrong = await shop.request("GET", "/v1/carts?customer=x", bearer=cart["cart_token"])
    assert wrong.status == 403
    claimed = await shop.request("POST", "/v1/carts", {"currency": "GBP", "customer": "boss"})
    assert claimed.status == 403
    claimed = await ask(shop, cart, "PATCH", "", {"customer": "boss"})
    assert claimed.status == 403
    assert (await ask(shop, cart, "DELETE")).status == 204
    assert (await ask(shop, cart, "GET")).status == 404
    assert (await check_out(shop, cart)).json["code"] == "cart_not_found"
