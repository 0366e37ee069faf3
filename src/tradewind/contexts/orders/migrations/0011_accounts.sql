-- Whose an order is: the account that was signed in when it was placed, or that claimed it later.
-- A decision about an order never touches it, so the index costs a decision nothing.
ALTER TABLE orders.orders ADD COLUMN account text COLLATE "C";
CREATE INDEX orders_by_account ON orders.orders (account, placed_at DESC, order_id DESC)
  WHERE account IS NOT NULL;
