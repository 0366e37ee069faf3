"""Orders leave the house, units come back, money follows, and every step has its paper."""

import asyncio
import io
import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.flows.test_an_order_is_called_off import cancel
from tradewind.checks.replay.run import replay
from tradewind.testing.shop import Reply, Shop

ORDER = ("returned", 10)


async def captured(shop: Shop, *lines: tuple[str, int], **more: Any) -> dict[str, Any]:
    """An order whose money was taken."""
    placed = await shop.place(*lines, **more)
    assert placed.status == 201, placed.raw
    return await shop.until(placed.json["id"], payment="captured") | {
        "order_token": placed.json["order_token"]
    }


async def fulfil(shop: Shop, order_id: str, key: str = "") -> Reply:
    body = {"carrier": "Parcel Force", "tracking": "PF 1"}
    path = f"/v1/orders/{order_id}/fulfil"
    return await shop.admin("POST", path, body, key=key or f"out-{order_id}")


async def sent(shop: Shop, *lines: tuple[str, int], **more: Any) -> dict[str, Any]:
    """An order that left the house."""
    order = await captured(shop, *lines, **more)
    answer = await fulfil(shop, order["id"])
    assert answer.status == 200, answer.raw
    return order


async def give_back(shop: Shop, order_id: str, key: str, /, **body: Any) -> Reply:
    path = f"/v1/orders/{order_id}/returns"
    return await shop.admin("POST", path, {"reason": "too big", **body}, key=key)


async def test_an_order_leaves_the_house(shop: Shop) -> None:
    """Its units are no longer there, nor promised, and it can not be called off any more."""
    await shop.given_product("sent", on_hand=5)
    order = await sent(shop, ("sent", 2))
    assert (await shop.read_order(order["id"]))["status"] == "fulfilled"
    await shop.until_idle()
    stock = await shop.stock("sent")
    assert (stock["on_hand"], stock["reserved"], stock["available"]) == (3, 0, 3)
    path = f"/v1/orders/{order['id']}/fulfilments"
    told = await shop.request("GET", path, bearer=order["order_token"])
    assert told.json["items"][0]["tracking"] == "PF 1"
    assert (await cancel(shop, order["id"])).json["code"] == "order_not_cancellable"
    again = await fulfil(shop, order["id"], key="another")
    assert (again.status, again.json["code"]) == (409, "order_not_fulfillable")
    twin = await fulfil(shop, order["id"])
    assert twin.headers["Idempotent-Replayed"] == "true" and twin.status == 200


async def test_only_what_is_paid_leaves_the_house(shop: Shop) -> None:
    await shop.given_product("unpaid", on_hand=5)
    held = (await shop.place(("unpaid", 1), token="tok_suspicious")).json
    assert (await fulfil(shop, held["id"])).json["code"] == "order_not_fulfillable"
    assert (await fulfil(shop, "ord_nobody")).json["code"] == "order_not_found"


async def test_units_come_back_step_by_step(shop: Shop) -> None:
    """Asked for by who holds the order, agreed to, opened: shelf, bin, money, credit note."""
    await shop.given_product("steps", on_hand=10, price="3.33")
    order = await sent(shop, ("steps", 3))
    asked = await shop.request(
        "POST",
        f"/v1/orders/{order['id']}/returns",
        {"reason": "too big", "lines": [{"line": 1, "quantity": 3, "reason": "torn"}]},
        bearer=order["order_token"],
        key="steps",
    )
    assert (asked.status, asked.json["status"]) == (201, "requested"), asked.raw
    path = f"/v1/returns/{asked.json['id']}"
    assert (
        await shop.admin(
            "POST", f"{path}/receive", {"lines": [{"line": 1, "restock": 1}]}, key="early"
        )
    ).status == 409
    assert (await shop.admin("POST", f"{path}/approve")).json["status"] == "approved"
    opened = await shop.admin(
        "POST",
        f"{path}/receive",
        {"lines": [{"line": 1, "restock": 1, "write_off": 1}]},
        key="open",
    )
    assert (opened.status, opened.json["status"]) == (200, "refunded"), opened.raw
    assert opened.json["refund"] == {"amount": "6.66", "currency": "GBP"}
    assert opened.json["credit_note"].startswith("CN-")
    read = await shop.read_order(order["id"])
    assert (read["status"], read["payment"]["status"]) == ("partly_returned", "partially_refunded")
    await shop.until_idle()
    stock = await shop.stock("steps")
    assert (stock["on_hand"], stock["reserved"]) == (8, 0)
    # The unit that did not come may be asked for again; then nothing is left, to the penny.
    last = await give_back(
        shop,
        order["id"],
        "last",
        lines=[{"line": 1, "quantity": 1}],
        receive={"lines": [{"line": 1, "restock": 1}]},
    )
    assert (last.status, last.json["refund"]["amount"]) == (201, "3.33"), last.raw
    read = await shop.read_order(order["id"])
    assert (read["status"], read["payment"]["status"]) == ("returned", "refunded")
    assert (await give_back(shop, order["id"], "more", lines=[{"line": 1, "quantity": 1}])).json[
        "code"
    ] == "order_not_returnable"
    announced = await shop.announced(order["id"])
    assert announced.count("return_received") == announced.count("return_refunded") == 2
    listed = (await shop.admin("GET", f"/v1/orders/{order['id']}/returns")).json["items"]
    assert [r["status"] for r in listed] == ["refunded", "refunded"]
    assert [r["id"] for r in (await shop.admin("GET", "/v1/returns?limit=2")).json["items"]] == [
        r["id"] for r in reversed(listed)
    ]


