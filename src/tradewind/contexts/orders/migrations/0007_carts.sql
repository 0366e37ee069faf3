-- Carts: what somebody is about to order. All lines of a cart are arrays of its row, as those of an
-- order are, so a change of a cart is one row, compared by version.
--
-- Whether a cart is being checked out, ordered or open again is not written here: the order that it
-- last became says so. A decision about an order therefore costs nothing more for having had a cart.

CREATE TABLE orders.carts (
  cart_id          text        PRIMARY KEY COLLATE "C",
  version          integer     NOT NULL CHECK (version > 0),
  currency         text        NOT NULL COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
  credential       text        COLLATE "C",  -- who made it, where that was no guest
  customer         text        COLLATE "C",  -- whose it is, in a word of the shop that names nobody
  person           text        COLLATE "C",  -- the vault's record: e-mail and addresses
  contact          text        COLLATE "C",
  shipping_country text        COLLATE "C",
  billing_country  text        COLLATE "C",
  shipping_option  text        COLLATE "C",
  order_id         text        COLLATE "C",  -- what it last became
  ended            text        COLLATE "C" CHECK (ended IN ('ordered', 'merged', 'deleted', 'expired')),
  merged_into      text        COLLATE "C",
  lines_made       integer     NOT NULL CHECK (lines_made >= 0),  -- the number of the last line
  announced        integer     NOT NULL DEFAULT 0 CHECK (announced >= 0),
  last_change      text        COLLATE "C",  -- a change that comes twice is known by it
  hold_asked       integer     NOT NULL DEFAULT 0,  -- the number of the last HoldAsked
  hold_until       timestamptz,  -- null: it asked for nothing, or its order has it
  hold_told        integer     NOT NULL DEFAULT 0,  -- which of them was answered
  hold_short       text[]      NOT NULL DEFAULT '{}' COLLATE "C",
  created_at       timestamptz NOT NULL,
  touched_at       timestamptz NOT NULL,
  look_at          timestamptz NOT NULL,     -- when the sweep is to look at it
  numbers          int[]       NOT NULL,
  skus             text[]      NOT NULL COLLATE "C",
  titles           text[]      NOT NULL,
  quantities       int[]       NOT NULL CHECK (0 < ALL (quantities)),
  prices_then      bigint[]    NOT NULL,     -- when it was put in; null: was not sold
  prices_shown     bigint[]    NOT NULL,     -- what the shopper saw last; null: not sold
  CONSTRAINT every_line_is_whole CHECK
    (cardinality(numbers) <= 1000 AND cardinality(skus) = cardinality(numbers)
     AND cardinality(titles) = cardinality(numbers)
     AND cardinality(quantities) = cardinality(numbers)
     AND cardinality(prices_then) = cardinality(numbers)
     AND cardinality(prices_shown) = cardinality(numbers)),
  CONSTRAINT merged_says_where CHECK ((ended IS NOT DISTINCT FROM 'merged') = (merged_into IS NOT NULL))
) WITH (fillfactor = 50);
-- It is moved by the hour, so most changes of a cart leave it and stay on their page.
CREATE INDEX carts_by_look ON orders.carts (look_at);
-- The vault asks of its records, a day later, whether a cart came to use them.
CREATE INDEX carts_by_person ON orders.carts (person) WHERE person IS NOT NULL;
CREATE INDEX carts_by_customer ON orders.carts (customer, cart_id DESC) WHERE customer IS NOT NULL;

-- Every order that was made of a cart, those that were refused included.
CREATE TABLE orders.checkouts (
  order_id text NOT NULL COLLATE "C" PRIMARY KEY,
  cart_id  text NOT NULL COLLATE "C"
);
CREATE INDEX checkouts_by_cart ON orders.checkouts (cart_id);

-- Records of the vault that a cart pointed to and does not any more: to be destroyed.
CREATE TABLE orders.discarded_persons (
  person text NOT NULL COLLATE "C" PRIMARY KEY
);
