-- Orders bench.part.low to high, confirmed and captured: the rows that each leaves in every table of
-- every context. One transaction; numbers are a multiple of 32, as many as a busy shop takes at once.

TRUNCATE bench.chunk;
INSERT INTO bench.chunk
SELECT n, o.id, at, iso, crc32(convert_to('ord_' || o.id, 'UTF8')) % 16, (n - 1) / 32, (n - 1) % 32,
       x.sku, y.sku, z.sku, x.title, y.title, z.title,
       '{"order_id":"ord_' || o.id || '","payment_id":"pay_' || o.id
       || '","amount_minor":2997,"currency":"GBP","token":"tok_ok","customer":"prs_' || o.id
       || '","contact":"ctc_' || o.id || '","guest":true,"imported":false,"shipping_country":"GB",'
       || '"billing_country":null,"placed_at":"' || iso || '"}'
  FROM (SELECT n, t.at, t.iso, bench.id(t.ms, t.random) AS id,
               1 + abs(hashint8(3 * n)::bigint) % p.third AS i,
               1 + p.third + abs(hashint8(3 * n + 1)::bigint) % p.third AS j,
               1 + 2 * p.third + abs(hashint8(3 * n + 2)::bigint) % p.third AS k
          FROM (SELECT *, products / 3 AS third FROM bench.part) p,
               generate_series(p.low, p.high) n,
               LATERAL (SELECT p.begins + n * p.step AS at OFFSET 0) a,
               LATERAL (SELECT a.at, bench.iso(a.at) AS iso, md5(n::text) AS random,
                               (extract(epoch FROM a.at) * 1000)::bigint AS ms OFFSET 0) t
        OFFSET 0) o
  JOIN orders.offers x ON x.sku_key = bench.sku(i) AND x.currency = 'GBP'
  JOIN orders.offers y ON y.sku_key = bench.sku(j) AND y.currency = 'GBP'
  JOIN orders.offers z ON z.sku_key = bench.sku(k) AND z.currency = 'GBP';
ANALYZE bench.chunk;

INSERT INTO vault.contacts (contact, blind, created_at)
SELECT 'ctc_' || id, decode(md5('blind' || id), 'hex'), at FROM bench.chunk ORDER BY n;
INSERT INTO vault.persons (person, holder, contact, key_id, wrapped, sealed, created_at)
SELECT 'prs_' || id, 'orders', 'ctc_' || id, 'a2bed706da7b',
       substr(decode(repeat(md5(id), 4), 'hex'), 1, 60),
       substr(decode(repeat(md5(id), 11), 'hex'), 1, 170), at FROM bench.chunk ORDER BY n;
INSERT INTO orders.orders (order_id, version, status, currency, subtotal_minor, shipping_minor,
       tax_minor, discount_minor, fees_minor, total_minor, customer, contact, payment_id,
       payment_status, channel, imported, placed_at, decide_before, decided_at)
SELECT 'ord_' || id, 2, 'confirmed', 'GBP', 2997, 0, 0, 0, 0, 2997, 'prs_' || id, 'ctc_' || id,
       'pay_' || id, 'captured', 'web', false, at, at + interval '15 minutes', bench.step(at, 42)
  FROM bench.chunk ORDER BY n;
INSERT INTO orders.baskets (order_id, skus, titles, quantities, unit_prices_e4, totals_minor, country)
SELECT 'ord_' || id, ARRAY[a, b, c], ARRAY[ta, tb, tc], '{1,1,1}', '{99900,99900,99900}',
       '{999,999,999}', 'GB' FROM bench.chunk ORDER BY n;
INSERT INTO orders.documents (series, year, serial, kind, source, order_id, customer, country,
       currency, total_minor, tax_minor, tax_rate_bp, dated, issued_at, seller)
SELECT 'INV', 2026, n, 'invoice', 'ord_' || id, 'ord_' || id, 'prs_' || id, 'GB', 'GBP', 2997, 0, 0,
       at::date, bench.step(at, 190), 'Tradewind' FROM bench.chunk ORDER BY n;
