-- The log: every event of this database, written in the transaction of the rows it tells about.
-- Order: (xid, number), read only below the transaction horizon; see docs/decisions/0007.
CREATE TABLE bus.log (
  xid       xid8     NOT NULL DEFAULT pg_current_xact_id(),
  number    bigint   GENERATED ALWAYS AS IDENTITY,
  partition smallint NOT NULL CHECK (partition BETWEEN 0 AND 15),
  source    text     NOT NULL COLLATE "C",
  type      text     NOT NULL COLLATE "C",
  subject   text     NOT NULL COLLATE "C",
  sequence  bigint   NOT NULL CHECK (sequence > 0),
  at        timestamptz NOT NULL,
  body      text     NOT NULL,
  PRIMARY KEY (xid, number),
  -- Also the timeline of a subject: all that every source said about it.
  CONSTRAINT log_one_fact_per_version UNIQUE (subject, source, sequence)
);

-- Where each consumer is, who works for it, and since which takeover (the fence).
-- partition -1: the consumer takes the log as a whole.
CREATE TABLE bus.offsets (
  consumer  text     NOT NULL COLLATE "C",
  partition smallint NOT NULL CHECK (partition BETWEEN -1 AND 15),
  xid       xid8     NOT NULL DEFAULT '0',
  number    bigint   NOT NULL DEFAULT 0,
  epoch     bigint   NOT NULL DEFAULT 0,
  holder    bigint,
  PRIMARY KEY (consumer, partition)
) WITH (fillfactor = 20);

-- Living processes. A process is alive while its session holds the advisory lock of its id
-- (freed at once by a crash) and `seen_at` is fresh (which a paused process cannot keep up).
CREATE TABLE bus.processes (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text        NOT NULL,
  consumers  text[]      NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  seen_at    timestamptz NOT NULL DEFAULT now()
);

-- What could not be handled, and, behind it, the later events of the same key (state 'parked').
CREATE TABLE bus.dead_letters (
  consumer text        NOT NULL COLLATE "C",
  xid      xid8        NOT NULL,
  number   bigint      NOT NULL,
  key      text        NOT NULL COLLATE "C",
  state    text        NOT NULL CHECK (state IN ('dead', 'parked', 'retry')),
  error    text        NOT NULL DEFAULT '',
  attempts integer     NOT NULL DEFAULT 0,
  at       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (consumer, xid, number)
);
CREATE INDEX dead_letters_by_key ON bus.dead_letters (consumer, key);

CREATE TABLE bus.timers (
  source text        NOT NULL COLLATE "C",
  name   text        NOT NULL COLLATE "C",
  key    text        NOT NULL COLLATE "C",
  due_at timestamptz NOT NULL,
  type   text        NOT NULL COLLATE "C",
  body   text        NOT NULL,
  partition smallint NOT NULL,
  PRIMARY KEY (source, name, key)
);
CREATE INDEX timers_by_due ON bus.timers (due_at);

-- The public feed: a gap-free number for every public event, given by one sequencer.
CREATE TABLE bus.feed (
  position bigint PRIMARY KEY CHECK (position > 0),
  xid      xid8   NOT NULL,
  number   bigint NOT NULL
);

-- A unit of work compares what it changed with what it meant to change; a difference undoes it.
CREATE FUNCTION bus.expect(wanted bigint, touched bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  IF wanted <> touched THEN
    RAISE EXCEPTION 'expected % rows, touched %', wanted, touched USING ERRCODE = 'TW001';
  END IF;
  RETURN true;
END $$;

CREATE FUNCTION bus.fence(wanted bigint, touched bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  IF wanted <> touched THEN
    RAISE EXCEPTION 'lost the lease: % offsets wanted, % still ours', wanted, touched
      USING ERRCODE = 'TW002';
  END IF;
  RETURN true;
END $$;

-- A context writes events and timers under its own name only, whatever its code says.
ALTER TABLE bus.log ENABLE ROW LEVEL SECURITY;
CREATE POLICY log_own_source ON bus.log FOR INSERT
  WITH CHECK (current_user = 'tradewind_' || source OR current_user = 'tradewind_bus');
CREATE POLICY log_readable ON bus.log FOR SELECT USING (true);

ALTER TABLE bus.timers ENABLE ROW LEVEL SECURITY;
CREATE POLICY timers_own_source ON bus.timers
  USING (current_user = 'tradewind_' || source OR current_user = 'tradewind_bus');

-- To those who speak as a context: every context role is a member of this one.
GRANT USAGE ON SCHEMA bus TO tradewind_context;
GRANT INSERT ON bus.log TO tradewind_context;
GRANT SELECT, UPDATE ON bus.offsets TO tradewind_context;
GRANT SELECT, INSERT, UPDATE, DELETE ON bus.timers TO tradewind_context;
GRANT SELECT, INSERT, UPDATE, DELETE ON bus.dead_letters TO tradewind_context;
