"""The application put together: routes, limits, pages and documentation, from what is declared."""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from tradewind.kernel.problems import Problem
from tradewind.platform.cache.memory import Memory
from tradewind.platform.gateway import health
from tradewind.platform.gateway.admission import Admission
from tradewind.platform.gateway.api_page import api_page, problem_page
from tradewind.platform.gateway.asgi import Application, Page
from tradewind.platform.gateway.doors import Authenticate, FrontDoor, ServiceDoor
from tradewind.platform.gateway.endpoint import SECURITY, Endpoint, Header, Response
from tradewind.platform.gateway.etags import is_known
from tradewind.platform.gateway.health import Unready
from tradewind.platform.gateway.limits import Limits
from tradewind.platform.gateway.onward import Onward
from tradewind.platform.gateway.openapi import openapi_document, problem_example
from tradewind.platform.gateway.problems import GATEWAY_PROBLEMS, NotFound
from tradewind.platform.gateway.quotas import Quotas
from tradewind.platform.gateway.recall import KnownHolder, nobody
from tradewind.platform.gateway.routing import Route
from tradewind.platform.security.issuing import Issuer
from tradewind.platform.security.service_tokens import ServiceVerifier

if TYPE_CHECKING:
    from tradewind.platform.node import Node

# The pages hold no script and load nothing; their one style sheet stands in them.
PAGE_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'",
)
# Documentation changes with a release: ask again, and be told 304.
REVALIDATED = (b"cache-control", b"no-cache")
JSON = b"application/json"
HTML = b"text/html; charset=utf-8"


def build_app(
    routes: Mapping[str, Sequence[Route]],
    node: "Node",
    *,
    authenticate: Authenticate,
    limits: Limits | None,
    quotas: Quotas | None = None,
    onward: Onward | None = None,
    version: str,
    unready: Unready = tuple,
    lifespan: Callable[[], AbstractAsyncContextManager[None]] | None = None,
    memories: Mapping[str, Memory] | None = None,
    issuer: Issuer | None = None,
    holder: KnownHolder = nobody,
) -> Application:
    """The ASGI application that serves the routes of all contexts, by the name of the context.

    `limits` and `quotas` are None where nothing is limited; `unready` gives the reasons why orders
    cannot be taken. `lifespan`, if given, surrounds the life of the server: the node starts before
    the first request and stops after the last. `memories` keep answers, by context; `issuer` makes
    tokens; `holder` tells whose a bearer is where the process knows it already. With `onward` each
    request that was let in is answered by a service.
    Raises `AssertionError` for routes that cannot be served.
    """
    endpoints = [Endpoint(route, name) for name, declared in routes.items() for route in declared]
    check_classes(endpoints, limits)
    documents = Documents(endpoints, version)
    app: Application

    def reasons() -> list[str]:
        return [*(["this process is stopping"] if app.draining else []), *unready()]

    pages: list[tuple[str, Page]] = [
        ("/", lambda params, headers: moved(b"/docs")),
        ("/livez", health.livez),
        ("/readyz", lambda params, headers: health.readyz(reasons)),
        ("/version", lambda params, headers: health.version(version)),
        ("/metrics", health.metrics_page),
        ("/openapi.json", documents.openapi),
        ("/docs", documents.docs),
        ("/problems", documents.problems),
        ("/problems/{code}", documents.problem),
    ]
    admission = Admission(node.settings, limits, quotas)
    app = Application(
        endpoints,
        node,
        admission,
        FrontDoor(node, authenticate, admission, passes_on=onward is not None),
        pages=pages,
        lifespan=lifespan,
        memories=memories,
        issuer=issuer,
        holder=holder,
        onward=onward,
    )
    return app


def build_service(
    routes: Mapping[str, Sequence[Route]],
    node: "Node",
    *,
    verifier: ServiceVerifier,
    limits: Limits | None,
    version: str,
    lifespan: Callable[[], AbstractAsyncContextManager[None]],
    memories: Mapping[str, Memory],
    issuer: Issuer | None,
) -> Application:
    """The ASGI application of a service: these routes, for the gateway alone.

    `limits` are those of guesses; requests were counted by the gateway.
    """
    endpoints = [Endpoint(route, name) for name, declared in routes.items() for route in declared]
    app: Application

    def reasons() -> list[str]:
        return [*(["this process is stopping"] if app.draining else []), *node.unready()]

    admission = Admission(node.settings, limits, behind=True)
    app = Application(
        endpoints,
        node,
        admission,
        ServiceDoor(node, verifier),
        pages=[
            ("/livez", health.livez),
            ("/readyz", lambda params, headers: health.readyz(reasons)),
            ("/version", lambda params, headers: health.version(version)),
            ("/metrics", health.metrics_page),
        ],
        lifespan=lifespan,
        memories=memories,
        issuer=issuer,
        behind=True,
    )
    return app


