-- People who sign in. Names and addresses lie in the vault: a row holds its tokens.
--
-- A row is made when the e-mail address is verified, never before: who does not read the mail of an
-- address cannot occupy it, and what somebody else typed is never the password of its owner.
CREATE TABLE identity.accounts (
  account_id     text        PRIMARY KEY COLLATE "C" CHECK (length(account_id) = 30),
  version        bigint      NOT NULL CHECK (version > 0),
  status         text        NOT NULL COLLATE "C" CHECK (status IN ('active', 'suspended', 'closed')),
  contact        text        COLLATE "C" UNIQUE,   -- the vault's token of the address; null: closed
  person         text        NOT NULL COLLATE "C", -- the vault's first record of them, for life
  record         text        NOT NULL COLLATE "C", -- and the newest: address, profile, address book
  password_hash  text,                             -- argon2id with its parameters; null: closed
  roles          text[]      NOT NULL COLLATE "C",
  customer_group text        NOT NULL DEFAULT '' COLLATE "C",
  totp_sealed    bytea,                            -- the secret of the app, under the master key
  totp_pending   bytea,                            -- shown to its owner, and not yet confirmed
  totp_step      bigint      NOT NULL DEFAULT 0,   -- of the last code that was accepted
  recovery       bytea[]     NOT NULL DEFAULT '{}', -- SHA-256 of the codes that are left
  opened_at      timestamptz NOT NULL,
  verified_at    timestamptz NOT NULL,
  password_at    timestamptz NOT NULL,
  changed_at     timestamptz NOT NULL,  -- anything that a credential is made of
  CHECK ((status = 'closed') = (contact IS NULL)),
  CHECK ((status = 'closed') = (password_hash IS NULL))
) WITH (fillfactor = 70);
-- What every process asks for, again and again: whose credentials to read anew.
CREATE INDEX accounts_changed ON identity.accounts (changed_at);
-- Staff: a few of many.
CREATE INDEX accounts_staff ON identity.accounts (account_id) WHERE roles <> '{customer}';

-- What somebody asked for who has yet to prove, by the token in a mail, that the address is theirs.
-- Asking writes the same row whether the address has an account or not; `kind` is what differs.
CREATE TABLE identity.errands (
  errand_id     text        PRIMARY KEY COLLATE "C" CHECK (length(errand_id) = 30),
  kind          text        NOT NULL COLLATE "C"
                  CHECK (kind IN ('sign_up', 'reset', 'new_address', 'nothing')),
  address       bytea       NOT NULL CHECK (length(address) = 32), -- keyed hash: counts the mails
  token_hash    bytea       NOT NULL CHECK (length(token_hash) = 32),
  account_id    text        COLLATE "C",  -- whose it is; of a sign-up: what it became
  person        text        COLLATE "C",
  contact       text        COLLATE "C",
  password_hash text,
  asked_at      timestamptz NOT NULL,
  expires_at    timestamptz NOT NULL,
  used_at       timestamptz
);
CREATE INDEX errands_by_address ON identity.errands (address, asked_at);
CREATE INDEX errands_by_expiry ON identity.errands (expires_at);
-- The vault asks a day later who came to use a record.
CREATE INDEX errands_by_person ON identity.errands (person) WHERE person IS NOT NULL;
CREATE INDEX accounts_by_person ON identity.accounts (person);
CREATE INDEX accounts_by_record ON identity.accounts (record);

-- Guesses of passwords, by address: of those that have an account and of those that have none, so
-- that being locked out tells nothing.
CREATE TABLE identity.guesses (
  address      bytea       PRIMARY KEY CHECK (length(address) = 32),
  failures     integer     NOT NULL CHECK (failures > 0),
  locked_until timestamptz,
  last_at      timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX guesses_by_last ON identity.guesses (last_at);

-- Who is signed in, and where. Of the token only its hash.
CREATE TABLE identity.sessions (
  session_id   text        PRIMARY KEY COLLATE "C" CHECK (length(session_id) = 30),
  account_id   text        NOT NULL COLLATE "C" REFERENCES identity.accounts,
  secret_hash  bytea       NOT NULL CHECK (length(secret_hash) = 32),
  second_factor boolean    NOT NULL,
  opened_at    timestamptz NOT NULL,
  expires_at   timestamptz NOT NULL CHECK (expires_at > opened_at),
  last_used_at timestamptz,
  ended_at     timestamptz
) WITH (fillfactor = 70);
CREATE INDEX sessions_by_account ON identity.sessions (account_id, session_id);
CREATE INDEX sessions_ended ON identity.sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_by_expiry ON identity.sessions (expires_at);
