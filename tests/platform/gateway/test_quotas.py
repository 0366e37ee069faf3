"""Quotas per day: what all processes let through together, over restarts, deaths and midnight."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.platform.gateway import gateway_shop
from tests.platform.gateway.gateway_shop import TestNode, call
from tradewind.platform.database.pool import Pool
from tradewind.platform.gateway import admission
from tradewind.platform.gateway.assembly import build_app
from tradewind.platform.gateway.limits import Limits, Plan
from tradewind.platform.gateway.quotas import DAY_S, Quotas
from tradewind.platform.security.authentication import Credential
from tradewind.platform.settings import Settings

NOON = 20_000 * DAY_S + DAY_S / 2


class Time:
    """A clock that stands until it is moved."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture(loop_scope="session")
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = Pool(dsn, connections_max=4, application="test of quotas")
    yield pool
    await pool.close()


async def passed(quotas: Quotas, count: int, quota: int, caller: str = "key_1") -> int:
    found = [await quotas.take(caller, quota) for _ in range(count)]
    return sum(one.allowed for one in found)


async def stored(dsn: str, caller: str = "key_1") -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(
            await connection.fetchval(
                "SELECT coalesce(sum(used), 0) FROM gateway.quotas WHERE caller = $1", caller
            )
        )
    finally:
        await connection.close()


async def test_no_more_than_the_quota_and_a_restart_forgets_nothing(pool: Pool, dsn: str) -> None:
    """To the request, where processes stop in good order."""
    clock = Time()
    first = Quotas(pool, clock)
    assert await passed(first, 700, 1_000) == 700
    await first.close()
    assert await stored(dsn) == 700
    second = Quotas(pool, clock)
    assert await passed(second, 700, 1_000) == 300
    standing = await second.take("key_1", 1_000)
    assert (standing.allowed, standing.remaining) == (False, 0)
    assert standing.reset_s == DAY_S / 2 + 1
    assert await passed(second, 1, 1_000, "key_2") == 1
    clock.now += DAY_S / 2
    assert await passed(second, 1_100, 1_000) == 1_000


@pytest.mark.parametrize("quota", [95, 1_000, 50_000])
async def test_processes_share_a_quota_within_ten_percent(pool: Pool, dsn: str, quota: int) -> None:
    """Four of them, each asked by many at once, until all say no. Not one too many."""
    clock = Time()
    four = [Quotas(pool, clock) for _ in range(4)]

    async def caller(quotas: Quotas) -> int:
        return await passed(quotas, quota // 20 + 1, quota)

    counts = await asyncio.gather(*(caller(quotas) for quotas in four for _ in range(16)))
    assert quota * 0.9 <= sum(counts) <= quota
    for quotas in four:
        await quotas.close()
    assert min(await stored(dsn), quota) == sum(counts)


async def test_a_killed_process_costs_its_share_at_most(pool: Pool, dsn: str) -> None:
    clock = Time()
    through = 0
    for _ in range(5):  # each is forgotten, nothing given back
        quotas = Quotas(pool, clock)
        through += await passed(quotas, 100, 1_000)
    last = Quotas(pool, clock)
    through += await passed(last, 1_000, 1_000)
    assert 950 <= through <= 1_000


async def test_nobody_is_refused_before_the_quota_is_used_up(pool: Pool) -> None:
    """Many at once wait for a share that is too small for all: then for the next one."""
    quotas = Quotas(pool, Time())
    counts = await asyncio.gather(*(passed(quotas, 4, 1_000) for _ in range(200)))
    assert sum(counts) == 800


async def test_few_questions_are_asked(pool: Pool) -> None:
    """A hundredth of a quota at a time: not one for each request."""
    quotas = Quotas(pool, Time())
    asked = 0
    ask = quotas._ask

    async def counted(*told: Any) -> Any:
        nonlocal asked
        asked += 1
        return await ask(*told)

    quotas._ask = counted  # type: ignore[method-assign,assignment]
    assert await passed(quotas, 5_000, 100_000) == 5_000
    assert asked <= 8


async def test_requests_go_on_while_the_database_is_away_and_are_paid_for_later(
    pool: Pool, dsn: str
) -> None:
    clock = Time()
    quotas = Quotas(pool, clock)
    assert await passed(quotas, 10, 1_000) == 10
    ask = quotas._ask

    async def away(*told: Any) -> Any:
        raise ConnectionError("away")

    quotas._ask = away  # type: ignore[method-assign,assignment]
    assert await passed(quotas, 100, 1_000) == 100
    quotas._ask = ask  # type: ignore[method-assign]
    clock.now += 5
    assert await passed(quotas, 2_000, 1_000) <= 890
    await quotas.close()
    assert await stored(dsn) >= 1_000 - 10


async def test_a_quota_that_is_changed_counts_from_then_on(pool: Pool) -> None:
    quotas = Quotas(pool, Time())
    assert await passed(quotas, 100, 1_000) == 100
    assert await passed(quotas, 100, 150) == 50
    assert await passed(quotas, 100, 200) == 50


@asynccontextmanager
async def limited(pool: Pool, **settings: Any) -> AsyncIterator[Any]:
    """The test shop with quotas."""
    quotas = Quotas(pool, Time())
    yield build_app(
        {"catalog": gateway_shop.THINGS},
        TestNode(Settings(**settings)),  # type: ignore[arg-type]
        authenticate=gateway_shop.authenticate,
        limits=Limits(b"s" * 32, Time()),
        quotas=quotas,
        version="1",
    )
    await quotas.close()


async def test_a_key_hears_where_it_stands(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its own quota or that of the settings; who has no key has no quota."""
    monkeypatch.setattr(admission, "PLANS", {"small": Plan({}, per_day=20)})
    keys = {"own": Credential("key_own", limits="small"), "plain": Credential("key_plain")}
    monkeypatch.setattr(gateway_shop, "BEARERS", keys)
    async with limited(pool, quota_per_day=40) as app:
        for bearer, quota in (("own", 20), ("plain", 40)):
            for number in range(quota):
                reply = await call(app, "GET", "/v1/things/1", bearer=bearer)
                assert reply.status == 200
                assert reply.headers["ratelimit-policy"].endswith(f', "day";q={quota};w=86400')
                assert f'"day";r={quota - number - 1};t=' in reply.headers["ratelimit"]
            reply = await call(app, "GET", "/v1/things/1", bearer=bearer)
            assert (reply.status, reply.code) == (429, "quota_exceeded")
            assert reply.headers["retry-after"] == str(DAY_S // 2 + 1)
        reply = await call(app, "GET", "/v1/things/1")
        assert "day" not in reply.headers["ratelimit-policy"]
