"""Units of work of fraud.

No locks: an order's scores and reviews are told to one partition, which one unit at a time may
advance, and a reviewer's decision compares the status it read. Two processes that score the same
contact at the same moment may each miss the other's order; the rule is a mark of suspicion, not an
account that must balance.
"""

from collections.abc import Sequence

import msgspec

from tradewind.contexts.fraud import rules
from tradewind.contexts.fraud.commands import DecideReview
from tradewind.contexts.fraud.rules import Authorised, DecideReviewRequest, Ended, Verdicts
from tradewind.contexts.fraud.tables import HeldRow, HistoryRow, ReviewRow
from tradewind.contexts.orders.events import OrderCancelled, OrderRejected
from tradewind.contexts.payments.events import PaymentAuthorised
from tradewind.kernel.audit import Change
from tradewind.kernel.messages import Decision
from tradewind.platform.database.transaction import Transaction

ScoredEvent = PaymentAuthorised | OrderRejected | OrderCancelled

# Ends of orders whose payment may be authorised in the same moment: fraud hears of it afterwards.
BEFORE_A_VERDICT = frozenset({"decide_expired", "cancelled"})


async def score_payments(tx: Transaction, events: Sequence[ScoredEvent]) -> Decision:
    """Score authorised payments, hold the suspicious ones; close the reviews of ended orders.

    Repeats are harmless: a payment that has its score is passed over, a review ends once.
    """
    requests = [request_of(event) for event in events]
    verdicts = rules.judge(
        requests,
        await read_history(tx, [r for r in requests if isinstance(r, Authorised)]),
        await read_held(tx, [r.order_id for r in requests if isinstance(r, Ended)]),
        now=tx.now,
        review_within_s=tx.settings.review_within_s,
    )
    save(tx, verdicts)
    return Decision(events=verdicts.events)


def request_of(event: ScoredEvent) -> Authorised | Ended:
    """What an event of another context means here."""
    if isinstance(event, PaymentAuthorised):
        return Authorised(event.terms)
    return Ended(event.order_id, remember=event.code in BEFORE_A_VERDICT)


# Served by scores_by_contact, which is read up to $4 entries for each payment, and by the
# primary keys of scores and ended_orders.
READ_HISTORY = """
    SELECT p.order_id,
           (SELECT count(*)::int
              FROM (SELECT 1 FROM fraud.scores s
                     WHERE s.contact = p.contact
                       AND s.placed_at > p.placed_at - interval '1 hour'
                       AND s.placed_at <= p.placed_at
                     LIMIT $4) lately),
           EXISTS (SELECT 1 FROM fraud.scores s WHERE s.order_id = p.order_id),
           EXISTS (SELECT 1 FROM fraud.ended_orders e WHERE e.order_id = p.order_id)
      FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS p (order_id, contact, placed_at)
"""


async def read_history(tx: Transaction, requests: Sequence[Authorised]) -> list[HistoryRow]:
    """What is known of each payment: one read, whatever the size of the batch."""
    if not requests:
        return []
    return await tx.fetch(
        READ_HISTORY,
        [request.terms.order_id for request in requests],
        [request.terms.contact for request in requests],
        [request.terms.placed_at for request in requests],
        rules.ORDERS_AN_HOUR_MAX,
        into=HistoryRow,
    )


# Served by the primary key.
READ_HELD = """
    SELECT order_id FROM fraud.reviews WHERE order_id = ANY($1::text[]) AND status = 'held'
"""


async def read_held(tx: Transaction, order_ids: Sequence[str]) -> list[str]:
    """Which of the orders are held."""
    if not order_ids:
        return []
    return [row.order_id for row in await tx.fetch(READ_HELD, order_ids, into=HeldRow)]


# A score that is there already is a unique violation: two units for one order would be a bug.
INSERT_SCORES = """
    INSERT INTO fraud.scores
           (order_id, payment_id, score, held, imported, reasons, contact, placed_at, scored_at)
    SELECT s.*, $9::timestamptz
      FROM unnest($1::text[], $2::text[], $3::smallint[], $4::boolean[], $5::boolean[],
                  $6::text[], $7::text[], $8::timestamptz[])
        AS s (order_id, payment_id, score, held, imported, reasons, contact, placed_at)
"""

