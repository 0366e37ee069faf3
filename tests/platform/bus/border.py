"""A border in the log where a test wants it: in life a segment ends after millions of events."""

from typing import Any

# The segment that is written to ends here; the empty one behind it begins here.
BORDER = """
DO $$
DECLARE
  written bus.segments;
  empty bus.segments;
  here bigint;
BEGIN
  LOCK TABLE bus.log IN ACCESS EXCLUSIVE MODE;
  SELECT * INTO STRICT empty FROM bus.segments WHERE to_xid IS NULL;
  SELECT * INTO STRICT written FROM bus.segments WHERE number = empty.number - 1;
  here := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
  EXECUTE format('DROP TABLE bus.log_%s', empty.number);
  DELETE FROM bus.segments WHERE number = empty.number;
  EXECUTE format('ALTER TABLE bus.log DETACH PARTITION bus.log_%s', written.number);
  EXECUTE format('ALTER TABLE bus.log ATTACH PARTITION bus.log_%s FOR VALUES FROM (%s) TO (%L)',
                 written.number, CASE written.number WHEN 1 THEN 'MINVALUE'
                                 ELSE quote_literal(written.from_xid::text) END, here);
  UPDATE bus.segments SET to_xid = here::text::xid8 WHERE number = written.number;
  PERFORM bus.add_segment(empty.number, here);
  PERFORM bus.roll(100000);
END $$
"""


async def end_segment(connection: Any) -> None:
    """What is on the log by now is a segment of its own."""
    await connection.execute(BORDER)
