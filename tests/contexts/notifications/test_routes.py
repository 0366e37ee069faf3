"""The embedded mailbox over HTTP, in a running shop."""

from typing import Any

import pytest

from tradewind.kernel.ids import new_id
from tradewind.testing.shop import Shop


async def bought(shop: Shop, email: str, times: int = 1) -> list[str]:
    """Confirmed orders of a customer; their ids."""
    await shop.given_product("mug", on_hand=1_000, price="4.25")
    ids = []
    for _ in range(times):
        placed = await shop.place(("mug", 2), email=email)
        assert placed.status == 201, placed.raw
        ids.append(placed.json["id"])
    await shop.until_idle()
    return ids


async def mails(shop: Shop, query: str) -> Any:
    answer = await shop.admin("GET", f"/v1/mailbox?{query}")
    assert answer.status == 200, answer.raw
    return answer.json


async def test_a_customer_is_told_that_their_order_is_confirmed(shop: Shop) -> None:
    """Found by the exact address, with the order and its total in the text."""
    email = f"{new_id('cus')}@example.com"
    (order_id,) = await bought(shop, email)
    (mail,) = (await mails(shop, f"to={email}"))["items"]
    assert (mail["to"], mail["kind"], mail["order_id"]) == (email, "confirmation", order_id)
    assert mail["message_id"] == f"<{order_id}.confirmation@tradewind.example>"
    assert order_id in mail["subject"]
    assert "Hello Ada Lovelace," in mail["text"]
    assert "8.50 GBP" in mail["text"]
    assert mail["erased"] is False
    assert "message_sent" in await shop.announced(order_id)


async def test_a_cancellation_is_a_second_mail(shop: Shop) -> None:
    email = f"{new_id('cus')}@example.com"
    (order_id,) = await bought(shop, email)
    answer = await shop.admin(
        "POST", f"/v1/orders/{order_id}/cancel", {"reason": "too many mugs"}, key=new_id("key")
    )
    assert answer.status in (200, 202), answer.raw
    await shop.until_idle()
    items = (await mails(shop, f"to={email}"))["items"]
    assert [mail["kind"] for mail in items] == ["cancellation", "confirmation"]
    assert len({mail["message_id"] for mail in items}) == 2


async def test_an_order_that_was_refused_sends_nothing(shop: Shop) -> None:
    """Its customer has the refusal on the screen."""
    await shop.given_product("mug", on_hand=1_000, price="4.25")
    email = f"{new_id('cus')}@example.com"
    placed = await shop.place(("mug", 1), email=email, token="tok_declined")
    assert placed.status == 402, placed.raw
    await shop.until_idle()
    assert (await mails(shop, f"to={email}"))["items"] == []


async def test_pages_hold_every_mail_once(shop: Shop) -> None:
    email = f"{new_id('cus')}@example.com"
    orders = await bought(shop, email, times=5)
    found: list[str] = []
    cursor = ""
    while True:
        page = await mails(shop, f"to={email}&limit=2{cursor}")
        found += [mail["order_id"] for mail in page["items"]]
        if page["next"] is None:
            break
        assert len(page["items"]) == 2
        cursor = f"&cursor={page['next']}"
    assert found == orders[::-1]


async def test_without_an_address_everybodys_mail_is_shown(shop: Shop) -> None:
    first, second = (f"{new_id('cus')}@example.com" for _ in range(2))
    await bought(shop, first)
    await bought(shop, second)
    items = (await mails(shop, "limit=2"))["items"]
    assert [mail["to"] for mail in items] == [second, first]


async def test_an_erased_customers_mail_keeps_only_the_order(shop: Shop) -> None:
    email = f"{new_id('cus')}@example.com"
    (order_id,) = await bought(shop, email)
    contact = await shop.node.vault.find_contact(email)
    assert await shop.node.vault.erase_contact(contact) == 1
    assert (await mails(shop, f"to={email}"))["items"] == [], "the address finds nothing any more"
    newest = (await mails(shop, "limit=1"))["items"][0]
    assert (newest["order_id"], newest["erased"]) == (order_id, True)
    assert (newest["to"], newest["text"], newest["html"]) == (None, None, None)


async def test_nobody_without_the_right_reads_mail(shop: Shop) -> None:
    assert (await shop.request("GET", "/v1/mailbox")).status == 401
    made = await shop.admin("POST", "/v1/keys", {"name": "reader", "scopes": ["orders:read"]})
    assert made.status == 201, made.raw
    key = made.json["key"]
    assert (await shop.request("GET", "/v1/mailbox", bearer=key)).status == 403


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("cursor=nonsense", "cursor")],
)
async def test_a_wrong_question_is_told_what_is_wrong(shop: Shop, query: str, pointer: str) -> None:
    answer = await shop.admin("GET", f"/v1/mailbox?{query}")
    assert answer.status == 400, answer.raw
    assert pointer in answer.json["errors"][0]["pointer"]
