"""Damage to a healthy shop, and the invariants that must find it."""

from msgspec import Struct

from tests.checks.healthy_world import CHARGES, charge
from tradewind.checks.evidence import Charge


class Damage(Struct, frozen=True, kw_only=True):
    """Something that must never be, and the invariants that must find it by this id."""

    about: str
    breaks: tuple[str, ...]
    id: str
    sql: str = ""
    charges: tuple[Charge, ...] = CHARGES


# Tables guard themselves with constraints: damage that they would refuse removes the guard first.
UNGUARDED_STOCK = "ALTER TABLE inventory.stock DROP CONSTRAINT never_oversold;"
UNGUARDED_STOCK_EVENTS = "ALTER TABLE bus.log_1 DROP CONSTRAINT log_1_one_fact_per_version;"
UNGUARDED_REJECTION = "ALTER TABLE orders.orders DROP CONSTRAINT rejected_says_why;"
UNGUARDED_DOCUMENTS = "ALTER TABLE orders.documents DROP CONSTRAINT documents_source;"
UNGUARDED_TOTAL = "ALTER TABLE orders.orders DROP CONSTRAINT total_adds_up;"
FEED_AGAIN = """
DELETE FROM bus.feed_ranges;
INSERT INTO bus.feed_ranges (first, count, from_xid, from_number, to_xid, to_number)
SELECT row_number() OVER (ORDER BY number), 1, xid, number, xid, number
  FROM bus.log WHERE subject NOT LIKE 'timer:%';
"""
NEW_EVENT = """
INSERT INTO bus.log (xid, partition, source, type, subject, sequence, at, body)
VALUES ('101', 0, '{source}', '{source}.{type}.v1', '{subject}', {sequence}, now(), '{{}}');
INSERT INTO bus.feed_ranges (first, count, from_xid, from_number, to_xid, to_number)
SELECT (SELECT max(position) + 1 FROM bus.feed), 1, '101', max(number), '101', max(number)
  FROM bus.log WHERE xid = '101';
UPDATE bus.offsets SET xid = '101', number = 1000000;
"""


def event(source: str, kind: str, subject: str, sequence: int) -> str:
    """SQL that announces one more event, read by everybody."""
    return NEW_EVENT.format(source=source, type=kind, subject=subject, sequence=sequence)


