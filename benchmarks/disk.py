"""The drill of the full disk: a small file system of its own, filled to its last megabytes."""

import asyncio
import os
import secrets
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.measure import check_invariants
from benchmarks.report import Book
from benchmarks.shop import BenchmarkFailed, Shop, running
from benchmarks.stalling import ADDRESS

SIZE_MB = 900
LEFT_BYTES = 3_000_000
FULL_S = 15.0
AT_ONCE = 16
RESUMED_WITHIN_S = 60.0
READS = ("/v1/products?limit=5", "/v1/stock/B0001", "/v1/orders?limit=5", "/readyz")


class FullDisk:
    """Fill, look, free, look."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.while_full: Counter[str] = Counter()
        self.reads: Counter[int] = Counter()

    async def run(self) -> list[tuple[str, bool]]:
        """The sentences that must hold, and whether they do."""
        with tempfile.TemporaryDirectory(prefix="tradewind-disk-") as name:
            image, mounted = Path(name) / "image", Path(name) / "disk"
            mounted.mkdir()
            with image.open("wb") as file:
                file.truncate(SIZE_MB * 1024 * 1024)
            command("mkfs.ext4", "-q", str(image))
            command("mount", "-o", "loop", str(image), str(mounted))
            try:
                async with running(mounted / "home", workers=1) as shop:
                    return await self.drill(shop, mounted)
            finally:
                command("umount", str(mounted))

    async def drill(self, shop: Shop, disk: Path) -> list[tuple[str, bool]]:
        """On a platform whose home is on the small disk."""
        key = (shop.home / "admin.key").read_text().strip()
        reader = {"Authorization": f"Bearer {key}"}
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(shop.url, connector=connector) as session:
            before = Counter([await place(session) for _ in range(AT_ONCE)])
            ballast = disk / "ballast"
            fill(ballast)
            full_until = time.monotonic() + FULL_S
            while time.monotonic() < full_until:
                self.while_full.update(await asyncio.gather(*(place(session) for _ in "x" * 16)))
                for path in READS:
                    async with session.get(path, headers=reader) as reply:
                        self.reads[reply.status] += 1
                await asyncio.sleep(0.1)
            left_mb = free_bytes(disk) / 1e6
            ballast.unlink()
            freed_at = time.monotonic()
            end = ""
            while end != "201 confirmed" and time.monotonic() - freed_at < RESUMED_WITHIN_S:
                await asyncio.sleep(0.1)
                end = await place(session)
            resumed_s = time.monotonic() - freed_at
        await check_invariants(shop)
        for what, count in sorted(self.while_full.items()):
            self.book.note(f"full_disk.{what.replace(' ', '_')}", "answers", count)
        self.book.note("full_disk.left", "MB", left_mb)
        self.book.note("full_disk.resumed_after", "s", resumed_s)
        known = {"201 confirmed", "503 disk_full"}
        return [
            (f"before: {dict(before)}", set(before) == {"201 confirmed"}),
            (
                f"full: orders are confirmed or refused cleanly {dict(self.while_full)}",
                set(self.while_full) <= known and self.while_full["503 disk_full"] > 0,
            ),
            (f"full: reads go on {dict(self.reads)}", set(self.reads) == {200}),
            (f"freed: orders resume ({resumed_s:.1f} s)", end == "201 confirmed"),
        ]


def command(*words: str) -> None:
    """A command of the system. Raises `BenchmarkFailed`."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkFailed(f"{' '.join(words)}: {done.stderr.strip()}")


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def fill(ballast: Path) -> None:
    """Take all room but a little."""
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free_bytes(ballast.parent) - LEFT_BYTES)


async def place(session: aiohttp.ClientSession) -> str:
    """One order; its end in two words."""
    body: dict[str, Any] = {
        "email": f"{secrets.token_hex(8)}@bench.example",
        "currency": "GBP",
        "lines": [{"sku": "B0001", "quantity": 1}],
        "shipping_address": ADDRESS,
        "payment": {"token": "tok_ok"},
    }
    headers = {"Idempotency-Key": secrets.token_hex(16)}
    async with session.post("/v1/orders", json=body, headers=headers) as reply:
        document = await reply.json(content_type=None)
        return f"{reply.status} {document.get('code') or document['status']}"
