"""Two web processes without Redis: a limit is one limit, and the day's quota survives a restart."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tradewind.platform.gateway.limits import CLASSES
from tradewind.testing.platform import Platform

# Starts whole platforms and counts by the clock: not beside other tests.
pytestmark = pytest.mark.alone

QUOTA = 1_000
AT_ONCE = 32


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """Two web processes on one address, with limits."""
    folder = tmp_path_factory.mktemp("limited workers")
    platform = Platform(folder, workers=2, limits="on", quota_per_day=QUOTA)
    try:
        await platform.start()
        yield platform
    finally:
        await platform.stop()


async def asked(platform: Platform, count: int, path: str, bearer: str) -> Counter[int]:
    """So many requests, each on a connection of its own: both processes get some."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(_: int) -> int:
        async with gate:
            return (await platform.request("GET", path, bearer=bearer)).status

    return Counter(await asyncio.gather(*(one(number) for number in range(count))))


async def test_an_address_has_one_bucket_in_both_processes(platform: Platform) -> None:
    """Wrong credentials: three hundred, and five a second. Within ten percent."""
    policy = CLASSES["refused"].anonymous
    began = time.monotonic()
    statuses = await asked(platform, 3 * policy.burst, "/v1/orders", "wrong")
    took_s = time.monotonic() - began
    assert set(statuses) == {401, 429}
    allowed = policy.burst + took_s * policy.quota / policy.window_s
    assert allowed * 0.9 <= statuses[401] <= allowed * 1.1 + 1, (statuses, took_s)


async def test_a_quota_is_one_over_processes_and_restarts(platform: Platform) -> None:
    """A thousand a day; whoever is asked, before a restart, after it, after a kill."""
    first = await asked(platform, QUOTA // 2, "/v1/keys", platform.admin_key)
    assert first == {200: QUOTA // 2}
    for pid in platform.web:
        platform.kill(pid)
    await asyncio.sleep(0.5)
    await platform.until_ready()
    await asked_again(platform, 100)
    await platform.stop()
    await platform.start()
    rest = await asked(platform, QUOTA, "/v1/keys", platform.admin_key)
    assert set(rest) == {200, 429}
    through = QUOTA // 2 + 100 + rest[200]
    assert QUOTA * 0.9 <= through <= QUOTA


async def asked_again(platform: Platform, count: int) -> None:
    """So many more that are let through, by processes that have just been started."""
    done = 0
    until = time.monotonic() + 30
    while done < count:
        assert time.monotonic() < until
        try:
            reply: Any = await platform.admin("GET", "/v1/keys")
        except (aiohttp.ClientError, OSError):
            continue
        done += reply.status == 200
