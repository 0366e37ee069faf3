-- Numbers without gaps, per series and year. The row of a series is moved in the transaction that
-- issues its documents: it commits with them or not at all.

CREATE TABLE orders.document_series (
  series text    NOT NULL COLLATE "C" CHECK (series ~ '^[A-Z]{1,8}$'),
  year   integer NOT NULL CHECK (year BETWEEN 1900 AND 9999),
  last   integer NOT NULL CHECK (last >= 0),
  PRIMARY KEY (series, year)
) WITH (fillfactor = 30);

CREATE TABLE orders.documents (
  series         text        NOT NULL COLLATE "C",
  year           integer     NOT NULL,
  serial         integer     NOT NULL CHECK (serial > 0),
  kind           text        NOT NULL COLLATE "C" CHECK (kind IN ('invoice', 'credit_note')),
  -- What it is about, once: the order of an invoice, the refund of a credit note, or its own id.
  source         text        NOT NULL COLLATE "C" CONSTRAINT documents_source UNIQUE,
  order_id       text        COLLATE "C",
  return_id      text        COLLATE "C",
  credential     text        COLLATE "C",
  external_id    text        COLLATE "C",
  customer       text        NOT NULL COLLATE "C",
  country        text        COLLATE "C",
  currency       text        NOT NULL COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
  total_minor    bigint      NOT NULL CHECK (total_minor > 0),
  tax_minor      bigint      NOT NULL CHECK (tax_minor BETWEEN 0 AND total_minor),
  tax_rate_bp    integer     NOT NULL CHECK (tax_rate_bp BETWEEN 0 AND 10000),
  reason         text,
  lines          text,       -- JSON, of one that stands alone; else the order or the return has them
  dated          date        NOT NULL,
  issued_at      timestamptz NOT NULL,
  PRIMARY KEY (series, year, serial),
  CHECK (order_id IS NOT NULL OR lines IS NOT NULL)
) WITH (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000);
CREATE INDEX credit_notes_by_order ON orders.documents (order_id, source) WHERE kind = 'credit_note';
CREATE INDEX documents_alone ON orders.documents (customer) WHERE order_id IS NULL;
CREATE UNIQUE INDEX documents_by_external_id ON orders.documents (credential, external_id)
  WHERE external_id IS NOT NULL;

-- A document that was issued stays as it is.
CREATE FUNCTION orders.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% only grows', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER documents_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON orders.documents
    FOR EACH STATEMENT EXECUTE FUNCTION orders.refuse_change();
