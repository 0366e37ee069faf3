"""HTTP: the catalog for shoppers, upserts for partners, imports for whole shops, searches."""

from tradewind.contexts.catalog.routes import products, search
from tradewind.contexts.catalog.routes.products import LINE_BYTES_MAX, lines_of

ROUTES = (*products.ROUTES, *search.ROUTES)

__all__ = ["LINE_BYTES_MAX", "ROUTES", "lines_of"]
