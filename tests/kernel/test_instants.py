"""Moments in UTC, also where the calendar ends."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tradewind.kernel.instants import in_utc


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("2026-03-01T12:00:00+02:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T12:00:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59-14:00", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_every_moment_has_one_in_utc(told: str, meant: datetime) -> None:
    assert in_utc(datetime.fromisoformat(told)) == meant


def test_the_last_hours_of_the_calendar_are_not_lost() -> None:
    near = datetime(9999, 12, 31, 9, tzinfo=timezone(timedelta(hours=-14)))
    assert in_utc(near) == datetime(9999, 12, 31, 23, tzinfo=UTC)
