"""Five hundred buyers at the same moment for a hundred units, on the platform as it is started."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tradewind.kernel.ids import new_id
from tradewind.testing.platform import Platform
from tradewind.testing.shop import Reply

# Starts whole platforms and stops their clocks: not beside other tests.
pytestmark = pytest.mark.alone


BUYERS = 500
UNITS = 100


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """One web process."""
    platform = Platform(tmp_path_factory.mktemp("everybody"))
    try:
        await platform.start()
        yield platform
    finally:
        await platform.stop()


async def everybody_buys(platform: Platform, sku: str) -> list[Reply]:
    """All of them at once, each another person with a key of their own."""
    return await asyncio.gather(
        *(
            platform.ask_until_answered(
                "POST",
                "/v1/orders",
                platform.order((sku, 1), email=f"{sku}-{buyer}@example.com"),
                key=new_id("key"),
                headers={"Prefer": "wait=30"},
            )
            for buyer in range(BUYERS)
        )
    )


def outcomes(answers: list[Reply]) -> Counter[tuple[int, str]]:
    """How often which status, with the status of the order or the code of the refusal."""
    return Counter(
        (answer.status, answer.json["status"] if answer.status == 201 else answer.json["code"])
        for answer in answers
    )


async def test_a_hundred_are_served_and_four_hundred_told(platform: Platform) -> None:
    """Nothing else, three times in a row; all that was promised is captured, once."""
    skus = [f"wanted-{round_}" for round_ in range(3)]
    for sku in skus:
        await platform.given_product(sku, on_hand=UNITS)
        answers = await everybody_buys(platform, sku)
        assert outcomes(answers) == {(201, "confirmed"): 100, (409, "stock_is_short"): 400}
        assert len({answer.json.get("order_id") or answer.json["id"] for answer in answers}) == 500
        counts = await platform.stock(sku)
        assert (counts["on_hand"], counts["reserved"], counts["available"]) == (100, 100, 0)
    await platform.check_invariants()
    captured = [c for c in await platform.provider_charges() if c["operation"] == "capture"]
    assert len({charge["order_id"] for charge in captured}) == len(captured) == 3 * UNITS
    assert platform.error_lines() == []
