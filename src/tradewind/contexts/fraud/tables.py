"""The rows of fraud as its statements return them, and what it shows."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

ReviewStatus = Literal["held", "released", "refused", "closed"]


class Reason(Struct, frozen=True):
    """Why a score is what it is, for a person to read."""

    code: str
    points: int
    text: str


class HistoryRow(Struct, frozen=True):
    """What is known of a payment when it is scored; `orders_before` is counted up to a limit."""

    order_id: str
    orders_before: int
    scored: bool
    ended: bool  # its order ended before


class HeldRow(Struct, frozen=True):
    """An order whose review is open."""

    order_id: str


class Scored(Struct, frozen=True):
    """What a payment scored, and why. `reasons` is JSON."""

    order_id: str
    score: int
    held: bool
    reasons: str
    scored_at: datetime


class ReviewRow(Struct, frozen=True):
    """A review with the score that led to it. `reasons` is JSON."""

    order_id: str
    payment_id: str
    status: ReviewStatus
    version: int
    score: int
    reasons: str
    held_at: datetime
    review_before: datetime
    ended_at: datetime | None
    reviewer: str | None
    note: str | None


class Review(Struct, frozen=True, kw_only=True):
    """A held order. `closed`: the order ended before anybody decided."""

    order_id: str
    payment_id: str
    status: ReviewStatus
    score: int
    reasons: list[Reason]
    held_at: datetime
    review_before: datetime
    ended_at: datetime | None
    reviewer: str | None
    note: str | None


def as_shown(row: ReviewRow) -> Review:
    """A review as it goes on the wire."""
    return Review(
        order_id=row.order_id,
        payment_id=row.payment_id,
        status=row.status,
        score=row.score,
        reasons=msgspec.json.decode(row.reasons, type=list[Reason]),
        held_at=row.held_at,
        review_before=row.review_before,
        ended_at=row.ended_at,
        reviewer=row.reviewer,
        note=row.note,
    )


class ReviewPage(Struct, frozen=True):
    """Reviews, the newest order first."""

    items: list[Review]
    next: str | None


class ReviewQuery(Struct, frozen=True):
    """Which reviews."""

    status: ReviewStatus = "held"
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: str | None = None
