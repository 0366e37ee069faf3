"""kill -9 of web processes and PostgreSQL under the writes of staff: both or neither, one chain."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.flows.test_audit import WHY
from tradewind.testing.platform import Platform

pytestmark = pytest.mark.alone

SKUS = [f"kept-{number}" for number in range(8)]
KILLS = 3
BETWEEN_S = 1.5


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("audited"), workers=2)
    try:
        await platform.start()
        for sku in SKUS:
            await platform.given_product(sku, on_hand=1)
        yield platform
    finally:
        await platform.stop()


async def count_up(platform: Platform, sku: str, over: asyncio.Event) -> int:
    """Set the count to 2, 3, 4 ..., each until it is answered; how far that came."""
    on_hand = 1
    while not over.is_set():
        on_hand += 1
        answer = await platform.ask_until_answered(
            "PUT",
            f"/v1/stock/{sku}",
            {"on_hand": on_hand},
            bearer=platform.admin_key,
            headers=WHY,
        )
        assert answer.status == 200, answer.raw
    return on_hand


async def until_recorded(platform: Platform, sku: str, on_hand: int) -> None:
    """Wait until the chain has the last count: whose turn it was to seal may have been killed."""
    for _ in range(300):
        path = f"/v1/audit?limit=1&object={sku.upper()}"
        newest = await platform.ask_until_answered(
            "GET", path, bearer=platform.admin_key, headers=WHY
        )
        if newest.json["items"] and newest.json["items"][0]["after"]["on_hand"] == on_hand:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the record does not reach {sku}'s last count, {on_hand}")


async def test_every_change_has_one_entry_whoever_dies(platform: Platform) -> None:
    over = asyncio.Event()
    counting = [asyncio.create_task(count_up(platform, sku, over)) for sku in SKUS]
    for number in range(KILLS):
        await asyncio.sleep(BETWEEN_S)
        if number == KILLS - 1:
            platform.kill(platform.postgres)
        else:
            platform.kill(platform.web[number % 2])
        await platform.until_ready()
    await asyncio.sleep(BETWEEN_S)
    over.set()
    reached = await asyncio.gather(*counting)
    assert min(reached) > 5, "the load went on"
    for sku, on_hand in zip(SKUS, reached, strict=True):
        await until_recorded(platform, sku, on_hand)
        seen: list[tuple[int | None, int]] = []
        cursor = ""
        for _ in range(200):
            path = f"/v1/audit?limit=100&object={sku.upper()}{cursor}"
            page = await platform.ask_until_answered(
                "GET", path, bearer=platform.admin_key, headers=WHY
            )
            for item in page.json["items"]:
                before = item["before"]["on_hand"] if item["before"] else None
                seen.append((before, item["after"]["on_hand"]))
            if page.json["next"] is None:
                break
            cursor = f"&cursor={page.json['next']}"
        else:
            raise AssertionError("the record does not end")
        # Each from what the last one left, none missing, none twice.
        assert seen[::-1] == [(None, 1), *((n - 1, n) for n in range(2, on_hand + 1))], sku
    verified = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tradewind", "audit", "verify"],
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("TRADEWIND_")},
            "TRADEWIND_HOME": str(platform.home),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stderr + verified.stdout
