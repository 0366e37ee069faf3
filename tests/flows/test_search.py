"""Searches of a whole platform: while products come in, while processes are killed."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tradewind.testing.platform import UNANSWERED, Platform

# Starts whole platforms and kills their processes: not beside other tests.
pytestmark = pytest.mark.alone

KNOWN_AFTER_S = 1.0
FOUND_WITHIN_S = 30.0
COUNT = 1_200
NDJSON = "application/x-ndjson"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """Two web processes on one shop."""
    platform = Platform(tmp_path_factory.mktemp("searched"), workers=2, limits=False)
    try:
        await platform.start()
        yield platform
    finally:
        await platform.stop()


def lines(first: int, count: int, word: str) -> bytes:
    return b"\n".join(
        json.dumps(
            {
                "external_id": f"p-{number}",
                "title": f"{word} lamp number {number}",
                "attributes": {"colour": ("red", "blue")[number % 2]},
                "variants": [{"sku": f"P-{number}", "price": {"amount": "5", "currency": "GBP"}}],
            }
        ).encode()
        for number in range(first, first + count)
    )


async def found(platform: Platform, text: str, more: str = "") -> Any:
    """What a search finds, whoever answers."""
    return (await platform.request("GET", f"/v1/search?q={text}{more}")).json


async def until_total(platform: Platform, text: str, total: int) -> None:
    """Until every process finds so many: a new connection meets either of them."""
    until, seen = time.monotonic() + FOUND_WITHIN_S, 0
    while seen < 6:
        with contextlib.suppress(*UNANSWERED, KeyError):
            answer = await found(platform, text)
            seen = seen + 1 if answer["total"] == total and answer["exact"] else 0
        assert time.monotonic() < until, answer
        await asyncio.sleep(0.05)


async def send(platform: Platform, body: bytes) -> Any:
    answer = await platform.admin(
        "POST", "/v1/imports/products", body, headers={"Content-Type": NDJSON}
    )
    assert answer.status == 202, answer
    return answer.json


async def test_searches_go_on_while_products_come_in(platform: Platform) -> None:
    """From several sides at once; no answer is wrong, and in the end all is found."""
    over = asyncio.Event()
    statuses: set[int] = set()

    async def ask() -> None:
        while not over.is_set():
            for text in ("lamp", "lmap", "number+7", "lam", ""):
                answer = await platform.request(
                    "GET", f"/v1/search?q={text}&facets=colour&filter[colour]=red"
                )
                statuses.add(answer.status)
                for item in answer.json["items"]:
                    assert item["attributes"]["colour"] == "red"

    asking = [asyncio.create_task(ask()) for _ in range(4)]
    try:
        third = COUNT // 3
        await asyncio.gather(*(send(platform, lines(n * third, third, "Desk")) for n in range(3)))
    finally:
        over.set()
        await asyncio.gather(*asking)
    assert statuses == {200}
    await until_total(platform, "desk+lamp", COUNT)


async def test_a_change_is_found_by_all_within_a_second(platform: Platform) -> None:
    for number in range(5):
        word = f"zephyr{number}x"
        body = {
            "title": f"{word} lamp",
            "variants": [{"sku": "Z-1", "price": {"amount": "5", "currency": "GBP"}}],
        }
        answer = await platform.admin("PUT", "/v1/products/zephyr", body)
        assert answer.status in (200, 201, 202)
        changed_at = time.monotonic()
        for _ in range(6):
            while (await found(platform, word))["total"] != 1:
                assert time.monotonic() - changed_at < KNOWN_AFTER_S


async def test_killed_it_finds_the_same_again(platform: Platform) -> None:
    """Web processes, then PostgreSQL, in the middle of an import."""
    before = await found(platform, "desk+lamp", "&limit=50&facets=colour")
    for pid in (platform.web[0], platform.postgres):
        coming = asyncio.create_task(send(platform, lines(5_000, 400, "Floor")))
        await asyncio.sleep(0.2)
        platform.kill(pid)
        with contextlib.suppress(*UNANSWERED, AssertionError):
            await coming
        await platform.until_ready()
        await until_total(platform, "desk+lamp", COUNT)
    after = await found(platform, "desk+lamp", "&limit=50&facets=colour")
    assert [item["id"] for item in after["items"]] == [item["id"] for item in before["items"]]
    assert after["facets"] == before["facets"]
    await send(platform, lines(5_000, 400, "Floor"))
    await until_total(platform, "floor+lamp", 400)
