"""A shop whose past has left the database is the same shop: to its feed, rebuilds and proofs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from tests.platform.bus.border import end_segment
from tradewind import app
from tradewind.checks.archived import FilesWrong
from tradewind.checks.proofs import prove_all
from tradewind.checks.replay.run import replay
from tradewind.platform.bus import segments
from tradewind.testing.shop import Shop


async def move_past(shop: Shop) -> int:
    """Everything there is leaves the database; how many events."""
    connection = await asyncpg.connect(shop.settings.database_url)
    try:
        await end_segment(connection)
        await shop.until_idle()
        now = datetime.now(UTC) + timedelta(seconds=1)
        events = 0
        for _ in range(200):  # idle consumers follow the log once a second
            moved = await segments.move_oldest(
                connection, segments.archive_folder(shop.settings), older_than=timedelta(0), now=now
            )
            if moved is not None:
                events += moved.events
                if await connection.fetchval("SELECT count(*) FROM bus.log") == 0:
                    return events
            await connection.execute("SELECT pg_sleep(0.05)")
        raise AssertionError("something does not leave the database")
    finally:
        await connection.close()


async def feed_of(shop: Shop) -> list[str]:
    """Every event of the feed: its id and what it says."""
    found: list[str] = []
    cursor = ""
    while True:
        page = (await shop.admin("GET", f"/v1/events?limit=7{cursor}")).json
        if not page["items"]:
            return found
        found += [f"{event['source']} {event['id']} {event['data']}" for event in page["items"]]
        cursor = f"&after={page['next']}"


@pytest.mark.timeout(120)
async def test_nobody_can_tell_that_the_past_has_left_the_database(shop: Shop) -> None:
    """Half of an order's facts in a file, half in the database: nothing breaks at the border."""
    url, simulator = shop.settings.database_url, shop.settings.simulator_url
    assert url is not None and simulator is not None
    await shop.given_product("mug", on_hand=50)
    placed = (await shop.place(("mug", 2))).json
    await shop.until(placed["id"], payment="captured")
    held = (await shop.place(("mug", 1), token="tok_suspicious")).json
    await shop.until_idle()
    past = await feed_of(shop)
    timeline = (await shop.admin("GET", f"/v1/orders/{placed['id']}/timeline")).json["items"]
    assert await move_past(shop) >= len(past)

    await shop.given_product("pot", on_hand=5)
    cancel = {"reason": "changed my mind"}
    path = f"/v1/orders/{placed['id']}/cancel"
    assert (await shop.admin("POST", path, cancel, key="cancel-1")).status == 200
    path = f"/v1/orders/{held['id']}/cancel"
    assert (await shop.admin("POST", path, cancel, key="cancel-2")).status == 200
    await shop.until_idle()

    now = await feed_of(shop)
    assert now[: len(past)] == past and len(now) > len(past) + 4
    told = (await shop.admin("GET", f"/v1/orders/{placed['id']}/timeline")).json["items"]
    assert told[: len(timeline)] == timeline and len(told) > len(timeline)
    archive = segments.archive_folder(shop.settings)
    replayed = await replay(url, archive)
    assert replayed.holds, replayed.tables
    report = await prove_all(url, simulator, wait_s=10, archive=archive)
    # The provider serves other tests as well.
    broken = [one for one in report.proved if not one.proof.holds and one.group != "provider"]
    assert not broken and report.under_way.quiet
    for name in ("orders.offers", "catalog.availability"):
        assert "identical" in await app.rebuild(shop.settings, url, name)

    [file] = Path(archive).glob("*.jsonl.gz")
    good = file.read_bytes()
    file.write_bytes(good[:-40])
    with pytest.raises(FilesWrong):
        await replay(url, archive)
    file.write_bytes(good)
