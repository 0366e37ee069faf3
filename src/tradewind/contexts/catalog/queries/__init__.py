"""Reads of the catalog: from the rows, and searches from an index in memory where there is one."""

from tradewind.contexts.catalog.queries.finding import Wanted, find, make_ready
from tradewind.contexts.catalog.queries.products import (
    ABOVE_ALL_SCORES,
    BEHIND_ALL_IDS,
    Words,
    categories,
    changes,
    facets,
    import_report,
    list_products,
    product,
    product_of_sku,
    search,
    words_of,
)

__all__ = [
    "ABOVE_ALL_SCORES",
    "BEHIND_ALL_IDS",
    "Wanted",
    "Words",
    "categories",
    "changes",
    "facets",
    "find",
    "import_report",
    "list_products",
    "make_ready",
    "product",
    "product_of_sku",
    "search",
    "words_of",
]
