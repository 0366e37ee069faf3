"""The HTTP face of orders."""

from tradewind.contexts.orders.routes import (
    cart_routes,
    documents,
    exchanging,
    own,
    placing,
    reading,
    returns,
)

ROUTES = (
    *placing.ROUTES[:1],
    *reading.ROUTES,
    *placing.ROUTES[1:],
    *returns.ROUTES,
    *exchanging.ROUTES,
    *documents.ROUTES,
    *cart_routes.ROUTES,
    *own.ROUTES,
)
