"""The disk fills up while the shop is open: orders are refused, reads go on, orders come back.

The real thing, on a file system that is filled to its last bytes, is a drill of
`python -m benchmarks.pressure`: it takes root.
"""

import os
from pathlib import Path

import pytest

from tradewind.kernel.ids import new_id
from tradewind.platform.database.disk import MIB
from tradewind.testing.platform import Platform

# A whole platform, and a gibibyte of the disk.
pytestmark = pytest.mark.alone

# Others write, too, while this runs.
MARGIN_MB = 512


def free_mb(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize // MIB


async def until_placed(platform: Platform, key: str) -> tuple[int, str]:
    """The end of an order that is sent again while the answer is "not now"."""
    answer = await platform.ask_until_answered(
        "POST", "/v1/orders", platform.order(("mug", 1), email="ada@example.com"), key=key
    )
    return answer.status, answer.json["status"]


async def test_orders_stop_before_the_disk_is_full_and_go_on_after(tmp_path: Path) -> None:
    if free_mb(tmp_path) < 4 * MARGIN_MB:
        pytest.skip("the disk of the tests is nearly full already")
    platform = Platform(tmp_path, disk_reserve_mb=free_mb(tmp_path) - MARGIN_MB)
    ballast = tmp_path / "ballast"
    try:
        await platform.start()
        await platform.given_product("mug", on_hand=10)
        order = await platform.place(("mug", 1))
        assert order.status == 201
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 2 * MARGIN_MB * MIB)
        key = new_id("key")
        refused = await platform.place(("mug", 1), email="ada@example.com", key=key)
        while refused.status == 201:  # it looks a few times a second
            refused = await platform.place(("mug", 1), key=new_id("key"))
        assert (refused.status, refused.json["code"]) == (503, "disk_full")
        assert int(refused.headers["Retry-After"]) >= 1
        promised = (await platform.stock("mug"))["reserved"]
        assert (await platform.read_order(order.json["id"]))["status"] == "confirmed"
        assert (await platform.admin("GET", "/v1/products?limit=5")).status == 200
        counted = await platform.admin("PUT", "/v1/stock/mug", {"on_hand": 1})
        assert counted.json["code"] == "disk_full"
        ballast.unlink()
        assert await until_placed(platform, key) == (201, "confirmed")
        assert (await platform.stock("mug"))["reserved"] in (promised, promised + 1)
        await platform.check_invariants()
    finally:
        ballast.unlink(missing_ok=True)
        await platform.stop()
