"""The HTTP face of identity."""

from tradewind.contexts.identity.routes import accounts, keys, profile, security, sessions, staff

issued = keys.issued

ROUTES = (
    *keys.ROUTES,
    *accounts.ROUTES,
    *sessions.ROUTES,
    *profile.ROUTES,
    *security.ROUTES,
    *staff.ROUTES,
)