async def test_a_return_is_refused_and_asked_for_again(shop: Shop) -> None:
    await shop.given_product("again", on_hand=10)
    order = await sent(shop, ("again", 2))
    lines = [{"line": 1, "quantity": 2}]
    first = await give_back(shop, order["id"], "first", lines=lines)
    over = await give_back(shop, order["id"], "over", lines=[{"line": 1, "quantity": 1}])
    assert (over.status, over.json["code"], over.json["left"]) == (409, "return_exceeds_order", 0)
    rejected = await shop.admin(
        "POST", f"/v1/returns/{first.json['id']}/reject", {"reason": "worn"}
    )
    assert (rejected.json["status"], rejected.json["note"]) == ("rejected", "worn")
    assert (await give_back(shop, order["id"], "second", lines=lines)).status == 201


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"lines": [{"line": 2, "quantity": 1}]}, 422, "invalid_return"),
        ({"lines": [{"line": 1, "quantity": 1}] * 2}, 422, "invalid_return"),
        ({"lines": [{"line": 1, "quantity": 3}]}, 409, "return_exceeds_order"),
        (
            {
                "lines": [{"line": 1, "quantity": 1}],
                "receive": {"lines": [{"line": 1, "restock": 2}]},
            },
            422,
            "invalid_return",
        ),
        (
            {
                "lines": [{"line": 1, "quantity": 1}],
                "receive": {"lines": [{"line": 1, "restock": 0}]},
            },
            422,
            "invalid_return",
        ),
        (
            {
                "lines": [{"line": 1, "quantity": 1}],
                "receive": {
                    "lines": [
                        {
                            "line": 1,
                            "restock": 1,
                            "refund": {"amount": "20.01", "currency": "GBP"},
                        }
                    ]
                },
            },
            409,
            "refund_exceeds_line",
        ),
        (
            {
                "lines": [{"line": 1, "quantity": 1}],
                "receive": {
                    "lines": [{"line": 1, "restock": 1}],
                    "fees_refund": {"amount": "0.01", "currency": "GBP"},
                },
            },
            409,
            "refund_exceeds_line",
        ),
    ],
)
async def test_what_does_not_fit_is_refused(
    shop: Shop, body: dict[str, Any], status: int, code: str
) -> None:
    """And leaves nothing behind."""
    if not hasattr(shop, "sent_before"):
        await shop.given_product("unfit", on_hand=10)
        shop.sent_before = await sent(shop, ("unfit", 2))  # type: ignore[attr-defined]
    order = shop.sent_before  # type: ignore[attr-defined]
    answer = await give_back(shop, order["id"], f"unfit-{hash(str(body))}", **body)
    assert (answer.status, answer.json["code"]) == (status, code), answer.raw
    assert (await shop.admin("GET", f"/v1/orders/{order['id']}/returns")).json["items"] == []


async def test_many_ask_for_the_same_units(shop: Shop) -> None:
    """Twenty at once for three units: three are promised, whoever was first."""
    await shop.given_product("crowd", on_hand=10)
    order = await sent(shop, ("crowd", 3))
    answers = await asyncio.gather(
        *(
            give_back(shop, order["id"], f"crowd-{n}", lines=[{"line": 1, "quantity": 1}])
            for n in range(20)
        )
    )
    assert sorted(a.status for a in answers) == [201] * 3 + [409] * 17
    twins = await asyncio.gather(
        *(
            shop.admin("POST", f"/v1/returns/{a.json['id']}/approve")
            for a in answers
            if a.status == 201
        )
    )
    assert [a.status for a in twins] == [200, 200, 200]


