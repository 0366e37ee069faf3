"""Load, decide, save: what happens to orders, and the copy of the offers.

No handler here takes a lock. An order's row is changed only if it still is as it was read, so two
units that meet on an order are put in line by the row; the loser decides again. The version alone
would not tell: what orders only notes (how the money stands, that the stock is free) announces
nothing and leaves the version as it is.
"""

from tradewind.contexts.orders.handlers.accounts import claim_orders, merge_at_sign_in
from tradewind.contexts.orders.handlers.carts import (
    change_carts,
    check_out_carts,
    find_discarded,
    look_at_carts,
    merge_carts,
    note_forgotten,
    note_holds,
    open_carts,
)
from tradewind.contexts.orders.handlers.deciding import (
    News,
    cancel_orders,
    decide_orders,
    expire_orders,
    fold,
)
from tradewind.contexts.orders.handlers.documents import issue_credit_notes
from tradewind.contexts.orders.handlers.offers import copy_offers, offers_of
from tradewind.contexts.orders.handlers.placing import place_orders
from tradewind.contexts.orders.handlers.returns import (
    decide_returns,
    exchange_returns,
    fulfil_orders,
)

__all__ = [
    "News",
    "cancel_orders",
    "change_carts",
    "check_out_carts",
    "claim_orders",
    "copy_offers",
    "decide_orders",
    "decide_returns",
    "exchange_returns",
    "expire_orders",
    "find_discarded",
    "fold",
    "fulfil_orders",
    "issue_credit_notes",
    "look_at_carts",
    "merge_at_sign_in",
    "merge_carts",
    "note_forgotten",
    "note_holds",
    "offers_of",
    "open_carts",
    "place_orders",
]
