"""Money: our ledger, our payments, and the record of a company that is not ours: the provider."""

from tradewind.checks.evidence import Evidence, Proof

# One row debits one account and credits another, so all accounts together are zero by that shape.
# What can go wrong is money on an account that nobody knows: only the known ones are added up.
ZERO = """
    SELECT currency AS id, sum(amount) = 0 AS ok,
           'the known accounts sum to ' || sum(amount) AS detail
      FROM (SELECT currency, debit AS account, sum(amount_minor) AS amount
              FROM payments.ledger GROUP BY currency, debit
            UNION ALL
            SELECT currency, credit, -sum(amount_minor)
              FROM payments.ledger GROUP BY currency, credit) balances
     WHERE account IN ('receivable', 'sales', 'refunds', 'fees', 'credits')
        OR account LIKE 'provider:%'
     GROUP BY currency
"""


async def the_ledger_sums_to_zero_in_every_currency(evidence: Evidence) -> Proof:
    """What one account gave another one got."""
    return await evidence.prove("currencies", ZERO)


RECEIVABLE = """
    SELECT order_id || ' ' || currency AS id, sum(amount) = 0 AS ok,
           'still owed: ' || sum(amount) AS detail
      FROM (SELECT order_id, currency, amount_minor AS amount
              FROM payments.ledger WHERE debit = 'receivable'
            UNION ALL
            SELECT order_id, currency, -amount_minor
              FROM payments.ledger WHERE credit = 'receivable'
           ) entries
     GROUP BY order_id, currency
"""


async def nothing_is_left_receivable(evidence: Evidence) -> Proof:
    """Every sale was settled and every return repaid, order by order."""
    return await evidence.prove("orders", RECEIVABLE)


BOOKED = """
    SELECT coalesce(p.payment_id, l.payment_id) AS id,
           coalesce(p.captured_minor, 0) = coalesce(l.sales, 0)
           AND coalesce(p.refunded_minor, 0) = coalesce(l.refunds, 0) AS ok,
           'captured ' || coalesce(p.captured_minor, 0) || ' and refunded '
           || coalesce(p.refunded_minor, 0) || ', booked ' || coalesce(l.sales, 0) || ' and '
           || coalesce(l.refunds, 0) AS detail
      FROM payments.payments p
      FULL JOIN (SELECT payment_id, sum(amount_minor) FILTER (WHERE credit = 'sales') AS sales,
                        sum(amount_minor) FILTER (WHERE debit = 'refunds') AS refunds
                   FROM payments.ledger WHERE kind <> 'credit'
                  GROUP BY payment_id) l USING (payment_id)
"""


async def what_payments_moved_is_booked_as_sales_and_refunds(evidence: Evidence) -> Proof:
    """Payment by payment: the accounts of sales and refunds hold what was captured and refunded."""
    return await evidence.prove("payments", BOOKED)


# $1-$3 captures, $4-$6 refunds: order, currency, amount, as the provider recorded them.
PROVIDER = """
    SELECT coalesce(o.order_id, t.order_id) || ' ' || coalesce(o.currency, t.currency) AS id,
           coalesce(o.amount, 0) = coalesce(t.amount, 0) AS ok,
           'our ledger says ' || coalesce(o.amount, 0) || ', the provider ' || coalesce(t.amount, 0)
           AS detail
      FROM (SELECT order_id, currency, sum(amount) AS amount
              FROM (SELECT order_id, currency, amount_minor AS amount
                      FROM payments.ledger WHERE debit LIKE 'provider:%'
                    UNION ALL
                    SELECT order_id, currency, -amount_minor
                      FROM payments.ledger WHERE credit LIKE 'provider:%') entries
             GROUP BY order_id, currency) o
      FULL JOIN (SELECT order_id, currency, sum(amount) AS amount
                   FROM (SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
                           AS c (order_id, currency, amount)
                         UNION ALL
                         SELECT order_id, currency, -amount
                           FROM unnest($4::text[], $5::text[], $6::bigint[])
                             AS r (order_id, currency, amount)) record
                  GROUP BY order_id, currency) t
        ON t.order_id = o.order_id AND t.currency = o.currency
"""


