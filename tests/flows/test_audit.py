"""What goes on record: once, with its effect, and without a word about people."""

import asyncio
import json
from typing import Any

import asyncpg

from tradewind.kernel.ids import new_id
from tradewind.testing.shop import Reply, Shop

WHY = {"Tradewind-Reason": "case 17"}


async def entries(shop: Shop, **filters: str) -> list[dict[str, Any]]:
    """The record, newest first, once all that was written is sealed."""
    await sealed(shop)
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    answer = await shop.admin("GET", f"/v1/audit?limit=100&{query}", headers=WHY)
    assert answer.status == 200, answer.raw
    found: list[dict[str, Any]] = answer.json["items"]
    return found


async def sealed(shop: Shop) -> None:
    """Wait until every entry has its place."""
    for _ in range(200):
        if not await sql(
            shop,
            "SELECT FROM audit.entries e WHERE NOT EXISTS "
            "(SELECT FROM audit.chain c WHERE c.entry_id = e.entry_id)",
        ):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("entries are not sealed")


async def sql(shop: Shop, query: str, *args: Any) -> list[Any]:
    connection = await asyncpg.connect(shop.settings.database_url)
    try:
        return list(await connection.fetch(query, *args))
    finally:
        await connection.close()


async def key_with(shop: Shop, *scopes: str) -> Reply:
    return await shop.admin("POST", "/v1/keys", {"name": "a till", "scopes": list(scopes)})


async def test_a_count_is_recorded_with_both_sides(shop: Shop) -> None:
    await shop.given_product("BOTH-SIDES", on_hand=5)
    await shop.admin("PUT", "/v1/stock/BOTH-SIDES", {"on_hand": 9}, headers=WHY)
    newest = (await entries(shop, object="BOTH-SIDES"))[0]
    assert newest["operation"] == "PUT /v1/stock/{sku:path}"
    assert (newest["before"]["on_hand"], newest["after"]["on_hand"]) == (5, 9)
    assert newest["principal"] == "key_" + "0" * 26
    assert newest["reason"] == "case 17"
    assert newest["address"] == "127.0.0.1"
    assert len(newest["trace_id"]) == 32
    assert newest["kind"] == "write"


async def test_what_changes_nothing_leaves_no_entry(shop: Shop) -> None:
    """The same count twice is one change."""
    await shop.given_product("SAME-AGAIN", on_hand=5)
    await shop.admin("PUT", "/v1/stock/SAME-AGAIN", {"on_hand": 5})
    assert len(await entries(shop, object="SAME-AGAIN")) == 1


async def test_a_repeated_request_is_one_entry(shop: Shop) -> None:
    """Parallel twins under one key, and a repetition later: one effect, one entry."""
    body = {"name": "twin", "scopes": ["orders:read"]}
    twins = await asyncio.gather(
        *(shop.admin("POST", "/v1/keys", body, key="twin") for _ in range(8))
    )
    again = await shop.admin("POST", "/v1/keys", body, key="twin")
    ids = {answer.json["id"] for answer in [*twins, again]}
    assert len(ids) == 1
    found = await entries(shop, object=ids.pop())
    assert [entry["operation"] for entry in found] == ["POST /v1/keys"]
    assert found[0]["after"] == {
        "customer_group": "",
        "expires_at": None,
        "revoked": False,
        "scopes": ["orders:read"],
    }


async def test_what_is_refused_is_not_done(shop: Shop) -> None:
    answer = await shop.admin("PUT", "/v1/stock/NO-PLACE", {"on_hand": 5, "location": "nowhere"})
    assert answer.status >= 400
    assert await entries(shop, object="NO-PLACE") == []


async def test_anonymous_orders_pay_nothing(shop: Shop) -> None:
    """Placing and reading one's own order leave no entry."""
    await shop.given_product("FREE-OF-IT", on_hand=5)
    before = (await sql(shop, "SELECT count(*) FROM audit.entries"))[0][0]
    placed = await shop.place(("FREE-OF-IT", 1))
    token = placed.json["order_token"]
    read = await shop.request("GET", f"/v1/orders/{placed.json['id']}", bearer=token)
    assert (placed.status, read.status) == (201, 200)
    assert (await sql(shop, "SELECT count(*) FROM audit.entries"))[0][0] == before


async def test_looking_at_a_customer_is_recorded_before_it_is_shown(shop: Shop) -> None:
    """Staff is; once a minute for the same thing. The holder of the order is not."""
    await shop.given_product("LOOKED-AT", on_hand=5)
    order = (await shop.place(("LOOKED-AT", 1))).json
    path = f"/v1/orders/{order['id']}"
    for _ in range(3):
        assert (await shop.admin("GET", path)).status == 200
    rows = await sql(shop, "SELECT kind FROM audit.entries WHERE object = $1", order["id"])
    assert [row[0] for row in rows] == ["read"]


