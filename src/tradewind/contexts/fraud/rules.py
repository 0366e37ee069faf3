"""How a payment is scored, and how a review ends. Pure.

Every rule says why in words and gives points; the score is their sum, at most 100. From `HELD_FROM`
on a person must look, except at imported history: that is scored for the record only. No rule looks
at a network address.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct, field

from tradewind.contexts.fraud.events import PaymentBlocked, PaymentCleared, PaymentHeld
from tradewind.contexts.fraud.problems import ReviewClosed, UnknownReview
from tradewind.contexts.fraud.tables import HistoryRow, Reason, ReviewRow, ReviewStatus, as_shown
from tradewind.kernel.answers import Answer
from tradewind.kernel.messages import Event
from tradewind.kernel.money import format_minor, minor_digits
from tradewind.kernel.problems import Problem
from tradewind.kernel.terms import PaymentTerms

SCORE_MAX = 100
HELD_FROM = 50
# In major units of the order's currency: this much from somebody without an account is held.
GUEST_TOTAL_MAX = 5_000
# Orders of one contact in the hour before, this one included: more are held.
ORDERS_AN_HOUR_MAX = 10
HOUR = timedelta(hours=1)
SUSPICIOUS_TOKENS = frozenset({"tok_suspicious"})


class Authorised(Struct, frozen=True):
    """Money is held for an order: score it."""

    terms: PaymentTerms


class Ended(Struct, frozen=True):
    """An order was rejected or cancelled: nobody needs to look at it any more.

    `remember` it, if its payment may have been authorised in the same moment and comes later.
    """

    order_id: str
    remember: bool = False


class Score(Struct, frozen=True):
    """The verdict of the rules on one payment."""

    terms: PaymentTerms
    score: int
    reasons: list[Reason]
    held: bool


class OpenedReview(Struct):
    """A review that this batch opened, and closed again where its order ended in the same batch."""

    order_id: str
    review_before: datetime
    status: ReviewStatus = "held"


class Verdicts(Struct):
    """What a batch of payments comes to."""

    scores: list[Score] = field(default_factory=list)
    opened: dict[str, OpenedReview] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)  # reviews opened by earlier batches
    ended: list[str] = field(default_factory=list)  # to be remembered
    events: list[Event] = field(default_factory=list)


def reasons_for(terms: PaymentTerms, orders_an_hour: int) -> list[Reason]:
    """Everything that speaks against a payment. `orders_an_hour` includes this order."""
    reasons = []
    if terms.token in SUSPICIOUS_TOKENS:
        reasons.append(Reason("suspicious_card", 80, "The provider marks this card as suspicious."))
    if terms.guest and terms.amount_minor > GUEST_TOTAL_MAX * 10 ** minor_digits(terms.currency):
        total = format_minor(terms.amount_minor, terms.currency)
        text = f"A guest orders for {total} {terms.currency}, above {GUEST_TOTAL_MAX}."
        reasons.append(Reason("large_guest_order", 60, text))
    if orders_an_hour > ORDERS_AN_HOUR_MAX:
        text = f"More than {ORDERS_AN_HOUR_MAX} orders of one e-mail address within an hour."
        reasons.append(Reason("many_orders", 60, text))
    if terms.billing_country is not None and terms.billing_country != terms.shipping_country:
        text = f"Billed to {terms.billing_country}, shipped to {terms.shipping_country}."
        reasons.append(Reason("country_mismatch", 50, text))
    return reasons


def judge(
    requests: Sequence[Authorised | Ended],
    history: Iterable[HistoryRow],
    held: Iterable[str],
    *,
    now: datetime,
    review_within_s: float,
) -> Verdicts:
    """Score a batch in the order of the log.

    A payment that has its score is passed over; one of an order that has ended gets its score, and
    a review only for the record, closed. `held` are the orders among the ended ones whose review is
    open.
    """
    known = {row.order_id: row for row in history}
    still_held = set(held)
    near = orders_nearby([r.terms for r in requests if isinstance(r, Authorised)])
    verdicts = Verdicts()
    done: set[str] = set()
    over: set[str] = set()
    for request in requests:
        if isinstance(request, Ended):
            if request.remember and request.order_id not in over:
                verdicts.ended.append(request.order_id)
            over.add(request.order_id)
            close(verdicts, request.order_id, still_held)
            continue
        terms = request.terms
        past = known[terms.order_id]
        if past.scored or terms.order_id in done:
            continue
        done.add(terms.order_id)
        orders_an_hour = 1 + past.orders_before + near.get(terms.order_id, 0)
        score = scored(terms, orders_an_hour)
        verdicts.scores.append(score)
        verdicts.events.append(verdict_on(score))
        if score.held:
            verdicts.opened[terms.order_id] = OpenedReview(
                terms.order_id,
                now + timedelta(seconds=review_within_s),
                "closed" if past.ended or terms.order_id in over else "held",
            )
    return verdicts


def orders_nearby(batch: Sequence[PaymentTerms]) -> dict[str, int]:
    """How many orders of the same batch and contact were placed in the hour before each.

    By the time of placing, not by their place in the batch: partitions may be read in any order.
    """
    by_contact: dict[str, dict[str, datetime]] = {}
    for terms in batch:
        if terms.contact is not None:
            by_contact.setdefault(terms.contact, {})[terms.order_id] = terms.placed_at
    near: dict[str, int] = {}
    for orders in by_contact.values():
        for order_id, placed_at in orders.items():
            near[order_id] = sum(
                1
                for other, at in orders.items()
                if other != order_id
                and (at, other) < (placed_at, order_id)
                and placed_at - at < HOUR
            )
    return near


def scored(terms: PaymentTerms, orders_an_hour: int) -> Score:
    """The score of one payment, and whether a person must look."""
    reasons = reasons_for(terms, orders_an_hour)
    score = min(sum(reason.points for reason in reasons), SCORE_MAX)
    return Score(terms, score, reasons, held=score >= HELD_FROM and not terms.imported)


def verdict_on(score: Score) -> PaymentCleared | PaymentHeld:
    """The fact that follows from a score."""
    kind = PaymentHeld if score.held else PaymentCleared
    return kind(
        sequence=1,
        order_id=score.terms.order_id,
        payment_id=score.terms.payment_id,
        score=score.score,
        reasons=tuple(reason.code for reason in score.reasons),
    )


def close(verdicts: Verdicts, order_id: str, still_held: set[str]) -> None:
    """The order ended: its open review, if there is one, needs no answer any more."""
    opened = verdicts.opened.get(order_id)
    if opened is not None:
        opened.status = "closed"
    elif order_id in still_held:
        still_held.remove(order_id)
        verdicts.closed.append(order_id)


class Decided(Struct, frozen=True):
    """A review that a person ended."""

    order_id: str
    status: ReviewStatus
    version: int
    reviewer: str
    note: str


class DecideReviewRequest(Struct, frozen=True):
    """What a reviewer says about an order."""

    order_id: str
    status: ReviewStatus
    note: str
    reviewer: str


class Decisions(Struct):
    """What a batch of reviewers' decisions comes to."""

    outcomes: list[Answer | Problem] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def review(
    rows: Mapping[str, ReviewRow], requests: Sequence[DecideReviewRequest], *, now: datetime
) -> Decisions:
    """End reviews, each once, by whoever comes first and before it runs out."""
    current = dict(rows)
    decisions = Decisions()
    for request in requests:
        row = current.get(request.order_id)
        if row is None:
            decisions.outcomes.append(UnknownReview())
            continue
        if row.status != "held" or now >= row.review_before:
            ended = row.status if row.status != "held" else "expired"
            decisions.outcomes.append(ReviewClosed(f"The review is {ended}.", review=ended))
            continue
        row = msgspec.structs.replace(
            row,
            status=request.status,
            version=row.version + 1,
            ended_at=now,
            reviewer=request.reviewer,
            note=request.note,
        )
        current[request.order_id] = row
        decisions.outcomes.append(Answer(body=as_shown(row)))
        decisions.decided.append(
            Decided(row.order_id, row.status, row.version, request.reviewer, request.note)
        )
        decisions.events.append(answer_of_reviewer(row))
    return decisions


def answer_of_reviewer(row: ReviewRow) -> PaymentCleared | PaymentBlocked:
    """The fact that follows from a reviewer's decision."""
    kind = PaymentCleared if row.status == "released" else PaymentBlocked
    reasons = msgspec.json.decode(row.reasons, type=list[Reason])
    return kind(
        sequence=row.version,
        order_id=row.order_id,
        payment_id=row.payment_id,
        score=row.score,
        reasons=tuple(reason.code for reason in reasons),
    )
