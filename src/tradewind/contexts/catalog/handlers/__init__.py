"""Catalog's units of work: load, decide, save.

Everything that names a product, a sku or an import locks it first, in one namespace: whoever brings
a new sku, and whoever says how available it is, wait for each other. Rows that exist are also
guarded by version and availability mark, because a product may be found through a sku that nobody
named.
"""
