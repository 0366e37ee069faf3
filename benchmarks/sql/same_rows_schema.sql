-- B, once: what same_rows.sql needs in a database that the platform's own migrations made.
-- Texts are functions, because pgbench takes ":null" inside a JSON text for a variable of its own.

CREATE SCHEMA bench;
-- Orders are numbered, so that B's ids grow at the right end of every index, as the platform's do.
CREATE SEQUENCE bench.numbers;

INSERT INTO orders.offers (sku_key, currency, sku, product_id, title, unit_price_e4, version)
SELECT sku, 'GBP', sku, 'prd_' || lpad(i::text, 26, '0'), 'Bench product ' || lpad(i::text, 4, '0'),
       99900, 1
  FROM (SELECT i, 'B' || lpad(i::text, 4, '0') AS sku FROM generate_series(1, 1000) i) s;
INSERT INTO inventory.skus (sku_key, sku, availability, sequence)
SELECT sku_key, sku, 'in_stock', 1 FROM orders.offers;
INSERT INTO inventory.stock (sku_key, location, on_hand)
SELECT sku_key, 'main', 1000000000 FROM orders.offers;

CREATE FUNCTION bench.id(number bigint) RETURNS text LANGUAGE sql IMMUTABLE
RETURN lpad(number::text, 26, '0');

CREATE FUNCTION bench.sku(number text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN 'B' || lpad(number, 4, '0');

CREATE FUNCTION bench.terms(n text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN '{"order_id":"ord_' || n || '","payment_id":"pay_' || n
  || '","amount_minor":2997,"currency":"GBP","token":"tok_ok","customer":"prs_' || n
  || '","contact":"ctc_' || n || '","guest":true,"imported":false,"shipping_country":"GB",'
  || '"billing_country":null,"placed_at":"2026-11-22T16:39:02.824802Z"}';

CREATE FUNCTION bench.line(sku text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN '{"sku":"' || sku || '","quantity":1,"unit_price_e4":99900,"total_minor":999,'
  || '"title":"Bench product ' || right(sku, 4) || '"}';

CREATE FUNCTION bench.answered_line(sku text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN '{"sku":"' || sku || '","title":"Bench product ' || right(sku, 4)
  || '","quantity":1,"unit_price":{"amount":"9.99","currency":"GBP"},'
  || '"total":{"amount":"9.99","currency":"GBP"}}';

CREATE FUNCTION bench.answer(n text, a text, b text, c text) RETURNS bytea LANGUAGE sql IMMUTABLE
RETURN convert_to('{"id":"ord_' || n || '","status":"confirmed","email":"prs_' || n
  || '","currency":"GBP","lines":[' || bench.answered_line(a) || ',' || bench.answered_line(b)
  || ',' || bench.answered_line(c)
  || '],"totals":{"subtotal":{"amount":"29.97","currency":"GBP"},'
  || '"shipping":{"amount":"0.00","currency":"GBP"},"tax":{"amount":"0.00","currency":"GBP"},'
  || '"discount":{"amount":"0.00","currency":"GBP"},"fees":{"amount":"0.00","currency":"GBP"},'
  || '"total":{"amount":"29.97","currency":"GBP"}},"fees":[],"payment":{"id":"pay_' || n
  || '","status":"authorised"},"channel":"web","external_id":null,'
  || '"placed_at":"2026-11-22T16:39:02.824802Z","decided_at":"2026-11-22T16:39:02.890093Z",'
  || '"version":2,"shipping_address":null}', 'UTF8');

CREATE FUNCTION bench.cause(n text, fact text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN '"cause":"' || split_part(fact, '.', 1) || '/evt_ord_' || n || '.'
  || split_part(fact, '.', 2) || '"';

-- The eight facts of an order that goes through, in the order in which they come about.
CREATE FUNCTION bench.events(n text, a text, b text, c text)
RETURNS TABLE (source text, type text, sequence bigint, body text, number text) LANGUAGE sql IMMUTABLE AS $$
  SELECT *, NULL FROM (VALUES
    ('orders', 'orders.order_placed.v1', 1::bigint,
     '{"data":{"sequence":1,"order_id":"ord_' || n || '","lines":[' || bench.line(a) || ','
     || bench.line(b) || ',' || bench.line(c) || '],"currency":"GBP","subtotal_minor":2997,'
     || '"shipping_minor":0,"tax_minor":0,"discount_minor":0,"fees_minor":0,"total_minor":2997,'
     || '"channel":"web","payment":' || bench.terms(n)
     || ',"placed_at":"2026-11-22T16:39:02.824802Z"},'
     || '"trace":"00-bfc4160c46a25d690cac87067bd32089-09d029ba15f15823-00"}'),
    ('inventory', 'inventory.stock_reserved.v1', 1,
     '{"data":{"sequence":1,"order_id":"ord_' || n || '","payment":' || bench.terms(n) || '},'
     || bench.cause(n, 'orders.1')
     || ',"trace":"00-bfc4160c46a25d690cac87067bd32089-09d029ba15f15823-00"}'),
    ('payments', 'payments.payment_authorised.v1', 1,
     '{"data":{"sequence":1,"order_id":"ord_' || n || '","payment_id":"pay_' || n
     || '","terms":' || bench.terms(n) || '}}'),
    ('fraud', 'fraud.payment_cleared.v1', 1,
     '{"data":{"sequence":1,"order_id":"ord_' || n || '","payment_id":"pay_' || n
     || '","score":0,"reasons":[]},' || bench.cause(n, 'payments.1') || '}'),
    ('orders', 'orders.order_confirmed.v1', 2,
     '{"data":{"sequence":2,"order_id":"ord_' || n || '","payment_id":"pay_' || n
     || '","total_minor":2997,"currency":"GBP","customer":"prs_' || n || '","contact":"ctc_' || n
     || '","confirmed_at":"2026-11-22T16:39:02.890093Z"},' || bench.cause(n, 'fraud.1') || '}'),
    ('inventory', 'inventory.stock_allocated.v1', 2,
     '{"data":{"sequence":2,"order_id":"ord_' || n || '"},' || bench.cause(n, 'orders.2') || '}'),
    ('notifications', 'notifications.message_sent.v1', 1,
     '{"data":{"sequence":1,"order_id":"ord_' || n || '","message_id":"msg_' || n
     || '","kind":"confirmation","via":"mailbox","sent_at":"2026-11-22T16:39:02.900030Z"},'
     || bench.cause(n, 'orders.2') || '}'),
    ('payments', 'payments.payment_captured.v1', 2,
     '{"data":{"sequence":2,"order_id":"ord_' || n || '","payment_id":"pay_' || n
     || '","amount_minor":2997,"currency":"GBP"}}')
  ) AS e (source, type, sequence, body)
  UNION ALL
  SELECT 'orders', 'orders.invoice_issued.v1', 1,
         '{"data":{"sequence":1,"number":"INV-2026-' || n || '","order_id":"ord_' || n
         || '","currency":"GBP","total_minor":2997,"tax_minor":0,"dated":"2026-11-22"},'
         || bench.cause(n, 'payments.2') || '}', 'INV-2026-' || n
$$;
