"""Roles of people and the life of keys, over real HTTP."""

import asyncio
import time
from typing import Any

import pytest

from tests.contexts.identity import people
from tests.flows.test_accounts import gone_within_a_second, somebody
from tradewind.kernel.ids import new_id
from tradewind.testing.shop import Reply, Shop

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def give(shop: Shop, account_id: str, *roles: str, bearer: str | None = None) -> Reply:
    """Give an account exactly these roles."""
    body = {"roles": list(roles)}
    path = f"/v1/accounts/{account_id}/roles"
    return await shop.request("PUT", path, body, bearer=bearer or shop.admin_key)


async def until_status(shop: Shop, path: str, bearer: str, status: int) -> None:
    """A second at most, until the caller is answered so."""
    until = time.monotonic() + 1.0
    while (reply := await shop.request("GET", path, bearer=bearer)).status != status:
        assert time.monotonic() < until, f"still {reply.status}, not {status}"
        await asyncio.sleep(0.05)


async def staff(shop: Shop, *roles: str) -> tuple[str, str]:
    """Somebody with roles: account and session."""
    email = somebody()
    account_id = await people.account(shop, email)
    assert (await give(shop, account_id, *roles)).status == 200
    return account_id, await people.signed_in(shop, email)


async def test_a_role_opens_its_scopes_within_a_second_and_closes_them_again(shop: Shop) -> None:
    account_id, session = await staff(shop, "customer")
    assert (await shop.request("GET", "/v1/orders", bearer=session)).status == 403
    given = await give(shop, account_id, "customer", "support")
    assert given.json["roles"] == ["customer", "support"]
    await until_status(shop, "/v1/orders", session, 200)
    assert (await give(shop, account_id, "customer")).status == 200
    await until_status(shop, "/v1/orders", session, 403)


async def test_each_role_opens_what_it_is_for_and_nothing_else(shop: Shop) -> None:
    """One route for each: who may is not refused, who may not is."""
    routes: dict[str, tuple[str, set[str]]] = {
        "/v1/accounts": ("GET", {"support"}),
        "/v1/products/none": ("PUT", {"merchandiser"}),
        "/v1/stock/none": ("PUT", {"warehouse"}),
        "/v1/ledger/balance": ("GET", {"support", "finance", "fraud_analyst"}),
        "/v1/reviews": ("GET", {"fraud_analyst"}),
        "/v1/keys": ("GET", set()),
        "/v1/mailbox": ("GET", set()),
    }
    for role in ("customer", "support", "merchandiser", "warehouse", "finance", "fraud_analyst",
                 "administrator"):  # fmt: skip
        _, session = await staff(shop, role)
        for path, (method, opened_to) in routes.items():
            body: Any = {} if method == "PUT" else None
            reply = await shop.request(method, path, body, bearer=session)
            opened = role == "administrator" or role in opened_to
            assert (reply.status != 403) == opened, (role, path, reply.raw)


async def test_nobody_gives_what_they_do_not_hold(shop: Shop) -> None:
    made = await shop.admin(
        "PUT", "/v1/roles/desk_lead", {"scopes": ["roles:write", "orders:read"], "description": "x"}
    )
    assert made.status == 200, made.raw
    _, lead = await staff(shop, "desk_lead")
    account_id, _ = await staff(shop, "customer")
    refused = await give(shop, account_id, "administrator", bearer=lead)
    assert (refused.status, refused.json["code"]) == (403, "scope_not_held")
    assert (await give(shop, account_id, "desk_lead", bearer=lead)).status == 200
    boss, _ = await staff(shop, "administrator")
    assert (await give(shop, boss, "customer", bearer=lead)).status == 403
    wider = {"scopes": ["roles:write", "orders:read", "payments:write"], "description": "x"}
    assert (await shop.request("PUT", "/v1/roles/desk_lead", wider, bearer=lead)).status == 403
    assert (await give(shop, account_id, "no_such_role")).json["code"] == "unknown_role"
    built_in = {"scopes": ["orders:read"], "description": "x"}
    assert (await shop.admin("PUT", "/v1/roles/support", built_in)).status == 409


