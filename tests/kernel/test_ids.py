"""Ids: shape, order in time, no two alike."""

import os
import time
from datetime import UTC, datetime, timedelta

from tradewind.kernel.ids import is_id, new_id


def test_shape() -> None:
    """A prefix and 26 characters; nothing else passes."""
    one = new_id("ord")
    assert is_id(one, "ord") and not is_id(one, "pay")
    assert len(one) == 30
    for broken in (one[:-1], one + "0", one.upper(), one[:-1] + "u", one + "\n", "ord_" + "z" * 26):
        assert not is_id(broken, "ord")


def test_text_order_is_time_order() -> None:
    """Across milliseconds, and against an id that was dated."""
    first = new_id("ord")
    time.sleep(0.002)
    second = new_id("ord")
    assert first < second
    now = datetime.now(UTC)
    assert new_id("ord", at=now - timedelta(hours=1)) < first
    assert new_id("ord", at=now + timedelta(hours=1)) > second


def test_no_two_are_alike() -> None:
    """74 random bits a millisecond."""
    assert len({new_id("evt") for _ in range(20_000)}) == 20_000


def test_a_forked_process_makes_ids_of_its_own() -> None:
    """Random bytes that were asked for before the fork are not used twice."""
    new_id("evt")
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, " ".join(new_id("evt")[-15:] for _ in range(200)).encode())
        os._exit(0)
    ours = {new_id("evt")[-15:] for _ in range(200)}
    os.waitpid(child, 0)
    theirs = set(os.read(read_end, 65_536).decode().split())
    os.close(read_end)
    os.close(write_end)
    assert len(theirs) == 200
    assert not ours & theirs
