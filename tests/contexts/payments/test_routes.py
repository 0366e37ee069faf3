"""Payments over HTTP: a whole shop, a real provider process, money that must add up."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tradewind.kernel.ids import new_id
from tradewind.testing.database import TestServer
from tradewind.testing.provider import ProviderProcess
from tradewind.testing.shop import Reply, Shop


async def bought(shop: Shop, *, token: str = "tok_ok", payment: str = "captured") -> Any:
    """An order of 12.75 whose payment has come to a status."""
    sku = f"sku-{new_id('key')}"
    await shop.given_product(sku, on_hand=10, price="12.75")
    placed = await shop.place((sku, 1), token=token)
    order_id = placed.json.get("id") or placed.json["order_id"]
    return await shop.until(order_id, payment=payment)


async def refund(
    shop: Shop, order: Any, amount: Any, *, key: str | None = None, **more: Any
) -> Reply:
    money = amount if isinstance(amount, dict) else {"amount": amount, "currency": "GBP"}
    return await shop.admin(
        "POST",
        f"/v1/payments/{order['payment']['id']}/refunds",
        {"amount": money, "reason": "broken"},
        key=key or new_id("key"),
        **more,
    )


async def payment_of(shop: Shop, order: Any) -> Any:
    return (await shop.admin("GET", f"/v1/payments/{order['payment']['id']}")).json


async def charges_of(shop: Shop, order: Any) -> list[tuple[str, str]]:
    answer = await shop.admin("GET", f"/v1/simulator/charges?order_id={order['id']}")
    assert answer.status == 200, answer.raw
    return [(item["operation"], item["amount"]["amount"]) for item in answer.json["items"]]


async def test_a_payment_in_the_shape_of_the_contract(shop: Shop) -> None:
    order = await bought(shop)
    payment = await payment_of(shop, order)
    assert payment["id"] == order["payment"]["id"]
    assert payment["order_id"] == order["id"]
    assert payment["status"] == "captured"
    assert payment["amount"] == {"amount": "12.75", "currency": "GBP"}
    assert payment["captured"] == {"amount": "12.75", "currency": "GBP"}
    assert payment["refunded"] == {"amount": "0.00", "currency": "GBP"}
    assert await charges_of(shop, order) == [("authorise", "12.75"), ("capture", "12.75")]


async def test_partial_refunds_until_nothing_is_left(shop: Shop) -> None:
    order = await bought(shop)
    first = await refund(shop, order, "5.00")
    assert first.status == 201, first.raw
    assert first.json["id"].startswith("ref_")
    assert first.json["payment_id"] == order["payment"]["id"]
    assert first.json["amount"] == {"amount": "5.00", "currency": "GBP"}
    assert (first.json["status"], first.json["reason"]) == ("succeeded", "broken")
    read = await shop.admin("GET", first.headers["Location"])
    assert read.json == first.json
    assert (await payment_of(shop, order))["status"] == "partially_refunded"
    over = await refund(shop, order, "7.76")
    assert (over.status, over.json["code"]) == (409, "refund_exceeds_capture")
    assert over.json["refundable"] == {"amount": "7.75", "currency": "GBP"}
    assert (await refund(shop, order, "7.75")).status == 201
    assert (await payment_of(shop, order))["status"] == "refunded"
    path = f"/v1/payments/{order['payment']['id']}/refunds"
    page = (await shop.admin("GET", f"{path}?limit=1")).json
    rest = (await shop.admin("GET", f"{path}?limit=1&cursor={page['next']}")).json
    amounts = [row["amount"]["amount"] for row in [*page["items"], *rest["items"]]]
    assert amounts == ["7.75", "5.00"]
    assert rest["next"] is None


async def test_a_repeated_refund_is_made_once(shop: Shop) -> None:
    """Twins at once, a repeat later, another body: one refund, the same bytes, 422."""
    order = await bought(shop)
    key = new_id("key")
    twins = await asyncio.gather(*(refund(shop, order, "1.00", key=key) for _ in range(5)))
    again = await refund(shop, order, "1.00", key=key)
    assert {(reply.status, reply.raw) for reply in [*twins, again]} == {(201, twins[0].raw)}
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await refund(shop, order, "2.00", key=key)
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    assert (await charges_of(shop, order))[2:] == [("refund", "1.00")]


async def test_refunds_that_race_never_exceed_the_capture(shop: Shop) -> None:
    order = await bought(shop)
    replies = await asyncio.gather(*(refund(shop, order, "2.00") for _ in range(20)))
    assert Counter(reply.status for reply in replies) == {201: 6, 409: 14}
    assert (await payment_of(shop, order))["refunded"]["amount"] == "12.00"
    assert (await charges_of(shop, order))[2:] == [("refund", "2.00")] * 6


@pytest.mark.parametrize(
    ("amount", "status", "code"),
    [
        ("0", 422, "invalid_amount"),
        ("0.00", 422, "invalid_amount"),
        ("-1.00", 422, "invalid_amount"),
        ("1.001", 422, "invalid_amount"),
        ("NaN", 422, "invalid_amount"),
        ("1e3", 422, "invalid_amount"),
        ("999999999999999999999", 422, "invalid_amount"),
        ({"amount": "1.00", "currency": "EUR"}, 422, "currency_mismatch"),
        ({"amount": "1.00"}, 422, "invalid_body"),
        ({"amount": 1, "currency": "GBP"}, 422, "invalid_body"),
    ],
)
async def test_amounts_that_are_none(shop: Shop, amount: Any, status: int, code: str) -> None:
    order = await bought(shop)
    reply = await refund(shop, order, amount)
    assert (reply.status, reply.json["code"]) == (status, code), reply.raw
    assert len(await charges_of(shop, order)) == 2


async def test_what_was_never_captured_is_not_refunded(shop: Shop) -> None:
    order = await bought(shop, token="tok_suspicious", payment="authorised")
    reply = await refund(shop, order, "1.00")
    assert (reply.status, reply.json["code"]) == (409, "nothing_captured")


async def test_unknown_payments_and_refunds(shop: Shop) -> None:
    ghost = {"payment": {"id": new_id("pay")}}
    assert (await shop.admin("GET", f"/v1/payments/{new_id('pay')}")).status == 404
    assert (await shop.admin("GET", "/v1/payments/%00%ff")).status in (400, 404)
    reply = await refund(shop, ghost, "1.00")
    assert (reply.status, reply.json["code"]) == (404, "payment_not_found")
    order = await bought(shop)
    path = f"/v1/payments/{order['payment']['id']}/refunds/{new_id('ref')}"
    assert (await shop.admin("GET", path)).json["code"] == "refund_not_found"


async def test_a_refund_needs_a_key_and_the_scope(shop: Shop) -> None:
    order = await bought(shop)
    path = f"/v1/payments/{order['payment']['id']}/refunds"
    body = {"amount": {"amount": "1.00", "currency": "GBP"}}
    keyless = await shop.admin("POST", path, body)
    assert (keyless.status, keyless.json["code"]) == (400, "idempotency_key_required")
    assert (await shop.request("POST", path, body, key="k")).status == 401
    assert (await shop.request("GET", f"/v1/payments/{order['payment']['id']}")).status == 401


async def test_a_refund_whose_reply_is_lost_is_found(shop: Shop) -> None:
    order = await bought(shop, token="tok_refund_unknown")
    reply = await refund(shop, order, "3.00")
    assert reply.status == 201, reply.raw
    assert (await charges_of(shop, order))[2:] == [("refund", "3.00")]


async def test_a_refund_that_the_provider_refuses(shop: Shop) -> None:
    """It is said, kept under the key, and the amount stays refundable."""
    order = await bought(shop, token="tok_refund_declined")
    key = new_id("key")
    reply = await refund(shop, order, "3.00", key=key)
    assert (reply.status, reply.json["code"]) == (409, "refund_refused")
    assert (await refund(shop, order, "3.00", key=key)).raw == reply.raw
    assert (await payment_of(shop, order))["status"] == "captured"


async def test_a_slow_refund_is_answered_202_and_done_later(shop: Shop) -> None:
    """No more than the caller will wait; the same key is then told the end."""
    order = await bought(shop, token="tok_slow")
    key = new_id("key")
    taken = await refund(shop, order, "3.00", key=key, headers={"Prefer": "wait=0"})
    assert taken.status == 202, taken.raw
    assert taken.json["status"] == "pending"
    done = await refund(shop, order, "3.00", key=key)
    assert (done.status, done.json["status"]) == (201, "succeeded")
    assert done.json["id"] == taken.json["id"]
    assert (await shop.admin("GET", taken.headers["Location"])).json == done.json


async def test_a_declined_capture_cancels_the_order(shop: Shop) -> None:
    order = await bought(shop, token="tok_capture_declined", payment="voided")
    await shop.until_idle()
    assert (await shop.read_order(order["id"]))["status"] == "cancelled"
    assert [name for name, _ in await charges_of(shop, order)] == ["authorise", "void"]


@pytest.mark.parametrize("token", ["tok_capture_unknown", "tok_unknown", "tok_flaky"])
async def test_doubt_ends_in_one_charge(shop: Shop, token: str) -> None:
    order = await bought(shop, token=token)
    assert [name for name, _ in await charges_of(shop, order)] == ["authorise", "capture"]


async def test_the_ledger_says_what_the_provider_says(shop: Shop) -> None:
    """Per currency all sums to zero, and our account at the provider is its own record."""
    order = await bought(shop)
    await refund(shop, order, "0.75")
    await shop.until_idle()
    rows = (await shop.admin("GET", "/v1/ledger/balance")).json["items"]
    net = {
        row["account"]: Decimal(row["debit"]) - Decimal(row["credit"])
        for row in rows
        if row["currency"] == "GBP"
    }
    assert sum(net.values()) == 0
    async with shop.node.reading("payments") as snapshot:
        moved = await snapshot.fetch_value(
            "SELECT sum(captured_minor - refunded_minor) FROM payments.payments"
        )
    assert net["provider:simulator"] == Decimal(int(moved)) / 100
    entries = (await shop.admin("GET", "/v1/ledger/entries?limit=2")).json
    assert [(e["debit"], e["credit"], e["amount"]["amount"]) for e in entries["items"]] == [
        ("receivable", "provider:simulator", "0.75"),
        ("refunds", "receivable", "0.75"),
    ]
    older = (await shop.admin("GET", f"/v1/ledger/entries?limit=2&cursor={entries['next']}")).json
    assert older["items"][0]["number"] < entries["items"][1]["number"]
    assert (await shop.admin("GET", "/v1/ledger/entries?cursor=nonsense")).status == 400


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    """A provider of one's own, to be killed."""
    process = ProviderProcess(tmp_path_factory.mktemp("mortal"))
    process.start()
    yield process
    process.stop()


