"""Orders: each decided once, in time, with the stock, the money and the mail that belong to it."""

from datetime import timedelta

from tradewind.checks.evidence import Evidence, Proof

# Per order and sku: what its lines want beside what is allocated to it.
ALLOCATED = """
    SELECT order_id AS id, bool_and(wanted IS NOT DISTINCT FROM allocated) AS ok,
           'reservation is ' || coalesce(min(reservation), 'missing')
           || '; wanted and allocated: '
           || string_agg(sku_key || ' ' || coalesce(wanted, 0) || ' and ' || coalesce(allocated, 0),
                         ', ' ORDER BY sku_key) AS detail
      FROM (SELECT o.order_id, upper(l.sku) AS sku_key, sum(l.quantity) AS wanted
              FROM orders.orders o JOIN orders.lines l USING (order_id)
             WHERE o.status = 'confirmed' GROUP BY o.order_id, upper(l.sku)) w
      FULL JOIN (SELECT o.order_id, p.sku_key, min(r.status) AS reservation,
                        sum(p.quantity) FILTER (WHERE r.status = 'allocated') AS allocated
                   FROM orders.orders o JOIN inventory.reservations r USING (order_id)
                  CROSS JOIN LATERAL unnest(r.sku_keys, r.quantities) AS p (sku_key, quantity)
                  WHERE o.status = 'confirmed' GROUP BY o.order_id, p.sku_key) a
     USING (order_id, sku_key)
     GROUP BY order_id
"""


async def a_confirmed_order_has_one_allocation_of_its_lines(evidence: Evidence) -> Proof:
    """Exactly the units of its lines, sku by sku."""
    return await evidence.prove("confirmed orders", ALLOCATED)


ENDED = """
    SELECT r.order_id AS id,
           o.order_id IS NOT NULL
           AND (o.status NOT IN ('rejected', 'cancelled') OR r.status IN ('refused', 'released'))
           AS ok,
           'order is ' || coalesce(o.status, 'unknown') || ', its reservation ' || r.status
           AS detail
      FROM inventory.reservations r LEFT JOIN orders.orders o USING (order_id)
"""


async def an_order_that_ended_holds_no_stock(evidence: Evidence) -> Proof:
    """A rejected or cancelled order's units are free again; no reservation is without its order."""
    return await evidence.prove("reservations", ENDED)


# $1: how long past its deadline an order may be before its sweep must have found it.
OPEN = """
    SELECT order_id AS id,
           CASE status WHEN 'placed' THEN decide_before > now() - $1::interval
                       WHEN 'held' THEN review_before > now() - $1::interval
                       ELSE true END AS ok,
           'is ' || status || ' since ' || placed_at || ', was due '
           || CASE status WHEN 'held' THEN review_before ELSE decide_before END AS detail
      FROM orders.orders
"""
SLACK = timedelta(seconds=60)


async def no_order_is_open_past_its_deadline(evidence: Evidence) -> Proof:
    """Every order is decided by its clock, whatever was killed meanwhile."""
    return await evidence.prove("orders", OPEN, SLACK)


TOLD = """
    SELECT coalesce(o.order_id, e.subject) AS id,
           o.version = e.last AND e.placed = 1 AND e.decided <= 1
           AND CASE WHEN e.came_back THEN o.status IN ('partly_returned', 'returned')
                    ELSE o.status = e.status END AS ok,
           'order is ' || coalesce(o.status, 'missing') || ' at version ' || coalesce(o.version, 0)
           || ', its events end with ' || coalesce(e.status, 'none') || ' at '
           || coalesce(e.last, 0) || ', placed ' || coalesce(e.placed, 0) || ' times, decided '
           || coalesce(e.decided, 0) || ' times' AS detail
      FROM orders.orders o
      FULL JOIN (SELECT subject, max(sequence) AS last,
                        count(*) FILTER (WHERE type = 'orders.order_placed.v1') AS placed,
                        count(*) FILTER (WHERE type IN ('orders.order_confirmed.v1',
                                                        'orders.order_rejected.v1')) AS decided,
                        bool_or(type = 'orders.return_received.v1') AS came_back,
                        substring((array_agg(type ORDER BY sequence DESC)
                                   FILTER (WHERE type LIKE 'orders.order\\_%'))[1]
                                  FROM 'orders[.]order_([a-z_]+)[.]v') AS status
                   FROM bus.log WHERE source = 'orders' AND subject LIKE 'ord\\_%'
                  GROUP BY subject) e ON e.subject = o.order_id
"""


async def orders_are_what_their_events_say(evidence: Evidence) -> Proof:
    """Placed once, decided once at most; status and version are those of the last event."""
    return await evidence.prove("orders", TOLD)


SUMS = """
    SELECT order_id AS id, o.subtotal_minor IS NOT DISTINCT FROM coalesce(l.total, 0) AS ok,
           'subtotal ' || coalesce(o.subtotal_minor::text, 'of no order') || ', lines '
           || coalesce(l.total, 0) AS detail
      FROM orders.orders o
      FULL JOIN (SELECT order_id, sum(total_minor) AS total
                   FROM orders.lines GROUP BY order_id) l USING (order_id)
"""