def check_classes(endpoints: Sequence[Endpoint], limits: Limits | None) -> None:
    """Every route names a class of limits that exists."""
    if limits is None:
        return
    for endpoint in endpoints:
        route = endpoint.route
        assert route.limit in limits.classes, (
            f"{route.method} {route.path}: there is no rate-limit class {route.limit!r}, "
            f"only {', '.join(limits.classes)}"
        )


class Documents:
    """The documentation of a route table. Written when first asked for: a start need not wait."""

    def __init__(self, endpoints: Sequence[Endpoint], version: str) -> None:
        self._endpoints = endpoints
        self._version = version

    @functools.cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return openapi_document(self._endpoints, self._version)

    @functools.cached_property
    def kinds(self) -> dict[str, type[Problem]]:
        """Every problem by its code: the contexts' own, then the platform's."""
        declared = [kind for endpoint in self._endpoints for kind in endpoint.route.problems]
        found: dict[str, type[Problem]] = {}
        for kind in [*declared, *GATEWAY_PROBLEMS]:
            found.setdefault(kind.code, kind)
        return dict(sorted(found.items()))

    @functools.cached_property
    def _openapi_bytes(self) -> bytes:
        return msgspec.json.encode(self.document)

    @functools.cached_property
    def _docs_bytes(self) -> bytes:
        return api_page(self.document).encode()

    def openapi(self, params: Mapping[str, str], headers: Mapping[bytes, bytes]) -> Response:
        """GET /openapi.json."""
        return document(self._openapi_bytes, headers, JSON)

    def docs(self, params: Mapping[str, str], headers: Mapping[bytes, bytes]) -> Response:
        """GET /docs."""
        return document(self._docs_bytes, headers, HTML)

    def problems(self, params: Mapping[str, str], headers: Mapping[bytes, bytes]) -> Response:
        """GET /problems: what `type` of a problem stands in."""
        return self._explained(list(self.kinds.values()), headers)

    def problem(self, params: Mapping[str, str], headers: Mapping[bytes, bytes]) -> Response:
        """GET /problems/{code}: what the `type` of a problem points to."""
        kind = self.kinds.get(params["code"])
        if kind is None:
            raise NotFound("There is no problem with this code.")
        return self._explained([kind], headers)

    def _explained(
        self, kinds: Sequence[type[Problem]], headers: Mapping[bytes, bytes]
    ) -> Response:
        explained = [explain(kind) for kind in kinds]
        if b"text/html" in headers.get(b"accept", b""):
            return document(problem_page(explained).encode(), headers, HTML)
        body = explained[0] if len(kinds) == 1 else {"items": explained, "next": None}
        return document(msgspec.json.encode(body), headers, JSON)


def explain(kind: type[Problem]) -> dict[str, Any]:
    """A problem in words."""
    return {
        "code": kind.code,
        "status": kind.status,
        "title": kind.title,
        "description": " ".join((kind.__doc__ or "").split()),
        "replayed": kind.kept,
        "example": problem_example(kind)["value"],
    }


def document(body: bytes, headers: Mapping[bytes, bytes], media_type: bytes) -> Response:
    """A page with its tag, or 304 for who has it."""
    tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    heads: list[Header] = [*SECURITY, REVALIDATED, (b"etag", tag.encode()), (b"vary", b"Accept")]
    if is_known(headers.get(b"if-none-match", b"").decode("latin-1"), tag):
        return Response(304, heads, b"")
    heads.append((b"content-type", media_type))
    if media_type == HTML:
        heads.append(PAGE_POLICY)
    return Response(200, heads, body)


def moved(location: bytes) -> Response:
    """What was asked for is elsewhere."""
    return Response(302, [*SECURITY, REVALIDATED, (b"location", location)], b"")
