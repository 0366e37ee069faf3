-- How this shop is searched: one row, or none where nobody has said anything. `touched` as in
-- catalog.products: processes that search see a change with their next look.
CREATE TABLE catalog.search_settings (
  one      boolean PRIMARY KEY CHECK (one),
  language text    COLLATE "C" NOT NULL CHECK (language <> ''),
  brand    text[]  COLLATE "C" NOT NULL,
  synonyms text[]  COLLATE "C" NOT NULL,
  touched  xid8    NOT NULL DEFAULT pg_current_xact_id()
);

-- Attributes of variants are counted and filtered by, too, and a boolean is no word: whatever shows,
-- but prices, availability and the version, is a reason to count anew.
CREATE FUNCTION catalog.without_prices(document text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN regexp_replace(
    document, '"(amount|availability)":"[^"]*"|"version":[0-9]+', '', 'g');

CREATE OR REPLACE FUNCTION catalog.note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.touched := pg_current_xact_id();
  IF NEW.search <> OLD.search OR NEW.archived <> OLD.archived
     OR NEW.category IS DISTINCT FROM OLD.category
     OR NEW.attributes::text <> OLD.attributes::text
     OR catalog.without_prices(NEW.document) <> catalog.without_prices(OLD.document) THEN
    NEW.reworded := NEW.touched;
  END IF;
  RETURN NEW;
END $$;
