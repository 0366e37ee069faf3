"""Inventory: how many units lie where, and how many of them are promised.

Owns: locations, stock (on hand, reserved) per sku and location, the reservation of each order, and
the ledger of movements. Skus are compared without letter case.

Announces: `StockReserved`, `StockRefused`, `StockAllocated`, `StockReleased` about an order;
`StockCounted`, `StockAdjusted`, `AvailabilityChanged` about a sku.

Listens to: orders (`OrderPlaced` holds units, `OrderConfirmed` allocates them, `OrderRejected` and
`OrderCancelled` give them back) and catalog (`ProductChanged`, where an import brings counts).

Promises: all lines of an order are held or none; no reservation ever takes more than is free, which
the database refuses on its own; a reservation has no clock, only the order's events end it.
"""
