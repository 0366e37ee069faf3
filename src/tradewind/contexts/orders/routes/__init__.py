"""The HTTP face of orders."""

from tradewind.contexts.orders.routes import documents, placing, reading, returns

ROUTES = (
    *placing.ROUTES[:1],
    *reading.ROUTES,
    *placing.ROUTES[1:],
    *returns.ROUTES,
    *documents.ROUTES,
)
