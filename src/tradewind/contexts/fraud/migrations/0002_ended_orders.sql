-- Orders that ended before a verdict: a payment that was authorised in the same moment comes later,
-- and must not keep a reviewer waiting for an order that is no more.
CREATE TABLE fraud.ended_orders (
    order_id text COLLATE "C" PRIMARY KEY,
    ended_at timestamptz NOT NULL
);
