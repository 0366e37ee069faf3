-- What happens after yes: units leave the house, some come back, money follows them.

ALTER TABLE orders.orders DROP CONSTRAINT orders_status_check;
ALTER TABLE orders.orders ADD CONSTRAINT orders_status_check CHECK (status IN
  ('placed', 'confirmed', 'held', 'rejected', 'cancelled', 'fulfilled', 'partly_returned', 'returned'));

-- History knows invoices without a product: then the fees are all there is.
ALTER TABLE orders.baskets DROP CONSTRAINT every_line_is_whole;
ALTER TABLE orders.baskets ADD CONSTRAINT every_line_is_whole CHECK
  (cardinality(titles) = cardinality(skus) AND cardinality(quantities) = cardinality(skus)
   AND cardinality(unit_prices_e4) = cardinality(skus)
   AND cardinality(totals_minor) = cardinality(skus));
-- Where it goes, and the tax that the prices contain there, in hundredths of a percent.
ALTER TABLE orders.baskets ADD COLUMN country text COLLATE "C",
  ADD COLUMN tax_rate_bp integer NOT NULL DEFAULT 0 CHECK (tax_rate_bp BETWEEN 0 AND 10000);

CREATE TABLE orders.fulfilments (
  order_id     text        NOT NULL PRIMARY KEY COLLATE "C" REFERENCES orders.orders,
  carrier      text,
  tracking     text,
  fulfilled_at timestamptz NOT NULL,
  by           text        NOT NULL COLLATE "C"
);

CREATE TABLE orders.returns (
  return_id         text        NOT NULL PRIMARY KEY COLLATE "C",
  order_id          text        NOT NULL COLLATE "C" REFERENCES orders.orders,
  status            text        NOT NULL COLLATE "C" CHECK (status IN
                      ('requested', 'approved', 'rejected', 'received', 'refunded', 'refund_refused')),
  reason            text        NOT NULL,
  requested_by      text        NOT NULL COLLATE "C",
  credential        text        COLLATE "C",
  external_id       text        COLLATE "C",
  refund_minor      bigint      NOT NULL DEFAULT 0 CHECK (refund_minor >= 0),
  fees_refund_minor bigint      NOT NULL DEFAULT 0 CHECK (fees_refund_minor BETWEEN 0 AND refund_minor),
  refund_id         text        COLLATE "C",
  exchange_order_id text        COLLATE "C",  -- what goes out in its place
  exchange_asked_as text        COLLATE "C",  -- by which request
  awaited           text        COLLATE "C",  -- the resource whose answer waits for the money
  note              text,                     -- why it was rejected, or not refunded
  requested_at      timestamptz NOT NULL,
  changed_at        timestamptz NOT NULL,
  CONSTRAINT what_is_refunded_has_an_id CHECK
    ((refund_id IS NOT NULL) = (status IN ('received', 'refunded', 'refund_refused')))
);
CREATE INDEX returns_by_order ON orders.returns (order_id, return_id);
CREATE UNIQUE INDEX returns_by_external_id ON orders.returns (credential, external_id)
  WHERE external_id IS NOT NULL;
CREATE INDEX returns_open ON orders.returns (return_id) WHERE status IN ('requested', 'approved', 'received');

CREATE TABLE orders.return_lines (
  return_id    text     NOT NULL COLLATE "C" REFERENCES orders.returns,
  line         smallint NOT NULL CHECK (line > 0),
  sku          text     NOT NULL COLLATE "C",
  quantity     integer  NOT NULL CHECK (quantity > 0),
  reason       text,
  restock      integer  NOT NULL DEFAULT 0 CHECK (restock >= 0),
  write_off    integer  NOT NULL DEFAULT 0 CHECK (write_off >= 0),
  refund_minor bigint   NOT NULL DEFAULT 0 CHECK (refund_minor >= 0),
  PRIMARY KEY (return_id, line),
  CONSTRAINT no_more_arrives_than_was_announced CHECK (restock + write_off <= quantity)
);

-- What of each line of an order may still come back, and was given back for it. Line 0: the fees.
-- Nothing comes back twice, and nobody gets more for a line than it cost, whatever is decided.
CREATE TABLE orders.returnable (
  order_id       text     NOT NULL COLLATE "C" REFERENCES orders.orders,
  line           smallint NOT NULL CHECK (line >= 0),
  units          integer  NOT NULL CHECK (units >= 0),
  total_minor    bigint   NOT NULL CHECK (total_minor >= 0),
  promised       integer  NOT NULL,  -- units of returns that are under way or done
  arrived        integer  NOT NULL,
  refunded_minor bigint   NOT NULL,
  PRIMARY KEY (order_id, line),
  CONSTRAINT never_back_twice CHECK (0 <= arrived AND arrived <= promised AND promised <= units),
  CONSTRAINT never_more_than_it_cost CHECK (refunded_minor BETWEEN 0 AND total_minor)
);
