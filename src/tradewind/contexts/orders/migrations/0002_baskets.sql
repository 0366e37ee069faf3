-- All lines of an order in one row: a third of the rows and of the index entries of an order, and no
-- look-up of the order for each of them. Whoever asks in SQL finds them as lines all the same.

CREATE TABLE orders.baskets (
  order_id       text     NOT NULL COLLATE "C" PRIMARY KEY,
  skus           text[]   NOT NULL COLLATE "C",
  titles         text[]   NOT NULL,
  quantities     int[]    NOT NULL CHECK (0 < ALL (quantities)),
  unit_prices_e4 bigint[] NOT NULL CHECK (0 <= ALL (unit_prices_e4)),
  totals_minor   bigint[] NOT NULL CHECK (0 <= ALL (totals_minor)),
  CONSTRAINT every_line_is_whole CHECK
    (cardinality(skus) > 0 AND cardinality(titles) = cardinality(skus)
     AND cardinality(quantities) = cardinality(skus)
     AND cardinality(unit_prices_e4) = cardinality(skus)
     AND cardinality(totals_minor) = cardinality(skus))
);

INSERT INTO orders.baskets
SELECT order_id, array_agg(sku ORDER BY number), array_agg(title ORDER BY number),
       array_agg(quantity ORDER BY number), array_agg(unit_price_e4 ORDER BY number),
       array_agg(total_minor ORDER BY number)
  FROM orders.lines GROUP BY order_id;

DROP TABLE orders.lines;

CREATE VIEW orders.lines WITH (security_invoker = true) AS
SELECT b.order_id, l.number::smallint AS number, l.sku, l.title, l.quantity, l.unit_price_e4,
       l.total_minor
  FROM orders.baskets b
 CROSS JOIN LATERAL unnest(b.skus, b.titles, b.quantities, b.unit_prices_e4, b.totals_minor)
       WITH ORDINALITY AS l (sku, title, quantity, unit_price_e4, total_minor, number);

-- An order's row changes two or three times: each time there must be room on its own page.
ALTER TABLE orders.orders SET (fillfactor = 50);