INSERT INTO orders.document_series (series, year, last) SELECT 'INV', 2026, max(n) FROM bench.chunk
    ON CONFLICT (series, year) DO UPDATE SET last = greatest(document_series.last, excluded.last);
INSERT INTO orders.idempotency_keys (digest, fingerprint, resource, trace, created_at)
SELECT decode(md5(id), 'hex'), decode(repeat(md5(n::text), 2), 'hex'), 'ord_' || id,
       bench.trace(id), at FROM bench.chunk ORDER BY n;
INSERT INTO orders.kept_answers (resource, status, body, headers, created_at)
SELECT 'ord_' || id, 201, bench.answer(chunk),
       '{"content-type":"application/json","location":"/v1/orders/ord_' || id || '"}',
       bench.step(at, 42) FROM bench.chunk ORDER BY n;
INSERT INTO inventory.reservations
       (order_id, status, version, sku_keys, quantities, created_at, changed_at)
SELECT 'ord_' || id, 'allocated', 2, ARRAY[a, b, c], '{1,1,1}', bench.step(at, 3),
       bench.step(at, 120) FROM bench.chunk ORDER BY n;
INSERT INTO payments.payments (payment_id, order_id, amount_minor, currency, token, terms, status,
       wanted, captured_minor, sequence, version, created_at, updated_at)
SELECT 'pay_' || id, 'ord_' || id, 2997, 'GBP', 'tok_ok', terms, 'captured', 'captured', 2997, 2, 4,
       bench.step(at, 4), bench.step(at, 140) FROM bench.chunk ORDER BY n;
INSERT INTO payments.operations (key, payment_id, operation, amount_minor, status, attempt,
       requested_at, finished_at)
SELECT 'pay_' || id || ':' || o.operation, 'pay_' || id, o.operation, 2997, 'succeeded', 1,
       bench.step(at, o.begun), bench.step(at, o.done)
  FROM bench.chunk, (VALUES ('authorise', 4, 30), ('capture', 120, 140)) AS o (operation, begun, done)
 ORDER BY n, o.operation;
INSERT INTO payments.ledger
       (at, payment_id, order_id, kind, debit, credit, amount_minor, currency)
SELECT bench.step(at, 140), 'pay_' || id, 'ord_' || id, p.kind, p.debit, p.credit, 2997, 'GBP'
  FROM bench.chunk, (VALUES ('sale', 'receivable', 'sales'),
                            ('settlement', 'provider:simulator', 'receivable'))
                     AS p (kind, debit, credit) ORDER BY n, p.kind;
INSERT INTO fraud.scores
       (order_id, payment_id, score, held, imported, reasons, contact, placed_at, scored_at)
SELECT 'ord_' || id, 'pay_' || id, 0, false, false, '[]', 'ctc_' || id, at, bench.step(at, 35)
  FROM bench.chunk ORDER BY n;
INSERT INTO notifications.messages (message_id, order_id, kind, person, contact, total_minor,
       currency, template, header_id, status, via, attempts, sequence, queued_at, settled_at)
SELECT 'msg_' || id, 'ord_' || id, 'confirmation', 'prs_' || id, 'ctc_' || id, 2997, 'GBP',
       'confirmed.1', '<ord_' || id || '.confirmation@tradewind.example>', 'sent', 'mailbox', 1, 1,
       bench.step(at, 121), bench.step(at, 121) FROM bench.chunk ORDER BY n;
INSERT INTO bus.log (xid, number, partition, source, type, subject, sequence, at, body)
SELECT (p.first_xid + batch * 9 + e.stage)::text::xid8, place + 1, partition, e.source, e.type, CASE e.stage WHEN 8 THEN bench.invoice(n) ELSE 'ord_' || id END, e.sequence, bench.step(o.at, e.ms), e.body
  FROM bench.part p, bench.chunk o, bench.events(o) e ORDER BY batch, stage, n;
INSERT INTO bus.feed_ranges (first, count, from_xid, from_number, to_xid, to_number)
SELECT p.first_position + b * 288, 288, (p.first_xid + b * 9)::text::xid8, 1,
       (p.first_xid + b * 9 + 8)::text::xid8, 32
  FROM bench.part p, generate_series((p.low - 1) / 32, (p.high - 1) / 32) b;