INSERT_REVIEWS = """
    INSERT INTO fraud.reviews (order_id, status, version, held_at, review_before, ended_at)
    SELECT r.order_id, r.status, 1, $4::timestamptz, r.review_before,
           CASE r.status WHEN 'held' THEN NULL ELSE $4 END
      FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS r (order_id, status, review_before)
"""

# Served by the primary key.
CLOSE_REVIEWS = """
    UPDATE fraud.reviews SET status = 'closed', ended_at = $2::timestamptz
     WHERE order_id = ANY($1::text[]) AND status = 'held'
"""

INSERT_ENDED = """
    INSERT INTO fraud.ended_orders (order_id, ended_at)
    SELECT order_id, $2 FROM unnest($1::text[]) AS n (order_id)
        ON CONFLICT DO NOTHING
"""


def save(tx: Transaction, verdicts: Verdicts) -> None:
    """Queue scores and reviews. Usually one statement: few are held, few end while held."""
    scores = verdicts.scores
    if scores:
        tx.write(
            INSERT_SCORES,
            [score.terms.order_id for score in scores],
            [score.terms.payment_id for score in scores],
            [score.score for score in scores],
            [score.held for score in scores],
            [score.terms.imported for score in scores],
            [msgspec.json.encode(score.reasons).decode() for score in scores],
            [score.terms.contact for score in scores],
            [score.terms.placed_at for score in scores],
            tx.now,
        )
    if verdicts.opened:
        opened = list(verdicts.opened.values())
        tx.write(
            INSERT_REVIEWS,
            [review.order_id for review in opened],
            [review.status for review in opened],
            [review.review_before for review in opened],
            tx.now,
        )
    if verdicts.closed:
        # Guarded: a reviewer may have been faster, then there is nothing to close any more.
        tx.write(CLOSE_REVIEWS, verdicts.closed, tx.now, expect=len(verdicts.closed))
    if verdicts.ended:
        tx.write(INSERT_ENDED, verdicts.ended, tx.now)


# Served by the primary keys of reviews and scores.
READ_REVIEWS = """
    SELECT r.order_id, s.payment_id, r.status, r.version, s.score, s.reasons, r.held_at,
           r.review_before, r.ended_at, r.reviewer, r.note
      FROM fraud.reviews r JOIN fraud.scores s ON s.order_id = r.order_id
     WHERE r.order_id = ANY($1::text[])
"""

# Served by the primary key.
DECIDE_REVIEWS = """
    UPDATE fraud.reviews r
       SET status = d.status, version = d.version, reviewer = d.reviewer, note = d.note,
           ended_at = $6::timestamptz
      FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[])
        AS d (order_id, status, version, reviewer, note)
     WHERE r.order_id = d.order_id AND r.status = 'held'
"""


async def decide_reviews(tx: Transaction, commands: Sequence[DecideReview]) -> Decision:
    """Release or refuse held orders. Repeating one is refused with `ReviewClosed`."""
    rows = await tx.fetch(READ_REVIEWS, [c.order_id for c in commands], into=ReviewRow)
    decisions = rules.review(
        {row.order_id: row for row in rows},
        [DecideReviewRequest(c.order_id, c.verdict, c.reason, c.reviewer) for c in commands],
        now=tx.now,
    )
    decided = decisions.decided
    if decided:
        tx.write(
            DECIDE_REVIEWS,
            [d.order_id for d in decided],
            [d.status for d in decided],
            [d.version for d in decided],
            [d.reviewer for d in decided],
            [d.note for d in decided],
            tx.now,
            expect=len(decided),
        )
    changes = {
        index: Change(command.order_id, {"review": "held"}, {"review": command.verdict})
        for index, command in enumerate(commands)
    }
    return Decision(events=decisions.events, outcomes=decisions.outcomes, changes=changes)
