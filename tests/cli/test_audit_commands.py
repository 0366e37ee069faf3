"""`tradewind audit`: the exit code is the verdict, and others can follow what is exported."""

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import asyncpg

from tradewind.testing.shop import Shop

HEADS_WITHIN_S = 15


class Result(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


async def run(shop: Shop, *words: str) -> Result:
    assert shop.settings.database_url
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRADEWIND_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradewind", "audit", *words),
        env={
            **environment,
            "TRADEWIND_DATABASE_URL": shop.settings.database_url,
            "TRADEWIND_HOME": str(shop.settings.home),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


async def until_anchored(shop: Shop) -> None:
    """Wait until the whole record is sealed, and its head lies outside."""
    path = shop.settings.home / "audit" / "heads.jsonl"
    connection = await asyncpg.connect(shop.settings.database_url)
    try:
        for _ in range(HEADS_WITHIN_S * 10):
            written = await connection.fetchval("SELECT count(*) FROM audit.entries")
            lines = path.read_text().splitlines() if path.exists() else []
            if lines and json.loads(lines[-1])["position"] == written:
                return
            await asyncio.sleep(0.1)
    finally:
        await connection.close()
    raise AssertionError("the head is not outside")


async def test_a_running_shop_verifies_and_a_change_is_found_and_announced(shop: Shop) -> None:
    await shop.given_product("PROVEN", on_hand=5)
    await until_anchored(shop)
    good = await run(shop, "verify")
    assert good.exit_code == 0, good
    assert "are as they were written" in good.stdout
    connection = await asyncpg.connect(shop.settings.database_url)
    await connection.execute("SET session_replication_role = 'replica'")
    undo = await connection.fetchval("SELECT principal FROM audit.entries LIMIT 1")
    await connection.execute(
        "UPDATE audit.entries SET principal = 'key_b' WHERE principal = $1", undo
    )
    bad = await run(shop, "verify")
    assert bad.exit_code == 1, bad
    assert "Place 1, entry aud_" in bad.stderr
    found = await connection.fetchval(
        "SELECT after FROM audit.entries WHERE notice = 'tampering_found'"
    )
    assert "Place 1" in found
    await connection.execute(
        "UPDATE audit.entries SET principal = $1 WHERE principal = 'key_b'", undo
    )
    await connection.close()
    assert (await run(shop, "verify")).exit_code == 0


async def test_an_export_can_be_followed_by_anybody(shop: Shop) -> None:
    """The whole chain is computed here again, from the lines alone."""
    await shop.given_product("EXPORTED", on_hand=5)
    await until_anchored(shop)
    result = await run(shop, "export")
    assert result.exit_code == 0, result
    digest = bytes(32)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) >= 2
    for line in lines:
        fields = [
            "position",
            "entry_id",
            "xid",
            "at",
            "kind",
            "operation",
            "notice",
            "principal",
            "object",
            "address",
            "trace",
            "reason",
            "before",
            "after",
        ]
        text = json.dumps(
            [line[name] for name in fields], separators=(",", ":"), ensure_ascii=False
        )
        digest = hashlib.sha256(digest + text.encode()).digest()
        assert line["digest"] == digest.hex(), line
    # Who took it out stands in it, too.
    again = await run(shop, "export", "--since", "2020-01-01")
    assert again.exit_code == 0


async def test_a_missing_file_of_heads_is_said(shop: Shop, tmp_path: Path) -> None:
    result = await run(shop, "verify", "--heads", str(tmp_path / "none.jsonl"))
    assert result.exit_code == 2
    assert "There is no file" in result.stderr


async def test_an_address_has_one_token(shop: Shop) -> None:
    first, again, inside = [
        (await run(shop, "address", a)).stdout.strip()
        for a in ("203.0.113.7", "8.8.8.8", "10.1.2.3")
    ]
    assert again.startswith("net_")
    assert first == "203.0.113.7", "an address of documentation belongs to nobody"
    assert inside == "10.1.2.3"
