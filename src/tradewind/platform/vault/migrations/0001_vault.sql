-- Personal data, sealed. Nothing here can be read without the server's master key, and a record
-- cannot be read by anyone once its own key is gone.

-- Keys that the vault makes for itself, wrapped under a master key. So far one: 'blind index'.
CREATE TABLE vault.keys (
  purpose    text        PRIMARY KEY COLLATE "C",
  key_id     text        NOT NULL COLLATE "C",
  wrapped    bytea       NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- One row per e-mail address in use. The address itself stands only in the person records;
-- blind = keyed hash of it, so that it can be found again by who already knows it.
CREATE TABLE vault.contacts (
  contact    text        NOT NULL COLLATE "C" PRIMARY KEY CHECK (length(contact) = 30),
  blind      bytea       NOT NULL UNIQUE CHECK (length(blind) = 16),
  created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

-- One row per person record. Of an erased one only the fact and the time are left.
CREATE TABLE vault.persons (
  person     text        NOT NULL COLLATE "C" PRIMARY KEY CHECK (length(person) = 30),
  holder     text        NOT NULL COLLATE "C",
  contact    text        COLLATE "C",
  key_id     text        COLLATE "C",
  wrapped    bytea,
  sealed     bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  erased_at  timestamptz,
  CONSTRAINT erased_means_gone CHECK (
    (erased_at IS NULL AND key_id IS NOT NULL AND wrapped IS NOT NULL AND sealed IS NOT NULL)
    OR (erased_at IS NOT NULL AND contact IS NULL AND key_id IS NULL AND wrapped IS NULL
        AND sealed IS NULL))
) WITH (fillfactor = 90);
-- Sealed bytes do not compress: do not try.
ALTER TABLE vault.persons ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE INDEX persons_by_contact ON vault.persons (contact) WHERE contact IS NOT NULL;

-- How far the sweep for records that nothing came to use has got; ids are in order of time.
CREATE TABLE vault.swept (
  holder     text        PRIMARY KEY COLLATE "C",
  person     text        NOT NULL COLLATE "C",
  swept_at   timestamptz NOT NULL DEFAULT now()
);
