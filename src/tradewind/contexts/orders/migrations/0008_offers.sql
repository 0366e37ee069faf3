-- Prices that count for some time, and prices of groups, are offers of their own: an order looks at
-- the clock and at who places it. Milliseconds since 1970; 0 and the end of time where there is no
-- date, because a key cannot hold NULL.
ALTER TABLE orders.offers
  ADD COLUMN customer_group text   COLLATE "C" NOT NULL DEFAULT '',
  ADD COLUMN list_id        text   COLLATE "C" NOT NULL DEFAULT '',
  ADD COLUMN from_ms        bigint NOT NULL DEFAULT 0,
  ADD COLUMN until_ms       bigint NOT NULL DEFAULT 9223372036854775807;
ALTER TABLE orders.offers DROP CONSTRAINT offers_pkey;
ALTER TABLE orders.offers
  ADD CONSTRAINT offers_pkey PRIMARY KEY (sku_key, currency, customer_group, list_id, from_ms);
