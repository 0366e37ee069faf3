"""Catalog decides: what a product is, whether it changed, whose sku it is, which lines are bad.

`drafts` reads what people send, `products` decides what becomes of it and what shoppers see,
`imports` reads lines and folds them. All pure.
"""
