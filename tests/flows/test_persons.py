"""What is held of a person is told to them, and ends when they say so: at once, once, for all."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from tests.flows.test_an_order_is_called_off import cancel
from tests.flows.test_returns import captured, give_back, sent
from tradewind.kernel.ids import new_id
from tradewind.platform.gateway import persons
from tradewind.testing.shop import Reply, Shop

NAME = "Ada Lovelace"


async def holder(shop: Shop, method: str, order: dict[str, Any]) -> Reply:
    path = f"/v1/orders/{order['id']}/personal-data"
    return await shop.request(method, path, bearer=order["order_token"])


async def erase(shop: Shop, **who: str) -> Reply:
    return await shop.admin("POST", "/v1/persons/erase", {"reason": "a letter", **who})


async def value(shop: Shop, sql: str, *args: Any) -> Any:
    assert shop.settings.database_url is not None
    connection = await asyncpg.connect(shop.settings.database_url)
    try:
        return await connection.fetchval(sql, *args)
    finally:
        await connection.close()


async def test_a_guest_gets_everything_that_is_held(shop: Shop) -> None:
    """By the token of the order: the record, opened, and what each part of the platform knows."""
    await shop.given_product("held", on_hand=10)
    order = await sent(shop, ("held", 2), email="ada.export@example.org")
    back = (await give_back(shop, order["id"], "x1", lines=[{"line": 1, "quantity": 1}])).json
    await shop.until_idle()
    told = await holder(shop, "GET", order)
    assert told.status == 200, told.raw
    [record] = told.json["records"]
    assert record["fields"]["name"] == NAME
    assert record["fields"]["email"] == "ada.export@example.org"
    sections = told.json["sections"]
    assert [o["id"] for o in sections["orders"]] == [order["id"]]
    assert [r["id"] for r in sections["returns"]] == [back["id"]]
    assert sections["returns"][0]["reason"] == "too big"
    assert [p["payment_id"] for p in sections["payments"]] == [order["payment"]["id"]]
    assert [m["kind"] for m in sections["messages"]] == ["confirmation"]
    assert [d["kind"] for d in sections["documents"]] == ["invoice"]
    assert sections["fulfilments"][0]["tracking"] == "PF 1"
    assert sections["scores"][0]["order_id"] == order["id"]
    mine = await shop.admin("POST", "/v1/persons/export", {"email": "ada.export@example.org"})
    assert mine.json["records"] == told.json["records"]
    staff = mine.json["sections"]
    first, activity = sections.pop("activity"), staff.pop("activity")
    assert staff == sections
    # What was done since the guest looked: that look. Before: what staff did with the order.
    [look] = activity[len(first) :]
    path = "/v1/orders/{order_id}/personal-data"
    assert activity[: len(first)] == first
    assert (look["operation"], look["by"], look["object"]) == (f"GET {path}", "you", order["id"])
    assert {(e["kind"], e["by"]) for e in first if e["object"].startswith(order["id"])} >= {
        ("write", "others")
    }
    nobody = await shop.admin("POST", "/v1/persons/export", {"email": "nobody@example.org"})
    assert nobody.json["records"] == []
    stranger = (await shop.place(("held", 1))).json
    foreign = {"id": order["id"], "order_token": stranger["order_token"]}
    assert (await holder(shop, "GET", foreign)).status == 404
    assert (await holder(shop, "DELETE", foreign)).status == 404


async def test_whom_staff_looked_up_is_on_record_and_told_to_them(shop: Shop) -> None:
    """Each of them, however soon after the other; the reason stays in the house."""
    await shop.given_product("looked", on_hand=10)
    emails = ["ada.looked@example.org", "bob.looked@example.org"]
    orders = [await captured(shop, ("looked", 1), email=email, key=email) for email in emails]
    why = {"Tradewind-Reason": "a letter of a Mr Nobody"}
    for email in emails:
        found = await shop.admin("POST", "/v1/persons/export", {"email": email}, headers=why)
        assert found.status == 200, found.raw
    for order in orders:
        told = await holder(shop, "GET", order)
        activity = told.json["sections"]["activity"]
        looks = [e["by"] for e in activity if e["operation"] == "POST /v1/persons/export"]
        assert looks == ["others"]
        assert b"Nobody" not in told.raw


async def test_an_erased_order_stays_valid_and_names_nobody(shop: Shop) -> None:
    await shop.given_product("gone", on_hand=10)
    order = await captured(shop, ("gone", 1), email="ada.gone@example.org", key="gone-1")
    answer = await shop.place(("gone", 1), email="ada.gone@example.org", key="gone-2")
    other = answer.json
    told = await shop.admin("GET", f"/v1/orders/{order['id']}")
    assert told.json["shipping_address"]["name"] == NAME
    ended = await holder(shop, "DELETE", order)
    assert ended.status == 200 and ended.json["records"] == 1, ended.raw
    assert (await holder(shop, "DELETE", order)).json == {"records": 0, "erasure": None}
    shown = await shop.read_order(order["id"])
    assert (shown["email"], shown["shipping_address"], shown["erased"]) == (None, None, True)
    assert (shown["status"], shown["totals"]) == (order["status"], order["totals"])
    # Another order of the same address is another record: its token was not shown.
    assert (await shop.read_order(other["id"]))["email"] == "ada.gone@example.org"
    assert (await holder(shop, "GET", order)).json["records"][0]["fields"] is None
    mails = (await shop.admin("GET", "/v1/mailbox?to=ada.gone@example.org")).json["items"]
    assert {(m["order_id"], m["erased"]) for m in mails} >= {(order["id"], True)}
    # It can still be called off: the money goes back without a name.
    assert (await cancel(shop, order["id"])).json["code"] == "erased"
    await shop.until(order["id"], payment="refunded")


async def test_all_of_an_address_end_together_and_the_next_order_is_someone_new(
    shop: Shop,
) -> None:
    await shop.given_product("letter", on_hand=10)
    email = "ada.letter@example.org"
    orders = [await captured(shop, ("letter", 1), email=email) for _ in range(3)]
    cart = await shop.request(
        "POST", "/v1/carts", {"currency": "GBP", "email": email}, key=new_id("key")
    )
    assert (await erase(shop, email=email)).json["records"] == 4
    for order in orders:
        assert (await shop.read_order(order["id"]))["email"] is None
    path = f"/v1/carts/{cart.json['id']}"
    read = await shop.request("GET", path, bearer=cart.json["cart_token"])
    assert read.json["email"] is None and read.json["erased"] is True
    assert (await shop.admin("GET", f"/v1/orders?email={email}")).json["items"] == []
    assert (await erase(shop, email=email)).json == {"records": 0, "erasure": None}
    again = await captured(shop, ("letter", 1), email=email)
    found = (await shop.admin("GET", f"/v1/orders?email={email}")).json["items"]
    assert [order["id"] for order in found] == [again["id"]]


async def test_what_is_under_way_comes_first(shop: Shop) -> None:
    """A held order, a return: refused, and nothing was erased; when they are through it is done."""
    await shop.given_product("open", on_hand=10)
    email = "ada.open@example.org"
    held = (await shop.place(("open", 1), token="tok_suspicious", email=email)).json
    out = await sent(shop, ("open", 1), email=email)
    back = (await give_back(shop, out["id"], "o1", lines=[{"line": 1, "quantity": 1}])).json
    refused = await erase(shop, email=email)
    assert (refused.status, refused.json["code"]) == (409, "open_matters")
    assert {e["pointer"] for e in refused.json["errors"]} == {
        f"/order/{held['id']}",
        f"/return/{back['id']}",
    }
    assert (await shop.read_order(held["id"]))["email"] == email
    assert (await cancel(shop, held["id"])).status == 200
    path = f"/v1/returns/{back['id']}/reject"
    assert (await shop.admin("POST", path, {"reason": "worn"}, key="o2")).status == 200
    assert (await erase(shop, email=email)).json["records"] == 2
    path = f"/v1/returns/{back['id']}"
    read = (await shop.admin("GET", path)).json
    assert (read["status"], read["reason"], read["note"]) == ("rejected", None, None)


async def test_a_payment_that_is_about_to_come_is_waited_for(shop: Shop) -> None:
    """Confirmed this moment, captured in the next: nobody is sent away for that."""
    await shop.given_product("soon", on_hand=10)
    order = (await shop.place(("soon", 1))).json
    ended = await holder(shop, "DELETE", order)
    assert ended.status == 200 and ended.json["records"] == 1, ended.raw


async def test_many_erasures_at_once_are_one(shop: Shop) -> None:
    """And one that is torn in the middle leaves all or nothing."""
    await shop.given_product("twice", on_hand=10)
    email = "ada.twice@example.org"
    orders = [await captured(shop, ("twice", 1), email=email) for _ in range(3)]
    before = await value(shop, "SELECT count(*) FROM vault.erasures")
    subject = await persons.subject_of(shop.node, persons.PersonBody(email=email))
    torn = asyncio.create_task(persons.erase(shop.node, subject, by="key_x", reason="torn"))
    for _ in range(12):
        await asyncio.sleep(0)
    torn.cancel()
    results = await asyncio.gather(torn, return_exceptions=True)
    shown = [(await shop.read_order(order["id"]))["email"] for order in orders]
    assert len(set(shown)) == 1, (shown, results)
    answers = await asyncio.gather(
        *(erase(shop, email=email) for _ in range(4)),
        *(holder(shop, "DELETE", order) for order in orders),
    )
    assert {answer.status for answer in answers} == {200}
    notes = await value(shop, "SELECT count(*) FROM vault.erasures") - before
    assert sum(answer.json["records"] for answer in answers) == (3 if shown[0] else 0)
    assert 1 <= notes <= 3
    left = await value(
        shop,
        "SELECT count(*) FROM vault.persons WHERE person = ANY($1::text[]) AND"
        " (erased_at IS NULL OR wrapped IS NOT NULL OR sealed IS NOT NULL)",
        list(subject.persons),
    )
    assert left == 0
    assert all([(await shop.read_order(order["id"]))["erased"] for order in orders])


async def test_papers_keep_name_and_address_for_who_must_show_them(shop: Shop) -> None:
    """And for nobody else: not the holder, not other staff; and no longer than the law says."""
    await shop.given_product("paper", on_hand=10)
    order = await captured(shop, ("paper", 1), email="ada.paper@example.org")
    path = f"/v1/orders/{order['id']}/documents"
    while not (papers := (await shop.admin("GET", path)).json["items"]):
        await asyncio.sleep(0.05)
    page = f"/v1/documents/{papers[0]['number']}/html"
    body = {"name": "staff", "scopes": ["orders:read"]}
    staff = (await shop.admin("POST", "/v1/keys", body)).json["key"]
    why = {"Tradewind-Reason": "case 7"}
    shown = await shop.request("GET", page, bearer=staff, headers=why)
    assert NAME.encode() in shown.raw
    assert (await holder(shop, "DELETE", order)).json["records"] == 1
    retained = await shop.admin("GET", page)  # the first key has every scope
    assert NAME.encode() in retained.raw and b"St James" in retained.raw
    assert b"ada.paper@example.org" not in retained.raw
    shown = await shop.request("GET", page, bearer=staff, headers=why)
    assert NAME.encode() not in shown.raw and b"was erased" in shown.raw
    mine = f"{path}/{papers[0]['number']}/html"
    shown = await shop.request("GET", mine, bearer=order["order_token"])
    assert NAME.encode() not in shown.raw
    year = await value(shop, "SELECT max(version) FROM vault.retained")
    assert await shop.node.vault.end_retention(year) > 0
    assert NAME.encode() not in (await shop.admin("GET", page)).raw
    assert await value(shop, "SELECT count(*) FROM vault.key_versions WHERE version > 2000") == 0


async def test_texts_are_sealed_in_the_feed_and_opened_for_who_may_read(shop: Shop) -> None:
    await shop.given_product("words", on_hand=10)
    order = await captured(shop, ("words", 1))
    reason = "Charles Babbage at number 14 took it in"
    path = f"/v1/orders/{order['id']}/cancel"
    answer = await shop.admin("POST", path, {"reason": reason}, key="words-1")
    assert answer.status == 200, answer.raw
    await shop.until_idle()
    path = f"/v1/orders/{order['id']}/timeline"
    told = await shop.request("GET", path, bearer=order["order_token"])
    assert reason in told.raw.decode()
    feed = (await shop.admin("GET", "/v1/events?limit=100")).raw
    cursor = json.loads(feed)["next"]
    while (page := (await shop.admin("GET", f"/v1/events?limit=100&after={cursor}")).json)["items"]:
        feed, cursor = feed + json.dumps(page).encode(), page["next"]
    assert order["id"].encode() in feed and b"Babbage" not in feed and b'"~prs_' in feed
    await holder(shop, "DELETE", order)
    told = await shop.request("GET", path, bearer=order["order_token"])
    assert "Babbage" not in told.raw.decode() and '"reason":null' in told.raw.decode()


@pytest.mark.parametrize("field", ["name", "line1", "line2", "city", "phone"])
async def test_a_card_number_in_an_address_is_refused_and_not_repeated(
    shop: Shop, field: str
) -> None:
    await shop.given_product("card", on_hand=10)
    body = shop.order(("card", 1))
    body["shipping_address"][field] = "4111-1111 1111.1111"
    answer = await shop.request("POST", "/v1/orders", body, key=new_id("key"))
    assert (answer.status, answer.json["code"]) == (422, "card_data_refused")
    assert answer.json["errors"][0]["pointer"] == f"/shipping_address/{field}"
    assert b"1111" not in answer.raw


async def test_a_card_number_is_no_token_and_no_reason(shop: Shop) -> None:
    await shop.given_product("4006381333931", on_hand=10)
    body = shop.order(("4006381333931", 1), token="4111111111111111")
    answer = await shop.request("POST", "/v1/orders", body, key=new_id("key"))
    assert answer.json["code"] == "card_data_refused"
    order = await captured(shop, ("4006381333931", 1))  # an article's number is none
    path = f"/v1/orders/{order['id']}/cancel"
    told = {"reason": "charge 5555 5555 5555 4444 instead"}
    answer = await shop.admin("POST", path, told, key=new_id("key"))
    assert answer.json["code"] == "card_data_refused"
    assert (await shop.read_order(order["id"]))["status"] == "confirmed"
