"""After yes: what left the house, what came back, and the papers about it."""

from tradewind.checks.evidence import Evidence, Proof

GAPLESS = """
    SELECT coalesce(d.series, s.series) || ' ' || coalesce(d.year, s.year) AS id,
           coalesce(d.issued, 0) = coalesce(s.last, 0)
           AND coalesce(d.highest, 0) = coalesce(s.last, 0) AS ok,
           coalesce(d.issued, 0) || ' documents up to number ' || coalesce(d.highest, 0)
           || ', the series stands at ' || coalesce(s.last, 0) AS detail
      FROM (SELECT series, year, count(*) AS issued, max(serial) AS highest
              FROM orders.documents GROUP BY series, year) d
      FULL JOIN orders.document_series s USING (series, year)
"""


async def documents_are_numbered_without_gaps(evidence: Evidence) -> Proof:
    """1, 2, 3 ... in each series and year; the table itself refuses a number given twice."""
    return await evidence.prove("series", GAPLESS)


INVOICED = """
    SELECT p.order_id AS id,
           coalesce(i.total_minor, 0) = p.captured_minor
           AND coalesce(c.total_minor, 0) = p.refunded_minor
           AND coalesce(i.currency, p.currency) = p.currency AS ok,
           'captured ' || p.captured_minor || ' and refunded ' || p.refunded_minor || ', invoiced '
           || coalesce(i.total_minor, 0) || ' and credited ' || coalesce(c.total_minor, 0) AS detail
      FROM payments.payments p
      LEFT JOIN orders.documents i ON i.source = p.order_id
      LEFT JOIN (SELECT order_id, sum(total_minor) AS total_minor FROM orders.documents
                  WHERE kind = 'credit_note' GROUP BY order_id) c ON c.order_id = p.order_id
     WHERE p.created_at >= (SELECT coalesce(min(issued_at), 'infinity') FROM orders.documents
                             WHERE kind = 'invoice' AND order_id IS NOT NULL)
"""


async def money_that_moved_has_its_paper(evidence: Evidence) -> Proof:
    """Invoices say what was captured, credit notes what went back; since the first invoice."""
    return await evidence.prove("payments", INVOICED)


ALONE = """
    SELECT coalesce(d.source, l.payment_id) AS id,
           d.total_minor IS NOT DISTINCT FROM l.amount_minor
           AND d.currency IS NOT DISTINCT FROM l.currency AS ok,
           'credited ' || coalesce(d.total_minor, 0) || ', booked ' || coalesce(l.amount_minor, 0)
           AS detail
      FROM (SELECT source, total_minor, currency FROM orders.documents WHERE order_id IS NULL) d
      FULL JOIN (SELECT payment_id, amount_minor, currency
                   FROM payments.ledger WHERE kind = 'credit') l ON l.payment_id = d.source
"""


async def what_is_credited_without_an_order_is_owed(evidence: Evidence) -> Proof:
    """Each credit note that stands alone is booked once, with its amount."""
    return await evidence.prove("credit notes that stand alone", ALONE)


RETURNABLE = """
    SELECT a.order_id || ' line ' || a.line AS id,
           a.promised = coalesce(r.promised, 0) AND a.arrived = coalesce(r.arrived, 0)
           AND a.refunded_minor = coalesce(r.refunded, 0)
           AND (a.line = 0 OR a.units = l.quantity AND a.total_minor = l.total_minor) AS ok,
           'promised ' || a.promised || ', arrived ' || a.arrived || ', refunded '
           || a.refunded_minor || '; its returns: ' || coalesce(r.promised, 0) || ', '
           || coalesce(r.arrived, 0) || ', ' || coalesce(r.refunded, 0) AS detail
      FROM orders.returnable a
      LEFT JOIN orders.lines l ON l.order_id = a.order_id AND l.number = a.line
      LEFT JOIN (SELECT r.order_id, t.line,
                        sum(CASE WHEN r.status IN ('requested', 'approved') THEN t.quantity
                                 WHEN r.status = 'rejected' THEN 0
                                 ELSE t.restock + t.write_off END) AS promised,
                        sum(t.restock + t.write_off) AS arrived, sum(t.refund_minor) AS refunded
                   FROM orders.returns r JOIN orders.return_lines t USING (return_id)
                  GROUP BY r.order_id, t.line
                 UNION ALL
                 SELECT order_id, 0, 0, 0, sum(fees_refund_minor)
                   FROM orders.returns GROUP BY order_id) r
        ON r.order_id = a.order_id AND r.line = a.line
"""


