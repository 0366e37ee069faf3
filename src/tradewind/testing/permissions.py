"""Who may call what: the matrix of routes, roles and objects, from the route table alone.

What is expected here is worked out from the words of the table and not from the code that lets
callers in, so that the two can be compared: tests call every cell over HTTP. The page
`docs/reference/permissions.md` is drawn from the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum

from msgspec import Struct

from tradewind import app
from tradewind.contexts.identity.rules.roles import BUILT_IN
from tradewind.platform.gateway.routing import (
    Anyone,
    CartHolder,
    OrderHolder,
    OwnCredentials,
    Recorded,
    Route,
    Scope,
    SignedIn,
    Whose,
)


class Role(Struct, frozen=True):
    """A kind of caller."""

    name: str
    scopes: frozenset[str] = frozenset()
    is_account: bool = False  # somebody who is signed in
    order: bool = False  # holds the token of one order
    cart: bool = False  # holds the token of one cart


ANONYMOUS = Role("anonymous")
WRONG = Role("wrong credential")
ORDER_TOKEN = Role("order token", order=True)
CART_TOKEN = Role("cart token", cart=True)
ROLES: tuple[Role, ...] = (
    ANONYMOUS,
    WRONG,
    ORDER_TOKEN,
    CART_TOKEN,
    *(Role(name, frozenset(scopes), is_account=True) for name, (_, scopes) in BUILT_IN.items()),
)


class Outcome(Enum):
    """What a cell says."""

    ALLOWED = "yes"
    UNAUTHENTICATED = "401"
    FORBIDDEN = "403"
    NOT_FOUND = "404"


class Cell(Struct, frozen=True):
    """One route, called by one role, about what is theirs or another's."""

    route: Route
    role: Role
    own: bool
    outcome: Outcome

    @property
    def name(self) -> str:
        """How a failing test calls it."""
        whose = "own" if self.own else "foreign"
        return f"{self.route.operation} by {self.role.name} ({whose})"


def expected(route: Route, role: Role, *, own: bool) -> Outcome:
    """What the table says of a cell."""
    permission = route.permission
    if isinstance(permission, OwnCredentials):
        return Outcome.ALLOWED  # the header is not looked at; what the route reads itself decides
    if role == WRONG:
        return Outcome.UNAUTHENTICATED
    if isinstance(permission, Anyone):
        return Outcome.ALLOWED
    if role == ANONYMOUS:
        return Outcome.UNAUTHENTICATED
    if isinstance(permission, Scope):
        return Outcome.ALLOWED if permission.name in role.scopes else Outcome.FORBIDDEN
    if isinstance(permission, SignedIn):
        return Outcome.ALLOWED if role.is_account else Outcome.FORBIDDEN
    holds = role.order if isinstance(permission, OrderHolder) else role.cart
    if role.is_account:
        holds = permission.owner is not None
    if permission.scope in role.scopes or (own and holds):
        return Outcome.ALLOWED
    return Outcome.NOT_FOUND


def has_objects(route: Route) -> bool:
    """Whether it makes a difference whose the thing is that the path names."""
    return isinstance(route.permission, OrderHolder | CartHolder)


def cells(routes: Sequence[Route], roles: Sequence[Role] = ROLES) -> Iterator[Cell]:
    """The whole matrix."""
    for route in routes:
        for role in roles:
            for own in (True, False) if has_objects(route) else (True,):
                yield Cell(route, role, own, expected(route, role, own=own))


def all_routes() -> list[Route]:
    """Every route of the platform."""
    declared = app.routes(app.load_contexts())
    return [route for routes in declared.values() for route in routes]


