"""A small shop in which everything is as it should be, written straight into the tables.

Orders: `ord_confirmed` (2 mugs, paid, 1.00 given back), `ord_rejected` (99 mugs, stock refused),
`ord_cancelled` (1 mug, captured and paid back in full), `ord_held` (1 mug, authorised),
`ord_returned` (3 mugs sent, 2 came back, one of them broken). A credit note stands alone.
"""

from typing import Any

from tradewind.checks.evidence import Charge

WHEN = "2026-01-01T12:00:00.000000Z"

ORDERS = """
INSERT INTO orders.orders
       (order_id, version, status, currency, subtotal_minor, shipping_minor, tax_minor,
        discount_minor, fees_minor, total_minor, customer, contact, payment_id, payment_status,
        channel, imported, placed_at, decide_before, review_before, decided_at, rejection_code)
SELECT o.order_id, o.version, o.status, 'GBP', o.total, 0, 0, 0, 0, o.total, 'prs_a', o.contact,
       replace(o.order_id, 'ord_', 'pay_'), 'pending', 'web', false, now(),
       now() + interval '15 minutes',
       CASE WHEN o.status = 'held' THEN now() + interval '2 days' END, now(), o.code
  FROM (VALUES ('ord_confirmed', 2, 'confirmed', 500, 'ctc_a', NULL),
               ('ord_rejected', 2, 'rejected', 24750, NULL, 'stock_is_short'),
               ('ord_cancelled', 3, 'cancelled', 250, NULL, NULL),
               ('ord_returned', 7, 'partly_returned', 750, NULL, NULL),
               ('ord_held', 2, 'held', 250, NULL, NULL))
       AS o (order_id, version, status, total, contact, code);

INSERT INTO orders.baskets (order_id, skus, titles, quantities, unit_prices_e4, totals_minor)
VALUES ('ord_confirmed', '{mug,MUG}', '{Mug,Mug}', '{1,1}', '{25000,25000}', '{250,250}'),
       ('ord_rejected', '{MUG}', '{Mug}', '{99}', '{25000}', '{24750}'),
       ('ord_cancelled', '{MUG}', '{Mug}', '{1}', '{25000}', '{250}'),
       ('ord_returned', '{MUG}', '{Mug}', '{3}', '{25000}', '{750}'),
       ('ord_held', '{MUG}', '{Mug}', '{1}', '{25000}', '{250}');

INSERT INTO orders.carts
       (cart_id, version, currency, person, order_id, lines_made, created_at, touched_at, look_at,
        numbers, skus, titles, quantities, prices_then, prices_shown)
VALUES ('crt_a', 3, 'GBP', 'prs_a', 'ord_confirmed', 1, now(), now(), now(), '{1}', '{mug}',
        '{Mug}', '{2}', '{25000}', '{25000}'),
       ('crt_b', 1, 'GBP', NULL, NULL, 0, now(), now(), now(), '{}', '{}', '{}', '{}', '{}', '{}');
INSERT INTO orders.checkouts (order_id, cart_id)
VALUES ('ord_confirmed', 'crt_a');

INSERT INTO orders.idempotency_keys (digest, fingerprint, resource)
VALUES (decode(md5('1'), 'hex'), '\\x00', 'ord_confirmed'),
       (decode(md5('2'), 'hex'), '\\x00', 'ord_rejected');
INSERT INTO orders.kept_answers (resource, status, body, headers)
VALUES ('ord_confirmed', 201, '{}', '{}'), ('ord_rejected', 409, '{}', '{}');
"""

