-- What a look-up needs once there are millions of orders.

-- The vault asks of its records, a day later, whether an order came to use them.
CREATE INDEX orders_by_customer ON orders.orders (customer);

-- Few orders are held or rejected, and those that are not never enter these two: a decision that
-- confirms changes neither column, so it stays a heap-only update.
CREATE INDEX orders_reviewed ON orders.orders (placed_at DESC, order_id DESC)
  WHERE review_before IS NOT NULL;
CREATE INDEX orders_rejected ON orders.orders (placed_at DESC, order_id DESC)
  WHERE rejection_code IS NOT NULL;
