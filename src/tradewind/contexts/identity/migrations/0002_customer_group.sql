-- Whose prices the holder of a key is shown and pays; '' is everybody's.
ALTER TABLE identity.api_keys
  ADD COLUMN customer_group text COLLATE "C" NOT NULL DEFAULT '';
