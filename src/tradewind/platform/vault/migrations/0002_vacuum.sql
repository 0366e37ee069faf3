-- Vacuum in steps that stay the same however much there is: a share of millions of rows would come
-- rarely and take long. Rows that only grow are marked as seen by all, and frozen, while their pages
-- are still in memory.
ALTER TABLE vault.contacts SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000);
ALTER TABLE vault.persons SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000);