async def test_the_provider_will_not_give_back(shop: Shop) -> None:
    """The units are on the shelf, the return says what is wrong, and no money moved twice."""
    await shop.given_product("stubborn", on_hand=5)
    order = await sent(shop, ("stubborn", 1), token="tok_refund_declined")
    answer = await give_back(
        shop,
        order["id"],
        "stubborn",
        lines=[{"line": 1, "quantity": 1}],
        receive={"lines": [{"line": 1, "restock": 1}]},
    )
    assert (answer.status, answer.json["code"]) == (409, "refund_refused"), answer.raw
    found = (await shop.admin("GET", f"/v1/orders/{order['id']}/returns")).json["items"][0]
    assert found["status"] == "refund_refused" and found["credit_note"] is None
    await shop.until_idle()
    assert (await shop.stock("stubborn"))["on_hand"] == 5


async def test_money_that_went_back_already_is_not_given_twice(shop: Shop) -> None:
    """A refund by hand before: what is left of the payment is all there is."""
    await shop.given_product("before", on_hand=5, price="10.00")
    order = await sent(shop, ("before", 1))
    refund = {"amount": {"amount": "4.00", "currency": "GBP"}, "reason": "goodwill"}
    path = f"/v1/payments/{order['payment']['id']}/refunds"
    assert (await shop.admin("POST", path, refund, key="by-hand")).status == 201
    answer = await give_back(
        shop,
        order["id"],
        "before",
        lines=[{"line": 1, "quantity": 1}],
        receive={"lines": [{"line": 1, "restock": 1}]},
    )
    assert answer.json["code"] == "refund_refused"
    assert "refund_exceeds_capture" in answer.json["detail"]


async def documents(shop: Shop, order: dict[str, Any]) -> list[dict[str, Any]]:
    path = f"/v1/orders/{order['id']}/documents"
    found: list[dict[str, Any]] = (
        await shop.request("GET", path, bearer=order["order_token"])
    ).json["items"]
    return found


async def test_every_payment_has_its_paper(shop: Shop) -> None:
    """An invoice for what was taken, a credit note for what went back; numbers without gaps."""
    await shop.given_product("paper", on_hand=100, price="12.00")
    orders = await asyncio.gather(*(captured(shop, ("paper", 1)) for _ in range(12)))
    await asyncio.gather(*(cancel(shop, order["id"]) for order in orders[:4]))
    await shop.until_idle()
    kinds = [[d["kind"] for d in await documents(shop, order)] for order in orders]
    assert kinds == [["invoice", "credit_note"]] * 4 + [["invoice"]] * 8
    for kind in ("invoice", "credit_note"):
        page = (await shop.admin("GET", f"/v1/documents?kind={kind}&limit=100")).json["items"]
        serials = [int(d["number"].split("-")[2]) for d in page]
        assert serials == list(range(len(page), 0, -1))
    number = (await documents(shop, orders[5]))[0]["number"]
    assert (await shop.admin("GET", f"/v1/documents/{number}")).json["order_id"] == orders[5]["id"]
    path = f"/v1/orders/{orders[5]['id']}/documents/{number}"
    page = await shop.request("GET", f"{path}/html", bearer=orders[5]["order_token"])
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert page.headers["Cache-Control"] == "no-store"
    assert "Ada Lovelace" in page.raw.decode() and number in page.raw.decode()
    file = await shop.request("GET", f"{path}/pdf", bearer=orders[5]["order_token"])
    assert file.headers["Content-Type"] == "application/pdf"
    assert file.raw.startswith(b"%PDF-") and re.search(rb"%%EOF\s*$", io.BytesIO(file.raw).read())
    other = await shop.request(
        "GET",
        f"/v1/orders/{orders[6]['id']}/documents/{number}",
        bearer=orders[6]["order_token"],
    )
    assert other.status == 404


