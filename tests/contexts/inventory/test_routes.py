"""Movements of stock over HTTP: who may tell one, what it must look like, once and for all."""

import asyncio
from typing import Any

import pytest

from tradewind.kernel.ids import new_id
from tradewind.testing.shop import Reply, Shop


async def move(shop: Shop, sku: str, key: str | None = None, **body: Any) -> Reply:
    told = {"kind": "write_off", "quantity": -1, "reason": "damages", **body}
    return await shop.admin("POST", f"/v1/stock/{sku}/movements", told, key=key or new_id("key"))


async def test_a_movement_is_answered_with_the_level_after_it(shop: Shop) -> None:
    await shop.given_product("bowl", on_hand=6)
    old = "2011-05-04T10:30:00Z"
    answer = await move(shop, "BOWL", quantity=-4, external_id="536589/1", at=old)
    assert answer.status == 201, answer.raw
    told = answer.json
    assert told["id"].startswith("mov_") and told["stock"].pop("locations")
    assert told | {"id": "", "at": told["at"]} == {
        "id": "",
        "sku": "bowl",
        "location": "main",
        "kind": "write_off",
        "quantity": -4,
        "reason": "damages",
        "external_id": "536589/1",
        "at": told["at"],
        "stock": {"sku": "bowl", "on_hand": 2, "reserved": 0, "available": 2, "short": 0},
    }
    assert told["at"].startswith("2011-05-04T10:30:00")
    listed = (await shop.admin("GET", answer.headers["Location"])).json["items"]
    assert (listed[0]["id"], listed[0]["kind"]) == (told["id"], "write_off")
    shown = (await shop.request("GET", "/v1/products/sku:bowl")).json
    assert shown["variants"][0]["availability"] == "low"


async def test_twins_take_the_units_once(shop: Shop) -> None:
    await shop.given_product("vase", on_hand=10)
    key = new_id("key")
    answers = await asyncio.gather(*(move(shop, "vase", key=key) for _ in range(8)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.raw for answer in answers}) == 1
    assert (await move(shop, "vase", key=key)).headers["Idempotent-Replayed"] == "true"
    assert (await shop.stock("vase"))["on_hand"] == 9
    assert (await move(shop, "vase", external_id="twice")).status == 201
    again = await move(shop, "vase", external_id="twice")
    assert (again.status, again.json["code"]) == (409, "external_id_taken")
    assert (await shop.stock("vase"))["on_hand"] == 8


async def test_what_is_refused_leaves_nothing(shop: Shop) -> None:
    await shop.given_product("dish", on_hand=2)
    key = new_id("key")
    refused = await move(shop, "dish", key=key, quantity=-3)
    assert (refused.status, refused.json["code"]) == (409, "stock_would_be_negative")
    assert refused.json["on_hand"] == 2
    await move(shop, "dish", kind="found", quantity=5)
    assert (await move(shop, "dish", key=key, quantity=-3)).raw == refused.raw
    assert (await shop.stock("dish"))["on_hand"] == 7


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"quantity": 0}, "invalid_movement"),
        ({"quantity": 1}, "invalid_movement"),
        ({"kind": "found"}, "invalid_movement"),
        ({"kind": "correction", "quantity": 0}, "invalid_movement"),
        ({"kind": "return", "quantity": 1}, "invalid_body"),
        ({"reason": ""}, "invalid_body"),
        ({"location": "nowhere"}, "unknown_location"),
        ({"at": "2011-05-04T10:30:00"}, "invalid_movement"),
        ({"at": "2999-01-01T00:00:00Z"}, "invalid_movement"),
    ],
)
async def test_a_movement_must_make_sense(shop: Shop, body: dict[str, Any], code: str) -> None:
    answer = await move(shop, "plate", **body)
    assert (answer.status, answer.json["code"]) == (422, code)


async def test_only_an_import_tells_of_the_past(shop: Shop) -> None:
    made = await shop.admin("POST", "/v1/keys", {"name": "desk", "scopes": ["inventory:write"]})
    body = {"kind": "found", "quantity": 1, "reason": "behind the shelf"}

    async def tell(**more: str) -> Reply:
        key, path = new_id("key"), "/v1/stock/saucer/movements"
        return await shop.request("POST", path, body | more, key=key, bearer=made.json["key"])

    refused = await tell(at="2011-05-04T10:30:00Z")
    assert (refused.status, refused.json["code"]) == (403, "field_not_allowed")
    assert (await tell()).status == 201
    without = await shop.admin("POST", "/v1/stock/saucer/movements", body)
    assert without.json["code"] == "idempotency_key_required"
