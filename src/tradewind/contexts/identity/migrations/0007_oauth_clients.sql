-- Programs that may ask for tokens. A secret is derived from the master key by id and generation,
-- so that nothing here opens anything.
CREATE TABLE identity.oauth_clients (
  client_id         text        PRIMARY KEY COLLATE "C" CHECK (length(client_id) = 30),
  name              text        NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  authentication    text        NOT NULL COLLATE "C"
                      CHECK (authentication IN ('secret', 'certificate', 'none')),
  certificates      text[]      NOT NULL COLLATE "C", -- SHA-256 of those it may come with
  redirect_uris     text[]      NOT NULL COLLATE "C",
  logout_uris       text[]      NOT NULL COLLATE "C",
  grants            text[]      NOT NULL COLLATE "C" CHECK (cardinality(grants) > 0),
  scopes            text[]      NOT NULL COLLATE "C",
  secret_generation integer     NOT NULL CHECK (secret_generation > 0),
  former_until      timestamptz, -- the secret before this one is good until then
  version           bigint      NOT NULL CHECK (version > 0),
  registered_at     timestamptz NOT NULL,
  registered_by     text        NOT NULL COLLATE "C",
  revoked_at        timestamptz,
  revoked_by        text        COLLATE "C",
  CHECK ((revoked_at IS NULL) = (revoked_by IS NULL)),
  CHECK ((authentication = 'certificate') = (cardinality(certificates) > 0))
) WITH (fillfactor = 80);