async def test_a_paper_says_what_it_is_for_and_who_sold(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that add up, the invoice that is corrected, and why; later settings change nothing."""
    await shop.given_product("told", on_hand=10, price="10.00")
    order = await captured(shop, ("told", 3))
    gone = {"amount": {"amount": "4.00", "currency": "GBP"}, "reason": "a scratch"}
    refunds = f"/v1/payments/{order['payment']['id']}/refunds"
    assert (await shop.admin("POST", refunds, gone, key="told")).status == 201
    await fulfil(shop, order["id"])
    back = {"lines": [{"line": 1, "quantity": 1}]}
    came = {"lines": [{"line": 1, "restock": 1}]}
    assert (await give_back(shop, order["id"], "told-2", **back, receive=came)).status == 201
    await shop.until_idle()
    numbers = [paper["number"] for paper in await documents(shop, order)]
    papers = [(await shop.admin("GET", f"/v1/documents/{n}")).json for n in numbers]
    for paper in papers:
        of_lines = sum(Decimal(line["amount"]["amount"]) for line in paper["lines"])
        assert of_lines == Decimal(paper["total"]["amount"]) and paper["lines"], paper
    assert papers[0]["lines"][0]["unit_price"] == {"amount": "10.00", "currency": "GBP"}
    assert [paper["corrects"] for paper in papers] == [None, numbers[0], numbers[0]]
    assert [paper["reason"] for paper in papers] == [None, "a scratch", "too big"]
    later = msgspec.structs.replace(shop.node.settings, seller="Another Ltd | Elsewhere")
    monkeypatch.setattr(shop.node, "settings", later)
    page = (await shop.admin("GET", f"/v1/documents/{numbers[1]}/html")).raw.decode()
    assert "a scratch" in page and numbers[0] in page
    assert "Tradewind" in page and "Another Ltd" not in page


async def test_a_credit_note_stands_alone(shop: Shop) -> None:
    """No order answers for it: it is owed, its units are on the shelf, it is issued once."""
    await shop.given_product("alone", on_hand=1)
    body = {
        "currency": "GBP",
        "customer_ref": "17850",
        "country": "GB",
        "reason": "sold before our time",
        "external_id": "C536379",
        "at": "2010-12-01T09:41:00Z",
        "lines": [
            {
                "description": "A mug",
                "sku": "alone",
                "quantity": 2,
                "restock": 2,
                "amount": {"amount": "5.10", "currency": "GBP"},
            },
            {"description": "Discount", "amount": {"amount": "27.50", "currency": "GBP"}},
        ],
    }
    first = await shop.admin("POST", "/v1/credit-notes", body, key="alone")
    assert (first.status, first.json["number"]) == (201, "CN-2010-000001"), first.raw
    assert first.json["total"]["amount"] == "32.60" and first.json["dated"] == "2010-12-01"
    again = await shop.admin("POST", "/v1/credit-notes", body, key="alone")
    assert again.raw == first.raw
    other = await shop.admin("POST", "/v1/credit-notes", body, key="alone-2")
    assert (other.status, other.json["code"]) == (409, "external_id_taken")
    await shop.until_idle()
    assert (await shop.stock("alone"))["on_hand"] == 3
    balance = (await shop.admin("GET", "/v1/ledger/balance")).json["items"]
    owed = next(item for item in balance if item["account"] == "credits")
    assert owed["credit"] == "32.60"
    page = await shop.admin("GET", f"/v1/documents/{first.json['number']}/html")
    assert "Discount" in page.raw.decode() and "17850" in page.raw.decode()


async def test_history_knows_orders_of_fees_alone(shop: Shop) -> None:
    """Nothing is held and nothing leaves the stock, but money moves and has its paper."""
    body = {
        "customer_ref": "17850",
        "currency": "GBP",
        "lines": [],
        "fees": [{"code": "carriage", "amount": {"amount": "15.00", "currency": "GBP"}}],
        "shipping_address": {"country": "GB"},
        "payment": {"token": "tok_ok"},
        "placed_at": "2011-03-01T10:00:00Z",
        "channel": "history",
    }
    placed = await shop.admin("POST", "/v1/orders", body, key="fees-alone")
    assert (placed.status, placed.json["totals"]["total"]["amount"]) == (201, "15.00"), placed.raw
    order = await shop.until(placed.json["id"], payment="captured")
    assert (await fulfil(shop, order["id"])).json["status"] == "fulfilled"
    order["order_token"] = placed.json["order_token"]
    papers = await documents(shop, order)
    assert [p["dated"] for p in papers] == ["2011-03-01"]
    empty = await shop.request("POST", "/v1/orders", shop.order(), key="no-lines")
    assert (empty.status, empty.json["errors"][0]["pointer"]) == (422, "/lines")


async def test_other_units_go_out_in_the_place_of_those_that_come_back(shop: Shop) -> None:
    """Paid with the same card, to the same address; once, whoever asks again."""
    await shop.given_product("small", on_hand=5, price="10.00")
    await shop.given_product("large", on_hand=1, price="12.00")
    order = await sent(shop, ("small", 1))
    asked = await give_back(shop, order["id"], "swap", lines=[{"line": 1, "quantity": 1}])
    path = f"/v1/returns/{asked.json['id']}"
    body = {"lines": [{"sku": "large", "quantity": 1}]}
    early = await shop.admin("POST", f"{path}/exchange", body, key="swap-1")
    assert (early.status, early.json["code"]) == (409, "return_not_open")
    await shop.admin("POST", f"{path}/approve")
    twins = await asyncio.gather(
        *(shop.admin("POST", f"{path}/exchange", body, key="swap-2") for _ in range(4))
    )
    assert {t.status for t in twins} == {201}, [t.raw for t in twins]
    assert len({t.json["id"] for t in twins}) == 1
    new = await shop.until(twins[0].json["id"], payment="captured")
    assert new["shipping_address"]["name"] == "Ada Lovelace" and new["channel"] == "exchange"
    charges = (await shop.admin("GET", f"/v1/simulator/charges?order_id={new['id']}")).json["items"]
    assert [c["operation"] for c in charges] == ["authorise", "capture"]
    other = await shop.admin("POST", f"{path}/exchange", body, key="swap-3")
    assert (other.status, other.json["code"]) == (409, "return_exchanged")
    back = await shop.admin(
        "POST", f"{path}/receive", {"lines": [{"line": 1, "restock": 1}]}, key="swap-4"
    )
    assert back.json["exchange_order_id"] == new["id"] and back.json["refund"]["amount"] == "10.00"
    await shop.until_idle()
    assert shop.settings.database_url is not None
    replayed = await replay(shop.settings.database_url, shop.settings.home / "archive")
    payments = next(table for table in replayed.tables if table.name == "payments.payments")
    assert not payments.differing, payments.first


async def test_money_goes_back_for_units_that_came(shop: Shop) -> None:
    """A paper whose lines do not come to its sum would be none."""
    await shop.given_product("came", on_hand=5, price="10.00")
    await shop.given_product("stayed", on_hand=5, price="4.00")
    order = await sent(shop, ("came", 1), ("stayed", 1))
    both = [{"line": 1, "quantity": 1}, {"line": 2, "quantity": 1}]
    asked = await give_back(shop, order["id"], "half", lines=both)
    path = f"/v1/returns/{asked.json['id']}"
    await shop.admin("POST", f"{path}/approve")
    paid = {"amount": "2.00", "currency": "GBP"}
    came = {"lines": [{"line": 1, "restock": 1}, {"line": 2, "refund": paid}]}
    refused = await shop.admin("POST", f"{path}/receive", came, key="half-1")
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/lines/1/refund")


async def test_an_exchange_that_was_refused_makes_room_for_another(shop: Shop) -> None:
    await shop.given_product("wrong", on_hand=5)
    await shop.given_product("gone", on_hand=0)
    order = await sent(shop, ("wrong", 1))
    asked = await give_back(shop, order["id"], "room", lines=[{"line": 1, "quantity": 1}])
    path = f"/v1/returns/{asked.json['id']}"
    await shop.admin("POST", f"{path}/approve")
    none = {"lines": [{"sku": "gone", "quantity": 1}]}
    nothing = {"lines": [{"sku": "nobody-has-this", "quantity": 1}]}
    unknown = await shop.admin("POST", f"{path}/exchange", nothing, key="room-0")
    assert (unknown.status, unknown.json["code"]) == (422, "unknown_sku")
    left = (await shop.admin("GET", path)).json
    assert left["exchange_order_id"] is None, "nothing goes out, and nothing stands in the way"
    refused = await shop.admin("POST", f"{path}/exchange", none, key="room-1")
    assert (refused.status, refused.json["code"]) == (409, "stock_is_short")
    again = await shop.admin("POST", f"{path}/exchange", none, key="room-1")
    assert again.headers["Idempotent-Replayed"] == "true"
    some = {"lines": [{"sku": "wrong", "quantity": 2}]}
    assert (await shop.admin("POST", f"{path}/exchange", some, key="room-2")).status == 201


async def test_nobody_pays_with_the_card_of_another_order(shop: Shop) -> None:
    await shop.given_product("thief", on_hand=5)
    order = await captured(shop, ("thief", 1))
    stolen = await shop.place(("thief", 1), token=f"order:{order['id']}")
    assert (stolen.status, stolen.json["code"]) == (422, "invalid_order"), stolen.raw
