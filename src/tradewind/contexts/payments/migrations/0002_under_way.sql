-- What is under way at the provider apart from what it decided. A payment has one row here or none,
-- which is the rule "one operation per payment at a time" as a primary key; the table stays small,
-- so the sweep reads it as it is; and payments.operations only grows.

CREATE TABLE payments.under_way (
    payment_id text COLLATE "C" PRIMARY KEY,
    key text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL
        CHECK (operation IN ('authorise', 'capture', 'void', 'refund')),
    refund_id text COLLATE "C" CHECK ((refund_id IS NOT NULL) = (operation = 'refund')),
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    status text COLLATE "C" NOT NULL CHECK (status IN ('requested', 'unknown')),
    attempt int NOT NULL CHECK (attempt >= 1),  -- calls made or under way
    claim int NOT NULL CHECK (claim >= 1),  -- calls and look-ups: which one an outcome is of
    claimed boolean NOT NULL,  -- a process is at it until due_at
    due_at timestamptz NOT NULL,  -- when the sweep takes it up
    deadline_at timestamptz,
    requested_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000000);

INSERT INTO payments.under_way
SELECT payment_id, key, operation, refund_id, amount_minor, status, attempt, claim, claimed, due_at,
       deadline_at, requested_at
  FROM payments.operations WHERE status IN ('requested', 'unknown');
DELETE FROM payments.operations WHERE status IN ('requested', 'unknown');

ALTER TABLE payments.operations
    DROP CONSTRAINT one_at_a_time,
    DROP COLUMN claim,
    DROP COLUMN claimed,
    DROP COLUMN due_at,
    DROP COLUMN deadline_at,
    ALTER COLUMN finished_at SET NOT NULL,
    ADD CONSTRAINT decided CHECK (status IN ('succeeded', 'refused'));

CREATE TRIGGER operations_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON payments.operations
    FOR EACH STATEMENT EXECUTE FUNCTION payments.refuse_change();

-- A payment changes three times: each time there must be room on its own page.
ALTER TABLE payments.payments SET (fillfactor = 50);
