"""Reads of the catalog: from the rows, and searches from an index in memory where there is one."""

from tradewind.contexts.catalog.queries.exports import products as exported_products
from tradewind.contexts.catalog.queries.finding import (
    Filters,
    Wanted,
    find,
    is_range,
    make_ready,
    settings_of,
    suggest,
)
from tradewind.contexts.catalog.queries.imports import import_report
from tradewind.contexts.catalog.queries.products import (
    BEHIND_ALL_IDS,
    Words,
    categories,
    changes,
    list_products,
    product,
    product_of_sku,
    words_of,
)

__all__ = [
    "BEHIND_ALL_IDS",
    "Filters",
    "Wanted",
    "Words",
    "categories",
    "changes",
    "exported_products",
    "find",
    "import_report",
    "is_range",
    "list_products",
    "make_ready",
    "product",
    "product_of_sku",
    "settings_of",
    "suggest",
    "words_of",
]
