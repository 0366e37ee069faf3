"""The rows of payments: read or recalled, and written with the version they were known by."""

import copy
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from tradewind.contexts.payments.rules import (
    Aim,
    Begin,
    Book,
    Case,
    Message,
    Policy,
    Posting,
    Repay,
)
from tradewind.contexts.payments.tables import Loaded, Operation, Payment, Refund
from tradewind.kernel.messages import Decision
from tradewind.platform.database.transaction import Transaction
from tradewind.platform.settings import Settings

PAYMENT = "payments.payment"  # what a payment and its operation under way are remembered as

# Reading

COLUMNS = """
    p.payment_id, p.amount_minor, p.currency, p.token, p.terms, p.status, p.wanted,
    p.captured_minor, p.refunded_minor, p.pending_refund_minor, p.halted, p.sequence, p.version,
    o.key, o.operation, o.refund_id, o.amount_minor, o.status, o.attempt, o.claim, o.claimed,
    o.due_at, o.deadline_at, o.requested_at
"""

# Served by the unique keys on order_id and the primary key of what is under way.
BY_ORDER = f"""
    SELECT i.order_id, e.order_id IS NOT NULL, {COLUMNS}
      FROM unnest($1::text[]) AS i (order_id)
      LEFT JOIN payments.payments p ON p.order_id = i.order_id
      LEFT JOIN payments.ended_orders e ON e.order_id = i.order_id
      LEFT JOIN payments.under_way o ON o.payment_id = p.payment_id
"""

# Served by the primary keys.
BY_PAYMENT = f"""
    SELECT p.order_id, false, {COLUMNS}
      FROM unnest($1::text[]) AS i (payment_id)
      JOIN payments.payments p ON p.payment_id = i.payment_id
      LEFT JOIN payments.under_way o ON o.payment_id = p.payment_id
"""


async def load_for_orders(tx: Transaction, messages: Sequence[Message]) -> Book:
    """The payments that orders tell us of.

    The first time, a payment that is to begin is taken for new: its insert tells otherwise.
    """
    begun = {m.terms.payment_id: m.terms.order_id for m in messages if isinstance(m, Begin)}
    orders = {m.payment_id: m.order_id for m in messages if isinstance(m, Aim | Repay)}
    if tx.anew:
        orders |= begun
    known = recall(tx, [*begun, *orders])
    unknown = [order_id for payment_id, order_id in orders.items() if payment_id not in known]
    return await load(tx, BY_ORDER, unknown, known.values())


def recall(tx: Transaction, payment_ids: Iterable[str]) -> dict[str, Case]:
    """Payments as this process left them, ready to be changed."""
    return {
        payment_id: Case(copy.copy(payment), copy.copy(under_way))
        for payment_id, (payment, under_way) in tx.recall(PAYMENT, payment_ids).items()
    }


async def load(tx: Transaction, sql: str, ids: Iterable[str], known: Iterable[Case] = ()) -> Book:
    """The payments with these ids and what is under way for them, beside those that are known."""
    wanted = list(dict.fromkeys(ids))
    rows = await tx.fetch(sql, wanted, into=Loaded) if wanted else []
    cases = [case_of(row) for row in rows if row.payment_id is not None]
    by_payment = {c.payment.payment_id: c for c in cases if c.payment.pending_refund_minor > 0}
    if by_payment:
        for refund in await pending_refunds(tx, list(by_payment)):
            by_payment[refund.payment_id].refunds[refund.refund_id] = refund
    return Book(
        [*cases, *known],
        now=tx.now,
        policy=policy_of(tx.settings),
        ended=[row.order_id for row in rows if row.ended],
    )


