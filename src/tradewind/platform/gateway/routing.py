"""Routes as data, and what a route handler is given."""

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from tradewind.kernel.answers import Answer, Settled
from tradewind.kernel.messages import Command
from tradewind.kernel.problems import Problem

if TYPE_CHECKING:
    from tradewind.platform.database.transaction import Snapshot
    from tradewind.platform.gateway.request import Request

JSON_BODY_BYTES_MAX = 1024 * 1024
STREAMED_BODY_BYTES_MAX = 1024 * 1024 * 1024


class Anyone(Struct, frozen=True):
    """Open to anonymous callers. A wrong credential is still refused with 401."""


class OwnCredentials(Struct, frozen=True):
    """Whoever calls is known by what the route reads itself: a client's secret or certificate, a
    cookie, a code. An Authorization header is left to the handler."""


class Scope(Struct, frozen=True):
    """Needs a credential with this scope, e.g. ``orders:read``."""

    name: str


# Which account something belongs to, by its id; None: to none. Asked only of callers who are signed
# in and have neither its token nor the scope: nobody else waits for it.
Owner = Callable[["Snapshot", str], Awaitable[str | None]]


class OrderHolder(Struct, frozen=True):
    """Needs the order token of the order in the path parameter, the scope, or the account that the
    order belongs to. Others get 404.
    """

    parameter: str
    scope: str
    owner: Owner | None = None


class CartHolder(Struct, frozen=True):
    """Needs the cart token of the cart in the path parameter, the scope, or the account that the
    cart belongs to. Others get 404.
    """

    parameter: str
    scope: str
    owner: Owner | None = None


class SignedIn(Struct, frozen=True):
    """Needs somebody who is signed in, and is about what belongs to their account alone: the route
    names no account, it takes that of the caller. Keys get 403.
    """


Permission = Anyone | OwnCredentials | Scope | OrderHolder | CartHolder | SignedIn


class Whose(Enum):
    """Whose the things are that a route shows or changes: the second half of its permission.

    Which scope a caller needs says `permission`; whose things that opens says this. Every route
    names it, and tests call each with things of one's own and of others.
    """

    PUBLIC = "public"  # nobody's: the same for everyone
    MAKER = "maker"  # made by this very call, for its caller; nothing that was there is reached
    HOLDER = (
        "holder"  # of whoever holds the token of what the path names; to others it is not there
    )
    SECRET = "secret"  # of whoever knows what the body must hold: a password, a mailed token
    CALLER = "caller"  # of the credential itself: no other can be named
    SHOP = "shop"  # the shop's: whoever has the scope may have all of them


class Recorded(Enum):
    """Of whom it goes on record what they did with a route."""

    STAFF = "staff"  # who came in by a scope: their writes, and reads of `personal` answers
    EVERYBODY = "everybody"  # holders and callers, too
    NOBODY = "nobody"


class Keyed(Enum):
    """Whether a route takes an Idempotency-Key."""

    NO = "no"  # GET, PUT: safe to repeat as they are
    ACCEPTED = "accepted"
    REQUIRED = "required"  # 400 without: an order, payment, refund or return is made


class Route(Struct, frozen=True, kw_only=True):
    """One operation of the API: everything the gateway, OpenAPI, limits and docs need to know."""

    method: str
    path: str  # "/v1/orders/{order_id}"; "{sku:path}" may contain slashes
    handler: Callable[["Request"], Awaitable[Answer | Settled]]
    summary: str  # one sentence; the handler's docstring is the description
    permission: Permission
    body: Any = None  # a Struct type: decoded and validated; None: no body is read
    query: type[Struct] | None = None  # one field per query parameter; unknown ones are refused
    lenient: bool = False  # ... or ignored, where a standard of others says so (RFC 6749, 3.1)
    page: bool = False  # bytes that it answers are HTML
    answers: Mapping[int, Any] = field(
        default_factory=lambda: {200: None}
    )  # status -> Struct type of the body
    problems: tuple[type[Problem], ...] = ()
    keyed: Keyed = Keyed.NO
    # While the queue of this command is full a request is refused as busy, by its head.
    queue: type[Command] | None = None
    limit: str = "standard"  # a rate-limit class of the settings
    cache: str = "no-store"  # the Cache-Control of a 200
    streamed: bool = False  # the handler reads request.stream() itself, in constant memory
    media_types: tuple[str, ...] = ("application/json",)
    answer_types: tuple[str, ...] = ()  # of an answer in bytes: the media types that it may have
    body_bytes_max: int = JSON_BODY_BYTES_MAX
    examples: Mapping[str, str] = {}  # of a body that is no JSON, or of an answer: by media type
    tag: str = ""
    whose: Whose | None = None  # a route without one fails the build
    recorded: Recorded = Recorded.STAFF
    personal: bool = False  # its answer shows personal data: reading it goes on record
    # Staff must say why, in `Tradewind-Reason` or a `reason` of the body: 400 without.
    needs_reason: bool = False
    notice: str = ""  # what a security system is told when it was used; a name of audit/ecs.py

    @property
    def operation(self) -> str:
        """How the record names it: "POST /v1/keys"."""
        return f"{self.method} {self.path}"

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method not in ("GET", "HEAD")
