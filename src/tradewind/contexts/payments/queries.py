"""Reads of payments: single payments and refunds, the ledger."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from tradewind.contexts.payments.tables import BalanceRow, PaymentRow, PostingRow, RefundRow
from tradewind.kernel.subject import Subject
from tradewind.platform.database.transaction import Snapshot

# Served by the primary keys. An authorisation that was given up is still looked
# for; the payment has failed all the same.
PAYMENT = """
    SELECT p.payment_id, p.order_id,
           CASE WHEN o.status = 'unknown' AND p.status <> 'failed' THEN 'unknown'
                ELSE p.status END,
           p.amount_minor, p.captured_minor, p.refunded_minor, p.currency, p.created_at,
           p.updated_at
      FROM payments.payments p
      LEFT JOIN payments.under_way o USING (payment_id)
     WHERE p.payment_id = $1
"""


async def payment(db: Snapshot, payment_id: str) -> PaymentRow | None:
    """A payment as it stands; `unknown` while the provider's word on something is awaited."""
    return await db.fetch_one(PAYMENT, payment_id, into=PaymentRow)


# Served by the primary keys, and refunds_by_payment.
PAYMENTS = PAYMENT.replace("p.payment_id = $1", "p.payment_id = ANY($1::text[])")
REFUNDS_OF_PAYMENTS = """
    SELECT r.refund_id, r.payment_id, r.amount_minor, p.currency, r.status, r.reason, r.created_at
      FROM payments.refunds r JOIN payments.payments p USING (payment_id)
     WHERE r.payment_id = ANY($1::text[]) ORDER BY r.refund_id
"""


async def export(db: Snapshot, subject: Subject) -> Mapping[str, Sequence[Struct]]:
    """The payments of a subject's orders, and what of them was given back. The card is the
    provider's business: a token of it is all that ever came here.
    """
    payments = list(subject.payments)
    return {
        "payments": await db.fetch(PAYMENTS, payments, into=PaymentRow),
        "refunds": await db.fetch(REFUNDS_OF_PAYMENTS, payments, into=RefundRow),
    }


# Served by refunds_by_payment (payment_id, refund_id): no sort.
REFUNDS = """
    SELECT r.refund_id, r.payment_id, r.amount_minor, p.currency, r.status, r.reason, r.created_at
      FROM payments.refunds r JOIN payments.payments p USING (payment_id)
     WHERE r.payment_id = $1 AND r.refund_id < $2
     ORDER BY r.refund_id DESC LIMIT $3
"""


async def refunds(db: Snapshot, payment_id: str, *, before: str, count_max: int) -> list[RefundRow]:
    """The newest refunds of a payment with an id below `before`."""
    return await db.fetch(REFUNDS, payment_id, before, count_max, into=RefundRow)


# Served by the primary key.
REFUND = """
    SELECT r.refund_id, r.payment_id, r.amount_minor, p.currency, r.status, r.reason, r.created_at
      FROM payments.refunds r JOIN payments.payments p USING (payment_id)
     WHERE r.refund_id = $1
"""


async def refund(db: Snapshot, refund_id: str) -> RefundRow | None:
    """One refund."""
    return await db.fetch_one(REFUND, refund_id, into=RefundRow)


# Reads the whole ledger once; there are few pairs of accounts, so little is sorted.
BALANCE = """
    WITH pairs AS (
        SELECT debit, credit, currency, sum(amount_minor) AS minor
          FROM payments.ledger GROUP BY debit, credit, currency
    ), sides AS (
        SELECT debit AS account, currency, minor AS debit_minor, 0 AS credit_minor FROM pairs
        UNION ALL
        SELECT credit, currency, 0, minor FROM pairs
    )
    SELECT account, currency, sum(debit_minor)::bigint, sum(credit_minor)::bigint
      FROM sides GROUP BY account, currency ORDER BY currency, account
"""


async def balance(db: Snapshot) -> list[BalanceRow]:
    """Every account that was ever posted to, per currency."""
    return await db.fetch(BALANCE, into=BalanceRow)


# Served by the primary key: no sort.
POSTINGS = """
    SELECT number, at, payment_id, order_id, kind, debit, credit, amount_minor, currency
      FROM payments.ledger WHERE number < $1 ORDER BY number DESC LIMIT $2
"""


async def postings(db: Snapshot, *, before: int, count_max: int) -> list[PostingRow]:
    """The newest postings with a number below `before`."""
    return await db.fetch(POSTINGS, before, count_max, into=PostingRow)
