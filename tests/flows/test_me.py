"""Whoever is signed in gets everything that is held of them, and can end it: at once, for good."""

import asyncio

from tests.contexts.identity.people import account, sign_in, signed_in
from tests.flows.test_persons import value
from tradewind.kernel.ids import new_id
from tradewind.testing.shop import Shop

SEEN_WITHIN_S = 1.0


async def test_everything_of_an_account_is_told_and_nothing_of_others(shop: Shop) -> None:
    """Its record, consents, sessions, what it ordered as a guest before, and under other names."""
    await shop.given_product("mine", on_hand=20)
    email = "ada.me@example.org"
    before = (await shop.place(("mine", 1), email=email)).json
    foreign = (await shop.place(("mine", 1), email="someone.else@example.org")).json
    account_id = await account(shop, email, name="Ada Lovelace")
    token = await signed_in(shop, email)
    body = shop.order(("mine", 2), email="gift.for@example.org")
    gift = await shop.request("POST", "/v1/orders", body, key=new_id("key"), bearer=token)
    assert gift.status == 201, gift.raw
    await shop.until_idle()
    told = await shop.request("GET", "/v1/me/export", bearer=token)
    assert told.status == 200, told.raw
    sections = told.json["sections"]
    assert [a["account_id"] for a in sections["accounts"]] == [account_id]
    assert {o["id"] for o in sections["orders"]} == {before["id"], gift.json["id"]}
    assert len(sections["sessions"]) == 1
    assert {m["kind"] for m in sections["messages"]} == {"confirmation", "account"}
    emails = {record["fields"]["email"] for record in told.json["records"] if record["fields"]}
    assert emails == {email, "gift.for@example.org"}
    assert foreign["id"].encode() not in told.raw
    assert b"password" not in told.raw and b"secret_hash" not in told.raw
    assert (await shop.request("GET", "/v1/me/export")).status == 401
    assert (await shop.admin("GET", "/v1/me/export")).status == 403
    assert (await shop.admin("DELETE", "/v1/me")).status == 403


async def test_an_account_ends_with_its_person(shop: Shop) -> None:
    """Thrice at once: one erasure; the session ends, nobody signs in, orders stay, nameless."""
    await shop.given_product("end", on_hand=20)
    email = "ada.ends@example.org"
    account_id = await account(shop, email, name="Ada Lovelace")
    token = await signed_in(shop, email)
    body = shop.order(("end", 1), email=email)
    order = await shop.request("POST", "/v1/orders", body, key=new_id("key"), bearer=token)
    await shop.until(order.json["id"], payment="captured")
    answers = await asyncio.gather(
        *(shop.request("DELETE", "/v1/me", bearer=token) for _ in range(3))
    )
    assert {answer.status for answer in answers} <= {200, 401}, [a.raw for a in answers]
    done = [answer.json for answer in answers if answer.status == 200]
    assert sum(1 for each in done if each["records"]) == 1
    await asyncio.sleep(SEEN_WITHIN_S)
    assert (await shop.request("GET", "/v1/me", bearer=token)).status == 401
    assert (await sign_in(shop, email)).status == 401
    shown = await shop.read_order(order.json["id"])
    assert (shown["email"], shown["erased"], shown["status"]) == (None, True, "confirmed")
    status = "SELECT status FROM identity.accounts WHERE account_id = $1"
    assert await value(shop, status, account_id) == "closed"
    again = await account(shop, email)
    assert again != account_id
    fresh = await signed_in(shop, email)
    told = (await shop.request("GET", "/v1/me/export", bearer=fresh)).json["sections"]
    assert told["orders"] == []


async def test_an_erasure_that_was_killed_before_the_account_ended_is_finished(shop: Shop) -> None:
    """The vault's commit is the erasure; a sweep tells the others what it ended."""
    email = "ada.killed@example.org"
    account_id = await account(shop, email, name="Ada Lovelace")
    heard = shop.node.plan.personal["identity"].erased
    gone = await value(
        shop, "SELECT person FROM identity.accounts WHERE account_id = $1", account_id
    )
    assert await shop.node.vault.erase(gone)
    await heard(shop.node, [gone])
    await heard(shop.node, [gone])
    status = "SELECT status FROM identity.accounts WHERE account_id = $1"
    assert await value(shop, status, account_id) == "closed"