def wrong_with(route: Route) -> str:
    """Why a route must not be served: it lacks its permission or its ownership rule, or they do
    not go together; "" where nothing is wrong.
    """
    permission = route.permission
    fitting: Mapping[type, tuple[Whose, ...]] = {
        Anyone: (Whose.PUBLIC, Whose.MAKER, Whose.SECRET),
        OwnCredentials: (Whose.CALLER, Whose.SECRET, Whose.MAKER),
        Scope: (Whose.SHOP, Whose.CALLER),
        SignedIn: (Whose.CALLER,),
        OrderHolder: (Whose.HOLDER,),
        CartHolder: (Whose.HOLDER,),
    }
    if type(permission) not in fitting:
        return f"{type(permission).__name__} is no permission that the matrix knows"
    if route.whose is None:
        return "it does not say whose things it opens: whose=Whose..."
    if route.whose not in fitting[type(permission)]:
        return f"{type(permission).__name__} does not go with {route.whose}"
    if route.whose is Whose.PUBLIC and route.writes:
        return "nobody may write what is everybody's"
    if isinstance(permission, OrderHolder | CartHolder) and (
        f"{{{permission.parameter}}}" not in route.path
    ):
        return f"its path has no {{{permission.parameter}}}, which is to be held"
    if route.needs_reason and route.recorded is Recorded.NOBODY:
        return "it asks for a reason and records none"
    return ""


# -- the page

MEANS = {
    Whose.PUBLIC: "everybody's",
    Whose.MAKER: "made by the call",
    Whose.HOLDER: "the holder's",
    Whose.SECRET: "of who knows the secret in the body",
    Whose.CALLER: "the caller's own",
    Whose.SHOP: "the shop's",
}
HEAD = """# Permissions

Drawn from the route table by `make docs`; do not edit it here.

Every route has a permission and says whose things it opens; one that lacks either fails the build.
`tests/flows/test_permissions.py` calls each cell of this matrix over HTTP: {count:,} of them.
They are routes x roles x one's own and others' things.

In a cell: **yes** lets in; **own** lets in to what is the caller's and answers 404 about all else;
401, 403 and 404 are the refusals.
Columns: A anonymous, W a wrong credential, O the token of an order, C the token of a cart.
Then the roles of accounts: {letters}.
An API key may do what its scopes say, as a role with the same scopes; it is nobody's account.

*Record*: what goes on record ([audit](../concepts/audit.md)). *Reason*: staff must say why.
"""


def page() -> str:
    """The matrix as a page."""
    routes = all_routes()
    roles = {"A": ANONYMOUS, "W": WRONG, "O": ORDER_TOKEN, "C": CART_TOKEN}
    for role in ROLES[4:]:
        roles[role.name[:3]] = role
    told = ", ".join(f"{short} {role.name}" for short, role in roles.items() if len(short) == 3)
    lines = [HEAD.format(count=sum(1 for _ in cells(routes)), letters=told)]
    lines.append(f"| route | needs | things | {' | '.join(roles)} | record | reason |")
    lines.append("| --- " * (len(roles) + 5) + "|")
    for route in routes:
        marks = " | ".join(mark(route, role) for role in roles.values())
        lines.append(
            f"| `{route.operation}` | {needs(route)} | {MEANS[route.whose or Whose.SHOP]} "
            f"| {marks} | {recorded(route)} | {'staff' if route.needs_reason else ''} |"
        )
    lines += ["", "## Roles", "", "| role | scopes |", "| --- | --- |"]
    lines += [
        f"| {role.name} | {', '.join(f'`{scope}`' for scope in sorted(role.scopes)) or 'none'} |"
        for role in ROLES[4:]
    ]
    return "\n".join(lines) + "\n"


def mark(route: Route, role: Role) -> str:
    """A cell of the page."""
    own, foreign = (expected(route, role, own=whose) for whose in (True, False))
    return "own" if own != foreign else own.value


def needs(route: Route) -> str:
    """What a caller must have."""
    permission = route.permission
    if isinstance(permission, Anyone):
        return "nothing"
    if isinstance(permission, OwnCredentials):
        return "what the route reads itself: a client's secret, a cookie, a code"
    if isinstance(permission, Scope):
        return f"`{permission.name}`"
    if isinstance(permission, SignedIn):
        return "a session"
    kind = "order" if isinstance(permission, OrderHolder) else "cart"
    owner = ", its account" if permission.owner is not None else ""
    return f"{kind} token{owner} or `{permission.scope}`"


def recorded(route: Route) -> str:
    """Of whom what goes on record."""
    if route.recorded is Recorded.NOBODY or not (route.writes or route.personal):
        return ""
    what = "writes" if route.writes else "reads"
    if route.recorded is Recorded.EVERYBODY:
        return what
    has_no_staff = isinstance(route.permission, Anyone | OwnCredentials | SignedIn)
    return "" if has_no_staff else f"{what} of staff"
