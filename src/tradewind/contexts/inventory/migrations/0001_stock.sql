-- Inventory: what lies where, what is promised, and how both came about.
--
-- Two ledgers prove every row of `stock`:
--   on_hand  = sum of movements.on_hand_delta                 (units that came and went)
--   reserved = sum of the quantities of living reservations   (units that are promised)
-- A reservation is one row with arrays, not a header and lines: an order of three lines then writes one
-- row and one index entry instead of eight. It is its own entry in the second ledger: it says what was
-- promised, since when, whether it still is, and why it ended.

CREATE TABLE inventory.locations (
    code text COLLATE "C" PRIMARY KEY CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,39}$'),
    id text COLLATE "C" NOT NULL UNIQUE,
    name text NOT NULL,
    priority int NOT NULL CHECK (priority >= 0)
);

-- The location of everything, until somebody opens another. Its id is the same in every installation.
INSERT INTO inventory.locations (code, id, name, priority)
VALUES ('main', 'loc_00000000000000000000000000', 'Main', 0);

-- One row per sku, over all locations: its mark of availability and the sequence of its events.
-- `product` and its version: whose count was taken last from the catalog, so that one seen again is known.
CREATE TABLE inventory.skus (
    sku_key text COLLATE "C" PRIMARY KEY,
    sku text NOT NULL,
    availability text NOT NULL CHECK (availability IN ('in_stock', 'low', 'out_of_stock')),
    sequence bigint NOT NULL CHECK (sequence > 0),
    product text COLLATE "C",
    product_sequence bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 80);

-- Never oversold, by constraint. A count below what is promised is accepted (reality wins), so
-- `reserved <= on_hand` can not be the rule. The rule is that only a count may break it: `short` is
-- what a count left uncovered, kept by its own arithmetic (a count sets it, a release lowers it, a
-- reservation never names it), and it must always be exactly the gap. A reservation of one unit more
-- than is free opens a gap that `short` does not know, whatever code or concurrency made it, and
-- the database refuses it.
CREATE TABLE inventory.stock (
    sku_key text COLLATE "C" NOT NULL REFERENCES inventory.skus,
    location text COLLATE "C" NOT NULL REFERENCES inventory.locations,
    on_hand bigint NOT NULL CHECK (on_hand >= 0),
    reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    short bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (sku_key, location),
    CONSTRAINT never_oversold CHECK (short = greatest(reserved - on_hand, 0))
) WITH (fillfactor = 30);

CREATE TABLE inventory.reservations (
    order_id text COLLATE "C" PRIMARY KEY,
    status text COLLATE "C" NOT NULL
        CHECK (status IN ('reserved', 'refused', 'allocated', 'released')),
    version int NOT NULL CHECK (version >= 0),
    sku_keys text[] COLLATE "C" NOT NULL,
    quantities bigint[] NOT NULL CHECK (0 < ALL (quantities)),
    locations text[] COLLATE "C",  -- null: all from the main one
    reason text,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    CHECK (cardinality(sku_keys) = cardinality(quantities)),
    CHECK (cardinality(locations) = cardinality(sku_keys)),
    CHECK (status IN ('refused', 'released') OR cardinality(sku_keys) > 0)
) WITH (fillfactor = 50);

CREATE TABLE inventory.movements (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku_key text COLLATE "C" NOT NULL,
    location text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('opening', 'count')),
    on_hand_delta bigint NOT NULL,
    cause text COLLATE "C" NOT NULL,  -- a product or a credential
    at timestamptz NOT NULL
);

CREATE INDEX movements_by_sku ON inventory.movements (sku_key, number DESC);

-- A ledger only grows.
CREATE FUNCTION inventory.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is a ledger: it only grows', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER movements_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON inventory.movements
    FOR EACH STATEMENT EXECUTE FUNCTION inventory.refuse_change();
