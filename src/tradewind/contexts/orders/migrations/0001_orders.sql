CREATE TABLE orders.orders (
  order_id         text        PRIMARY KEY COLLATE "C",
  version          integer     NOT NULL CHECK (version > 0),
  status           text        NOT NULL COLLATE "C" CHECK (status IN
                     ('placed', 'confirmed', 'held', 'rejected', 'cancelled', 'fulfilled', 'returned')),
  currency         text        NOT NULL COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
  subtotal_minor   bigint      NOT NULL CHECK (subtotal_minor >= 0),
  shipping_minor   bigint      NOT NULL CHECK (shipping_minor >= 0),
  tax_minor        bigint      NOT NULL CHECK (tax_minor >= 0),
  discount_minor   bigint      NOT NULL CHECK (discount_minor >= 0),
  fees_minor       bigint      NOT NULL CHECK (fees_minor >= 0),
  total_minor      bigint      NOT NULL CHECK (total_minor > 0),
  customer         text        NOT NULL COLLATE "C",
  contact          text        COLLATE "C",
  payment_id       text        NOT NULL COLLATE "C",
  payment_status   text        NOT NULL DEFAULT 'pending' COLLATE "C",
  stock_released   boolean     NOT NULL DEFAULT false,
  channel          text        NOT NULL,
  imported         boolean     NOT NULL,
  credential       text        COLLATE "C",
  external_id      text        COLLATE "C",
  fees             text        NOT NULL DEFAULT '[]',
  placed_at        timestamptz NOT NULL,
  decide_before    timestamptz NOT NULL,
  review_before    timestamptz,
  decided_at       timestamptz,
  rejection_code   text        COLLATE "C",
  CONSTRAINT total_adds_up CHECK
    (total_minor = subtotal_minor + shipping_minor + tax_minor + fees_minor - discount_minor),
  CONSTRAINT rejected_says_why CHECK ((status = 'rejected') = (rejection_code IS NOT NULL)),
  CONSTRAINT decided_has_a_time CHECK ((status = 'placed') = (decided_at IS NULL)),
  CONSTRAINT held_has_a_clock CHECK (status <> 'held' OR review_before IS NOT NULL)
) WITH (fillfactor = 80);
-- No index may name a column that a decision changes: decisions then stay heap-only updates.
CREATE INDEX orders_by_placed ON orders.orders (placed_at DESC, order_id DESC);
CREATE INDEX orders_by_contact ON orders.orders (contact, placed_at DESC, order_id DESC)
  WHERE contact IS NOT NULL;
CREATE UNIQUE INDEX orders_by_external_id ON orders.orders (credential, external_id)
  WHERE external_id IS NOT NULL;

CREATE TABLE orders.lines (
  order_id      text     NOT NULL COLLATE "C" REFERENCES orders.orders,
  number        smallint NOT NULL CHECK (number > 0),
  sku           text     NOT NULL COLLATE "C",
  title         text     NOT NULL,
  quantity      integer  NOT NULL CHECK (quantity > 0),
  unit_price_e4 bigint   NOT NULL CHECK (unit_price_e4 >= 0),
  total_minor   bigint   NOT NULL CHECK (total_minor >= 0),
  PRIMARY KEY (order_id, number)
);

-- Orders' copy of what the catalog sells, fed by its events. Dropped and rebuilt at will.
CREATE TABLE orders.offers (
  sku_key       text    NOT NULL COLLATE "C",
  currency      text    NOT NULL COLLATE "C",
  sku           text    NOT NULL COLLATE "C",
  product_id    text    NOT NULL COLLATE "C",
  title         text    NOT NULL,
  unit_price_e4 bigint  NOT NULL CHECK (unit_price_e4 >= 0),
  version       bigint  NOT NULL,
  PRIMARY KEY (sku_key, currency)
);
CREATE INDEX offers_by_product ON orders.offers (product_id);

-- Up to which order the deadline sweep has looked. Ids are in the order of time.
CREATE TABLE orders.swept (
  name     text PRIMARY KEY,
  order_id text NOT NULL COLLATE "C"
);
INSERT INTO orders.swept (name, order_id) VALUES ('decide', '');
