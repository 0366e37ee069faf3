"""Orders: the life of an order from placed to decided, cancelled or done.

Owns the order, its lines, its one clock (``decide_before``, ``review_before``) and a copy of what
the catalog offers. Announces OrderPlaced, OrderConfirmed, OrderHeld, OrderRejected, OrderCancelled,
and of carts, which it owns too, CartAbandoned; OrdersClaimed of those that an account took over.
Listens to catalog (offers), inventory, payments and fraud (what became of its requests), and to
identity (who signs in brings a cart along).
"""