def case_of(row: Loaded) -> Case:
    """A read row as the unit's working copy."""
    assert row.payment_id is not None, "a row without a payment has no case"
    payment = Payment(
        payment_id=row.payment_id,
        order_id=row.order_id,
        amount_minor=row.amount_minor,
        currency=row.currency,
        token=row.token,
        terms=row.terms,
        status=row.status,
        wanted=row.wanted,
        captured_minor=row.captured_minor,
        refunded_minor=row.refunded_minor,
        pending_refund_minor=row.pending_refund_minor,
        halted=row.halted,
        sequence=row.sequence,
        version=row.version,
    )
    if row.key is None:
        return Case(payment)
    operation = Operation(
        key=row.key,
        payment_id=row.payment_id,
        operation=row.operation,
        refund_id=row.refund_id,
        amount_minor=row.operation_amount_minor,
        status=row.operation_status,
        attempt=row.attempt,
        claim=row.claim,
        claimed=row.claimed,
        due_at=row.due_at,
        deadline_at=row.deadline_at,
        requested_at=row.requested_at,
    )
    return Case(payment, operation)


# Served by refunds_by_payment (payment_id, refund_id).
PENDING_REFUNDS = """
    SELECT refund_id, payment_id, amount_minor, reason, status, asked, created_at
      FROM payments.refunds WHERE payment_id = ANY($1::text[]) AND status = 'pending'
     ORDER BY refund_id
"""


async def pending_refunds(tx: Transaction, payment_ids: Sequence[str]) -> list[Refund]:
    """Refunds that are not done; read only for payments that have some."""
    return await tx.fetch(PENDING_REFUNDS, payment_ids, into=Refund)


def policy_of(settings: Settings) -> Policy:
    """How patient the settings are."""
    return Policy(
        attempt_timeout_s=settings.authorise_attempt_timeout_s,
        attempts_max=settings.authorise_attempts_max,
        total_timeout_s=settings.authorise_total_timeout_s,
    )


# Writing


def save(tx: Transaction, book: Book, *, outcomes: Sequence[Any] = ()) -> Decision:
    """Queue what changed."""
    changes: list[tuple[Sequence[Any], Callable[[Transaction, Any, datetime], None]]] = [
        (book.payments_new, insert_payments),
        (book.payments_changed, update_payments),
        (book.operations_begun, insert_under_way),
        (book.operations_moved, update_under_way),
        (book.operations_ended, delete_under_way),
        (book.operations_decided, insert_decided),
        (list(book.refunds_new.values()), insert_refunds),
        (list(book.refunds_changed.values()), finish_refunds),
        (book.postings, insert_postings),
        (book.ended_now, insert_ended),
    ]
    for rows, write in changes:
        if rows:
            write(tx, rows, tx.now)
    written = [case for case in book.by_payment.values() if case.is_new or case.changed]
    # A new row proves that there was none, an update that the version was the one we knew.
    tx.vouch(PAYMENT, (case.payment.payment_id for case in written))
    tx.remember(PAYMENT, {case.payment.payment_id: remembered(case) for case in written})
    return Decision(
        events=book.events,
        outcomes=outcomes,
        answers=book.answers,
        causes=book.causes,
        signals=book.calls,
        reconciled=book.reconciled,
    )


def remembered(case: Case) -> tuple[Payment, Operation | None] | None:
    """A payment as it is once it is written; None for one that is at rest, or being refunded."""
    payment = case.payment
    if case.refunds or (case.open is None and payment.status not in ("pending", "authorised")):
        return None
    payment.version += 1  # as the queued statement leaves it; nobody works on this case any more
    return payment, case.open


# An order that has a payment, or ended before, is read and decided again.
INSERT_PAYMENTS = """
    INSERT INTO payments.payments
           (payment_id, order_id, amount_minor, currency, token, terms, status, wanted, sequence,
            version, created_at, updated_at)
    SELECT n.*, 1, $10, $10
      FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[],
                  $7::text[], $8::text[], $9::int[])
           AS n (payment_id, order_id, amount_minor, currency, token, terms, status, wanted,
                 sequence)
     WHERE NOT EXISTS (SELECT FROM payments.ended_orders e WHERE e.order_id = n.order_id)
"""


