"""A route without a permission and an ownership rule fails the build."""

from pathlib import Path

import msgspec
import pytest

from tradewind.platform.audit.ecs import NOTICES
from tradewind.platform.gateway.routing import (
    Anyone,
    CartHolder,
    OrderHolder,
    Recorded,
    Route,
    Scope,
    SignedIn,
    Whose,
)
from tradewind.testing import permissions
from tradewind.testing.permissions import (
    CART_TOKEN,
    ORDER_TOKEN,
    ROLES,
    Outcome,
    cells,
    expected,
    wrong_with,
)

ROUTES = permissions.all_routes()
# What people agree to for a program, and no role holds.
AGREED = frozenset({"openid"})
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "permissions.md"


def route(**fields: object) -> Route:
    told = {
        "method": "GET",
        "path": "/v1/things/{order_id}",
        "handler": None,
        "summary": "",
        "permission": Scope("things:read"),
        "whose": Whose.SHOP,
        **fields,
    }
    return Route(**told)  # type: ignore[arg-type]


@pytest.mark.parametrize("declared", ROUTES, ids=lambda r: r.operation)
def test_a_route_says_who_may_and_whose_it_is(declared: Route) -> None:
    assert wrong_with(declared) == "", declared.operation


@pytest.mark.parametrize("declared", ROUTES, ids=lambda r: r.operation)
def test_what_is_needed_can_be_had(declared: Route) -> None:
    """A scope that no role has would make a route that nobody can use."""
    scope = getattr(declared.permission, "name", None) or getattr(
        declared.permission, "scope", None
    )
    if scope is not None:
        assert scope in AGREED or any(scope in role.scopes for role in ROLES), scope
    assert declared.notice == "" or declared.notice in NOTICES


@pytest.mark.parametrize(
    "wrong",
    [
        route(whose=None),
        route(permission=None),
        route(permission=Anyone()),
        route(permission=SignedIn()),
        route(permission=OrderHolder("order_id", "x")),
        route(permission=CartHolder("cart_id", "x"), whose=Whose.HOLDER),
        route(method="POST", permission=Anyone(), whose=Whose.PUBLIC),
        route(whose=Whose.HOLDER),
        route(needs_reason=True, recorded=Recorded.NOBODY),
    ],
)
def test_a_route_that_lacks_something_is_found(wrong: Route) -> None:
    assert wrong_with(wrong)


def test_what_moves_money_or_shows_people_is_recorded() -> None:
    """Nobody turns the record off for a write, or for what shows personal data to staff."""
    silent = [r.operation for r in ROUTES if r.recorded is Recorded.NOBODY]
    assert silent == ["POST /oauth/userinfo"], "which the standard wants for a read"
    personal = {r.operation for r in ROUTES if r.personal}
    assert {"GET /v1/orders", "GET /v1/orders/{order_id}", "GET /v1/mailbox"} <= personal
    assert {r.operation for r in ROUTES if r.needs_reason} >= {
        "POST /v1/credit-notes",
        "POST /v1/orders/{order_id}/cancel",
        "GET /v1/documents/{number}/pdf",
        "GET /v1/audit",
    }


def test_the_matrix_says_what_the_words_of_the_table_mean() -> None:
    """A few cells by hand, so that the matrix is not its own proof."""
    by_name = {r.operation: r for r in ROUTES}
    roles = {role.name: role for role in ROLES}

    def says(operation: str, role: str, *, own: bool = True) -> Outcome:
        return expected(by_name[operation], roles[role], own=own)

    yes, unknown, no, hidden = (
        Outcome.ALLOWED,
        Outcome.UNAUTHENTICATED,
        Outcome.FORBIDDEN,
        Outcome.NOT_FOUND,
    )
    order = "GET /v1/orders/{order_id}"
    assert says(order, "order token") is yes
    assert says(order, "order token", own=False) is hidden
    assert says(order, "cart token") is hidden
    assert says(order, "anonymous") is unknown
    assert says(order, "support", own=False) is yes
    assert says(order, "merchandiser", own=False) is hidden
    assert says("POST /v1/keys", "finance") is no
    assert says("POST /v1/keys", "administrator") is yes
    assert says("POST /v1/orders", "anonymous") is yes
    assert says("POST /v1/orders", "wrong credential") is unknown
    assert says("GET /v1/me", "order token") is no
    assert says("GET /v1/me", "customer") is yes
    assert says("GET /v1/audit", "support") is no
    assert ORDER_TOKEN.scopes == CART_TOKEN.scopes == frozenset()


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == permissions.page(), "run: make docs"
    assert sum(1 for _ in cells(ROUTES)) > 10 * len(ROUTES)


def test_routes_are_what_the_table_holds() -> None:
    assert len(ROUTES) == len({r.operation for r in ROUTES})
    assert all(isinstance(r, msgspec.Struct) for r in ROUTES)