DOCUMENTS = """
INSERT INTO orders.documents (series, year, serial, kind, source, order_id, customer, currency,
       total_minor, tax_minor, tax_rate_bp, lines, dated, issued_at)
VALUES ('INV', 2026, 1, 'invoice', 'ord_confirmed', 'ord_confirmed', 'prs_a', 'GBP', 500, 0, 0,
        NULL, '2026-01-01', '2026-01-01'),
       ('INV', 2026, 2, 'invoice', 'ord_cancelled', 'ord_cancelled', 'prs_a', 'GBP', 250, 0, 0,
        NULL, '2026-01-01', '2026-01-01'),
       ('INV', 2026, 3, 'invoice', 'ord_returned', 'ord_returned', 'prs_a', 'GBP', 750, 0, 0, NULL,
        '2026-01-01', '2026-01-01'),
       ('CN', 2026, 1, 'credit_note', 'ref_a', 'ord_confirmed', 'prs_a', 'GBP', 100, 0, 0, NULL,
        '2026-01-01', '2026-01-01'),
       ('CN', 2026, 2, 'credit_note', 'ref_b', 'ord_cancelled', 'prs_a', 'GBP', 250, 0, 0,
        NULL, '2026-01-01', '2026-01-01'),
       ('CN', 2026, 3, 'credit_note', 'ref_c', 'ord_returned', 'prs_a', 'GBP', 500, 0, 0,
        NULL, '2026-01-01', '2026-01-01'),
       ('CN', 2026, 4, 'credit_note', 'crn_a', NULL, 'prs_a', 'GBP', 70, 0, 0, '[]',
        '2026-01-01', '2026-01-01');
INSERT INTO orders.document_series (series, year, last) VALUES ('INV', 2026, 3), ('CN', 2026, 4);
INSERT INTO orders.fulfilments (order_id, fulfilled_at, by) VALUES ('ord_returned', now(), 'key_a');
INSERT INTO orders.returns (return_id, order_id, status, reason, requested_by, refund_minor,
       refund_id, requested_at, changed_at)
VALUES ('ret_a', 'ord_returned', 'refunded', 'too big', 'key_a', 500, 'ref_c', now(), now());
INSERT INTO orders.return_lines (return_id, line, sku, quantity, restock, write_off, refund_minor)
VALUES ('ret_a', 1, 'MUG', 2, 1, 1, 500);
INSERT INTO orders.returnable
       (order_id, line, units, total_minor, promised, arrived, refunded_minor)
VALUES ('ord_returned', 1, 3, 750, 2, 2, 500);
"""

STOCK = """
INSERT INTO inventory.skus (sku_key, sku, availability, sequence)
VALUES ('MUG', 'mug', 'in_stock', 1), ('BAG', 'bag', 'in_stock', 1);
INSERT INTO inventory.movements (sku_key, location, kind, on_hand_delta, cause, at)
VALUES ('MUG', 'main', 'opening', 14, 'prd_a', now()), ('MUG', 'main', 'count', -2, 'key_a', now()),
       ('MUG', 'main', 'fulfilment', -3, 'ord_returned', now()),
       ('MUG', 'main', 'return', 2, 'ret_a', now()),
       ('MUG', 'main', 'write_off', -1, 'ret_a', now()),
       ('BAG', 'main', 'opening', 5, 'prd_b', now());
INSERT INTO inventory.stock (sku_key, location, on_hand, reserved)
VALUES ('MUG', 'main', 10, 3), ('BAG', 'main', 5, 0);
INSERT INTO inventory.reservations
       (order_id, status, version, sku_keys, quantities, locations, reason, created_at, changed_at)
VALUES ('ord_confirmed', 'allocated', 2, '{MUG}', '{2}', NULL, NULL, now(), now()),
       ('ord_rejected', 'refused', 1, '{}', '{}', NULL, NULL, now(), now()),
       ('ord_cancelled', 'released', 3, '{MUG}', '{1}', NULL, 'cancelled', now(), now()),
       ('ord_returned', 'fulfilled', 3, '{MUG}', '{3}', NULL, NULL, now(), now()),
       ('ord_held', 'reserved', 1, '{MUG}', '{1}', '{main}', NULL, now(), now());
INSERT INTO inventory.holds
       (cart_id, asked, version, status, expires_at, sku_keys, quantities, locations)
VALUES ('crt_a', 3, 0, 'ended', now(), '{}', '{}', '{}');
"""

