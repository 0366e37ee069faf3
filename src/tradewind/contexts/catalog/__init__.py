"""Catalog: what can be bought, at what price.

Owns: products with their variants, prices and attributes; categories; the search index; imports and
their reports; a copy of each sku's availability mark.

Announces: `ProductChanged` about a product, with the whole of it, once per version.

Listens to: inventory (`AvailabilityChanged` moves the mark that shoppers see).

Promises: an external id names one product and a sku one variant of one product, for ever; a version
is one change; what did not change is neither written nor announced; an import never loses or
doubles a line, and one bad line never costs another.
"""
