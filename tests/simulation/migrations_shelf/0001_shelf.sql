CREATE TABLE shelf.stock (
  sku       text   NOT NULL COLLATE "C" PRIMARY KEY,
  on_hand   bigint NOT NULL,
  reserved  bigint NOT NULL,
  allocated bigint NOT NULL DEFAULT 0,
  -- How many units were ever asked for, and at which version of the count.
  wanted    bigint NOT NULL DEFAULT 0,
  version   bigint NOT NULL DEFAULT 0
);
-- Which orders were counted into `wanted`, each time they were.
CREATE TABLE shelf.tallied (
  number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  order_id text   NOT NULL COLLATE "C",
  xid      xid8   NOT NULL DEFAULT pg_current_xact_id()
);
CREATE TABLE shelf.movements (
  number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  order_id text   NOT NULL COLLATE "C",
  sku      text   NOT NULL COLLATE "C",
  kind     text   NOT NULL CHECK (kind IN ('reserve', 'allocate')),
  quantity bigint NOT NULL
);
