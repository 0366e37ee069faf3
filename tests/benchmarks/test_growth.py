"""A filled shop is a shop with a past, not a pile of rows: everything that is proved of a real one
holds, and an order that it was filled with left what an order leaves that goes through.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from benchmarks import load
from benchmarks.filling import Filled, fill, whole_batches
from benchmarks.measure import caught_up
from benchmarks.shop import Shop, running
from tests.benchmarks.test_same_rows import BYTES_APART_MAX, NOT_PER_ORDER, content
from tradewind.checks.proofs import prove_all
from tradewind.checks.replay.run import replay

# Starts whole platforms: not beside other tests.
pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[2]
ORDERS = whole_batches(200)
PRODUCTS = 96
PLACED = 8


async def place(shop: Shop, number: int) -> None:
    """An order as the load generator sends it, for products of the fill."""
    body = load.BODY.replace(b"%04d", b"%06d") % (b"%016d" % number, 1, 40, 90)
    headers = {"Idempotency-Key": f"growth-{number}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{shop.url}/v1/orders", data=body, headers=headers) as answer,
    ):
        assert answer.status == 201, await answer.text()


@pytest.mark.timeout(240)
async def test_a_filled_shop_is_like_one_that_lived(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with running(home, workers=1, products=False) as shop:
        before = await content(shop.dsn)
    await fill(home, Filled(0, PRODUCTS))
    async with running(home, workers=1, products=False) as shop:
        with_products = await content(shop.dsn)
    assert with_products["catalog.products"][0] - before["catalog.products"][0] == PRODUCTS

    home = tmp_path / "full"
    async with running(home, workers=1, products=False):
        pass
    await fill(home, Filled(ORDERS, PRODUCTS))
    async with running(home, workers=1, products=False) as shop:
        filled = await content(shop.dsn)
        for number in range(PLACED):
            await place(shop, number)
        connection = await asyncpg.connect(shop.dsn)
        await caught_up(connection, time.monotonic())
        await connection.close()
        lived = await content(shop.dsn)
        proofs = await prove_all(shop.dsn, shop.provider_url, wait_s=10)
        replayed = await replay(shop.dsn, home / "archive")
        listed = shop.ask("GET", "/v1/orders?limit=100")["items"]
        page = shop.ask("GET", "/v1/events?limit=100")
    assert proofs.holds, [one for one in proofs.proved if not one.proof.holds]
    assert replayed.holds, replayed.tables
    assert len(listed) == 100 and all(order["email"] for order in listed)
    assert len(page["items"]) == 100
    for table, (rows, size) in lived.items():
        new = rows - filled[table][0]
        if not new or table in NOT_PER_ORDER:
            continue
        past = filled[table][0] - with_products[table][0]
        assert past / ORDERS == new / PLACED, table
        bytes_then = (filled[table][1] - with_products[table][1]) / ORDERS
        bytes_now = (size - filled[table][1]) / PLACED
        assert bytes_then == pytest.approx(bytes_now, rel=BYTES_APART_MAX), f"{table}: other rows"


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_short_run_ends_with_ratios(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.growth", "--orders", "320", "--products", "1024"]
    command += ["--pairs", "1", "--seconds", "1", "--read-seconds", "2", "--warm-s", "0.5"]
    command += ["--kinds", "list_orders,list_products,search"]
    command += ["--results", str(tmp_path), "--prove"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr or done.stdout
    (file,) = tmp_path.glob("*-growth.jsonl")
    lines = {line["figure"]: line for line in map(json.loads, file.read_text().splitlines())}
    for kind in ("orders", "list_orders", "list_products", "search"):
        assert lines[f"ratio.{kind}"]["value"] > 0
    assert str(tmp_path) not in lines["ratio.orders"]["command"]


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_short_endurance_run_tells_what_grew(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.endurance", "--minutes", "2", "--minute-s", "2"]
    command += ["--connections", "8", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or done.stdout
    (file,) = tmp_path.glob("*-endurance.jsonl")
    lines = {line["figure"]: line for line in map(json.loads, file.read_text().splitlines())}
    assert len(lines["minute.orders"]["runs"]) == 2
    assert lines["grew.bus.log_1"]["value"] > 0
