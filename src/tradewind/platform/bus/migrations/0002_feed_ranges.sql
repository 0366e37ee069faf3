-- The feed as ranges of the log: one row for all the events that were numbered together, in place of
-- a row and an index entry for each. The events of a range are those between its ends, in the order
-- of the log, without timers; the first of them has the position `first`.

CREATE TABLE bus.feed_ranges (
  first       bigint PRIMARY KEY CHECK (first > 0),
  count       bigint NOT NULL CHECK (count > 0),
  from_xid    xid8   NOT NULL,
  from_number bigint NOT NULL,
  to_xid      xid8   NOT NULL,
  to_number   bigint NOT NULL,
  CHECK ((from_xid, from_number) <= (to_xid, to_number))
);

-- Events that were numbered one by one before, in the same order: each run of them is a range.
INSERT INTO bus.feed_ranges
SELECT position, 1, xid, number, xid, number FROM bus.feed;

DROP TABLE bus.feed;

-- Position by position, for whoever asks in SQL.
CREATE VIEW bus.feed AS
SELECT r.first + e.place - 1 AS position, e.xid, e.number
  FROM bus.feed_ranges r
 CROSS JOIN LATERAL (
       SELECT l.xid, l.number, row_number() OVER (ORDER BY l.xid, l.number) AS place
         FROM bus.log l
        WHERE (l.xid, l.number) >= (r.from_xid, r.from_number)
          AND (l.xid, l.number) <= (r.to_xid, r.to_number)
          AND l.subject NOT LIKE 'timer:%') e;

-- A transaction number is read without a look at the log: tables that are only appended to are
-- analysed when they have grown by half, not by a twentieth.
ALTER TABLE bus.log SET (autovacuum_analyze_scale_factor = 0.5);
