-- Roles that an installation makes for itself; those that every one has stand in the code.
CREATE TABLE identity.roles (
  role        text        PRIMARY KEY COLLATE "C" CHECK (role ~ '^[a-z][a-z0-9_]{1,39}$'),
  scopes      text[]      NOT NULL COLLATE "C" CHECK (cardinality(scopes) > 0),
  description text        NOT NULL,
  version     bigint      NOT NULL CHECK (version > 0),
  removed     boolean     NOT NULL DEFAULT false,
  changed_at  timestamptz NOT NULL,
  changed_by  text        NOT NULL COLLATE "C"
);
CREATE INDEX roles_changed ON identity.roles (changed_at);

-- What people agreed to, and took back: rows are added, never changed or deleted.
CREATE TABLE identity.consents (
  account_id text        NOT NULL COLLATE "C" REFERENCES identity.accounts,
  number     integer     NOT NULL CHECK (number > 0),
  purpose    text        NOT NULL COLLATE "C" CHECK (purpose ~ '^[a-z][a-z0-9_]{1,39}$'),
  granted    boolean     NOT NULL,
  wording    text        NOT NULL COLLATE "C", -- which text was agreed to: its version
  via        text        NOT NULL COLLATE "C", -- the session or key that said so
  at         timestamptz NOT NULL,
  PRIMARY KEY (account_id, number)
);
CREATE FUNCTION identity.consents_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'consents are only added';
END $$;
CREATE TRIGGER consents_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON identity.consents
  FOR EACH STATEMENT EXECUTE FUNCTION identity.consents_stay();

-- Records of the vault that an account pointed to: destroyed when no mail needs them any more.
CREATE TABLE identity.discarded_persons (
  person text        PRIMARY KEY COLLATE "C",
  due_at timestamptz NOT NULL
);
