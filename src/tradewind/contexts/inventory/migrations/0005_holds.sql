-- Units that are kept for a cart, for some minutes. They count as reserved, as an order's do:
--   reserved = sum of the quantities of living reservations and of living holds
-- Unlike a reservation a hold has a clock of its own, and may be another one tomorrow: `asked` is the
-- number of the request that it answers, so that an older one that comes late is known.
CREATE TABLE inventory.holds (
    cart_id text COLLATE "C" PRIMARY KEY,
    asked bigint NOT NULL CHECK (asked > 0),
    version int NOT NULL CHECK (version >= 0),
    status text COLLATE "C" NOT NULL CHECK (status IN ('held', 'ended')),
    expires_at timestamptz NOT NULL,
    sku_keys text[] COLLATE "C" NOT NULL,
    quantities bigint[] NOT NULL CHECK (0 < ALL (quantities)),
    locations text[] COLLATE "C" NOT NULL,
    CHECK (cardinality(sku_keys) = cardinality(quantities)),
    CHECK (cardinality(locations) = cardinality(sku_keys)),
    CHECK (status = 'held' OR cardinality(sku_keys) = 0)
) WITH (fillfactor = 50);
