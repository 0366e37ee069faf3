-- What fill_products.sql and fill_orders.sql need, in a database that the platform has started on.
-- Every row is a function of its number, so a fill can be made again and is the same.

DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;

-- What is filled: first and last numbers of the part under way, and where the whole begins.
CREATE TABLE bench.part (
  low bigint NOT NULL, high bigint NOT NULL,
  begins timestamptz NOT NULL,          -- when number 0 was placed
  step interval NOT NULL,               -- from one to the next
  products bigint NOT NULL,
  first_xid bigint NOT NULL,            -- transaction numbers that are ours to give
  first_position bigint NOT NULL        -- of the feed
);

-- An id as kernel/ids.py makes it, of this millisecond; what is random there follows from the
-- number. (Functions are stable, because only so all of them are planned as part of the query.)
CREATE FUNCTION bench.id(ms bigint, random text) RETURNS text LANGUAGE sql STABLE
RETURN substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> 45) & 31)::int + 1, 1)
       || substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> 40) & 31)::int + 1, 1)
       || substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> 35) & 31)::int + 1, 1)
       || substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> 30) & 31)::int + 1, 1)
       || substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> 25) & 31)::int + 1, 1)
       || substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> 20) & 31)::int + 1, 1)
       || substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> 15) & 31)::int + 1, 1)
       || substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> 10) & 31)::int + 1, 1)
       || substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> 5) & 31)::int + 1, 1)
       || substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> 0) & 31)::int + 1, 1)
       || 'e' || substr(random, 1, 2) || '8' || substr(random, 3, 12);

CREATE FUNCTION bench.iso(at timestamptz) RETURNS text LANGUAGE sql STABLE
RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

CREATE FUNCTION bench.sku(number bigint) RETURNS text LANGUAGE sql STABLE
RETURN 'B' || lpad(number::text, 6, '0');

-- 40 materials, 60 things: a material is in 1 of 40 products, a title like it in 1 of 2,400.
CREATE FUNCTION bench.title(number bigint) RETURNS text LANGUAGE sql STABLE
RETURN (ARRAY['Oak','Brass','Linen','Copper','Walnut','Ceramic','Cotton','Glass','Marble','Steel',
              'Bamboo','Cork','Leather','Porcelain','Silver','Wicker','Velvet','Slate','Cedar',
              'Enamel','Jute','Maple','Pewter','Rattan','Suede','Teak','Wool','Zinc','Ash','Beech',
              'Birch','Bronze','Cashmere','Clay','Felt','Granite','Iron','Ivory','Pine','Silk'])
       [1 + abs(hashint8(number)::bigint) % 40] || ' '
       || (ARRAY['table','lamp','vase','bowl','chair','mug','plate','tray','clock','mirror','shelf',
                 'basket','blanket','cushion','candle','jug','ladle','stool','bench','box','rug',
                 'curtain','teapot','kettle','pan','knife','fork','spoon','napkin','bucket','broom',
                 'hook','rack','drawer','cabinet','desk','easel','frame','globe','hammer','jar',
                 'lantern','mat','needle','organ','pitcher','quilt','ribbon','saucer','towel','urn',
                 'wreath','bell','coaster','doormat','funnel','grater','hamper','ladder','pillow'])
          [1 + abs(hashint8(number + 1000000007)::bigint) % 60] || ' ' || lpad(number::text, 6, '0');

CREATE FUNCTION bench.category(number bigint) RETURNS text LANGUAGE sql STABLE
RETURN 'Bench/Room ' || abs(hashint8(number)::bigint) % 40;

CREATE UNLOGGED TABLE bench.chunk (
  n bigint, id text COLLATE "C", at timestamptz, iso text, partition smallint, batch bigint,
  place bigint, a text, b text, c text, ta text, tb text, tc text, terms text
);

-- The times of the steps behind the moment an order was placed.
CREATE FUNCTION bench.step(at timestamptz, ms int) RETURNS timestamptz LANGUAGE sql STABLE
RETURN at + ms * interval '1 ms';

CREATE FUNCTION bench.line(sku text, title text) RETURNS text LANGUAGE sql STABLE
RETURN '{"sku":"' || sku || '","quantity":1,"unit_price_e4":99900,"total_minor":999,"title":"'
  || title || '"}';

CREATE FUNCTION bench.answered_line(sku text, title text) RETURNS text LANGUAGE sql STABLE
RETURN '{"sku":"' || sku || '","title":"' || title
  || '","quantity":1,"unit_price":{"amount":"9.99","currency":"GBP"},'
  || '"total":{"amount":"9.99","currency":"GBP"}}';

CREATE FUNCTION bench.cause(id text, fact text) RETURNS text LANGUAGE sql STABLE
RETURN ',"cause":"' || split_part(fact, '.', 1) || '/evt_ord_' || id || '.'
  || split_part(fact, '.', 2) || '"}';

CREATE FUNCTION bench.asked(id text, operation text) RETURNS text LANGUAGE sql STABLE
RETURN ',"cause":"payments/operation/pay_' || id || ':' || operation || '"}';

CREATE FUNCTION bench.trace(id text) RETURNS text LANGUAGE sql STABLE
RETURN '00-' || md5(id) || '-' || left(md5(id || 'x'), 16) || '-00';

