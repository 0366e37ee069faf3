"""Old segments move to files, whoever dies on the way; and nobody who reads can tell."""

import asyncio
import gzip
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.platform.bus.border import end_segment
from tests.platform.bus.workshop import Touched, Workshop, until
from tradewind.platform import faults
from tradewind.platform.bus import archive, feed, segments, whole_log
from tradewind.platform.bus.archive import ArchiveBroken
from tradewind.platform.node import Node

# Four segments of so many events each, things taking turns.
PER_SEGMENT = 30
SEGMENTS = 4
EVENTS = PER_SEGMENT * SEGMENTS


@pytest_asyncio.fixture(loop_scope="session")
async def owner(workshop: Workshop) -> AsyncIterator[Any]:
    """A connection of the log's owner."""
    async with workshop.connection() as connection:
        yield connection


async def until_passed(owner: Any) -> None:
    """Every consumer is behind all that is written."""

    async def passed() -> bool:
        return bool(
            await owner.fetchval(
                "SELECT min(o.xid) > (SELECT max(xid) FROM bus.log) FROM bus.offsets o"
            )
        )

    await until(passed, "all consumers to pass the log")


async def a_log_of_segments(workshop: Workshop, owner: Any) -> Node:
    """A node that has handled events of several segments; feed ranges lie across the borders."""
    for segment in range(SEGMENTS):
        for number in range(PER_SEGMENT):
            place = segment * PER_SEGMENT + number
            thing, sequence = f"thing-{place % 3}", place // 3 + 1
            await workshop.append(Touched(sequence=sequence, thing_id=thing, note="ä" * number))
        await end_segment(owner)
    node = await workshop.start("reader")
    await workshop.until_handled(EVENTS)
    await until_passed(owner)
    return node


async def move_all(owner: Any, folder: Path, *, older_than: timedelta = timedelta(0)) -> int:
    """Move whatever may go; how many segments."""
    count = 0
    now = datetime.now(UTC) + timedelta(seconds=1)
    while await segments.move_oldest(owner, folder, older_than=older_than, now=now):
        count += 1
    return count


async def whole_feed(owner: Any, folder: Path, limit: int, **options: Any) -> list[Any]:
    """The feed from its beginning, page by page."""
    items: list[Any] = []
    after = 0
    options = {"sources": None, **options}
    while True:
        page = await whole_log.page(owner, folder, after=after, limit=limit, **options)
        items += page.items
        reached = feed.decode_cursor(page.next)
        assert reached is not None
        if reached == after:
            return items
        after = reached


