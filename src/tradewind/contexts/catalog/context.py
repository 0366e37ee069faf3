"""Catalog, as data."""

from pathlib import Path

from tradewind.contexts.catalog import routes
from tradewind.contexts.catalog.commands import (
    ArchiveProduct,
    BeginImport,
    FinishImport,
    ImportChunk,
    UpsertProduct,
)
from tradewind.contexts.catalog.events import ProductChanged
from tradewind.contexts.catalog.handlers import availability, imports, products
from tradewind.contexts.inventory.events import AvailabilityChanged
from tradewind.platform.context import Consumer, Context

CONTEXT = Context(
    name="catalog",
    topic="catalog-events",
    announces=(ProductChanged,),
    migrations=Path(__file__).parent / "migrations",
    routes=routes.ROUTES,
    commands={
        UpsertProduct: products.upsert_products,
        ArchiveProduct: products.archive_products,
        BeginImport: imports.begin_imports,
        ImportChunk: imports.take_chunks,
        FinishImport: imports.finish_imports,
    },
    consumers=(
        Consumer(
            name="availability",
            handler=availability.remember_availability,
            events=(AvailabilityChanged,),
        ),
    ),
)
