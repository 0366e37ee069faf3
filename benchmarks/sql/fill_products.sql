-- Products bench.part.low to high, each with one variant, on the shelf: the rows and events that an
-- import leaves. One transaction; numbers are a multiple of 32.

TRUNCATE bench.chunk;
INSERT INTO bench.chunk (n, id, at, batch, place, a, ta)
SELECT n, bench.id((extract(epoch FROM at) * 1000)::bigint, md5(n::text)), at, (n - 1) / 32,
       (n - 1) % 32, bench.sku(n), bench.title(n)
  FROM bench.part p, generate_series(p.low, p.high) n,
       LATERAL (SELECT p.begins + n * p.step AS at OFFSET 0) t;
INSERT INTO catalog.categories (path, parent, category_id, name)
SELECT path, parent, 'cat_' || substr(md5(path), 1, 26), regexp_replace(path, '^.*/', '')
  FROM (SELECT 'Bench' AS path, NULL AS parent
        UNION ALL SELECT DISTINCT bench.category(n), 'Bench' FROM bench.chunk) c
    ON CONFLICT DO NOTHING;
INSERT INTO catalog.products (product_id, external_id, title, description, category, categories,
       attributes, version, archived, mark, document, search, created_at, updated_at)
SELECT 'prd_' || id, a, ta, '', k, ARRAY['Bench', k], '{}', 1, false, '5eb54f8392f3',
       '{"id":"prd_' || id || '","external_id":"' || a || '","title":"' || ta
       || '","description":"","category":"' || k || '","attributes":{},"version":1,"variants":[{"sku":"'
       || a || '","title":"' || ta || '","price":{"amount":"9.99","currency":"GBP"},'
       || '"attributes":{},"availability":"in_stock"}]}',
       setweight(to_tsvector('pg_catalog.english', ta), 'A')
       || setweight(to_tsvector('pg_catalog.simple', a), 'A')
       || setweight(to_tsvector('pg_catalog.english', translate(k, '/_', '  ')), 'B')
       || setweight(to_tsvector('pg_catalog.simple', ta), 'D'),
       at, at
  FROM (SELECT *, bench.category(n) AS k FROM bench.chunk) c ORDER BY n;
INSERT INTO catalog.variants
       (sku_key, product_id, sku, title, prices, attributes, archived, position)
SELECT a, 'prd_' || id, a, ta, '[{"currency":"GBP","amount_e4":99900}]', '{}', false, 0
  FROM bench.chunk ORDER BY n;
INSERT INTO catalog.availability (sku_key, availability, sequence)
SELECT a, 'in_stock', 2 FROM bench.chunk ORDER BY n;
INSERT INTO catalog.counts (sku_key, declared, counted, sequence)
SELECT a, 1000000000, 1000000000, 1 FROM bench.chunk ORDER BY n;
INSERT INTO catalog.history (product_id, version, at, by, changes)
SELECT 'prd_' || id, 1, at, 'import imp_bench', '[{"field":"","after":"created"}]'
  FROM bench.chunk ORDER BY n;
INSERT INTO orders.offers (sku_key, currency, sku, product_id, title, unit_price_e4, version)
SELECT a, 'GBP', a, 'prd_' || id, ta, 99900, 1 FROM bench.chunk ORDER BY n;
INSERT INTO inventory.skus (sku_key, sku, availability, sequence, product, product_sequence)
SELECT a, a, 'in_stock', 2, 'prd_' || id, 1 FROM bench.chunk ORDER BY n;
INSERT INTO inventory.stock (sku_key, location, on_hand)
SELECT a, 'main', 1000000000 FROM bench.chunk ORDER BY n;
INSERT INTO inventory.movements (sku_key, location, kind, on_hand_delta, cause, at)
SELECT a, 'main', 'opening', 1000000000, 'prd_' || id, at FROM bench.chunk ORDER BY n;
INSERT INTO bus.log (xid, number, partition, source, type, subject, sequence, at, body)
SELECT (p.first_xid + batch * 3 + stage)::text::xid8,
       place + 1, crc32(convert_to(subject, 'UTF8')) % 16,
       split_part(type, '.', 1), type, subject, sequence, at, body
  FROM bench.part p, bench.chunk c
 CROSS JOIN LATERAL (VALUES
       (0, 'catalog.product_changed.v1', 'prd_' || id, 1,
        '{"data":{"sequence":1,"product_id":"prd_' || id || '","external_id":"' || a
        || '","title":"' || ta || '","category":"' || bench.category(n)
        || '","version":1,"archived":false,"variants":[{"sku":"' || a || '","title":"' || ta
        || '","prices":[{"currency":"GBP","amount_e4":99900}],"archived":false,"attributes":{},'
        || '"on_hand":1000000000,"options":{},"group_prices":[]}],"description":"","attributes":{},'
        || '"options":[],"media":[]}}'),
       (1, 'inventory.stock_counted.v1', 'sku:' || a, 1,
        '{"data":{"sequence":1,"sku":"' || a || '","location":"main","on_hand":1000000000,'
        || '"reserved":0,"short":0}}'),
       (2, 'inventory.availability_changed.v1', 'sku:' || a, 2,
        '{"data":{"sequence":2,"sku":"' || a || '","availability":"in_stock"}}'))
       AS e (stage, type, subject, sequence, body)
 ORDER BY batch, stage, n;
INSERT INTO bus.feed_ranges (first, count, from_xid, from_number, to_xid, to_number)
SELECT p.first_position + b * 96, 96, (p.first_xid + b * 3)::text::xid8, 1,
       (p.first_xid + b * 3 + 2)::text::xid8, 32
  FROM bench.part p, generate_series((p.low - 1) / 32, (p.high - 1) / 32) b;