async def the_providers_account_equals_its_own_record(evidence: Evidence) -> Proof:
    """Order by order: what we say lies at the provider is what the provider says it took."""
    return await evidence.prove(
        "orders",
        PROVIDER,
        *evidence.charges_as_columns("capture"),
        *evidence.charges_as_columns("refund"),
    )


# $1-$3 captures: order, currency, amount; every capture of the provider's record is looked at.
CAPTURED_ONCE = """
    SELECT coalesce(o.order_id, c.order_id) AS id,
           CASE WHEN o.status IN ('confirmed', 'fulfilled', 'partly_returned', 'returned')
                THEN coalesce(c.times, 0) = 1 AND c.amount = o.total_minor
                     AND c.currency = o.currency
                WHEN o.status = 'cancelled'
                THEN coalesce(c.times, 0) = 0
                     OR c.times = 1 AND c.amount = o.total_minor AND c.currency = o.currency
                ELSE coalesce(c.times, 0) = 0 END AS ok,
           'order is ' || coalesce(o.status, 'unknown') || ' over ' || coalesce(o.total_minor, 0)
           || ', the provider captured ' || coalesce(c.times, 0) || ' times, '
           || coalesce(c.amount, 0) AS detail
      FROM orders.orders o
      FULL JOIN (SELECT order_id, min(currency) AS currency, sum(amount) AS amount,
                        count(*) AS times
                   FROM unnest($1::text[], $2::text[], $3::bigint[])
                     AS c (order_id, currency, amount)
                  GROUP BY order_id) c USING (order_id)
"""


async def a_confirmed_order_is_captured_once_and_no_other(evidence: Evidence) -> Proof:
    """The whole total, once. A cancelled order may have been captured before; a rejected never."""
    return await evidence.prove("orders", CAPTURED_ONCE, *evidence.charges_as_columns("capture"))


# $1-$3 captures, $4-$6 refunds.
REFUNDS = """
    SELECT coalesce(r.order_id, c.order_id) AS id,
           coalesce(r.amount, 0) <= coalesce(c.amount, 0) AS ok,
           'captured ' || coalesce(c.amount, 0) || ', refunded ' || coalesce(r.amount, 0) AS detail
      FROM (SELECT order_id, sum(amount) AS amount
              FROM unnest($1::text[], $2::text[], $3::bigint[]) AS c (order_id, currency, amount)
             GROUP BY order_id) c
      FULL JOIN (SELECT order_id, sum(amount) AS amount
                   FROM unnest($4::text[], $5::text[], $6::bigint[])
                     AS r (order_id, currency, amount)
                  GROUP BY order_id) r USING (order_id)
"""


async def no_order_gets_back_more_than_it_paid(evidence: Evidence) -> Proof:
    """At the provider: refunds are at most what was captured."""
    return await evidence.prove(
        "orders",
        REFUNDS,
        *evidence.charges_as_columns("capture"),
        *evidence.charges_as_columns("refund"),
    )


# $1-$3 captures, $4-$6 refunds.
PAYMENTS = """
    SELECT coalesce(p.order_id, t.order_id) AS id,
           coalesce(p.captured_minor, 0) = coalesce(t.captured, 0)
           AND coalesce(p.refunded_minor, 0) = coalesce(t.refunded, 0) AS ok,
           'our payment is ' || coalesce(p.status, 'missing') || ', captured '
           || coalesce(p.captured_minor, 0) || ', refunded ' || coalesce(p.refunded_minor, 0)
           || '; the provider: captured ' || coalesce(t.captured, 0) || ', refunded '
           || coalesce(t.refunded, 0) AS detail
      FROM payments.payments p
      FULL JOIN (SELECT order_id, sum(captured) AS captured, sum(refunded) AS refunded
                   FROM (SELECT order_id, amount AS captured, 0 AS refunded
                           FROM unnest($1::text[], $2::text[], $3::bigint[])
                             AS c (order_id, currency, amount)
                         UNION ALL
                         SELECT order_id, 0, amount
                           FROM unnest($4::text[], $5::text[], $6::bigint[])
                             AS r (order_id, currency, amount)) record
                  GROUP BY order_id) t USING (order_id)
"""


