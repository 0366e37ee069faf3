"""Ids: shape, order in time, no two alike."""

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
