-- Vacuum in steps that stay the same however much there is: a share of millions of rows would come
-- rarely and take long. Rows that only grow are marked as seen by all, and frozen, while their pages
-- are still in memory; rows that change a few times while young leave little behind, because they
-- change on their own page.
ALTER TABLE payments.payments SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100000,
  autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000);
ALTER TABLE payments.operations SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000);
ALTER TABLE payments.ledger SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000);
