-- What a person lets a program do, for as long as it lasts: the family of its refresh tokens. A
-- token names its generation and is derived from the master key; a former one ends the family.
CREATE TABLE identity.oauth_grants (
  grant_id        text        PRIMARY KEY COLLATE "C" CHECK (length(grant_id) = 30),
  client_id       text        NOT NULL COLLATE "C" REFERENCES identity.oauth_clients,
  account_id      text        NOT NULL COLLATE "C",
  session_id      text        COLLATE "C", -- the sign-in that it came from
  scopes          text[]      NOT NULL COLLATE "C",
  signed_in_at    timestamptz NOT NULL,
  second_factor   boolean     NOT NULL,
  generation      integer     NOT NULL CHECK (generation >= 0), -- 0: no refresh token was given
  version         bigint      NOT NULL CHECK (version > 0),
  given_at        timestamptz NOT NULL,
  expires_at      timestamptz NOT NULL CHECK (expires_at > given_at),
  revoked_at      timestamptz,
  revoked_because text        COLLATE "C",
  CHECK ((revoked_at IS NULL) = (revoked_because IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX oauth_grants_by_account ON identity.oauth_grants (account_id, grant_id)
  WHERE revoked_at IS NULL;
CREATE INDEX oauth_grants_by_expiry ON identity.oauth_grants (expires_at);

-- An authorization code: good once, for a minute. One that comes back ends its grant.
CREATE TABLE identity.oauth_codes (
  code_id       text        PRIMARY KEY COLLATE "C" CHECK (length(code_id) = 30),
  client_id     text        NOT NULL COLLATE "C",
  account_id    text        NOT NULL COLLATE "C",
  session_id    text        NOT NULL COLLATE "C",
  redirect_uri  text        NOT NULL,
  scopes        text[]      NOT NULL COLLATE "C",
  challenge     text        NOT NULL COLLATE "C", -- PKCE, S256
  nonce         text,
  signed_in_at  timestamptz NOT NULL,
  second_factor boolean     NOT NULL,
  expires_at    timestamptz NOT NULL,
  grant_id      text        COLLATE "C" -- what it was exchanged for
) WITH (fillfactor = 70);
CREATE INDEX oauth_codes_by_expiry ON identity.oauth_codes (expires_at);

-- What somebody has agreed to let a program do; asked again only for more.
CREATE TABLE identity.oauth_agreements (
  account_id text        NOT NULL COLLATE "C",
  client_id  text        NOT NULL COLLATE "C",
  scopes     text[]      NOT NULL COLLATE "C",
  agreed_at  timestamptz NOT NULL,
  PRIMARY KEY (account_id, client_id)
);

-- A device without a keyboard waits here for somebody with one (RFC 8628).
CREATE TABLE identity.oauth_devices (
  device_id      text        PRIMARY KEY COLLATE "C" CHECK (length(device_id) = 30),
  user_code_hash bytea       NOT NULL UNIQUE CHECK (length(user_code_hash) = 32),
  client_id      text        NOT NULL COLLATE "C",
  scopes         text[]      NOT NULL COLLATE "C",
  status         text        NOT NULL COLLATE "C"
                   CHECK (status IN ('waiting', 'allowed', 'denied', 'used')),
  asked_at       timestamptz NOT NULL,
  expires_at     timestamptz NOT NULL,
  polled_at      timestamptz,
  interval_s     integer     NOT NULL CHECK (interval_s > 0),
  account_id     text        COLLATE "C",
  session_id     text        COLLATE "C",
  signed_in_at   timestamptz,
  second_factor  boolean     NOT NULL DEFAULT false,
  grant_id       text        COLLATE "C"
) WITH (fillfactor = 70);
CREATE INDEX oauth_devices_by_expiry ON identity.oauth_devices (expires_at);
