-- The log in segments: partitions by transaction number, so that old ones can be taken away as a
-- whole once an archive file has them. docs/decisions/0022 says why by transaction number.

-- One row per segment of the log, living in the database or in its file. `to_xid` is null of the
-- last one, which is open to the right. The columns from `file` on are filled when it is archived.
CREATE TABLE bus.segments (
  number          integer PRIMARY KEY CHECK (number > 0),
  from_xid        xid8    NOT NULL,
  to_xid          xid8    CHECK (to_xid > from_xid),
  file            text,
  events          bigint,     -- lines in the file: timers that fired among them
  first_position  bigint,     -- of the feed; the next segment's is last_position + 1
  last_position   bigint,
  size_bytes      bigint,
  last_at         timestamptz,  -- of its newest event; null of an empty one
  content_sha256  bytea CHECK (length(content_sha256) = 32),
  chain_sha256    bytea CHECK (length(chain_sha256) = 32),
  blocks          bigint[],   -- where each block of the file begins, in bytes
  block_positions bigint[],   -- the last position before each block
  archived_at     timestamptz,
  dropped_at      timestamptz,
  CHECK ((file IS NULL) = (archived_at IS NULL)),
  CHECK (archived_at IS NULL OR to_xid IS NOT NULL AND events IS NOT NULL
         AND first_position IS NOT NULL AND last_position IS NOT NULL AND size_bytes IS NOT NULL
         AND content_sha256 IS NOT NULL AND chain_sha256 IS NOT NULL
         AND blocks IS NOT NULL AND block_positions IS NOT NULL),
  -- Nothing leaves the database that no file has.
  CHECK (dropped_at IS NULL OR archived_at IS NOT NULL)
);

DROP VIEW bus.feed;
ALTER TABLE bus.log RENAME TO log_1;
ALTER TABLE bus.log_1 RENAME CONSTRAINT log_pkey TO log_1_pkey;
ALTER TABLE bus.log_1 RENAME CONSTRAINT log_one_fact_per_version TO log_1_one_fact_per_version;
ALTER TABLE bus.log_1 ALTER COLUMN number DROP IDENTITY;
DROP POLICY log_own_source ON bus.log_1;
DROP POLICY log_readable ON bus.log_1;
ALTER TABLE bus.log_1 DISABLE ROW LEVEL SECURITY;
REVOKE INSERT ON bus.log_1 FROM tradewind_context;

CREATE TABLE bus.log (LIKE bus.log_1 INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
  PARTITION BY RANGE (xid);
ALTER TABLE bus.log ADD PRIMARY KEY (xid, number);
-- Who writes events numbers them within the transaction; a row that comes without a number gets one
-- from a sequence, as before. It is no identity: partitions have those only since version 17.
CREATE SEQUENCE bus.log_numbers OWNED BY bus.log.number;
SELECT setval('bus.log_numbers', (SELECT coalesce(max(number), 0) + 1 FROM bus.log_1), false);
ALTER TABLE bus.log ALTER COLUMN number SET DEFAULT nextval('bus.log_numbers');

-- "One fact per version" holds within a segment: a unique index over all of them would have to name
-- the transaction. Facts about one subject lie close together, units of work compare versions
-- anyway, and `check invariants` counts over all segments and the archive.
ALTER TABLE bus.log_1 SET (autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_vacuum_insert_threshold = 500000, autovacuum_analyze_scale_factor = 0.5);

CREATE FUNCTION bus.add_segment(added integer, low bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format(
    'CREATE TABLE bus.log_%1$s PARTITION OF bus.log'
    ' (CONSTRAINT log_%1$s_one_fact_per_version UNIQUE (subject, source, sequence))'
    ' FOR VALUES FROM (%2$L) TO (MAXVALUE)'
    ' WITH (autovacuum_vacuum_insert_scale_factor = 0,'
    ' autovacuum_vacuum_insert_threshold = 500000, autovacuum_analyze_scale_factor = 0.5)',
    added, low);
  INSERT INTO bus.segments (number, from_xid) VALUES (added, low::text::xid8);
END $$;

-- Give the last segment an end `size` transactions on, and put an empty one behind it. Called long
-- before the last one is reached: then it is empty, and nothing has to be looked through. If it was
-- reached after all, it only becomes a longer one.
CREATE FUNCTION bus.roll(size bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  last bus.segments;
  high bigint;
BEGIN
  LOCK TABLE bus.log IN ACCESS EXCLUSIVE MODE;
  SELECT * INTO STRICT last FROM bus.segments WHERE to_xid IS NULL;
  high := greatest(last.from_xid::text::bigint,
                   pg_snapshot_xmax(pg_current_snapshot())::text::bigint) + size;
  EXECUTE format('ALTER TABLE bus.log DETACH PARTITION bus.log_%s', last.number);
  EXECUTE format('ALTER TABLE bus.log ATTACH PARTITION bus.log_%s FOR VALUES FROM (%s) TO (%L)',
                 last.number,
                 CASE last.number WHEN 1 THEN 'MINVALUE'
                                  ELSE quote_literal(last.from_xid::text) END, high);
  UPDATE bus.segments SET to_xid = high::text::xid8 WHERE number = last.number;
  PERFORM bus.add_segment(last.number + 1, high);
END $$;

ALTER TABLE bus.log ATTACH PARTITION bus.log_1 FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
INSERT INTO bus.segments (number, from_xid) VALUES (1, '0');
SELECT bus.roll(1048576);

ALTER TABLE bus.log ENABLE ROW LEVEL SECURITY;
CREATE POLICY log_own_source ON bus.log FOR INSERT
  WITH CHECK (current_user = 'tradewind_' || source OR current_user = 'tradewind_bus');
CREATE POLICY log_readable ON bus.log FOR SELECT USING (true);
GRANT INSERT ON bus.log TO tradewind_context;
GRANT USAGE ON SEQUENCE bus.log_numbers TO tradewind_context;
-- Segments come and go by their owner's hand alone.
REVOKE EXECUTE ON FUNCTION bus.add_segment, bus.roll FROM PUBLIC;

-- Position by position, of what is in the database, for whoever asks in SQL.
CREATE VIEW bus.feed AS
SELECT r.first + e.place - 1 AS position, e.xid, e.number
  FROM bus.feed_ranges r
 CROSS JOIN LATERAL (
       SELECT l.xid, l.number, row_number() OVER (ORDER BY l.xid, l.number) AS place
         FROM bus.log l
        WHERE (l.xid, l.number) >= (r.from_xid, r.from_number)
          AND (l.xid, l.number) <= (r.to_xid, r.to_number)
          AND l.subject NOT LIKE 'timer:%') e;
