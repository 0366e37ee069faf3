-- Units come and go for more reasons than a count: they are shipped, come back, break, turn up.
--
-- `movement_id` names a movement that was told, `reason` says why in words. Who tells one may give it
-- a name of its own, `external_id`: under one cause it is recorded once, however often it is told.
ALTER TABLE inventory.movements
    ADD COLUMN movement_id text COLLATE "C",
    ADD COLUMN reason text,
    ADD COLUMN external_id text COLLATE "C",
    DROP CONSTRAINT movements_kind_check,
    ADD CONSTRAINT movements_kind_check CHECK (kind IN (
        'opening', 'count', 'fulfilment', 'return', 'write_off', 'found', 'given_away', 'correction')),
    ADD CONSTRAINT movements_go_the_way_of_their_kind CHECK (CASE
        WHEN kind IN ('fulfilment', 'write_off', 'given_away') THEN on_hand_delta < 0
        WHEN kind IN ('return', 'found') THEN on_hand_delta > 0
        ELSE true END);

CREATE UNIQUE INDEX movements_by_external_id ON inventory.movements (cause, external_id)
    WHERE external_id IS NOT NULL;
