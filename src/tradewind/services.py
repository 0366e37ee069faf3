"""The platform as services: which service answers for what, and how each and their gateway is made.

A service is a process of some contexts: their routes, handlers, consumers and sweeps, and nothing
of the others but what they say of a person. What belongs to no context has a place, too: people's
data are asked for at `identity`, the feed, dead letters and the record at `events`. `app.py` puts
together everything in one process; no context knows in which of the two ways it runs.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from tradewind import __version__, app
from tradewind.contexts.identity import context as identity
from tradewind.platform.database.databases import url_of
from tradewind.platform.gateway.asgi import Application
from tradewind.platform.gateway.assembly import build_app, build_service
from tradewind.platform.gateway.limits import Limits
from tradewind.platform.gateway.onward import Onward, Service
from tradewind.platform.gateway.quotas import Quotas
from tradewind.platform.gateway.routing import Route
from tradewind.platform.node import Node
from tradewind.platform.security.secrets import Secrets, read_secrets
from tradewind.platform.security.service_tokens import (
    ServiceSigner,
    ServiceVerifier,
    read_public_keys,
    read_signer,
)
from tradewind.platform.settings import Settings

EVENTS = "events"
GATEWAY = "gateway"
# In the order in which they are started.
SERVICES = (*app.CONTEXTS, EVENTS)
# The routes that belong to no context, and the service that answers them.
PLATFORM_ROUTES = {"vault": "identity", "bus": EVENTS, "audit": EVENTS}


class ServicesError(Exception):
    """Services that cannot be run like that; the text says why and what to do."""


def create(settings: Settings, names: Sequence[str]) -> Application:
    """The ASGI application of a process: these services, or the gateway; all in one for none."""
    if not names:
        return app.create(settings)
    return create_gateway(settings) if GATEWAY in names else create_service(settings, names)


def service_of(routes: str) -> str:
    """The service that answers the routes declared under a name."""
    return PLATFORM_ROUTES.get(routes, routes)


def home_of(settings: Settings, names: Sequence[str], *, otherwise: str = "") -> str:
    """The database that a process of these services works on. Raises `ServicesError`."""
    unknown = [name for name in names if name not in SERVICES]
    if unknown:
        raise ServicesError(
            f"There is no service {unknown[0]!r}: there are {', '.join(SERVICES)}. The gateway "
            "is served by itself."
        )
    urls = {url_of(settings, name, otherwise=otherwise): name for name in names}
    if len(urls) > 1:
        raise ServicesError(
            f"{' and '.join(urls.values())} have databases of their own (TRADEWIND_DATABASES), so "
            "they cannot share a process: serve each by itself."
        )
    return next(iter(urls))


def create_service(settings: Settings, names: Sequence[str]) -> Application:
    """The ASGI application of a process that is these services, behind a gateway.

    `settings.database_url` is the database of who has none of its own.
    """
    contexts = app.load_contexts([name for name in app.CONTEXTS if name in names])
    everybody = app.load_contexts()
    secrets = read_secrets(settings.home, settings.secret_key)
    keys = read_public_keys(settings.home, settings.gateway_public_keys)
    node = Node(
        settings, app.plan(contexts, everybody), dsn=home_of(settings, names), secrets=secrets
    )
    remembered = app.memories(contexts, node)
    declared = app.routes(everybody)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with app.at_work(contexts, node, remembered):
            yield

    return build_service(
        {name: routes for name, routes in declared.items() if service_of(name) in names},
        node,
        verifier=ServiceVerifier(keys, names),
        limits=limits_of(settings, secrets),
        version=__version__,
        lifespan=lifespan,
        memories=remembered,
        issuer=identity.issuer(node) if "identity" in names else None,
    )


def create_gateway(settings: Settings) -> Application:
    """The ASGI application of a gateway: it knows every route, and answers none itself.

    Who callers are it reads where identity keeps them. Raises `ServicesError` for a service whose
    address the settings do not tell.
    """
    known = app.load_contexts()
    secrets = read_secrets(settings.home, settings.secret_key)
    listening = msgspec.structs.replace(
        app.plan([context for context in known if context.name == "identity"]),
        consumers=(),
        sweeps=(),
        sequences=False,
    )
    node = Node(settings, listening, dsn=home_of(settings, ["identity"]), secrets=secrets)
    issuer = identity.issuer(node)
    authenticator = identity.authenticator(node, issuer)
    limits = limits_of(settings, secrets)
    quotas = Quotas(node.pool) if limits is not None else None
    declared = app.routes(known)
    onward = Onward(
        addresses(settings, declared),
        ServiceSigner(read_signer(settings.home, settings.gateway_key)),
        answers_within_s=settings.wait_max_s,
        client_header=settings.client_certificate_header or "",
    )

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await node.start()
        onward.open()
        watching = asyncio.create_task(onward.watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await onward.close()
            await authenticator.close()
            if quotas is not None:
                await quotas.close()
            await node.stop()

    return build_app(
        declared,
        node,
        authenticate=authenticator.authenticate,
        limits=limits,
        quotas=quotas,
        version=__version__,
        unready=lambda: [*node.unready(), *onward.unready()],
        lifespan=lifespan,
        issuer=issuer,
        onward=onward,
    )


def addresses(settings: Settings, declared: Mapping[str, Sequence[Route]]) -> dict[str, Service]:
    """Where the routes declared under each name are answered. Raises `ServicesError`."""
    urls = settings.service_urls
    found: dict[str, Service] = {}
    for name in declared:
        service = service_of(name)
        if service not in urls:
            raise ServicesError(
                f"The gateway does not know where the service {service} is: add "
                f"{service}=http://host:port to TRADEWIND_SERVICES."
            )
        found[name] = Service(service, urls[service])
    return found


def limits_of(settings: Settings, secrets: Secrets) -> Limits | None:
    """How often callers may ask, as this machine counts; None where nothing is limited."""
    if not settings.limits:
        return None
    return Limits(
        secrets.purpose_key("rate limits"), time.time, path=settings.home / "limits.table"
    )
