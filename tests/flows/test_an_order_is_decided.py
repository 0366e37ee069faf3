"""One order at a time and as one of fifty: every way a decision can come out."""

import asyncio
from typing import Any

import pytest

from tradewind.kernel.ids import new_id
from tradewind.testing.shop import Reply, Shop

# token -> (status of the answer, code or status of the order, payment in the end)
OUTCOMES: dict[str, tuple[int, str, str]] = {
    "tok_ok": (201, "confirmed", "captured"),
    "tok_declined": (402, "payment_declined", "declined"),
    "tok_slow": (201, "confirmed", "captured"),
    "tok_timeout": (402, "payment_timeout", "failed"),
    "tok_flaky": (201, "confirmed", "captured"),
    "tok_unknown": (201, "confirmed", "captured"),
    "tok_suspicious": (201, "held", "authorised"),
    "tok_nonsense": (402, "payment_declined", "declined"),
}


def check_answer(answer: Reply, token: str) -> str:
    """The answer of a token; returns the order's id."""
    status, name, _ = OUTCOMES[token]
    assert answer.status == status, answer.raw
    body = answer.json
    if status == 201:
        assert body["status"] == name
        assert answer.headers["Location"] == f"/v1/orders/{body['id']}"
        order_id = body["id"]
    else:
        assert body["code"] == name
        order_id = body["order_id"]
    assert body["order_token"].startswith("ot_")
    return str(order_id)


async def check_end(shop: Shop, order_id: str, token: str) -> None:
    """What has become of the order and its money."""
    status, name, payment = OUTCOMES[token]
    order = await shop.until(order_id, payment=payment, within_s=30)
    assert order["status"] == (name if status == 201 else "rejected")
    if status != 201:
        assert order["rejection"]["code"] == name
    charges = await shop.admin("GET", f"/v1/simulator/charges?order_id={order_id}")
    operations = [item["operation"] for item in charges.json["items"]]
    expected = {"captured": ["authorise", "capture"], "authorised": ["authorise"]}
    assert operations == expected.get(payment, []), operations


@pytest.mark.parametrize("token", sorted(OUTCOMES))
async def test_one_order(shop: Shop, token: str) -> None:
    """Alone on the platform: the answer, the order, the provider's record."""
    sku = f"one-{token}"
    await shop.given_product(sku, on_hand=5, price="12.75")
    answer = await shop.place((sku, 2), token=token)
    order_id = check_answer(answer, token)
    await check_end(shop, order_id, token)
    await shop.until_idle()
    kept = 2 if OUTCOMES[token][0] == 201 else 0
    counts = await shop.stock(sku)
    assert (counts["on_hand"], counts["reserved"], counts["available"]) == (5, kept, 5 - kept)


async def test_fifty_orders_at_once(shop: Shop) -> None:
    """The same outcomes where all of them share batches."""
    await shop.given_product("fifty", on_hand=1_000)
    tokens = [token for token in sorted(OUTCOMES) for _ in range(7)][:50]
    answers = await asyncio.gather(*(shop.place(("fifty", 1), token=t) for t in tokens))
    for token, answer in zip(tokens, answers, strict=True):
        await check_end(shop, check_answer(answer, token), token)
    await shop.until_idle()
    accepted = sum(1 for token in tokens if OUTCOMES[token][0] == 201)
    assert (await shop.stock("fifty"))["reserved"] == accepted


async def test_stock_is_short(shop: Shop) -> None:
    """Nothing is charged, nothing is held, and the answer says what was short."""
    await shop.given_product("scarce", on_hand=1)
    answer = await shop.place(("scarce", 2))
    assert answer.status == 409 and answer.json["code"] == "stock_is_short"
    assert answer.json["short"] == [{"sku": "scarce", "wanted": 2, "available": 1}]
    order = await shop.read_order(answer.json["order_id"])
    assert order["status"] == "rejected" and order["rejection"] == {"code": "stock_is_short"}
    await shop.until_idle()
    assert (await shop.stock("scarce"))["available"] == 1
    charges = await shop.admin("GET", f"/v1/simulator/charges?order_id={order['id']}")
    assert charges.json["items"] == []


