"""Inventory, as data."""

from pathlib import Path

from tradewind.contexts.catalog.events import ProductChanged
from tradewind.contexts.inventory import handlers, routes
from tradewind.contexts.inventory.commands import (
    AdjustStock,
    BeginStockImport,
    FinishStockImport,
    KeepLocation,
    SetStock,
    TakeStockLines,
)
from tradewind.contexts.inventory.events import (
    AvailabilityChanged,
    HoldEnded,
    StockAdjusted,
    StockAllocated,
    StockCounted,
    StockFulfilled,
    StockRefused,
    StockReleased,
    StockReserved,
    UnitsHeld,
)
from tradewind.contexts.inventory.handlers import imports
from tradewind.contexts.inventory.rules import HoldDue
from tradewind.contexts.orders.events import (
    CreditNoteIssued,
    HoldAsked,
    OrderCancelled,
    OrderConfirmed,
    OrderFulfilled,
    OrderPlaced,
    OrderRejected,
    ReturnReceived,
)
from tradewind.platform.context import Consumer, Context

CONTEXT = Context(
    name="inventory",
    topic="inventory-events",
    announces=(
        StockReserved,
        StockRefused,
        StockAllocated,
        StockReleased,
        StockFulfilled,
        StockCounted,
        StockAdjusted,
        AvailabilityChanged,
        UnitsHeld,
        HoldEnded,
    ),
    migrations=Path(__file__).parent / "migrations",
    routes=routes.ROUTES,
    commands={
        SetStock: handlers.set_stock,
        AdjustStock: handlers.adjust_stock,
        KeepLocation: handlers.keep_locations,
        BeginStockImport: imports.begin_imports,
        TakeStockLines: imports.take_lines,
        FinishStockImport: imports.finish_imports,
    },
    consumers=(
        Consumer(
            name="stock",
            handler=handlers.keep_stock,
            events=(
                OrderPlaced,
                OrderConfirmed,
                OrderRejected,
                OrderCancelled,
                OrderFulfilled,
                ReturnReceived,
                CreditNoteIssued,
                HoldAsked,
                HoldDue,
                ProductChanged,
            ),
            patient=(OrderConfirmed,),
        ),
    ),
)
