-- What came of the lines that were accepted; `digest` is made of every byte that was taken, so that
-- only the same file goes on; `form` says how lines are read.
ALTER TABLE catalog.imports
  ADD COLUMN created   bigint NOT NULL DEFAULT 0 CHECK (created >= 0),
  ADD COLUMN changed   bigint NOT NULL DEFAULT 0 CHECK (changed >= 0),
  ADD COLUMN unchanged bigint NOT NULL DEFAULT 0 CHECK (unchanged >= 0),
  ADD COLUMN digest    text   COLLATE "C" NOT NULL DEFAULT '',
  ADD COLUMN form      text   NOT NULL DEFAULT '{}';
ALTER TABLE catalog.import_errors
  ADD COLUMN pointer     text,
  ADD COLUMN column_name text;

-- Units at the default location, as they were last declared with a product and as inventory last
-- counted them: where both are what an import says, it says nothing new.
CREATE TABLE catalog.counts (
  sku_key  text   COLLATE "C" PRIMARY KEY,
  declared bigint CHECK (declared >= 0),
  counted  bigint CHECK (counted >= 0),
  sequence bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 80);