async def test_a_role_that_is_changed_or_removed_counts_within_a_second(shop: Shop) -> None:
    role = "desk_" + new_id("cus")[-8:]
    body: dict[str, Any] = {"scopes": ["orders:read"], "description": "reads orders"}
    assert (await shop.admin("PUT", f"/v1/roles/{role}", body)).status == 200
    _, session = await staff(shop, role)
    assert (await shop.request("GET", "/v1/orders", bearer=session)).status == 200
    body["scopes"] = ["inventory:read"]
    assert (await shop.admin("PUT", f"/v1/roles/{role}", body)).status == 200
    await until_status(shop, "/v1/orders", session, 403)
    body["scopes"] = ["orders:read"]
    replies = await asyncio.gather(
        *(shop.admin("PUT", f"/v1/roles/{role}", body) for _ in range(4))
    )
    assert {reply.status for reply in replies} == {200}
    await until_status(shop, "/v1/orders", session, 200)
    assert (await shop.admin("DELETE", f"/v1/roles/{role}")).status == 204
    assert (await shop.admin("DELETE", f"/v1/roles/{role}")).status == 204
    await until_status(shop, "/v1/orders", session, 403)
    listed = {each["role"] for each in (await shop.admin("GET", "/v1/roles")).json["items"]}
    assert role not in listed
    assert {"customer", "support", "administrator"} <= listed


async def test_a_suspended_account_is_signed_out_and_stays_out(shop: Shop) -> None:
    email = somebody()
    account_id = await people.account(shop, email)
    session = await people.signed_in(shop, email)
    path = f"/v1/accounts/{account_id}/status"
    assert (await shop.admin("PUT", path, {"suspended": True})).json["status"] == "suspended"
    await gone_within_a_second(shop, session)
    assert (await people.sign_in(shop, email)).status == 401
    assert (await shop.admin("PUT", path, {"suspended": False})).json["status"] == "active"
    assert (await people.sign_in(shop, email)).status == 201
    found = await shop.admin("GET", f"/v1/accounts?email={email}")
    assert [each["id"] for each in found.json["items"]] == [account_id]


async def new_key(shop: Shop, *scopes: str) -> dict[str, Any]:
    """An API key."""
    body = {"name": "erp", "scopes": list(scopes)}
    made = await shop.admin("POST", "/v1/keys", body)
    assert made.status == 201, made.raw
    found: dict[str, Any] = made.json
    return found


async def rotate(shop: Shop, key_id: str, overlap_s: int, **options: Any) -> Reply:
    """A new secret for a key."""
    body = {"overlap_s": overlap_s}
    return await shop.admin("POST", f"/v1/keys/{key_id}/rotate", body, **options)


async def test_a_rotated_key_opens_with_both_secrets_for_a_while(shop: Shop) -> None:
    key = await new_key(shop, "orders:read")
    path = "/v1/orders"
    assert (await shop.request("GET", path, bearer=key["key"])).status == 200
    second = await rotate(shop, key["id"], 60)
    assert second.json["id"] == key["id"] and second.json["generation"] == 2
    for secret in (key["key"], second.json["key"]):
        assert (await shop.request("GET", path, bearer=secret)).status == 200
    third = await rotate(shop, key["id"], 1)
    await until_status(shop, path, key["key"], 401)  # it was two rotations ago
    assert (await shop.request("GET", path, bearer=third.json["key"])).status == 200
    await asyncio.sleep(1.1)
    assert (await shop.request("GET", path, bearer=second.json["key"])).status == 401
    assert (await shop.request("GET", path, bearer=third.json["key"])).status == 200
    assert (await shop.admin("POST", f"/v1/keys/{key['id']}/revoke")).status == 200
    await until_status(shop, path, third.json["key"], 401)


async def test_a_rotation_that_is_sent_again_is_the_same_one(shop: Shop) -> None:
    key = await new_key(shop, "orders:read")
    replies = [await rotate(shop, key["id"], 60, key="rotation-1") for _ in range(2)]
    assert replies[0].raw == replies[1].raw
    assert (await rotate(shop, key["id"], 60)).json["generation"] == 3
    first = await rotate(shop, "key_" + "0" * 26, 60)
    assert (first.status, first.json["code"]) == (409, "first_key")
    narrow = await new_key(shop, "keys:write")
    refused = await shop.request("POST", f"/v1/keys/{key['id']}/rotate", {}, bearer=narrow["key"])
    assert refused.json["code"] == "scope_not_held"