def insert_payments(tx: Transaction, rows: Sequence[Payment], now: datetime) -> None:
    """Payments that begin."""
    tx.write(
        INSERT_PAYMENTS,
        [row.payment_id for row in rows],
        [row.order_id for row in rows],
        [row.amount_minor for row in rows],
        [row.currency for row in rows],
        [row.token for row in rows],
        [row.terms for row in rows],
        [row.status for row in rows],
        [row.wanted for row in rows],
        [row.sequence for row in rows],
        now,
        expect=len(rows),
    )


# Served by the primary key. HOT: no indexed column changes.
UPDATE_PAYMENTS = """
    UPDATE payments.payments p
       SET status = c.status, wanted = c.wanted, captured_minor = c.captured_minor,
           refunded_minor = c.refunded_minor, pending_refund_minor = c.pending_refund_minor,
           halted = c.halted, sequence = c.sequence, version = c.version + 1, updated_at = $10
      FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
                  $7::bigint[], $8::text[], $9::int[])
           AS c (payment_id, version, status, wanted, captured_minor, refunded_minor,
                 pending_refund_minor, halted, sequence)
     WHERE p.payment_id = c.payment_id AND p.version = c.version
"""


def update_payments(tx: Transaction, rows: Sequence[Payment], now: datetime) -> None:
    """Payments as the rules left them, if nobody else changed them since."""
    tx.write(
        UPDATE_PAYMENTS,
        [row.payment_id for row in rows],
        [row.version for row in rows],
        [row.status for row in rows],
        [row.wanted for row in rows],
        [row.captured_minor for row in rows],
        [row.refunded_minor for row in rows],
        [row.pending_refund_minor for row in rows],
        [row.halted for row in rows],
        [row.sequence for row in rows],
        now,
        expect=len(rows),
    )


INSERT_UNDER_WAY = """
    INSERT INTO payments.under_way
           (payment_id, key, operation, refund_id, amount_minor, status, attempt, claim, claimed,
            due_at, deadline_at, requested_at)
    SELECT n.*, $12
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],
                  $7::int[], $8::int[], $9::boolean[], $10::timestamptz[], $11::timestamptz[]) AS n
"""


def insert_under_way(tx: Transaction, rows: Sequence[Operation], now: datetime) -> None:
    """Operations that begin; the calls go out when they are committed."""
    tx.write(
        INSERT_UNDER_WAY,
        [row.payment_id for row in rows],
        [row.key for row in rows],
        [row.operation for row in rows],
        [row.refund_id for row in rows],
        [row.amount_minor for row in rows],
        [row.status for row in rows],
        [row.attempt for row in rows],
        [row.claim for row in rows],
        [row.claimed for row in rows],
        [row.due_at for row in rows],
        [row.deadline_at for row in rows],
        now,
    )


# Served by the primary key. Guarded by the version of the payment, which changes with it. The key
# changes where one operation follows another at once.
UPDATE_UNDER_WAY = """
    UPDATE payments.under_way o
       SET key = c.key, operation = c.operation, refund_id = c.refund_id,
           amount_minor = c.amount_minor, status = c.status, attempt = c.attempt, claim = c.claim,
           claimed = c.claimed, due_at = c.due_at, deadline_at = c.deadline_at,
           requested_at = c.requested_at
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],
                  $7::int[], $8::int[], $9::boolean[], $10::timestamptz[], $11::timestamptz[],
                  $12::timestamptz[])
           AS c (payment_id, key, operation, refund_id, amount_minor, status, attempt, claim,
                 claimed, due_at, deadline_at, requested_at)
     WHERE o.payment_id = c.payment_id
"""


def update_under_way(tx: Transaction, rows: Sequence[Operation], now: datetime) -> None:
    """Operations that are tried again, or stand where another one stood."""
    tx.write(
        UPDATE_UNDER_WAY,
        [row.payment_id for row in rows],
        [row.key for row in rows],
        [row.operation for row in rows],
        [row.refund_id for row in rows],
        [row.amount_minor for row in rows],
        [row.status for row in rows],
        [row.attempt for row in rows],
        [row.claim for row in rows],
        [row.claimed for row in rows],
        [row.due_at for row in rows],
        [row.deadline_at for row in rows],
        [row.requested_at for row in rows],
        expect=len(rows),
    )


