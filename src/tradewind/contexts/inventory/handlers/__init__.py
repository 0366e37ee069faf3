"""Units of work of inventory: read, fold, save.

No lock is taken at first. Every shelf and sku that a unit decided on is written only if it is still
as it was read; a unit that meets a faster one decides again, then under the advisory locks of its
skus, so that rivals on one sku take turns. What belongs to one order is kept apart by the log: all
events about it are in one partition, which one unit at a time may advance.
"""

from tradewind.contexts.inventory.handlers.counting import adjust_stock, keep_locations, set_stock
from tradewind.contexts.inventory.handlers.keeping import StockEvent, keep_stock, requests_in

__all__ = [
    "StockEvent",
    "adjust_stock",
    "keep_locations",
    "keep_stock",
    "requests_in",
    "set_stock",
]
