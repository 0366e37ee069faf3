"""Stock: what lies there, what is promised, and how both came about."""

from datetime import timedelta

from tradewind.checks.evidence import Evidence, Proof

ON_HAND = """
    SELECT sku_key || ' at ' || location AS id,
           coalesce(s.on_hand, -1) = coalesce(m.total, 0) AS ok,
           'on hand ' || coalesce(s.on_hand, 0) || ', movements add up to '
           || coalesce(m.total, 0) AS detail
      FROM inventory.stock s
      FULL JOIN (SELECT sku_key, location, sum(on_hand_delta) AS total
                   FROM inventory.movements GROUP BY sku_key, location) m
     USING (sku_key, location)
"""


async def units_on_hand_are_the_sum_of_all_movements(evidence: Evidence) -> Proof:
    """Nothing came or went without an entry in the ledger of movements."""
    return await evidence.prove("stock rows", ON_HAND)


RESERVED = """
    SELECT sku_key || ' at ' || location AS id,
           coalesce(s.reserved, -1) = coalesce(r.total, 0) AS ok,
           'reserved ' || coalesce(s.reserved::text, 'nothing') || ', reservations add up to '
           || coalesce(r.total, 0) AS detail
      FROM inventory.stock s
      FULL JOIN (SELECT a.sku_key, a.location, sum(a.quantity) AS total
                   FROM (SELECT p.* FROM inventory.reservations o
                          CROSS JOIN LATERAL unnest(
                                o.sku_keys, o.quantities, coalesce(o.locations,
                                    array_fill('main'::text, ARRAY[cardinality(o.sku_keys)])))
                                AS p (sku_key, quantity, location)
                          WHERE o.status IN ('reserved', 'allocated')
                         UNION ALL
                         SELECT p.* FROM inventory.holds h
                          CROSS JOIN LATERAL unnest(h.sku_keys, h.quantities, h.locations)
                                AS p (sku_key, quantity, location)
                          WHERE h.status = 'held') a
                  GROUP BY a.sku_key, a.location) r
     USING (sku_key, location)
"""


async def units_reserved_are_the_sum_of_living_reservations(evidence: Evidence) -> Proof:
    """Every promised unit is promised to an order, or kept for a cart; all of those are counted."""
    return await evidence.prove("stock rows", RESERVED)


# A count below what was promised is accepted, and so is a movement: reserved may exceed on_hand by
# what they left uncovered; no reservation can make it so.
OVERSOLD = """
    SELECT s.sku_key || ' at ' || s.location AS id,
           s.short = greatest(s.reserved - s.on_hand, 0)
           AND (s.short = 0 OR EXISTS (
                SELECT 1 FROM inventory.movements m
                 WHERE m.sku_key = s.sku_key AND m.location = s.location AND m.on_hand_delta < 0
                   AND m.kind NOT IN ('opening', 'fulfilment', 'return'))) AS ok,
           'on hand ' || s.on_hand || ', reserved ' || s.reserved || ', short ' || s.short AS detail
      FROM inventory.stock s
"""


async def nothing_is_promised_that_is_not_there(evidence: Evidence) -> Proof:
    """Reserved exceeds on hand only where units went, or were not found, that were promised."""
    return await evidence.prove("stock rows", OVERSOLD)


STEPS = """
    SELECT l.subject AS id,
           count(*) FILTER (WHERE type = 'inventory.stock_reserved.v1') <= 1
           AND count(*) FILTER (WHERE type = 'inventory.stock_allocated.v1') <= 1
           AND count(*) FILTER (WHERE type = 'inventory.stock_released.v1') <= 1
           AND (count(*) FILTER (WHERE type = 'inventory.stock_reserved.v1') = 1
                OR count(*) = 1 AND min(type) = 'inventory.stock_refused.v1') AS ok,
           'inventory said: ' || string_agg(type, ', ' ORDER BY l.sequence) AS detail
      FROM bus.log l WHERE l.source = 'inventory' AND l.subject LIKE 'ord\\_%'
     GROUP BY l.subject
"""


async def a_reservation_is_made_once_and_ends_once(evidence: Evidence) -> Proof:
    """Reserved, then allocated at most once, and released at most once; or refused, and no more."""
    return await evidence.prove("orders", STEPS)


STATUS = """
    SELECT coalesce(r.order_id, e.subject) AS id,
           r.version = coalesce(e.last, 0) AND (e.type IS NULL AND r.version = 0
           OR e.type = 'inventory.stock_' || r.status || '.v1') AS ok,
           'reservation is ' || coalesce(r.status, 'missing') || ' at version '
           || coalesce(r.version, 0) || ', last event ' || coalesce(e.type, 'none') AS detail
      FROM inventory.reservations r
      FULL JOIN (SELECT DISTINCT ON (subject) subject, type, sequence AS last
                   FROM bus.log WHERE source = 'inventory' AND subject LIKE 'ord\\_%'
                  ORDER BY subject, sequence DESC) e ON e.subject = r.order_id
"""


async def reservations_are_what_their_events_say(evidence: Evidence) -> Proof:
    """The row of a reservation and the last event about it tell the same story."""
    return await evidence.prove("reservations", STATUS)


# A hold that ended is forgotten in time. $1: how long past its time one may be held.
HOLDS = """
    SELECT coalesce(h.cart_id, e.subject) AS id,
           CASE WHEN h.cart_id IS NULL THEN e.type = 'inventory.hold_ended.v1'
                WHEN e.subject IS NULL THEN h.version = 0 AND h.status = 'ended'
                ELSE h.version = e.last
                     AND (h.status = 'held') = (e.type = 'inventory.units_held.v1')
                     AND (h.status = 'ended' OR h.expires_at > now() - $1::interval) END AS ok,
           'hold is ' || coalesce(h.status || ' until ' || h.expires_at, 'missing')
           || ' at version ' || coalesce(h.version, 0) || ', last event '
           || coalesce(e.type, 'none') AS detail
      FROM inventory.holds h
      FULL JOIN (SELECT DISTINCT ON (subject) subject, type, sequence AS last
                   FROM bus.log WHERE source = 'inventory' AND subject LIKE 'crt\\_%'
                  ORDER BY subject, sequence DESC) e ON e.subject = h.cart_id
"""
HOLD_SLACK = timedelta(seconds=60)


async def a_hold_is_what_its_events_say_and_ends_in_time(evidence: Evidence) -> Proof:
    """Its row and the last event about it tell the same story; nothing is kept past its time."""
    return await evidence.prove("holds", HOLDS, HOLD_SLACK)
