-- Payments: what was asked of the provider, what it did, and where the money stands.

CREATE TABLE payments.payments (
    payment_id text COLLATE "C" PRIMARY KEY,
    order_id text COLLATE "C" NOT NULL UNIQUE,
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    token text NOT NULL,
    terms text NOT NULL,  -- PaymentTerms as JSON, passed on with PaymentAuthorised
    status text COLLATE "C" NOT NULL CHECK (status IN ('pending', 'authorised', 'captured',
        'voided', 'refunded', 'partially_refunded', 'declined', 'failed')),
    -- Where the money should end; the rules start what is missing whenever nothing is under way.
    wanted text COLLATE "C" NOT NULL CHECK (wanted IN ('authorised', 'captured', 'nothing')),
    captured_minor bigint NOT NULL DEFAULT 0,
    refunded_minor bigint NOT NULL DEFAULT 0 CHECK (refunded_minor >= 0),
    pending_refund_minor bigint NOT NULL DEFAULT 0 CHECK (pending_refund_minor >= 0),
    halted text,  -- why nothing more is tried by itself: a person must look
    sequence int NOT NULL CHECK (sequence >= 0),
    version int NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT never_more_than_agreed CHECK (captured_minor BETWEEN 0 AND amount_minor),
    CONSTRAINT never_back_more_than_taken
        CHECK (refunded_minor + pending_refund_minor <= captured_minor),
    CONSTRAINT status_says_what_moved CHECK (
        CASE status
            WHEN 'captured' THEN refunded_minor = 0
            WHEN 'partially_refunded' THEN refunded_minor BETWEEN 1 AND captured_minor - 1
            WHEN 'refunded' THEN refunded_minor = captured_minor
            ELSE captured_minor = 0 AND refunded_minor = 0
        END)
) WITH (fillfactor = 80);

-- One row per operation, however often it is tried: the key is the provider's idempotency key.
CREATE TABLE payments.operations (
    key text COLLATE "C" PRIMARY KEY,
    payment_id text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL
        CHECK (operation IN ('authorise', 'capture', 'void', 'refund')),
    refund_id text COLLATE "C" CHECK ((refund_id IS NOT NULL) = (operation = 'refund')),
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    status text COLLATE "C" NOT NULL
        CHECK (status IN ('requested', 'unknown', 'succeeded', 'refused')),
    attempt int NOT NULL CHECK (attempt >= 1),  -- calls made or under way
    claim int NOT NULL CHECK (claim >= 1),  -- calls and look-ups: which one an outcome is of
    claimed boolean NOT NULL,  -- a process is at it until due_at
    due_at timestamptz NOT NULL,  -- when the sweep takes it up
    deadline_at timestamptz,
    reason text,
    requested_at timestamptz NOT NULL,
    finished_at timestamptz,
    CHECK ((finished_at IS NULL) = (status IN ('requested', 'unknown'))),
    -- One operation per payment at a time. Deferred, because one statement ends an operation and
    -- starts the next, in no particular order. Also finds what is under way: of a payment, or due.
    CONSTRAINT one_at_a_time EXCLUDE USING btree (payment_id WITH =)
        WHERE (status IN ('requested', 'unknown')) DEFERRABLE INITIALLY DEFERRED
) WITH (fillfactor = 80);

CREATE TABLE payments.refunds (
    refund_id text COLLATE "C" PRIMARY KEY,
    payment_id text COLLATE "C" NOT NULL REFERENCES payments.payments,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    reason text NOT NULL,
    status text COLLATE "C" NOT NULL CHECK (status IN ('pending', 'succeeded', 'refused')),
    asked boolean NOT NULL,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    CHECK ((finished_at IS NULL) = (status = 'pending'))
);
CREATE INDEX refunds_by_payment ON payments.refunds (payment_id, refund_id);

-- Orders that ended before a payment began: a reservation that comes late finds them here.
CREATE TABLE payments.ended_orders (
    order_id text COLLATE "C" PRIMARY KEY,
    ended_at timestamptz NOT NULL
);

-- Double entry: a row debits one account and credits another, so the ledger sums to zero by its
-- shape, whatever is written.
CREATE TABLE payments.ledger (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    payment_id text COLLATE "C" NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL
        CHECK (kind IN ('sale', 'settlement', 'return', 'repayment', 'fee')),
    debit text COLLATE "C" NOT NULL,
    credit text COLLATE "C" NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    CHECK (debit <> credit),
    CHECK (debit ~ '^(receivable|sales|refunds|fees|provider:[a-z0-9-]+)$'),
    CHECK (credit ~ '^(receivable|sales|refunds|fees|provider:[a-z0-9-]+)$')
);

CREATE FUNCTION payments.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is a ledger: it only grows', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER ledger_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON payments.ledger
    FOR EACH STATEMENT EXECUTE FUNCTION payments.refuse_change();