async def payments_say_what_the_provider_did(evidence: Evidence) -> Proof:
    """Payment by payment: captured and refunded are the provider's figures."""
    return await evidence.prove(
        "payments",
        PAYMENTS,
        *evidence.charges_as_columns("capture"),
        *evidence.charges_as_columns("refund"),
    )


# $1-$3 authorisations, $4-$6 captures, $7-$9 voids. A late success is found by a look-up that comes
# a minute after the last one at most, and voided then: what is asked for that long is in hand.
HELD_BACK = """
    SELECT a.order_id AS id,
           o.status IS NULL OR o.status NOT IN ('rejected', 'cancelled')
           OR c.order_id IS NOT NULL OR v.order_id IS NOT NULL
           OR EXISTS (SELECT FROM payments.payments p JOIN payments.under_way u USING (payment_id)
                       WHERE p.order_id = a.order_id
                         AND u.requested_at > clock_timestamp() - interval '3 min') AS ok,
           'order is ' || coalesce(o.status, 'unknown')
           || ', its authorisation was neither captured nor voided' AS detail
      FROM (SELECT DISTINCT order_id FROM unnest($1::text[], $2::text[], $3::bigint[])
              AS a (order_id, currency, amount)) a
      LEFT JOIN orders.orders o USING (order_id)
      LEFT JOIN (SELECT DISTINCT order_id FROM unnest($4::text[], $5::text[], $6::bigint[])
                   AS c (order_id, currency, amount)) c USING (order_id)
      LEFT JOIN (SELECT DISTINCT order_id FROM unnest($7::text[], $8::text[], $9::bigint[])
                   AS v (order_id, currency, amount)) v USING (order_id)
"""


async def no_money_stays_blocked_for_an_order_that_ended(evidence: Evidence) -> Proof:
    """A rejected or cancelled order's authorisation was voided (or captured and given back)."""
    return await evidence.prove(
        "authorisations",
        HELD_BACK,
        *evidence.charges_as_columns("authorise"),
        *evidence.charges_as_columns("capture"),
        *evidence.charges_as_columns("void"),
    )


CANCELLED = """
    SELECT o.order_id AS id, p.captured_minor = p.refunded_minor AS ok,
           'captured ' || p.captured_minor || ', refunded ' || p.refunded_minor AS detail
      FROM orders.orders o JOIN payments.payments p USING (order_id)
     WHERE o.status IN ('cancelled', 'rejected')
"""


async def what_ended_was_paid_back_in_full(evidence: Evidence) -> Proof:
    """A cancelled or rejected order keeps none of the customer's money."""
    return await evidence.prove("orders", CANCELLED)


REFUND_ROWS = """
    SELECT p.payment_id AS id,
           p.refunded_minor = coalesce(r.done, 0)
           AND p.pending_refund_minor = coalesce(r.pending, 0) AS ok,
           'refunded ' || p.refunded_minor || ' and pending ' || p.pending_refund_minor
           || '; its refunds: ' || coalesce(r.done, 0) || ' and ' || coalesce(r.pending, 0)
           AS detail
      FROM payments.payments p
      LEFT JOIN (SELECT payment_id,
                        sum(amount_minor) FILTER (WHERE status = 'succeeded') AS done,
                        sum(amount_minor) FILTER (WHERE status = 'pending') AS pending
                   FROM payments.refunds GROUP BY payment_id) r USING (payment_id)
"""


async def refunds_add_up_to_their_payment(evidence: Evidence) -> Proof:
    """What a payment says was given back is the sum of its refunds."""
    return await evidence.prove("payments", REFUND_ROWS)