-- All in one year's series: how numbers fall into years is not what the fill is for.
CREATE FUNCTION bench.invoice(n bigint) RETURNS text LANGUAGE sql IMMUTABLE
RETURN 'INV-2026-' || lpad(n::text, greatest(6, length(n::text)), '0');

-- The nine facts of an order that goes through, in the order in which they come about.
CREATE FUNCTION bench.events(o bench.chunk)
RETURNS TABLE (stage int, ms int, source text, type text, sequence bigint, body text)
LANGUAGE sql STABLE AS $$
  SELECT * FROM (VALUES
    (0, 0, 'orders', 'orders.order_placed.v1', 1::bigint,
     '{"data":{"sequence":1,"order_id":"ord_' || o.id || '","lines":[' || bench.line(o.a, o.ta)
     || ',' || bench.line(o.b, o.tb) || ',' || bench.line(o.c, o.tc)
     || '],"currency":"GBP","subtotal_minor":2997,"shipping_minor":0,"tax_minor":0,'
     || '"discount_minor":0,"fees_minor":0,"total_minor":2997,"channel":"web","payment":' || o.terms
     || ',"placed_at":"' || o.iso || '"},"cause":"request of a guest","trace":"'
     || bench.trace(o.id) || '"}'),
    (1, 3, 'inventory', 'inventory.stock_reserved.v1', 1,
     '{"data":{"sequence":1,"order_id":"ord_' || o.id || '","payment":' || o.terms
     || '},"cause":"orders/evt_ord_' || o.id || '.1","trace":"' || bench.trace(o.id) || '"}'),
    (2, 30, 'payments', 'payments.payment_authorised.v1', 1,
     '{"data":{"sequence":1,"order_id":"ord_' || o.id || '","payment_id":"pay_' || o.id
     || '","terms":' || o.terms || '}' || bench.asked(o.id, 'authorise')),
    (3, 35, 'fraud', 'fraud.payment_cleared.v1', 1,
     '{"data":{"sequence":1,"order_id":"ord_' || o.id || '","payment_id":"pay_' || o.id
     || '","score":0,"reasons":[]}' || bench.cause(o.id, 'payments.1')),
    (4, 42, 'orders', 'orders.order_confirmed.v1', 2,
     '{"data":{"sequence":2,"order_id":"ord_' || o.id || '","payment_id":"pay_' || o.id
     || '","total_minor":2997,"currency":"GBP","customer":"prs_' || o.id || '","contact":"ctc_'
     || o.id || '","confirmed_at":"' || bench.iso(bench.step(o.at, 42)) || '"}'
     || bench.cause(o.id, 'fraud.1')),
    (5, 120, 'inventory', 'inventory.stock_allocated.v1', 2,
     '{"data":{"sequence":2,"order_id":"ord_' || o.id || '"}' || bench.cause(o.id, 'orders.2')),
    (6, 121, 'notifications', 'notifications.message_sent.v1', 1,
     '{"data":{"sequence":1,"order_id":"ord_' || o.id || '","message_id":"msg_' || o.id
     || '","kind":"confirmation","via":"mailbox","sent_at":"'
     || bench.iso(bench.step(o.at, 121)) || '"}' || bench.cause(o.id, 'orders.2')),
    (7, 140, 'payments', 'payments.payment_captured.v1', 2,
     '{"data":{"sequence":2,"order_id":"ord_' || o.id || '","payment_id":"pay_' || o.id
     || '","amount_minor":2997,"currency":"GBP"}' || bench.asked(o.id, 'capture')),
    (8, 190, 'orders', 'orders.invoice_issued.v1', 1,
     '{"data":{"sequence":1,"number":"' || bench.invoice(o.n) || '","order_id":"ord_' || o.id
     || '","currency":"GBP","total_minor":2997,"tax_minor":0,"dated":"'
     || to_char(o.at, 'YYYY-MM-DD') || '"}' || bench.cause(o.id, 'payments.2'))
  ) AS e (stage, ms, source, type, sequence, body)
$$;

CREATE FUNCTION bench.answer(o bench.chunk) RETURNS bytea LANGUAGE sql STABLE
RETURN convert_to('{"id":"ord_' || o.id || '","status":"confirmed","email":"prs_' || o.id
  || '","currency":"GBP","lines":[' || bench.answered_line(o.a, o.ta) || ','
  || bench.answered_line(o.b, o.tb) || ',' || bench.answered_line(o.c, o.tc)
  || '],"totals":{"subtotal":{"amount":"29.97","currency":"GBP"},'
  || '"shipping":{"amount":"0.00","currency":"GBP"},"tax":{"amount":"0.00","currency":"GBP"},'
  || '"discount":{"amount":"0.00","currency":"GBP"},"fees":{"amount":"0.00","currency":"GBP"},'
  || '"total":{"amount":"29.97","currency":"GBP"}},"fees":[],"payment":{"id":"pay_' || o.id
  || '","status":"authorised"},"channel":"web","external_id":null,"placed_at":"' || o.iso
  || '","decided_at":"' || bench.iso(bench.step(o.at, 42))
  || '","version":2,"shipping_address":null}', 'UTF8');
