-- How much of its quota a caller has used on a day. Written once per share, not once per request.
CREATE TABLE gateway.quotas (
  caller text   NOT NULL COLLATE "C",
  day    date   NOT NULL,
  used   bigint NOT NULL CHECK (used >= 0),
  PRIMARY KEY (caller, day)
) WITH (fillfactor = 50);
