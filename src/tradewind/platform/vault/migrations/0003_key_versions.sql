-- Keys that wrap other keys, each with an id (its purpose) and a version. 'wrapping' wraps the keys of
-- persons, 'blind index' hashes addresses, 'texts' seals what is about nobody in particular,
-- 'retention' with a year as its version seals papers that the law wants kept until that year is over.
-- Each is wrapped itself, under the master that `master` names: a file's, or a server's.
CREATE TABLE vault.key_versions (
  purpose    text        NOT NULL COLLATE "C",
  version    integer     NOT NULL CHECK (version > 0),
  master     text        NOT NULL COLLATE "C",
  wrapped    bytea       NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  retired_at timestamptz,  -- from then on it opens, and makes nothing new
  PRIMARY KEY (purpose, version)
);
INSERT INTO vault.key_versions (purpose, version, master, wrapped, created_at)
SELECT purpose, 1, key_id, wrapped, created_at FROM vault.keys;
DROP TABLE vault.keys;

-- How far a new version has got: a rotation that was killed goes on where it was.
CREATE TABLE vault.rotations (
  purpose    text        PRIMARY KEY COLLATE "C",
  version    integer     NOT NULL,
  place      text        NOT NULL COLLATE "C",
  done       bigint      NOT NULL,
  total      bigint      NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now()
);

-- Under which version of the blind index an address is found.
ALTER TABLE vault.contacts ADD COLUMN index_version integer NOT NULL DEFAULT 1;

-- Records of a registered person have no key of their own but that of the record they belong to:
-- destroying it is destroying them all.
ALTER TABLE vault.persons ADD COLUMN owner text COLLATE "C" CHECK (length(owner) = 30);
ALTER TABLE vault.persons DROP CONSTRAINT erased_means_gone;
ALTER TABLE vault.persons ADD CONSTRAINT erased_means_gone CHECK (
    (erased_at IS NULL AND sealed IS NOT NULL AND (key_id IS NULL) = (wrapped IS NULL)
        AND (key_id IS NULL) = (owner IS NOT NULL))
    OR (erased_at IS NOT NULL AND contact IS NULL AND key_id IS NULL AND wrapped IS NULL
        AND sealed IS NULL));
CREATE INDEX persons_by_owner ON vault.persons (owner) WHERE owner IS NOT NULL;

-- What was erased, by whom and why (sealed, like every text): the proof that it was done, once.
CREATE TABLE vault.erasures (
  erasure    text        PRIMARY KEY COLLATE "C" CHECK (length(erasure) = 30),
  by         text        NOT NULL COLLATE "C",
  reason     text        NOT NULL,
  persons    text[]      NOT NULL COLLATE "C",
  erased_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX erasures_by_time ON vault.erasures (erased_at);

-- The names and addresses of tax papers, after their person was erased. Opened for the papers only,
-- under a key that is destroyed when the time is over.
CREATE TABLE vault.retained (
  person     text        PRIMARY KEY COLLATE "C" CHECK (length(person) = 30),
  version    integer     NOT NULL,  -- of the key 'retention': the last year
  sealed     bytea       NOT NULL
);
CREATE INDEX retained_by_version ON vault.retained (version);
