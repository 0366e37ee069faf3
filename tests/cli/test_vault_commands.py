"""`tradewind vault`, as it is typed, beside a shop that serves."""

import asyncio
import os
import subprocess
import sys

from tradewind.testing.shop import Shop


async def vault(shop: Shop, *words: str, **settings: str) -> tuple[int, str]:
    """Run the command; its exit code and what it printed."""
    told = {
        **{k: v for k, v in os.environ.items() if not k.startswith("TRADEWIND_")},
        "TRADEWIND_HOME": str(shop.settings.home),
        "TRADEWIND_DATABASE_URL": shop.settings.database_url or "",
        **settings,
    }
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tradewind", "vault", *words],
        env=told,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


async def test_keys_are_renewed_beside_a_shop_that_serves(shop: Shop) -> None:
    await shop.given_product("keys", on_hand=10)
    order = (await shop.place(("keys", 1), email="ada@example.org")).json
    code, printed = await vault(shop, "status")
    assert code == 0 and "wrapping 1: under " in printed, printed
    code, printed = await vault(shop, "rotate")
    assert code == 0 and "Version 2: " in printed and "1 older version destroyed" in printed
    code, printed = await vault(shop, "reindex")
    assert code == 0 and "Version 2: " in printed, printed
    assert (await shop.read_order(order["id"]))["email"] == "ada@example.org"
    found = (await shop.admin("GET", "/v1/orders?email=ada@example.org")).json["items"]
    assert [each["id"] for each in found] == [order["id"]]
    again = (await shop.place(("keys", 1), email="ada@example.org")).json
    assert (await shop.read_order(again["id"]))["email"] == "ada@example.org"
    code, printed = await vault(shop, "status")
    assert "wrapping 2: " in printed and "wrapping 1" not in printed


async def test_a_master_that_is_not_to_be_had_is_a_sentence(shop: Shop) -> None:
    code, printed = await vault(
        shop,
        "rotate",
        TRADEWIND_TRANSIT_URL="http://127.0.0.1:1",
        TRADEWIND_TRANSIT_TOKEN="s.nothing",
    )
    assert code == 2 and "does not answer" in printed and "Traceback" not in printed
