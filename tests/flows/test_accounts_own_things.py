"""What belongs to an account: its orders and carts are its own, and nobody else's."""

import asyncio
from typing import Any

import pytest

from tests.contexts.identity import people
from tests.flows.test_accounts import ADDRESS, somebody
from tradewind.kernel.ids import new_id
from tradewind.testing.shop import Shop

pytestmark = pytest.mark.asyncio(loop_scope="session")

CURRENCY = "GBP"


async def own(shop: Shop, session: str, what: str) -> list[dict[str, Any]]:
    """Orders or carts of whoever is signed in."""
    reply = await shop.request("GET", f"/v1/me/{what}", bearer=session)
    assert reply.status == 200, reply.raw
    items: list[dict[str, Any]] = reply.json["items"]
    return items


async def place(shop: Shop, session: str, email: str) -> Any:
    """An order of somebody who is signed in."""
    reply = await shop.request(
        "POST",
        "/v1/orders",
        shop.order(("own-mug", 1), email=email),
        key=new_id("key"),
        bearer=session,
        headers={"Prefer": "wait=30"},
    )
    assert reply.status == 201, reply.raw
    return reply.json


async def test_an_order_belongs_to_who_was_signed_in(shop: Shop) -> None:
    """They read it, its timeline and its papers; another account and a guest get 404 and 401."""
    await shop.given_product("own-mug", on_hand=1_000)
    email, other = somebody(), somebody()
    for each in (email, other):
        await people.account(shop, each)
    mine, theirs = await people.signed_in(shop, email), await people.signed_in(shop, other)
    order = await place(shop, mine, email)
    assert [each["id"] for each in await own(shop, mine, "orders")] == [order["id"]]
    assert await own(shop, theirs, "orders") == []
    for path in ("", "/timeline", "/documents", "/returns"):
        url = f"/v1/orders/{order['id']}{path}"
        assert (await shop.request("GET", url, bearer=mine)).status == 200, path
        assert (await shop.request("GET", url, bearer=theirs)).status == 404, path
        assert (await shop.request("GET", url)).status == 401, path
    unknown = f"/v1/orders/{new_id('ord')}"
    assert (await shop.request("GET", unknown, bearer=mine)).status == 404
    cancel = f"/v1/orders/{order['id']}/cancel"
    refused = await shop.request("POST", cancel, {"reason": "x"}, key="c", bearer=mine)
    assert refused.status == 403


async def test_an_order_sent_again_from_another_session_is_the_same_one(shop: Shop) -> None:
    """The key counts for the account: who signed in anew is still the same caller."""
    await shop.given_product("own-mug", on_hand=1_000)
    email = somebody()
    await people.account(shop, email)
    key, body = new_id("key"), shop.order(("own-mug", 1), email=email)
    replies = []
    for _ in range(2):
        session = await people.signed_in(shop, email)
        replies.append(await shop.request("POST", "/v1/orders", body, key=key, bearer=session))
    assert replies[0].raw == replies[1].raw
    assert "Idempotent-Replayed" in replies[1].headers


async def test_guest_orders_of_a_verified_address_are_claimed_once(shop: Shop) -> None:
    await shop.given_product("own-mug", on_hand=1_000)
    email, other = somebody(), somebody()
    placed = [(await shop.place(("own-mug", 1), email=email)).json["id"] for _ in range(3)]
    foreign = (await shop.place(("own-mug", 1), email=other)).json["id"]
    await people.account(shop, email)
    session = await people.signed_in(shop, email)
    assert await own(shop, session, "orders") == []
    replies = await asyncio.gather(
        *(shop.request("POST", "/v1/me/orders/claim", bearer=session) for _ in range(3))
    )
    claimed = [order for reply in replies for order in reply.json["orders"]]
    assert sorted(claimed) == sorted(placed)
    assert {each["id"] for each in await own(shop, session, "orders")} == set(placed)
    assert (await shop.request("GET", f"/v1/orders/{foreign}", bearer=session)).status == 404
    assert (await shop.request("GET", f"/v1/orders/{placed[0]}", bearer=session)).status == 200


async def guest_cart(shop: Shop, *lines: tuple[str, int]) -> dict[str, Any]:
    """A cart that somebody filled before signing in."""
    body = {"currency": CURRENCY, "lines": [{"sku": s, "quantity": q} for s, q in lines]}
    reply = await shop.request("POST", "/v1/carts", body)
    assert reply.status == 201, reply.raw
    found: dict[str, Any] = reply.json
    return found


async def test_the_cart_of_a_guest_comes_along_at_sign_in(shop: Shop) -> None:
    """First it becomes the account's, the next one joins it; a repeat adds nothing."""
    for sku in ("own-mug", "own-cup"):
        await shop.given_product(sku, on_hand=1_000)
    email, other = somebody(), somebody()
    for each in (email, other):
        await people.account(shop, each)
    first = await guest_cart(shop, ("own-mug", 2))
    session = await people.signed_in(shop, email, cart_token=first["cart_token"])
    assert [each["id"] for each in await own(shop, session, "carts")] == [first["id"]]
    second = await guest_cart(shop, ("own-mug", 1), ("own-cup", 1))
    for _ in range(2):
        session = await people.signed_in(shop, email, cart_token=second["cart_token"])
    cart = await shop.request("GET", f"/v1/carts/{first['id']}", bearer=session)
    assert {line["sku"]: line["quantity"] for line in cart.json["lines"]} == {
        "own-mug": 3, "own-cup": 1,
    }  # fmt: skip
    stranger = await people.signed_in(shop, other, cart_token=first["cart_token"])
    assert await own(shop, stranger, "carts") == []
    url = f"/v1/carts/{first['id']}"
    assert (await shop.request("GET", url, bearer=stranger)).status == 404
    assert (await shop.request("DELETE", url, bearer=stranger)).status == 404


async def test_a_cart_that_is_checked_out_becomes_an_order_of_the_account(shop: Shop) -> None:
    await shop.given_product("own-mug", on_hand=1_000)
    email = somebody()
    await people.account(shop, email)
    session = await people.signed_in(shop, email)
    body = {"currency": CURRENCY, "lines": [{"sku": "own-mug", "quantity": 1}]}
    cart = (await shop.request("POST", "/v1/carts", body, bearer=session)).json
    told = {"email": email, "shipping_address": ADDRESS, "payment": {"token": "tok_ok"}}
    placed = await shop.request(
        "POST", f"/v1/carts/{cart['id']}/checkout", told, key=new_id("key"), bearer=session,
        headers={"Prefer": "wait=30"},
    )  # fmt: skip
    assert placed.status == 201, placed.raw
    assert [each["id"] for each in await own(shop, session, "orders")] == [placed.json["id"]]


async def test_a_session_is_no_cart_token_of_somebody_else(shop: Shop) -> None:
    wrong = await people.sign_in(shop, somebody(), cart_token="ct_nonsense")
    assert wrong.status == 422