async def test_a_return_of_a_customer_is_recorded_too(shop: Shop) -> None:
    await shop.given_product("COMES-BACK", on_hand=5)
    order = (await shop.place(("COMES-BACK", 1))).json
    await shop.until(order["id"], payment="captured")
    done = await shop.admin("POST", f"/v1/orders/{order['id']}/fulfil", {}, key=new_id("key"))
    assert done.status == 200, done.raw
    asked = await shop.request(
        "POST",
        f"/v1/orders/{order['id']}/returns",
        {"lines": [{"line": 1, "quantity": 1}], "reason": "for ada@example.com"},
        key=new_id("key"),
        bearer=order["order_token"],
    )
    assert asked.status == 201, asked.raw
    entry = (await entries(shop, object=asked.json["id"]))[0]
    assert entry["principal"] == order["id"]
    assert (entry["before"], entry["after"]["status"]) == (None, "requested")
    assert entry["reason"] == "for ada@example.com"
    # What people write is sealed: the rows do not know it.
    rows = await sql(shop, "SELECT e::text FROM audit.entries e")
    assert not [row for row in rows if "ada@example.com" in row[0]]


async def test_refunds_and_cancellations_say_what_they_moved(shop: Shop) -> None:
    await shop.given_product("MONEY-BACK", on_hand=5)
    order = (await shop.place(("MONEY-BACK", 2))).json
    await shop.until(order["id"], payment="captured")
    refund = await shop.request(
        "POST",
        f"/v1/payments/{order['payment']['id']}/refunds",
        {"amount": {"amount": "1.00", "currency": "GBP"}, "reason": "scratched"},
        key=new_id("key"),
        bearer=shop.admin_key,  # without the header: the body says why
    )
    assert refund.status == 201, refund.raw
    entry = (await entries(shop, object=refund.json["id"]))[0]
    assert entry["after"]["amount_minor"] == 100
    assert entry["reason"] == "scratched"
    path = f"/v1/orders/{order['id']}/cancel"
    done = await shop.admin("POST", path, {"reason": "called"}, key=new_id("key"))
    assert done.status == 200, done.raw
    entry = (await entries(shop, object=order["id"], kind="write"))[0]
    assert (entry["before"]["status"], entry["after"]["status"]) == ("confirmed", "cancelled")


async def test_a_price_change_names_both_prices(shop: Shop) -> None:
    await shop.given_product("DEARER", on_hand=5, price="10.00")
    await shop.given_product("DEARER", on_hand=5, price="12.50")
    entry = (await entries(shop, operation="PUT /v1/products/{id}"))[0]
    assert entry["before"]["prices"] == {"DEARER": ["GBP 100000e-4"]}
    assert entry["after"]["prices"] == {"DEARER": ["GBP 125000e-4"]}
    assert entry["after"]["version"] == entry["before"]["version"] + 1


async def test_an_import_is_two_entries_whatever_its_length(shop: Shop) -> None:
    lines = [
        {
            "external_id": f"I-{n}",
            "title": "x",
            "variants": [{"sku": f"I-{n}", "price": {"amount": "1.00", "currency": "GBP"}}],
        }
        for n in range(1_200)
    ]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await shop.admin("POST", "/v1/imports/products", body, headers=headers)
    assert answer.status == 202, answer.raw
    found = await entries(shop, object=answer.json["id"])
    assert [entry["after"] for entry in found] == [
        {"accepted": 1_200, "finished": True, "rejected": 0},
        {"begun": True},
    ]


async def test_reading_the_record_takes_a_scope_and_a_reason(shop: Shop) -> None:
    key = (await key_with(shop, "orders:read")).json["key"]
    assert (await shop.request("GET", "/v1/audit", bearer=key)).status == 403
    refused = await shop.request("GET", "/v1/audit", bearer=shop.admin_key)
    assert (refused.status, refused.json["code"]) == (400, "reason_required")
    reader = (await key_with(shop, "audit:read")).json
    answer = await shop.request("GET", "/v1/audit", bearer=reader["key"], headers=WHY)
    assert answer.status == 200
    assert (await entries(shop, notice="audit_read", principal=reader["id"]))[0]["kind"] == "read"


async def test_the_record_is_read_page_by_page(shop: Shop) -> None:
    for count in range(5):
        await shop.given_product(f"PAGED-{count}", on_hand=count + 1)
    await sealed(shop)
    seen: list[int] = []
    cursor = ""
    while True:
        page = (await shop.admin("GET", f"/v1/audit?limit=3{cursor}", headers=WHY)).json
        seen += [item["position"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == list(range(seen[0], 0, -1))


async def test_a_reason_that_is_no_text_is_refused(shop: Shop) -> None:
    for reason in ("x" * 501, "a\tb"):
        answer = await shop.admin("GET", "/v1/audit", headers={"Tradewind-Reason": reason})
        assert (answer.status, answer.json["code"]) == (400, "reason_invalid"), reason


async def test_giving_a_letter_up_is_recorded_with_it(shop: Shop) -> None:
    body = {"consumer": "orders.decisions", "key": "ord_none"}
    assert (await shop.admin("POST", "/v1/dead-letters/drop", body)).status == 204
    found = await entries(shop, operation="POST /v1/dead-letters/drop")
    assert [entry["object"] for entry in found] == ["orders.decisions ord_none"]
