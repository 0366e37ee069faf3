-- API keys: what they may do and until when. Of the secret only SHA-256 of the whole key.
CREATE TABLE identity.api_keys (
  key_id       text        PRIMARY KEY COLLATE "C" CHECK (length(key_id) = 30),
  name         text        NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  scopes       text[]      NOT NULL CHECK (cardinality(scopes) > 0),
  secret_hash  bytea       NOT NULL CHECK (length(secret_hash) = 32),
  version      bigint      NOT NULL CHECK (version > 0),
  created_at   timestamptz NOT NULL,
  created_by   text        NOT NULL COLLATE "C",
  expires_at   timestamptz CHECK (expires_at > created_at),
  revoked_at   timestamptz CHECK (revoked_at >= created_at),
  revoked_by   text        COLLATE "C",
  last_used_at timestamptz,
  CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
) WITH (fillfactor = 80);
-- What every process asks for, again and again: which keys to forget.
CREATE INDEX api_keys_revoked ON identity.api_keys (revoked_at) WHERE revoked_at IS NOT NULL;
