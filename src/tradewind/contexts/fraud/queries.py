"""Reads of fraud."""

from collections.abc import Mapping, Sequence

from tradewind.contexts.fraud.tables import Review, ReviewRow, Scored, as_shown
from tradewind.kernel.subject import Subject
from tradewind.platform.database.transaction import Snapshot

# Served by reviews_by_status (status, order_id DESC): no sort.
REVIEWS = """
    SELECT r.order_id, s.payment_id, r.status, r.version, s.score, s.reasons, r.held_at,
           r.review_before, r.ended_at, r.reviewer, r.note
      FROM fraud.reviews r JOIN fraud.scores s ON s.order_id = r.order_id
     WHERE r.status = $1 AND r.order_id < $2
     ORDER BY r.order_id DESC LIMIT $3
"""


async def reviews(db: Snapshot, *, status: str, before: str, count_max: int) -> list[ReviewRow]:
    """Reviews in a status, the newest order first, with an order id below `before`."""
    return await db.fetch(REVIEWS, status, before, count_max, into=ReviewRow)


# Served by the primary keys.
REVIEW = """
    SELECT r.order_id, s.payment_id, r.status, r.version, s.score, s.reasons, r.held_at,
           r.review_before, r.ended_at, r.reviewer, r.note
      FROM fraud.reviews r JOIN fraud.scores s ON s.order_id = r.order_id
     WHERE r.order_id = $1
"""


async def review(db: Snapshot, order_id: str) -> ReviewRow | None:
    """The review of an order; None where it was never held."""
    return await db.fetch_one(REVIEW, order_id, into=ReviewRow)


# Served by the primary keys.
SCORES = """
    SELECT order_id, score, held, reasons, scored_at FROM fraud.scores
     WHERE order_id = ANY($1::text[]) ORDER BY order_id
"""
REVIEWS_OF_ORDERS = REVIEW.replace("r.order_id = $1", "r.order_id = ANY($1::text[])")


async def export(db: Snapshot, subject: Subject) -> Mapping[str, Sequence[Scored | Review]]:
    """How suspicious the orders of a subject looked, why, and what a person said of them."""
    orders = list(subject.orders)
    reviews = await db.fetch(REVIEWS_OF_ORDERS, orders, into=ReviewRow)
    return {
        "scores": await db.fetch(SCORES, orders, into=Scored),
        "reviews": [as_shown(row) for row in reviews],
    }
