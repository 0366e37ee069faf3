-- The newest products of a category, in order: a page looks at as many rows as it shows, however
-- many products the shop has.
CREATE INDEX products_by_category_newest ON catalog.products (category, product_id)
  WHERE NOT archived;