async def what_came_back_is_the_sum_of_the_returns(evidence: Evidence) -> Proof:
    """Line by line: promised, arrived and paid for are what the returns of the order say."""
    return await evidence.prove("lines with returns", RETURNABLE)


UNITS = """
    SELECT r.return_id || ' ' || r.sku_key AS id,
           coalesce(m.came, 0) = r.came AND coalesce(m.thrown, 0) = r.thrown AS ok,
           r.came || ' units came and ' || r.thrown || ' went to the bin; the stock knows '
           || coalesce(m.came, 0) || ' and ' || coalesce(m.thrown, 0) AS detail
      FROM (SELECT t.return_id, upper(t.sku) AS sku_key, sum(t.restock + t.write_off) AS came,
                   sum(t.write_off) AS thrown
              FROM orders.returns JOIN orders.return_lines t USING (return_id)
             WHERE status IN ('received', 'refunded', 'refund_refused')
             GROUP BY t.return_id, upper(t.sku)) r
      LEFT JOIN (SELECT cause, sku_key,
                        sum(on_hand_delta) FILTER (WHERE kind = 'return') AS came,
                        -sum(on_hand_delta) FILTER (WHERE kind = 'write_off') AS thrown
                   FROM inventory.movements WHERE cause LIKE 'ret\\_%' GROUP BY cause, sku_key) m
        ON m.cause = r.return_id AND m.sku_key = r.sku_key
"""


async def units_that_came_back_are_in_the_stock(evidence: Evidence) -> Proof:
    """What a return brought was taken in once, and what is broken was thrown away once."""
    return await evidence.prove("skus of returns", UNITS)


PAID_BACK = """
    SELECT r.return_id AS id,
           CASE r.status WHEN 'refunded' THEN r.refund_minor = coalesce(f.amount_minor, 0)
                         ELSE coalesce(f.amount_minor, 0) = 0 END AS ok,
           'is ' || r.status || ' over ' || r.refund_minor || ', given back '
           || coalesce(f.amount_minor, 0) AS detail
      FROM orders.returns r
      LEFT JOIN payments.refunds f ON f.refund_id = r.refund_id AND f.status = 'succeeded'
     WHERE r.status <> 'received'
"""


async def a_return_is_paid_back_once(evidence: Evidence) -> Proof:
    """A refunded return's money went back under its refund; of any other none did."""
    return await evidence.prove("returns", PAID_BACK)


SENT = """
    SELECT o.order_id AS id,
           r.status = 'fulfilled' AND f.order_id IS NOT NULL
           AND o.status = CASE coalesce(b.arrived, 0) WHEN 0 THEN 'fulfilled'
                          WHEN l.units THEN 'returned' ELSE 'partly_returned' END AS ok,
           'order is ' || o.status || ', its reservation ' || coalesce(r.status, 'missing') || '; '
           || coalesce(b.arrived, 0) || ' of ' || coalesce(l.units, 0) || ' units came back'
           AS detail
      FROM orders.orders o
      LEFT JOIN orders.fulfilments f USING (order_id)
      LEFT JOIN inventory.reservations r USING (order_id)
      LEFT JOIN (SELECT order_id, sum(arrived) AS arrived FROM orders.returnable
                  GROUP BY order_id) b USING (order_id)
      LEFT JOIN (SELECT order_id, sum(quantity) AS units FROM orders.lines
                  GROUP BY order_id) l USING (order_id)
     WHERE o.status IN ('fulfilled', 'partly_returned', 'returned')
"""


async def an_order_that_left_is_no_longer_promised(evidence: Evidence) -> Proof:
    """Its units are gone from the stock, and its status says how many of them came back."""
    return await evidence.prove("orders that left", SENT)
