-- A key that is rotated opens with its old secret, too, until `former_until`.
ALTER TABLE identity.api_keys
  ADD COLUMN generation integer NOT NULL DEFAULT 1 CHECK (generation > 0),
  ADD COLUMN former_hash bytea CHECK (length(former_hash) = 32),
  ADD COLUMN former_until timestamptz,
  ADD COLUMN rotated_at timestamptz,
  -- Which limits count for its holder; '' is those of every key.
  ADD COLUMN limits text NOT NULL DEFAULT '' COLLATE "C",
  ADD CONSTRAINT former_has_an_end CHECK ((former_hash IS NULL) = (former_until IS NULL));
CREATE INDEX api_keys_rotated ON identity.api_keys (rotated_at) WHERE rotated_at IS NOT NULL;