async def test_a_provider_that_dies_and_comes_back(
    server: TestServer, mortal: ProviderProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Killed under load and back after 2 s: every order is decided once, nobody pays twice."""
    dsn = await server.create_database()
    shop = Shop(dsn, tmp_path_factory.mktemp("shop"), mortal.url)
    await shop.start()
    try:
        await shop.given_product("outage", on_hand=1_000)
        placing = [asyncio.create_task(shop.place(("outage", 1))) for _ in range(60)]
        await asyncio.sleep(0.05)
        await asyncio.to_thread(mortal.stop, 9)
        placing += [asyncio.create_task(shop.place(("outage", 1))) for _ in range(20)]
        await asyncio.sleep(2)
        mortal.start()
        replies = await asyncio.gather(*placing)
        assert Counter(reply.status for reply in replies) == {201: 80}
        for reply in replies:
            await shop.until(reply.json["id"], payment="captured", within_s=30)
            names = [name for name, _ in await charges_of(shop, reply.json)]
            assert names == ["authorise", "capture"]
    finally:
        await shop.stop()
        await server.drop_database(dsn)


async def test_nobody_pays_while_the_provider_is_away(
    server: TestServer, mortal: ProviderProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """402 after the total time, and 503 where its own record is asked for."""
    mortal.stop()
    dsn = await server.create_database()
    shop = Shop(
        dsn,
        tmp_path_factory.mktemp("shop"),
        mortal.url,
        authorise_attempt_timeout_s=0.5,
        authorise_total_timeout_s=1.5,
    )
    await shop.start()
    try:
        await shop.given_product("away", on_hand=10)
        reply = await shop.place(("away", 1))
        assert (reply.status, reply.json["code"]) == (402, "payment_timeout")
        charges = await shop.admin(
            "GET", f"/v1/simulator/charges?order_id={reply.json['order_id']}"
        )
        assert (charges.status, charges.json["code"]) == (503, "provider_unavailable")
    finally:
        await shop.stop()
        await server.drop_database(dsn)
