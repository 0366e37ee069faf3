"""``python -m benchmarks.sign_in``: whether time tells who has an account; who waits for logins.

Known and unknown addresses are asked about in turn, in random order, so that whatever else the
machine does meets both alike. Printed are the medians, their ratio, and the two-sided p of a
Mann-Whitney test: a small one would mean that time tells. Then 50 people sign in at once while
products are read, and the reads are compared with those before.
"""

import argparse
import asyncio
import random
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

from rich.console import Console

from tradewind.kernel.ids import new_id
from tradewind.testing.platform import Platform

PASSWORD = "correct horse battery"
TOKEN = re.compile(r"et_[0-9a-z]{26}_[A-Za-z0-9_-]{32}")
AT_ONCE = 8
LOGINS = 50
READ_S = 4.0
READERS = 4


def mann_whitney_p(first: Sequence[float], second: Sequence[float]) -> float:
    """The two-sided p of the test, by its normal approximation; times do not tie."""
    ranked = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    ranks = sum(rank for rank, (_, which) in enumerate(ranked, start=1) if which == 0)
    n, m = len(first), len(second)
    u = ranks - n * (n + 1) / 2
    deviation: float = (n * m * (n + m + 1) / 12) ** 0.5
    return 2 * (1 - NormalDist().cdf(abs(u - n * m / 2) / deviation))


async def open_accounts(platform: Platform, emails: Sequence[str]) -> None:
    """Accounts for all of these, each through its mail."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def open_one(email: str) -> None:
        async with turns:
            body = {"email": email, "password": PASSWORD}
            assert (await platform.request("POST", "/v1/accounts", body)).status == 202
            for _ in range(200):
                found = await platform.admin("GET", f"/v1/mailbox?to={email}")
                if found.json["items"]:
                    break
                await asyncio.sleep(0.05)
            token = TOKEN.search(found.json["items"][0]["text"])
            assert token is not None
            done = await platform.request("POST", "/v1/accounts/verify", {"token": token[0]})
            assert done.status == 200, done.raw

    await asyncio.gather(*(open_one(email) for email in emails))


async def compare(
    platform: Platform, path: str, body: dict[str, Any], known: Sequence[str], console: Console
) -> None:
    """Ask about known and unknown addresses in random order, one after the other."""
    unknown = [f"{new_id('cus')}@unknown.example" for _ in known]
    asked = [(email, True) for email in known] + [(email, False) for email in unknown]
    random.shuffle(asked)
    times: dict[bool, list[float]] = {True: [], False: []}
    for email, is_known in asked:
        began = time.perf_counter()
        reply = await platform.request("POST", path, {"email": email, **body})
        times[is_known].append(time.perf_counter() - began)
        assert reply.status in (202, 401), reply.raw
    ratio = median(times[True]) / median(times[False])
    console.print(
        f"{path}: known {median(times[True]) * 1000:.2f} ms, "
        f"unknown {median(times[False]) * 1000:.2f} ms, ratio {ratio:.3f}, "
        f"p {mann_whitney_p(times[True], times[False]):.3f}, n {len(known)} each"
    )


async def read_for(platform: Platform, until: asyncio.Event) -> list[float]:
    """Reads of products until told to stop; how long each took."""
    times: list[float] = []
    while not until.is_set():
        began = time.perf_counter()
        assert (
            await platform.request("GET", "/v1/orders?limit=1", bearer=platform.admin_key)
        ).status == 200
        times.append(time.perf_counter() - began)
        await asyncio.sleep(0.005)
    return times


async def during(platform: Platform, work: Any) -> tuple[list[float], float]:
    """Reads while `work` is done, and how long that took."""
    over = asyncio.Event()
    readers = [asyncio.create_task(read_for(platform, over)) for _ in range(READERS)]
    began = time.perf_counter()
    await work
    took_s = time.perf_counter() - began
    over.set()
    return [each for times in await asyncio.gather(*readers) for each in times], took_s


def shown(times: Sequence[float]) -> str:
    """Median and p99 in milliseconds."""
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50 {median(ordered) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, {len(ordered)} reads"


async def run(count: int, console: Console) -> None:
    """Everything, on a platform of its own."""
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform(Path(folder))
        try:
            await platform.start()
            known = [f"{new_id('cus')}@known.example" for _ in range(max(count, LOGINS))]
            await open_accounts(platform, known)
            asked = known[:count]
            await compare(platform, "/v1/sessions", {"password": "wrong password"}, asked, console)
            await compare(platform, "/v1/accounts/password-reset", {}, asked, console)
            await compare(platform, "/v1/accounts", {"password": PASSWORD}, asked, console)
            quiet, _ = await during(platform, asyncio.sleep(READ_S))
            console.print(f"reads, nobody signs in: {shown(quiet)}")

            async def sign_in(email: str) -> int:
                body = {"email": email, "password": PASSWORD}
                return (await platform.request("POST", "/v1/sessions", body)).status

            busy, took_s = await during(
                platform, asyncio.gather(*(sign_in(email) for email in known[:LOGINS]))
            )
            console.print(f"reads while {LOGINS} sign in at once ({took_s:.2f} s): {shown(busy)}")
        finally:
            await platform.stop()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="addresses of each kind")
    asyncio.run(run(parser.parse_args().count, Console()))


if __name__ == "__main__":
    main()
