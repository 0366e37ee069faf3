-- Imports of stock: how far each is, and the lines that were not taken.
CREATE TABLE inventory.imports (
  import_id   text        COLLATE "C" PRIMARY KEY,
  created_at  timestamptz NOT NULL,
  updated_at  timestamptz NOT NULL,
  lines_taken bigint      NOT NULL DEFAULT 0 CHECK (lines_taken >= 0),
  accepted    bigint      NOT NULL DEFAULT 0 CHECK (accepted >= 0),
  rejected    bigint      NOT NULL DEFAULT 0 CHECK (rejected >= 0),
  errors_kept integer     NOT NULL DEFAULT 0 CHECK (errors_kept BETWEEN 0 AND rejected),
  finished    boolean     NOT NULL DEFAULT false,
  created     bigint      NOT NULL DEFAULT 0 CHECK (created >= 0),
  changed     bigint      NOT NULL DEFAULT 0 CHECK (changed >= 0),
  unchanged   bigint      NOT NULL DEFAULT 0 CHECK (unchanged >= 0),
  digest      text        COLLATE "C" NOT NULL DEFAULT '',
  form        text        NOT NULL DEFAULT '{}',
  CHECK (accepted + rejected <= lines_taken)
) WITH (fillfactor = 80);

CREATE TABLE inventory.import_errors (
  import_id   text   COLLATE "C" NOT NULL REFERENCES inventory.imports,
  line        bigint NOT NULL CHECK (line > 0),
  code        text   COLLATE "C" NOT NULL,
  message     text   NOT NULL,
  pointer     text,
  column_name text,
  PRIMARY KEY (import_id, line)
);