# Served by the primary key.
DELETE_UNDER_WAY = """
    DELETE FROM payments.under_way o USING unnest($1::text[], $2::text[]) AS e (payment_id, key)
     WHERE o.payment_id = e.payment_id AND o.key = e.key
"""


def delete_under_way(tx: Transaction, rows: Sequence[Operation], now: datetime) -> None:
    """Operations that ended, and nothing follows."""
    tx.write(
        DELETE_UNDER_WAY,
        [row.payment_id for row in rows],
        [row.key for row in rows],
        expect=len(rows),
    )


INSERT_DECIDED = """
    INSERT INTO payments.operations
           (key, payment_id, operation, refund_id, amount_minor, status, attempt, reason,
            requested_at, finished_at)
    SELECT n.*, $10
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],
                  $7::int[], $8::text[], $9::timestamptz[]) AS n
"""


def insert_decided(tx: Transaction, rows: Sequence[Operation], now: datetime) -> None:
    """Operations that the provider decided."""
    tx.write(
        INSERT_DECIDED,
        [row.key for row in rows],
        [row.payment_id for row in rows],
        [row.operation for row in rows],
        [row.refund_id for row in rows],
        [row.amount_minor for row in rows],
        [row.status for row in rows],
        [row.attempt for row in rows],
        [row.reason for row in rows],
        [row.requested_at for row in rows],
        now,
    )


INSERT_REFUNDS = """
    INSERT INTO payments.refunds
           (refund_id, payment_id, amount_minor, reason, status, asked, created_at)
    SELECT n.*, $7
      FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::boolean[]) AS n
"""


def insert_refunds(tx: Transaction, rows: Sequence[Refund], now: datetime) -> None:
    """Refunds that begin."""
    tx.write(
        INSERT_REFUNDS,
        [row.refund_id for row in rows],
        [row.payment_id for row in rows],
        [row.amount_minor for row in rows],
        [row.reason for row in rows],
        [row.status for row in rows],
        [row.asked for row in rows],
        now,
    )


# Served by the primary key.
FINISH_REFUNDS = """
    UPDATE payments.refunds r SET status = c.status, finished_at = $3
      FROM unnest($1::text[], $2::text[]) AS c (refund_id, status)
     WHERE r.refund_id = c.refund_id AND r.status = 'pending'
"""


def finish_refunds(tx: Transaction, rows: Sequence[Refund], now: datetime) -> None:
    """Refunds that the provider decided."""
    tx.write(
        FINISH_REFUNDS,
        [row.refund_id for row in rows],
        [row.status for row in rows],
        now,
        expect=len(rows),
    )


INSERT_POSTINGS = """
    INSERT INTO payments.ledger
           (payment_id, order_id, kind, debit, credit, amount_minor, currency, at)
    SELECT n.*, $8
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                  $7::text[]) AS n
"""


def insert_postings(tx: Transaction, rows: Sequence[Posting], now: datetime) -> None:
    """The ledger grows."""
    tx.write(
        INSERT_POSTINGS,
        [row.payment_id for row in rows],
        [row.order_id for row in rows],
        [row.kind for row in rows],
        [row.debit for row in rows],
        [row.credit for row in rows],
        [row.amount_minor for row in rows],
        [row.currency for row in rows],
        now,
    )


INSERT_ENDED = """
    INSERT INTO payments.ended_orders (order_id, ended_at)
    SELECT order_id, $2 FROM unnest($1::text[]) AS n (order_id)
"""


def insert_ended(tx: Transaction, order_ids: Sequence[str], now: datetime) -> None:
    """Orders that ended before a payment began; one written meanwhile is decided again."""
    tx.write(INSERT_ENDED, order_ids, now, expect=len(order_ids))
