-- How this shop is searched: one row, or none where nobody has said anything. `touched` as in
-- catalog.products: processes that search see a change with their next look.
CREATE TABLE catalog.search_settings (
  one      boolean PRIMARY KEY CHECK (one),
  language text    COLLATE "C" NOT NULL CHECK (language <> ''),
  brand    text[]  COLLATE "C" NOT NULL,
  synonyms text[]  COLLATE "C" NOT NULL,
  touched  xid8    NOT NULL DEFAULT pg_current_xact_id()
);
