-- Keys that sign tokens. The private part is sealed under the server's master key.
CREATE TABLE identity.signing_keys (
  kid           text        PRIMARY KEY COLLATE "C" CHECK (length(kid) BETWEEN 1 AND 128),
  public        text        NOT NULL, -- the JWK
  master_key_id text        NOT NULL COLLATE "C",
  sealed        bytea       NOT NULL,
  signs_from    timestamptz NOT NULL,
  signs_until   timestamptz NOT NULL CHECK (signs_until > signs_from),
  served_until  timestamptz NOT NULL CHECK (served_until > signs_until),
  made_at       timestamptz NOT NULL
);

-- Tokens that are void before they expire: of a client, a grant, or one by itself. Rows go when the
-- last token that they could be about has expired.
CREATE TABLE identity.revocations (
  what       text        PRIMARY KEY COLLATE "C" CHECK (length(what) = 30),
  revoked_at timestamptz NOT NULL
);
-- What every process asks for, again and again.
CREATE INDEX revocations_by_time ON identity.revocations (revoked_at);
