-- Who did what. Rows are inserted and never touched again: no role may do more, and the triggers
-- below stop the owner's own mistakes. Who takes the triggers away is found by the chain.

CREATE TABLE audit.entries (
  entry_id  text        COLLATE "C" PRIMARY KEY CHECK (length(entry_id) = 30),
  -- The transaction that did it. Nobody may give another: see the grants by column.
  xid       xid8        NOT NULL DEFAULT pg_current_xact_id(),
  at        timestamptz NOT NULL,
  kind      text        COLLATE "C" NOT NULL CHECK (kind IN ('write', 'read', 'notice')),
  operation text        COLLATE "C" NOT NULL,
  -- What a security system is told of it; empty: nothing.
  notice    text        COLLATE "C" NOT NULL,
  principal text        COLLATE "C" NOT NULL,
  object    text        COLLATE "C" NOT NULL,
  address   text        COLLATE "C" NOT NULL,
  trace     text        COLLATE "C" NOT NULL,
  reason    text        COLLATE "C" NOT NULL, -- sealed: people write names into reasons
  before    text        COLLATE "C",          -- JSON of ids and numbers
  after     text        COLLATE "C"
);
CREATE INDEX entries_by_commit ON audit.entries (xid, entry_id);
CREATE INDEX entries_by_principal ON audit.entries (principal, entry_id);
CREATE INDEX entries_by_object ON audit.entries (object, entry_id);

-- The chain: place n holds the hash over place n-1 and its entry.
CREATE TABLE audit.chain (
  position bigint PRIMARY KEY CHECK (position > 0),
  entry_id text   COLLATE "C" NOT NULL UNIQUE,
  xid      xid8   NOT NULL,
  digest   bytea  NOT NULL CHECK (length(digest) = 32)
);

-- How far the export to a security system has come, and who is at it. No part of the record.
CREATE TABLE audit.exports (
  target        text        COLLATE "C" PRIMARY KEY,
  position      bigint      NOT NULL,
  claimed_until timestamptz NOT NULL
);

CREATE FUNCTION audit.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit.% is append-only', TG_TABLE_NAME USING ERRCODE = 'TW003';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.entries
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.chain
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse();

-- Contexts, and the bus for dead letters, add to the record in their own transactions. They cannot
-- so much as read it.
GRANT USAGE ON SCHEMA audit TO tradewind_context, tradewind_bus;
GRANT INSERT (entry_id, at, kind, operation, notice, principal, object, address, trace, reason,
              before, after) ON audit.entries TO tradewind_context, tradewind_bus;

-- The part's own role reads, seals and announces. It announces as contexts do: on the log.
GRANT tradewind_context TO tradewind_audit;
GRANT SELECT ON audit.entries TO tradewind_audit;
GRANT SELECT, INSERT ON audit.chain TO tradewind_audit;
GRANT SELECT, INSERT, UPDATE ON audit.exports TO tradewind_audit;

ALTER TABLE audit.entries SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000);
ALTER TABLE audit.chain SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000);
