"""Catalog, as data."""

from pathlib import Path

from tradewind.contexts.catalog import queries, routes
from tradewind.contexts.catalog.commands import (
    ArchiveProduct,
    BeginImport,
    FinishImport,
    ImportChunk,
    SetSearch,
    UpsertProduct,
)
from tradewind.contexts.catalog.events import ProductChanged, sku_key
from tradewind.contexts.catalog.handlers import availability, imports, products, search
from tradewind.contexts.inventory.events import (
    AvailabilityChanged,
    StockAdjusted,
    StockCounted,
)
from tradewind.platform.context import Consumer, Context, Projection, Redrawing

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
        SetSearch: search.set_search,
    },
    consumers=(
        Consumer(
            name="availability",
            handler=availability.remember_availability,
            events=(AvailabilityChanged, StockCounted, StockAdjusted),
        ),
    ),
    projections=(
        Projection(
            table="catalog.availability",
            consumer="availability",
            event=AvailabilityChanged,
            column="sku_key",
            whose=lambda event: sku_key(event.sku),
            key=("sku_key",),
            rows=availability.marks_of,
        ),
    ),
    changes=queries.changes,
    make_ready=queries.make_ready,
    redrawings=(Redrawing(name="catalog.documents", handler=availability.redraw_documents),),
)
