"""A route made ready: everything that can be known before a request is worked out once."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec
from prometheus_client import Counter, Histogram

from tradewind.kernel.answers import Answer, Settled
from tradewind.kernel.problems import Problem
from tradewind.platform.audit.ecs import NOTICES
from tradewind.platform.gateway.forms import FORM, Form
from tradewind.platform.gateway.parameters import Query
from tradewind.platform.gateway.problems import (
    Forbidden,
    NotFound,
    Unauthenticated,
    UnsupportedMediaType,
    render_problem,
)
from tradewind.platform.gateway.routing import (
    Anyone,
    CartHolder,
    Keyed,
    OrderHolder,
    OwnCredentials,
    Owner,
    Recorded,
    Route,
    Scope,
    SignedIn,
)
from tradewind.platform.gateway.validation import Body, lenient_structs
from tradewind.platform.security.authentication import Credential
from tradewind.platform.telemetry import metrics

Header = tuple[bytes, bytes]

# On every answer. A page adds a Content-Security-Policy; JSON is never rendered.
SECURITY: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
NO_STORE: Header = (b"cache-control", b"no-store")
# Whoever has a credential may be shown other prices.
VARY: Header = (b"vary", b"Authorization")
REPLAYED: Header = (b"idempotent-replayed", b"true")
NO_BODY = frozenset({204, 304})

_encode = msgspec.json.Encoder().encode


class Response(NamedTuple):
    """An answer as it goes out, but for what is added to all: length and request id.

    `pieces` come after the body, which then has no length that is known beforehand.
    """

    status: int
    headers: list[Header]
    body: bytes
    pieces: AsyncIterator[bytes] | None = None


class Endpoint:
    """One operation of the API, ready to serve."""

    def __init__(self, route: Route, context: str) -> None:
        is_form = FORM in route.media_types
        lenient = lenient_structs(route.body) if route.body is not None and not is_form else []
        assert not lenient, (
            f"{route.method} {route.path}: {', '.join(lenient)} would drop unknown fields in "
            "silence; declare forbid_unknown_fields=True"
        )
        assert route.body is None or not route.streamed, f"{route.path} streams or decodes"
        self.route = route
        self.context = context
        self.body: Body | Form | None = None
        if route.body is not None:
            self.body = Form(route.body) if is_form else Body(route.body)
        self.query = None
        if route.query is not None:
            self.query = Query(route.query, lenient=route.lenient)
        self.reads_body = route.body is not None or route.streamed
        self.keyed = route.keyed is not Keyed.NO
        self.open = isinstance(route.permission, Anyone | OwnCredentials)
        self.own_credentials = isinstance(route.permission, OwnCredentials)
        # The same for everybody, but for who says that he is somebody: caches on the way must know.
        self.shared = self.open and route.method == "GET" and route.cache.startswith("public")
        self.fixed = "immutable" in route.cache
        # Whoever may read what a context answers may read the texts in it. The feed keeps them
        # sealed: what is told to everybody outlives the person.
        self.opens_texts = not self.open and context != "bus"
        assert not route.notice or route.notice in NOTICES, f"{route.notice} is no notice"
        self._media_types = frozenset(name.encode() for name in route.media_types)
        self._heads: dict[tuple[int, str], list[Header]] = {}
        self.seconds: Histogram = metrics.HTTP_SECONDS.labels(route.method, route.path)
        self._counts: dict[int, Counter] = {}

    def count(self, status: int) -> Counter:
        """The counter of answers with this status."""
        found = self._counts.get(status)
        if found is None:
            found = metrics.HTTP_REQUESTS.labels(self.route.method, self.route.path, str(status))
            self._counts[status] = found
        return found

    def permit(self, credential: Credential | None, resource: str | None) -> Owner | None:
        """Raise unless this caller may use the route; `resource` is what the path names, if any.

        An `Owner` in return has yet to be asked: the caller may, if `resource` is their account's.
        """
        permission = self.route.permission
        if isinstance(permission, Anyone | OwnCredentials):
            return None
        if credential is None:
            raise Unauthenticated("Send an API key: Authorization: Bearer tw_live_...")
        if isinstance(permission, Scope):
            if not credential.may(permission.name):
                raise Forbidden(
                    f"This needs the scope {permission.name}.", required_scope=permission.name
                )
        elif isinstance(permission, SignedIn):
            # What a person lets a program do is not to manage the account itself.
            if credential.account_id is None or credential.client_id is not None:
                raise Forbidden("This is for people: sign in at /v1/sessions.")
        else:
            is_order = isinstance(permission, OrderHolder)
            held = credential.order_id if is_order else credential.cart_id
            holds = held is not None and held == resource
            if not holds and not credential.may(permission.scope):
                if credential.account_id is not None and permission.owner is not None:
                    return permission.owner
                # Whether it exists is nobody's business but its holder's.
                raise NotFound
        return None

    def is_staff(self, credential: Credential | None, resource: str | None) -> bool:
        """Whether a caller who was let in came by a scope, and not as whose thing it is."""
        permission = self.route.permission
        if credential is None or not isinstance(permission, Scope | OrderHolder | CartHolder):
            return False
        if isinstance(permission, Scope):
            return True
        is_order = isinstance(permission, OrderHolder)
        held = credential.order_id if is_order else credential.cart_id
        return held != resource and credential.may(permission.scope)

    def goes_on_record(self, *, staff: bool) -> bool:
        """Whether what this caller does here is recorded."""
        route = self.route
        if route.recorded is Recorded.NOBODY or not (route.writes or route.personal):
            return False
        return staff or route.recorded is Recorded.EVERYBODY

    @property
    def body_may_be_empty(self) -> bool:
        """Whether a request without a body is as good as one with every default in it."""
        return self.body is not None and self.body.may_be_empty

    @property
    def held_parameter(self) -> str | None:
        """The path parameter that names the order or cart a token must open."""
        permission = self.route.permission
        return permission.parameter if isinstance(permission, OrderHolder | CartHolder) else None

    def check_media_type(self, content_type: bytes | None, encoding: bytes | None) -> None:
        """Raise `UnsupportedMediaType` unless the route reads such a body; none given is fine."""
        if encoding is not None and encoding.strip().lower() != b"identity":
            raise UnsupportedMediaType("Compressed bodies are not read here.")
        if content_type is None or content_type in self._media_types:
            return
        name, _, rest = content_type.partition(b";")
        allowed = ", ".join(self.route.media_types)
        if name.strip().lower() not in self._media_types:
            raise UnsupportedMediaType(f"Send the body with Content-Type: {allowed}.")
        for parameter in rest.lower().split(b";"):
            key, _, value = parameter.strip().partition(b"=")
            if key == b"charset" and value.strip(b'"') not in (b"utf-8", b"utf8", b"us-ascii"):
                raise UnsupportedMediaType("Bodies are read as UTF-8 only.")

    def render(self, answer: Answer | Settled) -> Response:
        """A handler's answer in bytes."""
        if isinstance(answer, Settled):
            return render_settled(answer)
        body = answer.body
        pieces = None
        if body is None:
            raw = b""
        elif isinstance(body, bytes):
            raw = body
        elif isinstance(body, AsyncIterator):
            raw, pieces = b"", body
        else:
            raw = _encode(body)
        media_type = answer.media_type if raw or pieces else ""
        headers = self._head(answer.status, media_type).copy()
        for name, value in answer.headers.items():
            key = name.lower().encode("latin-1")
            if (
                key == b"cache-control"
            ):  # this answer may be kept otherwise than others of its route
                headers = [header for header in headers if header[0] != key]
            headers.append((key, value.encode("latin-1")))
        return Response(answer.status, headers, raw, pieces)

    def _head(self, status: int, media_type: str) -> list[Header]:
        found = self._heads.get((status, media_type))
        if found is None:
            cached = status in (200, 304) and self.route.method == "GET"
            found = [*SECURITY]
            found.append((b"cache-control", self.route.cache.encode()) if cached else NO_STORE)
            if cached and self.shared and not self.fixed:
                found.append(VARY)
            if media_type:
                found.append((b"content-type", media_type.encode()))
            self._heads[status, media_type] = found
        return found


def render_settled(answer: Settled) -> Response:
    """A kept answer: the same bytes as the first time, and whether this is a repetition."""
    headers = [*SECURITY, NO_STORE]
    for name, value in answer.headers.items():
        headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    if answer.replayed:
        headers.append(REPLAYED)
    return Response(answer.status, headers, answer.body)


def render_refusal(problem: Problem, trace_id: str) -> Response:
    """A problem in bytes."""
    headers = [*SECURITY, NO_STORE, (b"content-type", problem.media_type.encode())]
    for name, value in problem.headers.items():
        headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    return Response(problem.status, headers, render_problem(problem, trace_id))
