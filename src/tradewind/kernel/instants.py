"""Moments, as they are kept: in UTC."""

from datetime import UTC, datetime, timedelta

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def in_utc(instant: datetime) -> datetime:
    """A moment in UTC; without a zone it is meant so.

    Near the ends of the calendar another zone may be in a year that UTC does not have: that is
    meant as since ever, and for ever.
    """
    if instant.tzinfo is None:
        return instant.replace(tzinfo=UTC)
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        ahead = instant.utcoffset() or timedelta(0)
        return FIRST if ahead > timedelta(0) else LAST


__all__ = ["in_utc"]
