-- An order's units are held, then owed, then gone.
ALTER TABLE inventory.reservations
    DROP CONSTRAINT reservations_status_check,
    ADD CONSTRAINT reservations_status_check
        CHECK (status IN ('reserved', 'refused', 'allocated', 'released', 'fulfilled')),
    -- History knows orders without a product: there is nothing to hold for them.
    DROP CONSTRAINT reservations_check2;
