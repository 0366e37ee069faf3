CREATE TABLE till.orders (
  order_id text   NOT NULL COLLATE "C" PRIMARY KEY,
  version  bigint NOT NULL,
  status   text   NOT NULL CHECK (status IN ('placed', 'confirmed', 'rejected'))
);
-- No natural key: what is told twice stands here twice.
CREATE TABLE till.diary (
  number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source   text   NOT NULL,
  order_id text   NOT NULL COLLATE "C",
  sequence bigint NOT NULL
);
