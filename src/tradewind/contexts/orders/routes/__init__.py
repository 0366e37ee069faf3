"""The HTTP face of orders."""

from tradewind.contexts.orders.routes import placing, reading

ROUTES = (*placing.ROUTES[:1], *reading.ROUTES, *placing.ROUTES[1:])
