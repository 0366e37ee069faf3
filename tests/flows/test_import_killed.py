"""kill -9 in the middle of an import: nothing is lost, nothing is doubled, and it goes on."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tradewind.kernel.ids import new_id
from tradewind.testing.platform import UNANSWERED, Platform

# Starts a whole platform: not beside other tests.
pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]

PRODUCTS = 700
LOOK_S = 0.05


@pytest_asyncio.fixture(loop_scope="session")
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    platform = Platform(tmp_path)
    try:
        await platform.start()
        yield platform
    finally:
        await platform.stop()


def sheet() -> str:
    rows = ["external_id,title,sku,price,currency,on_hand"]
    rows += [f"k-{n},Killed {n},K-{n},{n % 90 + 1},GBP,{n % 7}" for n in range(PRODUCTS)]
    return "\r\n".join(rows) + "\r\n"


async def taken(platform: Platform, import_id: str) -> int:
    """How many lines an import took so far."""
    try:
        reply = await platform.admin("GET", f"/v1/imports/{import_id}")
    except UNANSWERED:
        return 0
    return int(reply.json.get("accepted", 0))


async def until_taken(platform: Platform, import_id: str, count: int) -> None:
    while await taken(platform, import_id) < count:
        await asyncio.sleep(LOOK_S)


async def command(platform: Platform, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradewind", *arguments),
        *("--url", platform.url, "--key-file", str(platform.home / "admin.key")),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


async def test_a_killed_import_goes_on_where_it_was(platform: Platform, tmp_path: Path) -> None:
    """The server is killed in the middle, then the client; the file is sent once more."""
    file = tmp_path / "killed.csv"
    file.write_text(sheet())
    import_id = new_id("imp")
    path = f"/v1/imports/products?id={import_id}"
    kind = {"Content-Type": "text/csv"}
    sending = asyncio.create_task(platform.admin("POST", path, file.read_bytes(), headers=kind))
    await until_taken(platform, import_id, 50)
    platform.kill(platform.web[0])
    with pytest.raises(UNANSWERED):
        await sending
    await platform.until_ready()
    before = await taken(platform, import_id)
    assert 50 <= before < PRODUCTS
    client = await command(platform, "import", "products", str(file), "--resume", import_id)
    await until_taken(platform, import_id, before + 50)
    client.kill()
    await client.wait()
    client = await command(platform, "import", "products", str(file), "--resume", import_id)
    output, _ = await client.communicate()
    assert client.returncode == 0, output.decode()
    report = (await platform.admin("GET", f"/v1/imports/{import_id}")).json
    assert (report["status"], report["lines"]) == ("finished", PRODUCTS + 1)
    assert (report["created"], report["accepted"], report["rejected"]) == (PRODUCTS, PRODUCTS, 0)
    reply = await platform.admin("GET", "/v1/exports/products")
    lines = [json.loads(line) for line in reply.raw.splitlines()]
    assert {p["external_id"] for p in lines} == {f"k-{n}" for n in range(PRODUCTS)}
    again = await platform.admin("POST", "/v1/imports/products", file.read_bytes(), headers=kind)
    assert again.json["unchanged"] == PRODUCTS, again.raw
    await platform.check_invariants()
    assert not platform.error_lines()