async def order_totals_are_the_sum_of_their_lines(evidence: Evidence) -> Proof:
    """A reader who adds up the lines gets the subtotal; the table itself adds up the rest."""
    return await evidence.prove("orders", SUMS)


PAYMENT = """
    SELECT coalesce(o.order_id, p.order_id) AS id,
           o.order_id IS NOT NULL
           AND (p.order_id IS NULL
                AND o.status NOT IN ('confirmed', 'fulfilled', 'partly_returned', 'returned')
                OR p.payment_id = o.payment_id AND p.amount_minor = o.total_minor
                   AND p.currency = o.currency) AS ok,
           'order is ' || coalesce(o.status, 'unknown') || ' over ' || coalesce(o.total_minor, 0)
           || ', its payment is ' || coalesce(p.status, 'missing') || ' over '
           || coalesce(p.amount_minor, 0) AS detail
      FROM orders.orders o FULL JOIN payments.payments p USING (order_id)
"""


async def an_order_and_its_payment_are_about_the_same_money(evidence: Evidence) -> Proof:
    """Amount, currency and id agree; a confirmed order has a payment."""
    return await evidence.prove("orders", PAYMENT)


# A held order had been accepted, whatever the review said of it later. A cart that ended long ago
# is gone, its orders are not.
CARTS = """
    SELECT coalesce(k.cart_id, c.cart_id) AS id,
           coalesce(k.orders = k.known AND k.living <= 1, true)
           AND (c.cart_id IS NULL OR k.cart_id IS NULL AND c.order_id IS NULL
                OR c.order_id = ANY (k.ids) AND c.order_id = coalesce(k.alive, c.order_id)) AS ok,
           'cart points to ' || coalesce(c.order_id, 'no order') || '; checked out '
           || coalesce(k.orders, 0) || ' times, ' || coalesce(k.known, 0) || ' of them are orders, '
           || coalesce(k.living, 0) || ' were not refused' || coalesce(': ' || k.alive, '')
           AS detail
      FROM orders.carts c
      FULL JOIN (SELECT x.cart_id, count(*) AS orders, count(o.order_id) AS known,
                        array_agg(x.order_id) AS ids,
                        count(*) FILTER (WHERE o.status <> 'rejected'
                                            OR o.review_before IS NOT NULL) AS living,
                        min(x.order_id) FILTER (WHERE o.status <> 'rejected'
                                                   OR o.review_before IS NOT NULL) AS alive
                   FROM orders.checkouts x LEFT JOIN orders.orders o USING (order_id)
                  GROUP BY x.cart_id) k USING (cart_id)
"""


async def a_cart_became_one_order_at_most(evidence: Evidence) -> Proof:
    """Of all orders that were made of a cart at most one was not refused: the cart points to it."""
    return await evidence.prove("carts", CARTS)


MAILS = """
    SELECT o.order_id AS id, m.message_id IS NOT NULL AS ok,
           'was confirmed, and nobody was told' AS detail
      FROM orders.orders o
      LEFT JOIN notifications.messages m ON m.order_id = o.order_id AND m.kind = 'confirmation'
     WHERE o.status = 'confirmed' AND o.contact IS NOT NULL AND NOT o.imported
"""


async def whoever_gave_an_address_was_told_of_the_confirmation(evidence: Evidence) -> Proof:
    """One mail per confirmed order, history apart; that there are not two the table sees to."""
    return await evidence.prove("confirmed orders with address", MAILS)


# A cancellation waits under the resource "<order>.cancel" until its money is settled.
KEYS = """
    SELECT k.resource AS id,
           o.order_id IS NOT NULL AND (coalesce(k.status, a.status) IS NOT NULL) =
           (k.resource LIKE '%.cancel' OR o.status <> 'placed') AS ok,
           CASE WHEN o.order_id IS NULL THEN 'no such order'
                ELSE 'order is ' || o.status || ', the kept answer is '
                     || coalesce(k.status::text, a.status::text, 'missing') END AS detail
      FROM orders.idempotency_keys k LEFT JOIN orders.kept_answers a USING (resource)
      LEFT JOIN orders.orders o ON o.order_id = split_part(k.resource, '.', 1)
     WHERE k.resource LIKE 'ord\\_%'
"""


async def a_kept_answer_belongs_to_an_order(evidence: Evidence) -> Proof:
    """Each Idempotency-Key that made an order leads to it, and a decided order has its answer."""
    return await evidence.prove("idempotency keys", KEYS)


REFUND_KEYS = """
    SELECT k.resource AS id,
           r.refund_id IS NOT NULL
           AND (coalesce(k.status, a.status) IS NOT NULL) = (r.status <> 'pending') AS ok,
           CASE WHEN r.refund_id IS NULL THEN 'no such refund'
                ELSE 'refund is ' || r.status || ', the kept answer is '
                     || coalesce(k.status::text, a.status::text, 'missing') END AS detail
      FROM payments.idempotency_keys k LEFT JOIN payments.kept_answers a USING (resource)
      LEFT JOIN payments.refunds r ON r.refund_id = k.resource
     WHERE k.resource LIKE 'ref\\_%'
"""


async def a_kept_answer_belongs_to_a_refund(evidence: Evidence) -> Proof:
    """The same of refunds."""
    return await evidence.prove("idempotency keys", REFUND_KEYS)