async def test_the_holder_of_the_token_may_read(shop: Shop) -> None:
    """Nobody else: 401 without a credential, 404 with another order's."""
    await shop.given_product("private", on_hand=5)
    mine = (await shop.place(("private", 1), email="me@example.com")).json
    other = (await shop.place(("private", 1))).json
    path = f"/v1/orders/{mine['id']}"
    assert (await shop.request("GET", path)).status == 401
    assert (await shop.request("GET", path, bearer=other["order_token"])).status == 404
    seen = await shop.request("GET", path, bearer=mine["order_token"])
    assert seen.status == 200 and seen.json["email"] == "me@example.com"
    timeline = await shop.request("GET", f"{path}/timeline", bearer=mine["order_token"])
    assert timeline.status == 200
    assert timeline.json["items"][0]["type"] == "orders.order_placed.v1"


async def test_the_timeline_tells_the_life(shop: Shop) -> None:
    """Every stage, in order, each with its cause."""
    await shop.given_product("told", on_hand=5)
    order = (await shop.place(("told", 1))).json
    await shop.until(order["id"], payment="captured")
    await shop.until_idle()
    names = await shop.announced(order["id"])
    assert names[:5] == [
        "order_placed",
        "stock_reserved",
        "payment_authorised",
        "payment_cleared",
        "order_confirmed",
    ]
    assert set(names[5:]) == {"stock_allocated", "payment_captured", "message_sent"}
    items = (await shop.admin("GET", f"/v1/orders/{order['id']}/timeline")).json["items"]
    causes = {item["type"].split(".")[1]: item.get("causationid") for item in items}
    assert causes["order_placed"] == "request of a guest"
    payment = order["payment"]["id"]
    assert causes["payment_authorised"] == f"payments/operation/{payment}:authorise"
    assert all(causes.values()), causes
    assert causes["stock_reserved"] == f"orders/evt_{order['id']}.1"
    assert causes["payment_cleared"] == f"payments/evt_{order['id']}.1"
    assert causes["order_confirmed"] == f"fraud/evt_{order['id']}.1"
    mails = (await shop.admin("GET", f"/v1/mailbox?to={order['email']}")).json["items"]
    assert [mail["order_id"] for mail in mails] == [order["id"]]


async def test_a_repeated_order_is_answered_again(shop: Shop) -> None:
    """To the byte, also for twins in flight; another body under the key is refused."""
    await shop.given_product("again", on_hand=10)
    key = new_id("key")
    body = shop.order(("again", 1), email="twin@example.com")

    async def send(body: dict[str, Any]) -> Reply:
        return await shop.request("POST", "/v1/orders", body, key=key)

    twins = await asyncio.gather(*(send(body) for _ in range(10)))
    later = await send(body)
    assert {reply.status for reply in twins} == {201}
    assert {reply.raw for reply in twins} == {later.raw}
    assert later.headers["Idempotent-Replayed"] == "true"
    other = await send(shop.order(("again", 2), email="twin@example.com"))
    assert other.status == 422 and other.json["code"] == "idempotency_key_reused"
    await shop.until_idle()
    assert (await shop.stock("again"))["reserved"] == 1


async def test_a_refusal_is_repeated_too(shop: Shop) -> None:
    """A decided 402 stays what it was."""
    await shop.given_product("refused", on_hand=10)
    key = new_id("key")
    body = shop.order(("refused", 1), token="tok_declined", email="r@example.com")
    first = await shop.request("POST", "/v1/orders", body, key=key)
    again = await shop.request("POST", "/v1/orders", body, key=key)
    assert first.status == again.status == 402
    assert first.raw == again.raw
    assert again.headers["Content-Type"] == "application/problem+json"


async def test_who_does_not_wait_is_told_where_to_look(shop: Shop) -> None:
    """`Prefer: wait=0` is answered 202 with the placed order and its address."""
    await shop.given_product("patient", on_hand=5)
    answer = await shop.place(("patient", 1), wait_s=0)
    assert answer.status == 202, answer.raw
    assert answer.headers["Preference-Applied"] == "wait=0"
    assert answer.headers["Location"] == f"/v1/orders/{answer.json['id']}"
    order = await shop.until(answer.json["id"], payment="captured")
    assert order["status"] == "confirmed"
