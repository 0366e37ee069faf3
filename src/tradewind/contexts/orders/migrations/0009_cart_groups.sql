-- Whose prices a cart is shown and ordered at: those of whoever began it.
ALTER TABLE orders.carts
  ADD COLUMN customer_group text COLLATE "C" NOT NULL DEFAULT '';