DAMAGES = (
    Damage(
        about="units appear without a movement",
        sql="UPDATE inventory.stock SET on_hand = 11 WHERE sku_key = 'MUG'",
        breaks=("units on hand are the sum of all movements",),
        id="MUG at main",
    ),
    Damage(
        about="a movement of a shelf that is not there",
        sql="DELETE FROM inventory.stock WHERE sku_key = 'BAG'",
        breaks=("units on hand are the sum of all movements",),
        id="BAG at main",
    ),
    Damage(
        about="a promise to nobody",
        sql="UPDATE inventory.stock SET reserved = 4 WHERE sku_key = 'MUG'",
        breaks=("units reserved are the sum of living reservations",),
        id="MUG at main",
    ),
    Damage(
        about="a reservation that no shelf knows",
        sql="UPDATE inventory.reservations SET locations = '{attic}' WHERE order_id = 'ord_held'",
        breaks=("units reserved are the sum of living reservations",),
        id="MUG at attic",
    ),
    Damage(
        about="oversold: more promised than there is",
        sql=f"{UNGUARDED_STOCK} UPDATE inventory.stock SET reserved = 6 WHERE sku_key = 'BAG'",
        breaks=(
            "units reserved are the sum of living reservations",
            "nothing is promised that is not there",
        ),
        id="BAG at main",
    ),
    Damage(
        about="short without a count that made it so",
        sql="UPDATE inventory.stock SET reserved = 6, short = 1 WHERE sku_key = 'BAG'",
        breaks=(
            "units reserved are the sum of living reservations",
            "nothing is promised that is not there",
        ),
        id="BAG at main",
    ),
    Damage(
        about="short after a shipment, which takes no more than was promised",
        sql="UPDATE inventory.stock SET on_hand = 4, reserved = 5, short = 1 WHERE sku_key = 'BAG';"
        " INSERT INTO inventory.movements (sku_key, location, kind, on_hand_delta, cause, at)"
        " VALUES ('BAG', 'main', 'fulfilment', -1, 'ord_a', now())",
        breaks=(
            "units reserved are the sum of living reservations",
            "nothing is promised that is not there",
        ),
        id="BAG at main",
    ),
    Damage(
        about="allocated twice",
        sql=event("inventory", "stock_allocated", "ord_confirmed", 3)
        + "UPDATE inventory.reservations SET version = 3 WHERE order_id = 'ord_confirmed'",
        breaks=("a reservation is made once and ends once",),
        id="ord_confirmed",
    ),
    Damage(
        about="released what was never reserved",
        sql=event("inventory", "stock_released", "ord_rejected", 2)
        + "UPDATE inventory.reservations SET version = 2, status = 'released'"
        " WHERE order_id = 'ord_rejected'",
        breaks=("a reservation is made once and ends once",),
        id="ord_rejected",
    ),
    Damage(
        about="a reservation changed without an event",
        sql="UPDATE inventory.reservations SET version = 4 WHERE order_id = 'ord_cancelled'",
        breaks=("reservations are what their events say",),
        id="ord_cancelled",
    ),
    Damage(
        about="a confirmed order with one unit too few",
        sql="UPDATE inventory.reservations SET quantities = '{1}' WHERE order_id = 'ord_confirmed';"
        "UPDATE inventory.stock SET reserved = 2 WHERE sku_key = 'MUG'",
        breaks=("a confirmed order has one allocation of its lines",),
        id="ord_confirmed",
    ),
    Damage(
        about="a cancelled order that keeps its units",
        sql="UPDATE inventory.reservations SET status = 'allocated', version = 2"
        " WHERE order_id = 'ord_cancelled';"
        "UPDATE inventory.stock SET reserved = 4 WHERE sku_key = 'MUG';"
        "DELETE FROM bus.log WHERE type = 'inventory.stock_released.v1';"
        f"{FEED_AGAIN}",
        breaks=("an order that ended holds no stock",),
        id="ord_cancelled",
    ),
    Damage(
        about="an order that nobody decides",
        sql="ALTER TABLE orders.orders DROP CONSTRAINT decided_has_a_time;"
        "UPDATE orders.orders SET review_before = now() - interval '2 minutes'"
        " WHERE order_id = 'ord_held'",
        breaks=("no order is open past its deadline",),
        id="ord_held",
    ),
    Damage(
        about="confirmed, then rejected",
        sql=UNGUARDED_REJECTION
        + event("orders", "order_rejected", "ord_confirmed", 3)
        + event("orders", "order_confirmed", "ord_confirmed", 4).replace("'101'", "'102'")
        + "UPDATE orders.orders SET version = 4 WHERE order_id = 'ord_confirmed'",
        breaks=("orders are what their events say",),
        id="ord_confirmed",
    ),
    Damage(
        about="a status that no event gave",
        sql="UPDATE orders.orders SET version = 3 WHERE order_id = 'ord_held'",
        breaks=("orders are what their events say",),
        id="ord_held",
    ),
    Damage(
        about="a line that the total does not know",
        sql="UPDATE orders.baskets SET totals_minor = '{251}' WHERE order_id = 'ord_held'",
        breaks=("order totals are the sum of their lines",),
        id="ord_held",
    ),
    Damage(
        about="a payment over another amount",
        sql="UPDATE payments.payments SET amount_minor = 251 WHERE order_id = 'ord_held'",
        breaks=("an order and its payment are about the same money",),
        id="ord_held",
    ),
    Damage(
        about="a payment without an order",
        sql="INSERT INTO payments.payments SELECT 'pay_lost', 'ord_lost', amount_minor, currency,"
        " token, terms, status, wanted, captured_minor, refunded_minor, pending_refund_minor,"
        " halted, sequence, version, created_at, updated_at FROM payments.payments"
        " WHERE order_id = 'ord_held'",
        breaks=("an order and its payment are about the same money",),
        id="ord_lost",
    ),
    Damage(
        about="a confirmation that nobody got",
        sql="DELETE FROM notifications.messages",
        breaks=("whoever gave an address was told of the confirmation",),
        id="ord_confirmed",
    ),
    Damage(
        about="a kept answer to an order that is not there",
        sql="UPDATE orders.idempotency_keys SET resource = 'ord_lost'"
        " WHERE resource = 'ord_rejected'",
        breaks=("a kept answer belongs to an order",),
        id="ord_lost",
    ),
    Damage(
        about="a decided order without its answer",
        sql="DELETE FROM orders.kept_answers WHERE resource = 'ord_confirmed'",
        breaks=("a kept answer belongs to an order",),
        id="ord_confirmed",
    ),
    Damage(
        about="a kept answer to a refund that is not there",
        sql="UPDATE payments.idempotency_keys SET resource = 'ref_lost'",
        breaks=("a kept answer belongs to a refund",),
        id="ref_lost",
    ),
    Damage(
        about="a number that was lost",
        sql="UPDATE orders.document_series SET last = 5 WHERE series = 'CN'",
        breaks=("documents are numbered without gaps",),
        id="CN 2026",
    ),
    Damage(
        about="a refund without its credit note",
        sql=f"{UNGUARDED_DOCUMENTS} UPDATE orders.documents SET order_id = NULL, lines = '[]',"
        " source = 'crn_a', total_minor = 70 WHERE source = 'ref_a';"
        "DELETE FROM orders.documents WHERE series = 'CN' AND serial = 4;"
        "UPDATE orders.document_series SET last = 3 WHERE series = 'CN';"
        "UPDATE orders.documents SET serial = 4 WHERE source = 'ref_c';"
        "UPDATE orders.documents SET serial = 3 WHERE source = 'ref_c'",
        breaks=("money that moved has its paper",),
        id="ord_confirmed",
    ),
    Damage(
        about="a credit note that nobody owes",
        sql="DELETE FROM payments.ledger WHERE kind = 'credit'",
        breaks=("what is credited without an order is owed",),
        id="crn_a",
    ),
    Damage(
        about="units that left and are still promised",
        sql="DELETE FROM orders.fulfilments",
        breaks=("an order that left is no longer promised",),
        id="ord_returned",
    ),
    Damage(
        about="more is booked as come back than its returns say",
        sql="UPDATE orders.returnable SET promised = 3",
        breaks=("what came back is the sum of the returns",),
        id="ord_returned line 1",
    ),
    Damage(
        about="units of a return that nobody put on the shelf",
        sql="DELETE FROM inventory.movements WHERE cause = 'ret_a';"
        "UPDATE inventory.stock SET on_hand = 9 WHERE sku_key = 'MUG'",
        breaks=("units that came back are in the stock",),
        id="ret_a MUG",
    ),
    Damage(
        about="a return that is called paid and is not",
        sql="UPDATE orders.returns SET refund_minor = 400",
        breaks=("a return is paid back once",),
        id="ret_a",
    ),
    Damage(
        about="money on an account that nobody knows",
        sql="ALTER TABLE payments.ledger DROP CONSTRAINT ledger_credit_check;"
        "UPDATE payments.ledger SET credit = 'suspense'"
        " WHERE kind = 'repayment' AND order_id = 'ord_cancelled'",
        breaks=(
            "the ledger sums to zero in every currency",
            "the providers account equals its own record",
        ),
        id="GBP",
    ),
    Damage(
        about="a sale that was never settled",
        sql="DELETE FROM payments.ledger WHERE kind = 'return' AND order_id = 'ord_cancelled'",
        breaks=(
            "nothing is left receivable",
            "what payments moved is booked as sales and refunds",
        ),
        id="ord_cancelled GBP",
    ),
    Damage(
        about="money at the provider that only we know of",
        sql="INSERT INTO payments.ledger (at, payment_id, order_id, kind, debit, credit,"
        " amount_minor, currency) VALUES"
        " (now(), 'pay_held', 'ord_held', 'sale', 'receivable', 'sales', 250, 'GBP'),"
        " (now(), 'pay_held', 'ord_held', 'settlement', 'provider:simulator', 'receivable', 250,"
        " 'GBP')",
        breaks=(
            "the providers account equals its own record",
            "what payments moved is booked as sales and refunds",
        ),
        id="ord_held GBP",
    ),
    Damage(
        about="charged twice",
        charges=(*CHARGES, charge(8, "capture", "ord_confirmed", 500)),
        breaks=(
            "the providers account equals its own record",
            "a confirmed order is captured once and no other",
            "payments say what the provider did",
        ),
        id="ord_confirmed",
    ),
    Damage(
        about="a rejected order that was charged",
        charges=(*CHARGES, charge(8, "capture", "ord_rejected", 24750)),
        breaks=(
            "the providers account equals its own record",
            "a confirmed order is captured once and no other",
            "payments say what the provider did",
        ),
        id="ord_rejected",
    ),
    Damage(
        about="a confirmed order that was never charged, by anybody's books",
        sql="UPDATE payments.payments SET status = 'authorised', captured_minor = 0,"
        " refunded_minor = 0 WHERE order_id = 'ord_confirmed';"
        "DELETE FROM payments.refunds WHERE refund_id = 'ref_a';"
        "DELETE FROM payments.idempotency_keys;"
        "DELETE FROM payments.ledger WHERE order_id = 'ord_confirmed'",
        charges=tuple(c for c in CHARGES if c.number not in (2, 3)),
        breaks=(
            "a confirmed order is captured once and no other",
            "money that moved has its paper",
        ),
        id="ord_confirmed",
    ),
    Damage(
        about="more given back than was paid",
        charges=(*CHARGES, charge(8, "refund", "ord_confirmed", 401)),
        breaks=(
            "the providers account equals its own record",
            "payments say what the provider did",
            "no order gets back more than it paid",
        ),
        id="ord_confirmed",
    ),
    Damage(
        about="money blocked on the card of an order that was refused",
        charges=(*CHARGES, charge(8, "authorise", "ord_rejected", 24750)),
        breaks=("no money stays blocked for an order that ended",),
        id="ord_rejected",
    ),
    Damage(
        about="a cancelled order whose money stayed with us",
        sql="UPDATE payments.payments SET refunded_minor = 0, status = 'captured'"
        " WHERE order_id = 'ord_cancelled';"
        "DELETE FROM payments.refunds WHERE refund_id = 'ref_b';"
        "DELETE FROM payments.ledger WHERE order_id = 'ord_cancelled'"
        " AND kind IN ('return', 'repayment')",
        charges=tuple(c for c in CHARGES if c.number != 6),
        breaks=("what ended was paid back in full", "money that moved has its paper"),
        id="ord_cancelled",
    ),
    Damage(
        about="a refund that its payment does not know",
        sql="INSERT INTO payments.refunds (refund_id, payment_id, amount_minor, reason, status,"
        " asked, created_at) VALUES ('ref_d', 'pay_confirmed', 1, '', 'pending', true, now())",
        breaks=("refunds add up to their payment",),
        id="pay_confirmed",
    ),
    Damage(
        about="an event that was lost",
        sql="UPDATE bus.log SET sequence = 4 WHERE type = 'payments.payment_refunded.v1'",
        breaks=("sequences run from 1 without gaps",),
        id="payments ord_confirmed",
    ),
    Damage(
        about="two events that changed places",
        sql=UNGUARDED_STOCK_EVENTS
        + "UPDATE bus.log SET sequence = 3 - sequence, type = CASE sequence"
        " WHEN 1 THEN 'payments.payment_captured.v1' ELSE 'payments.payment_authorised.v1' END"
        " WHERE source = 'payments' AND subject = 'ord_confirmed' AND sequence < 3",
        breaks=(
            "the log is in the order of the sequences",
            "the feed is in the order of the sequences",
        ),
        id="payments ord_confirmed.1",
    ),
    Damage(
        about="a gap in the feed",
        sql="UPDATE bus.feed_ranges SET first = 99 WHERE first = 32",
        breaks=("the feed counts from 1 without gaps or repeats",),
        id="99",
    ),
    Damage(
        about="an event that the feed has twice",
        sql="INSERT INTO bus.feed_ranges SELECT 33, 1, from_xid, from_number, to_xid, to_number"
        " FROM bus.feed_ranges WHERE first = 32",
        breaks=(
            "the feed counts from 1 without gaps or repeats",
            "the feed is in the order of the sequences",
        ),
        id="33",
    ),
    Damage(
        about="an event that the feed forgot",
        sql="DELETE FROM bus.feed_ranges WHERE first = 32",
        breaks=("the feed holds every event",),
        id="orders ord_returned.7",
    ),
    Damage(
        about="a feed in another order than the log",
        sql="UPDATE bus.feed_ranges SET first = 45 - first WHERE first IN (1, 4);"
        "UPDATE bus.feed_ranges SET first = first - 40 WHERE first IN (44, 41)",
        breaks=(
            "the feed counts from 1 without gaps or repeats",
            "the feed is in the order of the sequences",
        ),
        id="orders ord_confirmed.1",
    ),
    Damage(
        about="a consumer that stands still",
        sql="UPDATE bus.offsets SET number = 0 WHERE consumer = 'inventory.stock'",
        breaks=("consumers have read everything",),
        id="inventory.stock 0",
    ),
    Damage(
        about="an event that could not be handled",
        sql="INSERT INTO bus.dead_letters (consumer, xid, number, key, state, error)"
        " VALUES ('inventory.stock', '100', 1, 'ord_confirmed', 'dead', 'division by zero')",
        breaks=("no event lies in the dead letters",),
        id="inventory.stock ord_confirmed",
    ),
    Damage(
        about="a hold that no event tells of",
        sql="UPDATE inventory.holds SET status = 'held', version = 1",
        breaks=("a hold is what its events say and ends in time",),
        id="crt_a",
    ),
    Damage(
        about="a cart that was sold twice",
        sql="INSERT INTO orders.checkouts (order_id, cart_id) VALUES ('ord_held', 'crt_a')",
        breaks=("a cart became one order at most",),
        id="crt_a",
    ),
    Damage(
        about="a cart that points to the order of another",
        sql="UPDATE orders.carts SET order_id = 'ord_held' WHERE cart_id = 'crt_b'",
        breaks=("a cart became one order at most",),
        id="crt_b",
    ),
    Damage(
        about="a checkout without its order",
        sql="INSERT INTO orders.checkouts (order_id, cart_id) VALUES ('ord_lost', 'crt_lost')",
        breaks=("a cart became one order at most",),
        id="crt_lost",
    ),
)
