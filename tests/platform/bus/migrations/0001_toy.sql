-- A context for tests: things that are touched, and what consumers did about it. `effects` has no
-- natural key on purpose: what is handled twice stands here twice.
CREATE TABLE toy.things (
  thing_id text   NOT NULL COLLATE "C" PRIMARY KEY,
  version  bigint NOT NULL
);
CREATE TABLE toy.effects (
  number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  node     text   NOT NULL,
  consumer text   NOT NULL,
  key      text   NOT NULL COLLATE "C",
  sequence bigint NOT NULL
);
