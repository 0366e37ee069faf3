"""The HTTP face of the catalog: for shoppers, for partners, for whole shops, and searches."""

from tradewind.contexts.catalog.routes import imports, media, model, products, search

ROUTES = (*products.ROUTES, *search.ROUTES, *model.ROUTES, *media.ROUTES, *imports.ROUTES)
