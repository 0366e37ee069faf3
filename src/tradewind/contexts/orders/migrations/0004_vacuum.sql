-- Vacuum in steps that stay the same however much there is: a share of millions of rows would come
-- rarely and take long. Rows that only grow are marked as seen by all, and frozen, while their pages
-- are still in memory; rows that change a few times while young leave little behind, because they
-- change on their own page.
ALTER TABLE orders.orders SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100000,
  autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000);
ALTER TABLE orders.baskets SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000);
ALTER TABLE orders.idempotency_keys SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000);
ALTER TABLE orders.kept_answers SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000);
