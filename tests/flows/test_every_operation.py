"""schemathesis over the whole OpenAPI document, as callers of several kinds.

It makes requests from the schema, right ones and wrong ones, and stories of several that follow
from each other. No 5xx, no status and no media type that is not documented, no body and no header
that is not as its schema says; and at the end the shop is unharmed.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from tests.flows.hostile import SKU, WatchedShop, watched_shop
from tradewind.testing.database import TestServer

ROOT = Path(__file__).parents[2]
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
# A hundred operations: what one more request of each costs is what this test costs.
SHORT = {"examples": 1}
LONG = {"phases": "examples,coverage,fuzzing,stateful", "examples": 60}
CALLERS: Mapping[str, tuple[str, ...]] = {
    "reader": ("orders:read", "inventory:read", "payments:read", "events:read", "mailbox:read"),
    "merchandiser": ("catalog:write", "inventory:write"),
    "clerk": ("orders:read", "orders:write", "carts:read", "carts:write", "fraud:review"),
}


class World:
    """A shop, what stands in it, and the bearers of its callers."""

    def __init__(self, shop: WatchedShop, known: dict[str, list[str]]) -> None:
        self.shop = shop
        self.known = known
        self.bearers: dict[str, str | None] = {"nobody": None, "admin": shop.admin_key}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(
    server: TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A shop with one of most things in it."""
    async with watched_shop(server, tmp_path_factory.mktemp("every operation")) as shop:
        placed = await shop.place((SKU, 2))
        order = await shop.until(placed.json["id"], payment="captured")
        cart = await shop.request("POST", "/v1/carts", {"currency": "GBP"}, key="a cart")
        assert cart.status == 201, cart.raw
        product = (await shop.request("GET", f"/v1/products/sku:{SKU}")).json
        category = {"name": "Home"}
        assert (await shop.admin("PUT", "/v1/categories/home", category)).status in (200, 201)
        listed = {"name": "Trade", "customer_group": "trade", "currency": "GBP"}
        assert (await shop.admin("PUT", "/v1/price-lists/trade", listed)).status in (200, 201)
        held = await shop.place((SKU, 1), token="tok_suspicious")
        found = World(
            shop,
            {
                "order_id": [order["id"], held.json["id"]],
                "payment_id": [order["payment"]["id"]],
                "cart_id": [cart.json["id"]],
                "id": [product["id"], SKU, "home", "trade"],
                "sku": [SKU],
                "code": ["main", "not_found"],
                "name": ["colour"],
            },
        )
        found.bearers["customer"] = placed.json["order_token"]
        for name, scopes in CALLERS.items():
            key = await shop.admin(
                "POST", "/v1/keys", {"name": name, "scopes": scopes}, key=f"key of {name}"
            )
            assert key.status == 201, key.raw
            found.bearers[name] = key.json["key"]
        yield found


async def fuzzed(world: World, caller: str, how: Mapping[str, object], *more: str) -> None:
    """Run schemathesis as one caller; its report where it found something."""
    bearer = world.bearers[caller]
    program = Path(sys.executable).with_name("schemathesis")
    command = [
        str(program),
        "run",
        f"{world.shop.url}/openapi.json",
        *("--checks", ",".join(CHECKS)),
        *("--phases", str(how["phases"])),
        *("--max-examples", str(how["examples"])),
        *("--seed", "1"),
        *("--no-shrink", "--continue-on-failure", "--warnings", "off"),
        *("--request-timeout", "40"),
        *more,
    ]
    if bearer is not None:
        command += ["--header", f"Authorization: Bearer {bearer}"]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.flows.fuzzing_hooks",
        "PYTHONPATH": str(ROOT),
        "FUZZING_KNOWN": json.dumps(world.known),
        "NO_COLOR": "1",
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=world.shop.settings.home,  # it keeps what it found where it runs
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = printed.decode("utf-8", "replace")
    assert process.returncode == 0, text[-20_000:]
    assert "Tested: " in text, text[-5_000:]
    assert world.shop.watch.errors == [], world.shop.watch.errors[:3]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("caller", ["admin", "nobody", "customer", "clerk"])
async def test_every_operation_as_it_is_described(world: World, caller: str) -> None:
    """Some requests of each; the long run is below."""
    phases = "examples,fuzzing,stateful" if caller == "admin" else "fuzzing"
    await fuzzed(world, caller, {**SHORT, "phases": phases})


@pytest.mark.timeout(60)
async def test_the_shop_is_unharmed(world: World) -> None:
    """And still sells, once somebody has put right what the requests changed on purpose."""
    await world.shop.given_product(SKU, on_hand=1_000_000)
    await world.shop.check_unharmed()


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("caller", ["admin", "nobody", "customer", *CALLERS])
async def test_every_operation_at_length(world: World, caller: str) -> None:
    """All phases, many requests of each operation."""
    await fuzzed(world, caller, LONG)
    await world.shop.given_product(SKU, on_hand=1_000_000)
    await world.shop.check_unharmed()
