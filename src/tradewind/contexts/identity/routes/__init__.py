"""The HTTP face of identity."""

from tradewind.contexts.identity.routes import (
    accounts,
    keys,
    oauth_authorize,
    oauth_clients,
    oauth_devices,
    oauth_discovery,
    oauth_people,
    oauth_tokens,
    profile,
    security,
    sessions,
    staff,
)

issued = keys.issued

ROUTES = (
    *keys.ROUTES,
    *accounts.ROUTES,
    *sessions.ROUTES,
    *profile.ROUTES,
    *security.ROUTES,
    *staff.ROUTES,
    *oauth_clients.ROUTES,
    *oauth_discovery.ROUTES,
    *oauth_tokens.ROUTES,
    *oauth_authorize.ROUTES,
    *oauth_devices.ROUTES,
    *oauth_people.ROUTES,
)
