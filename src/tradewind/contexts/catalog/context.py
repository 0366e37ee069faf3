"""Catalog, as data."""

from pathlib import Path

from tradewind.contexts.catalog import queries, routes
from tradewind.contexts.catalog.commands import (
    ApplyPrices,
    ArchiveProduct,
    ArrangeMedia,
    BeginImport,
    DefineAttribute,
    DropAttribute,
    FinishImport,
    FollowCategories,
    ImportChunk,
    KeepCategory,
    KeepPriceList,
    RemoveCategory,
    RemovePriceList,
    SetListPrices,
    SetSearch,
    UpsertProduct,
)
from tradewind.contexts.catalog.events import ProductChanged, sku_key
from tradewind.contexts.catalog.handlers import availability, imports, lists, products, search, tree
from tradewind.contexts.inventory.events import (
    AvailabilityChanged,
    StockAdjusted,
    StockCounted,
)
from tradewind.platform.context import Consumer, Context, Projection, Redrawing, Sweep

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
        KeepCategory: tree.keep_categories,
        RemoveCategory: tree.remove_categories,
        FollowCategories: tree.follow_categories,
        DefineAttribute: tree.define_attributes,
        DropAttribute: tree.drop_attributes,
        KeepPriceList: lists.keep_lists,
        SetListPrices: lists.set_prices,
        RemovePriceList: lists.remove_lists,
        ApplyPrices: lists.apply_prices,
        ArrangeMedia: products.arrange_media,
    },
    consumers=(
        Consumer(
            name="availability",
            handler=availability.remember_availability,
            events=(AvailabilityChanged, StockCounted, StockAdjusted),
        ),
    ),
    sweeps=(
        Sweep(name="prices", every_s=0.3, handler=availability.redraw_due),
        Sweep(name="lists", every_s=2.0, handler=lists.apply_due),
        Sweep(name="tree", every_s=2.0, handler=tree.follow_some),
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