@pytest.mark.parametrize("limit", [1, 7, 30, 100])
async def test_pages_of_the_feed_go_on_over_every_border(
    workshop: Workshop, owner: Any, tmp_path: Path, limit: int
) -> None:
    """Who reads the feed sees no difference between a file, the database, and half of each."""
    await a_log_of_segments(workshop, owner)
    before = await whole_feed(owner, tmp_path, 50)
    assert len(before) == EVENTS
    assert await move_all(owner, tmp_path) == SEGMENTS
    assert await owner.fetchval("SELECT count(*) FROM bus.log") == 0
    await workshop.touch("thing-0", EVENTS // 3 + 1, EVENTS // 3 + 5)

    async def numbered() -> bool:
        return bool(await owner.fetchval(feed.LAST) == EVENTS + 5)

    await until(numbered, "the feed to number what came later")
    after = await whole_feed(owner, tmp_path, limit)
    assert after[:EVENTS] == before
    assert [event.sequence for event in after[EVENTS:]] == [EVENTS // 3 + n for n in range(1, 6)]
    assert await whole_feed(owner, tmp_path, limit, sources=["other"]) == []


async def test_a_range_across_a_border_is_parted(
    workshop: Workshop, owner: Any, tmp_path: Path
) -> None:
    """One file moved, the others in the database: positions behind the border stay as they were."""
    await a_log_of_segments(workshop, owner)
    before = await whole_feed(owner, tmp_path, 50)
    now = datetime.now(UTC) + timedelta(seconds=1)
    for _ in range(2):
        assert await segments.move_oldest(owner, tmp_path, older_than=timedelta(0), now=now)
        assert await whole_feed(owner, tmp_path, 11) == before
    ranges = await owner.fetch("SELECT first, count FROM bus.feed_ranges ORDER BY first")
    assert ranges[0]["first"] == 1
    for one, following in pairwise(ranges):
        assert one["first"] + one["count"] == following["first"]
    in_view = await owner.fetch("SELECT position FROM bus.feed ORDER BY position")
    assert [row[0] for row in in_view] == list(range(2 * PER_SEGMENT + 1, EVENTS + 1))


KILLED = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
import asyncpg
from tradewind.platform import faults
from tradewind.platform.bus import segments

async def main():
    connection = await asyncpg.connect(sys.argv[1])
    faults.switch_on(sys.argv[3])
    now = datetime.now(UTC) + timedelta(seconds=1)
    await segments.move_oldest(connection, Path(sys.argv[2]), older_than=timedelta(0), now=now)

asyncio.run(main())
"""


@pytest.mark.parametrize("place", faults.PLACES_OF_UPKEEP)
async def test_whoever_is_killed_on_the_way_is_followed_by_another(
    workshop: Workshop, owner: Any, tmp_path: Path, place: str
) -> None:
    """At each step: nothing is lost, nothing stands twice, and the next one finishes."""
    await a_log_of_segments(workshop, owner)
    before = await whole_feed(owner, tmp_path, 50)
    folder, traps = tmp_path / "archive", tmp_path / "traps"
    traps.mkdir()
    (traps / place).touch()
    command = [sys.executable, "-c", KILLED, workshop.dsn, str(folder), str(traps)]
    died = await asyncio.to_thread(subprocess.run, command, check=False)
    assert died.returncode == -signal.SIGKILL
    assert await whole_feed(owner, folder, 13) == before

    async def lock_is_free() -> bool:
        query = "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = $1"
        return bool(await owner.fetchval(query, segments.ARCHIVER_LOCK))

    await until(lock_is_free, "the server to notice the death")
    assert await move_all(owner, folder) == SEGMENTS
    assert await whole_feed(owner, folder, 13) == before
    assert (await segments.verify_all(owner, folder)).events == EVENTS
    assert not list(folder.glob("*.half"))


def rewritten(path: Path, old: bytes, new: bytes) -> None:
    """Another content, packed as it was."""
    text = gzip.decompress(path.read_bytes())
    assert old in text
    path.write_bytes(gzip.compress(text.replace(old, new), mtime=0))


async def test_a_changed_file_is_noticed(workshop: Workshop, owner: Any, tmp_path: Path) -> None:
    """A broken byte, another word, a file in place of another, no file: each is said, and named."""
    await a_log_of_segments(workshop, owner)
    assert await move_all(owner, tmp_path) == SEGMENTS
    first, second = (tmp_path / archive.file_name(number) for number in (1, 2))
    good, other = first.read_bytes(), second.read_bytes()

    def broken() -> None:
        first.write_bytes(good[:200] + bytes([good[200] ^ 1]) + good[201:])

    damages: tuple[Any, ...] = (
        broken,
        lambda: rewritten(first, b"thing-0", b"thing-9"),
        lambda: first.write_bytes(other),
        lambda: first.write_bytes(good[:-10]),
        first.unlink,
    )
    for damage in damages:
        damage()
        with pytest.raises(ArchiveBroken, match=r"log-00000001\.jsonl\.gz"):
            await segments.verify_all(owner, tmp_path)
        with pytest.raises(ArchiveBroken):
            await whole_log.lay_out(owner, tmp_path)
        first.write_bytes(good)
    assert (await segments.verify_all(owner, tmp_path)).files == SEGMENTS


async def test_a_file_that_changed_before_the_drop_keeps_the_segment(
    workshop: Workshop, owner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not readable in its file is not taken out of the database."""
    await a_log_of_segments(workshop, owner)

    def passing(place: str) -> None:
        if place == "segment-noted":
            rewritten(tmp_path / archive.file_name(1), b"thing-0", b"thing-9")

    monkeypatch.setattr(faults, "passing", passing)
    with pytest.raises(ArchiveBroken):
        await move_all(owner, tmp_path)
    assert await owner.fetchval("SELECT count(*) FROM bus.log") == EVENTS


async def test_nothing_moves_that_is_young_unread_or_in_the_dead_letters(
    workshop: Workshop, owner: Any, tmp_path: Path
) -> None:
    node = await a_log_of_segments(workshop, owner)
    assert await move_all(owner, tmp_path, older_than=timedelta(days=1)) == 0
    await owner.execute(
        "INSERT INTO bus.dead_letters (consumer, xid, number, key, state)"
        " SELECT 'toy.echo', xid, number, 'thing-1', 'parked' FROM bus.log"
        " ORDER BY xid DESC LIMIT 1"
    )
    assert await move_all(owner, tmp_path) == SEGMENTS - 1
    await owner.execute("DELETE FROM bus.dead_letters")
    await workshop.stop(node)
    await owner.execute("INSERT INTO bus.offsets (consumer, partition) VALUES ('toy.newcomer', 0)")
    assert await move_all(owner, tmp_path) == 0
    await owner.execute("DELETE FROM bus.offsets WHERE consumer = 'toy.newcomer'")
    assert await move_all(owner, tmp_path) == 1
    with pytest.raises(asyncpg.CheckViolationError):
        await owner.execute("UPDATE bus.segments SET dropped_at = now()")


async def test_an_empty_segment_moves_as_well(
    workshop: Workshop, owner: Any, tmp_path: Path
) -> None:
    """A quiet month is a file of no events; the next one follows it."""
    await workshop.touch("thing", 1, 2)
    await end_segment(owner)
    await owner.fetchval("SELECT pg_current_xact_id()")
    await end_segment(owner)
    await workshop.touch("thing", 3, 4)
    await end_segment(owner)
    await workshop.start("reader")
    await workshop.until_handled(4)
    await until_passed(owner)
    assert await move_all(owner, tmp_path) == 3
    assert [e.sequence for e in await whole_feed(owner, tmp_path, 3)] == [1, 2, 3, 4]
    assert (await segments.verify_all(owner, tmp_path)).events == 4


async def test_a_segment_is_added_long_before_it_is_needed(owner: Any) -> None:
    """Each round leaves at least half a segment ahead, and adds nothing that is not needed."""
    numbers = "SELECT max(number) FROM bus.segments"
    first = await owner.fetchval(numbers)
    for _ in range(3):
        await segments.keep_ahead(owner, segment_events=10_000_000)
    ahead = (
        "SELECT from_xid::text::bigint - pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        " FROM bus.segments WHERE to_xid IS NULL"
    )
    assert await owner.fetchval(ahead) >= segments.SIZE_XIDS_MIN // 2
    assert first <= await owner.fetchval(numbers) <= first + 2


async def test_a_last_segment_that_was_reached_only_becomes_longer(
    workshop: Workshop, owner: Any
) -> None:
    """However long upkeep was away: what is written has a place, and the next round goes on."""
    await owner.execute(
        "DO $$ DECLARE s bus.segments; BEGIN"
        " SELECT * INTO s FROM bus.segments WHERE to_xid IS NULL;"
        " EXECUTE format('DROP TABLE bus.log_%s', s.number);"
        " DELETE FROM bus.segments WHERE number = s.number;"
        " UPDATE bus.segments SET to_xid = NULL WHERE number = s.number - 1;"
        " EXECUTE format('ALTER TABLE bus.log DETACH PARTITION bus.log_%s', s.number - 1);"
        " EXECUTE format('ALTER TABLE bus.log ATTACH PARTITION bus.log_%s FOR VALUES FROM"
        " (MINVALUE) TO (MAXVALUE)', s.number - 1); END $$"
    )
    await workshop.touch("thing", 1, 5)
    assert await segments.keep_ahead(owner, segment_events=1_000)
    await workshop.touch("thing", 6, 9)
    assert await owner.fetchval("SELECT count(*) FROM bus.log") == 9