MONEY = """
INSERT INTO payments.payments
       (payment_id, order_id, amount_minor, currency, token, terms, status, wanted, captured_minor,
        refunded_minor, sequence, version, created_at, updated_at)
VALUES ('pay_confirmed', 'ord_confirmed', 500, 'GBP', 'tok_ok', '{}', 'partially_refunded',
        'captured', 500, 100, 3, 3, now(), now()),
       ('pay_cancelled', 'ord_cancelled', 250, 'GBP', 'tok_ok', '{}', 'refunded',
        'nothing', 250, 250, 3, 3, now(), now()),
       ('pay_returned', 'ord_returned', 750, 'GBP', 'tok_ok', '{}', 'partially_refunded',
        'captured', 750, 500, 3, 3, now(), now()),
       ('pay_held', 'ord_held', 250, 'GBP', 'tok_suspicious', '{}', 'authorised',
        'authorised', 0, 0, 1, 1, now(), now());
INSERT INTO payments.refunds
       (refund_id, payment_id, amount_minor, reason, status, asked, created_at, finished_at)
VALUES ('ref_a', 'pay_confirmed', 100, 'chipped', 'succeeded', true, now(), now()),
       ('ref_b', 'pay_cancelled', 250, 'cancelled', 'succeeded', false, now(), now()),
       ('ref_c', 'pay_returned', 500, 'ret_a', 'succeeded', false, now(), now());
INSERT INTO payments.ledger
       (at, payment_id, order_id, kind, debit, credit, amount_minor, currency)
SELECT now(), replace(l.order_id, 'ord_', 'pay_'), l.*, 'GBP'
  FROM (VALUES ('ord_confirmed', 'sale', 'receivable', 'sales', 500),
               ('ord_confirmed', 'settlement', 'provider:simulator', 'receivable', 500),
               ('ord_confirmed', 'return', 'refunds', 'receivable', 100),
               ('ord_confirmed', 'repayment', 'receivable', 'provider:simulator', 100),
               ('ord_cancelled', 'sale', 'receivable', 'sales', 250),
               ('ord_cancelled', 'settlement', 'provider:simulator', 'receivable', 250),
               ('ord_cancelled', 'return', 'refunds', 'receivable', 250),
               ('ord_cancelled', 'repayment', 'receivable', 'provider:simulator', 250),
               ('ord_returned', 'sale', 'receivable', 'sales', 750),
               ('ord_returned', 'settlement', 'provider:simulator', 'receivable', 750),
               ('ord_returned', 'return', 'refunds', 'receivable', 500),
               ('ord_returned', 'repayment', 'receivable', 'provider:simulator', 500))
       AS l (order_id, kind, debit, credit, amount_minor);
INSERT INTO payments.ledger
       (at, payment_id, order_id, kind, debit, credit, amount_minor, currency)
VALUES (now(), 'crn_a', 'CN-2026-000004', 'credit', 'refunds', 'credits', 70, 'GBP');
INSERT INTO payments.idempotency_keys (digest, fingerprint, resource)
VALUES (decode(md5('3'), 'hex'), '\\x00', 'ref_a');
INSERT INTO payments.kept_answers (resource, status, body, headers)
VALUES ('ref_a', 201, '{}', '{}');
"""

MAIL = """
INSERT INTO notifications.messages
       (message_id, order_id, kind, person, contact, total_minor, currency, template, header_id,
        status, via, attempts, sequence, queued_at, settled_at)
VALUES ('msg_a', 'ord_confirmed', 'confirmation', 'prs_a', 'ctc_a', 500, 'GBP', 'confirmation.v1',
        '<a@tradewind.example>', 'sent', 'mailbox', 1, 1, now(), now());
"""

