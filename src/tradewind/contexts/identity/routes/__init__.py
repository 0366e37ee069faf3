"""The HTTP face of identity."""

from tradewind.contexts.identity.routes import accounts, keys, sessions

issued = keys.issued

ROUTES = (*keys.ROUTES, *accounts.ROUTES, *sessions.ROUTES)
