-- When a product last changed, as the number of the transaction that did it, whoever that was: what
-- shoppers see of it (touched), and what it is found by (reworded). A process that remembers answers
-- asks for what was committed since it last asked: the rows whose transaction its last snapshot did
-- not see. That needs no order, no offset and no horizon.
ALTER TABLE catalog.products
  ADD COLUMN touched  xid8 NOT NULL DEFAULT pg_current_xact_id(),
  ADD COLUMN reworded xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX products_by_touched ON catalog.products (touched);

CREATE FUNCTION catalog.note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.touched := pg_current_xact_id();
  IF NEW.search <> OLD.search OR NEW.archived <> OLD.archived
     OR NEW.category IS DISTINCT FROM OLD.category
     OR NEW.attributes::text <> OLD.attributes::text THEN
    NEW.reworded := NEW.touched;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER products_note_changes BEFORE UPDATE ON catalog.products
  FOR EACH ROW EXECUTE FUNCTION catalog.note_change();