EVENTS = """
INSERT INTO bus.log (xid, partition, source, type, subject, sequence, at, body)
SELECT '100'::xid8, 0, split_part(e.type, '.', 1), e.type, e.subject, e.sequence, now(), '{}'
  FROM (VALUES ('orders.order_placed.v1', 'ord_confirmed', 1),
               ('inventory.stock_reserved.v1', 'ord_confirmed', 1),
               ('payments.payment_authorised.v1', 'ord_confirmed', 1),
               ('orders.order_confirmed.v1', 'ord_confirmed', 2),
               ('inventory.stock_allocated.v1', 'ord_confirmed', 2),
               ('payments.payment_captured.v1', 'ord_confirmed', 2),
               ('payments.payment_refunded.v1', 'ord_confirmed', 3),
               ('orders.order_placed.v1', 'ord_rejected', 1),
               ('inventory.stock_refused.v1', 'ord_rejected', 1),
               ('orders.order_rejected.v1', 'ord_rejected', 2),
               ('orders.order_placed.v1', 'ord_cancelled', 1),
               ('inventory.stock_reserved.v1', 'ord_cancelled', 1),
               ('orders.order_confirmed.v1', 'ord_cancelled', 2),
               ('inventory.stock_allocated.v1', 'ord_cancelled', 2),
               ('orders.order_cancelled.v1', 'ord_cancelled', 3),
               ('inventory.stock_released.v1', 'ord_cancelled', 3),
               ('orders.order_placed.v1', 'ord_held', 1),
               ('inventory.stock_reserved.v1', 'ord_held', 1),
               ('orders.order_held.v1', 'ord_held', 2),
               ('orders.order_placed.v1', 'ord_returned', 1),
               ('inventory.stock_reserved.v1', 'ord_returned', 1),
               ('payments.payment_authorised.v1', 'ord_returned', 1),
               ('orders.order_confirmed.v1', 'ord_returned', 2),
               ('inventory.stock_allocated.v1', 'ord_returned', 2),
               ('payments.payment_captured.v1', 'ord_returned', 2),
               ('orders.order_fulfilled.v1', 'ord_returned', 3),
               ('inventory.stock_fulfilled.v1', 'ord_returned', 3),
               ('orders.return_requested.v1', 'ord_returned', 4),
               ('orders.return_approved.v1', 'ord_returned', 5),
               ('orders.return_received.v1', 'ord_returned', 6),
               ('payments.payment_refunded.v1', 'ord_returned', 3),
               ('orders.return_refunded.v1', 'ord_returned', 7))
       AS e (type, subject, sequence);
INSERT INTO bus.log (xid, partition, source, type, subject, sequence, at, body)
VALUES ('100', 0, 'orders', 'orders.review_due.v1', 'timer:review:ord_held', 1767268800000000,
        now(), '{}');
INSERT INTO bus.feed_ranges (first, count, from_xid, from_number, to_xid, to_number)
SELECT row_number() OVER (ORDER BY number), 1, xid, number, xid, number
  FROM bus.log WHERE subject NOT LIKE 'timer:%';
INSERT INTO bus.offsets (consumer, partition, xid, number)
VALUES ('inventory.stock', 0, '100', 1000000), ('sequencer', -1, '100', 1000000);
"""

WORLD = ORDERS + DOCUMENTS + STOCK + MONEY + MAIL + EVENTS


def charge(number: int, operation: str, order_id: str, amount_minor: int) -> Charge:
    key = f"{order_id}.{operation}.{number}"
    return Charge(number, key, operation, order_id, amount_minor, "GBP", WHEN)


CHARGES = (
    charge(1, "authorise", "ord_confirmed", 500),
    charge(2, "capture", "ord_confirmed", 500),
    charge(3, "refund", "ord_confirmed", 100),
    charge(4, "authorise", "ord_cancelled", 250),
    charge(5, "capture", "ord_cancelled", 250),
    charge(6, "refund", "ord_cancelled", 250),
    charge(7, "authorise", "ord_held", 250),
    charge(8, "authorise", "ord_returned", 750),
    charge(9, "capture", "ord_returned", 750),
    charge(10, "refund", "ord_returned", 500),
)


async def build(connection: Any) -> None:
    """Write the world, with triggers and foreign keys asleep: damage may come next."""
    await connection.execute("SET LOCAL session_replication_role = replica")
    await connection.execute(WORLD)
