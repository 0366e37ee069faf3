"""Cancelling at every moment of an order's life, and what the deadlines do."""

import asyncio

from tradewind.kernel.ids import new_id
from tradewind.testing.shop import Reply, Shop


async def cancel(shop: Shop, order_id: str, *, key: str | None = None) -> Reply:
    """Call an order off."""
    return await shop.admin(
        "POST",
        f"/v1/orders/{order_id}/cancel",
        {"reason": "changed my mind"},
        key=key or new_id("key"),
    )


async def operations(shop: Shop, order_id: str) -> list[str]:
    """What the provider did for an order."""
    charges = await shop.admin("GET", f"/v1/simulator/charges?order_id={order_id}")
    return [item["operation"] for item in charges.json["items"]]


async def test_a_captured_order_is_refunded(shop: Shop) -> None:
    """Stock returns, the money goes back, one mail says so."""
    await shop.given_product("refund-me", on_hand=3)
    order = (await shop.place(("refund-me", 2))).json
    await shop.until(order["id"], payment="captured")
    answer = await cancel(shop, order["id"])
    assert answer.status == 200 and answer.json["status"] == "cancelled", answer.raw
    assert answer.json["payment"]["status"] == "refunded"
    assert await operations(shop, order["id"]) == ["authorise", "capture", "refund"]
    assert (await shop.stock("refund-me"))["available"] == 3
    await shop.until_idle()
    mails = (await shop.admin("GET", f"/v1/mailbox?to={order['email']}")).json["items"]
    assert sorted(mail["kind"] for mail in mails) == ["cancellation", "confirmation"]


async def test_a_held_order_is_voided(shop: Shop) -> None:
    """What was never captured is not refunded but let go."""
    await shop.given_product("void-me", on_hand=3)
    order = (await shop.place(("void-me", 1), token="tok_suspicious")).json
    assert order["status"] == "held"
    answer = await cancel(shop, order["id"])
    assert answer.status == 200 and answer.json["payment"]["status"] == "voided", answer.raw
    assert await operations(shop, order["id"]) == ["authorise", "void"]
    assert (await shop.stock("void-me"))["available"] == 3


async def test_an_order_is_cancelled_while_it_is_decided(shop: Shop) -> None:
    """Whoever waits for the decision is told; nothing stays held or charged."""
    await shop.given_product("early", on_hand=3)
    placing = asyncio.create_task(shop.place(("early", 1), token="tok_slow", key="early-1"))
    await asyncio.sleep(0.5)
    listed = (await shop.admin("GET", "/v1/orders?status=placed")).json["items"]
    order_id = next(o["id"] for o in listed if o["lines"][0]["sku"] == "early")
    answer = await cancel(shop, order_id)
    placed = await placing
    assert placed.status == 409 and placed.json["code"] == "order_cancelled", placed.raw
    assert answer.status == 200, answer.raw
    assert await operations(shop, order_id) in (["authorise", "void"], [])
    assert (await shop.stock("early"))["available"] == 3


async def test_cancelling_twice(shop: Shop) -> None:
    """The same key is answered again; another key is told that it is too late."""
    await shop.given_product("twice", on_hand=3)
    order = (await shop.place(("twice", 1))).json
    await shop.until(order["id"], payment="captured")
    key = new_id("key")
    first, twin = await asyncio.gather(
        cancel(shop, order["id"], key=key), cancel(shop, order["id"], key=key)
    )
    assert (first.status, twin.status) == (200, 200) and first.raw == twin.raw
    late = await cancel(shop, order["id"])
    assert late.status == 409 and late.json["code"] == "order_not_cancellable"
    assert await operations(shop, order["id"]) == ["authorise", "capture", "refund"]


async def test_a_refused_capture_cancels_the_order(shop: Shop) -> None:
    """The stock is free again and the customer is told."""
    await shop.given_product("no-capture", on_hand=3)
    order = (await shop.place(("no-capture", 1), token="tok_capture_declined")).json
    assert order["status"] == "confirmed"
    await shop.until(order["id"], payment="voided")
    await shop.until_idle()
    found = await shop.read_order(order["id"])
    assert found["status"] == "cancelled"
    assert (await shop.stock("no-capture"))["available"] == 3
    assert await operations(shop, order["id"]) == ["authorise", "void"]


async def test_a_lost_capture_reply_captures_once(shop: Shop) -> None:
    """The provider is asked by key, never told again under a new one."""
    await shop.given_product("doubt", on_hand=3)
    order = (await shop.place(("doubt", 1), token="tok_capture_unknown")).json
    await shop.until(order["id"], payment="captured", within_s=30)
    assert await operations(shop, order["id"]) == ["authorise", "capture"]


async def test_a_held_order_is_released_or_refused(shop: Shop) -> None:
    """By a person, once."""
    await shop.given_product("review", on_hand=9)
    orders = [(await shop.place(("review", 1), token="tok_suspicious")).json for _ in range(2)]
    for order, verdict, end in zip(
        orders,
        ("release", "refuse"),
        (("confirmed", "captured"), ("rejected", "voided")),
        strict=True,
    ):
        path = f"/v1/reviews/{order['id']}/{verdict}"
        done = await shop.admin("POST", path, {"reason": "looked at it"}, key=new_id("key"))
        assert done.status == 200, done.raw
        again = await shop.admin("POST", path, {"reason": "looked again"}, key=new_id("key"))
        assert again.status == 409 and again.json["code"] == "review_closed", again.raw
        status, payment = end
        assert (await shop.until(order["id"], payment=payment))["status"] == status
    await shop.until_idle()
    assert (await shop.stock("review"))["reserved"] == 1


async def test_partial_refunds_never_exceed_the_capture(shop: Shop) -> None:
    """Ten at once for more than there is: as many as fit, the others are told."""
    await shop.given_product("partly", on_hand=3, price="10.00")
    order = (await shop.place(("partly", 1))).json
    await shop.until(order["id"], payment="captured")
    path = f"/v1/payments/{order['payment']['id']}/refunds"
    body = {"amount": {"amount": "3.00", "currency": "GBP"}, "reason": "scratched"}
    answers = await asyncio.gather(
        *(shop.admin("POST", path, body, key=new_id("key")) for _ in range(10))
    )
    assert sorted(a.status for a in answers) == [201] * 3 + [409] * 7
    assert {a.json["code"] for a in answers if a.status == 409} == {"refund_exceeds_capture"}
    payment = (await shop.admin("GET", f"/v1/payments/{order['payment']['id']}")).json
    assert payment["status"] == "partially_refunded"
    assert payment["refunded"]["amount"] == "9.00"
