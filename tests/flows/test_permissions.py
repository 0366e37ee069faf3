"""Every cell of the matrix over HTTP: each route, by each role, on its own and on others' things.

A probe asks with a query parameter that no route knows. Whoever is let in is told so (400
`invalid_query`, or what is looked at before it), and nothing is done; whoever is not is refused
before. So each cell is called as it is, writes included, and none disturbs the next.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from tests.contexts.identity import people
from tradewind.kernel.ids import new_id
from tradewind.platform.gateway.routing import (
    CartHolder,
    OrderHolder,
    OwnCredentials,
    Route,
    Whose,
)
from tradewind.testing import permissions
from tradewind.testing.database import TestServer
from tradewind.testing.permissions import (
    ANONYMOUS,
    CART_TOKEN,
    ORDER_TOKEN,
    ROLES,
    WRONG,
    Cell,
    Outcome,
    Role,
    cells,
)
from tradewind.testing.shop import Reply, Shop, SimulatorProcess

# Seven people sign up first, each with a password that is slow to check.
pytestmark = pytest.mark.timeout(400)

AT_ONCE = 32
UNKNOWN = "no_such_parameter=1"
# What a caller hears who was let in: what stands between the door and the query.
LET_IN = frozenset({"invalid_query", "idempotency_key_required"})
PARAMETER = re.compile(r"\{([a-z_]+)(?::path)?\}")
REFUSALS = {
    Outcome.UNAUTHENTICATED: (401, "unauthenticated"),
    Outcome.FORBIDDEN: (403, "forbidden"),
    Outcome.NOT_FOUND: (404, "not_found"),
}


class Things(NamedTuple):
    """An order and a cart, and what opens them."""

    order_id: str
    order_token: str
    cart_id: str
    cart_token: str


class World(NamedTuple):
    shop: Shop
    bearers: dict[str, str | None]  # by the name of the role
    own: Things
    foreign: Things
    of_accounts: dict[str, Things]  # by the name of the role


async def things(shop: Shop, bearer: str | None = None) -> Things:
    """What somebody orders, and puts into a cart; with a session it is their account's."""
    key = new_id("key")
    wait = {"Prefer": "wait=30"}
    body = shop.order(("SEEN", 1))
    placed = await shop.request("POST", "/v1/orders", body, key=key, bearer=bearer, headers=wait)
    assert placed.status == 201, placed.raw
    order = placed.json
    lines = {"currency": "GBP", "lines": [{"sku": "SEEN", "quantity": 1}]}
    cart = (await shop.request("POST", "/v1/carts", lines, bearer=bearer)).json
    return Things(order["id"], order["order_token"], cart["id"], cart["cart_token"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(
    server: TestServer, simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    dsn = await server.create_database()
    shop = Shop(dsn, tmp_path_factory.mktemp("shop"), simulator.url)
    await shop.start()
    await shop.given_product("SEEN", on_hand=100)
    await shop.until_idle()
    own, foreign = await things(shop), await things(shop)
    bearers: dict[str, str | None] = {
        ANONYMOUS.name: None,
        WRONG.name: "tw_live_" + "0" * 26 + "_nobody",
        ORDER_TOKEN.name: own.order_token,
        CART_TOKEN.name: own.cart_token,
    }
    for role in ROLES:
        if role.is_account:
            bearers[role.name] = await session(shop, role)
    of_accounts = {r.name: await things(shop, bearers[r.name]) for r in ROLES if r.is_account}
    yield World(shop, bearers, own, foreign, of_accounts)
    await shop.stop()
    await server.drop_database(dsn)


async def session(shop: Shop, role: Role) -> str:
    """Somebody with this role, signed in."""
    email = f"{role.name.replace('_', '.')}@roles.example"
    account_id = await people.account(shop, email)
    if role.scopes:
        body = {"roles": [role.name]}
        given = await shop.admin("PUT", f"/v1/accounts/{account_id}/roles", body)
        assert given.status == 200, given.raw
    return await people.signed_in(shop, email)


def path_of(cell: Cell, world: World) -> str:
    """Where a cell is called. What is nobody's in particular is named by a made-up id."""
    own = world.of_accounts.get(cell.role.name, world.own)
    found = own if cell.own else world.foreign
    names = {"order_id": found.order_id, "cart_id": found.cart_id}
    return PARAMETER.sub(lambda m: names.get(m[1], "zzz"), cell.route.path)


async def call(cell: Cell, world: World) -> Reply:
    path = f"{path_of(cell, world)}?{UNKNOWN}"
    return await world.shop.request(cell.route.method, path, bearer=world.bearers[cell.role.name])


def wrong_with(cell: Cell, reply: Reply) -> str:
    """What is wrong with the answer to a cell; "" where it is as the table says."""
    code = code_of(reply)
    if isinstance(cell.route.permission, OwnCredentials):
        right = reply.status < 500 and code not in {told for _, told in REFUSALS.values()}
    elif cell.outcome is Outcome.ALLOWED:
        right = reply.status == 400 and code in LET_IN
    else:
        right = (reply.status, code) == REFUSALS[cell.outcome]
    return "" if right else f"{cell.name}: {cell.outcome.value}, but {reply.status} {code}"


def code_of(reply: Reply) -> str:
    """The code of a problem; "" of a page or of what is none."""
    told = reply.json if "json" in reply.headers.get("Content-Type", "") else {}
    return str(told.get("code", ""))


async def ask_all(wanted: Sequence[Cell], world: World) -> list[str]:
    """Call cells, some at once; what was wrong."""
    wrong: list[str] = []
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        replies = await asyncio.gather(*(call(cell, world) for cell in some))
        wrong += [said for c, r in zip(some, replies, strict=True) if (said := wrong_with(c, r))]
    return wrong


async def test_every_cell_answers_as_the_table_says(world: World) -> None:
    routes = [endpoint.route for endpoint in world.shop.application.endpoints]
    assert {r.operation for r in routes} == {r.operation for r in permissions.all_routes()}
    wanted = list(cells(routes))
    assert await ask_all(wanted, world) == []
    told = Counter(cell.outcome for cell in wanted)
    assert set(told) == set(Outcome), "each way to answer is among them"
    print(f"{len(wanted):,} cells: {dict(told)}")


async def test_a_hole_in_the_table_would_be_found(world: World) -> None:
    """The same test, on a table that says something else than what is served."""
    routes = [endpoint.route for endpoint in world.shop.application.endpoints]
    some = [cell for cell in cells(routes) if cell.outcome is not Outcome.ALLOWED][:20]
    opened = [Cell(c.route, c.role, c.own, Outcome.ALLOWED) for c in some]
    assert len(await ask_all(opened, world)) == len(opened)


async def test_what_a_role_may_read_is_answered(world: World) -> None:
    """No probe: every read of everybody, in earnest. Who is let in gets what there is."""
    routes = [e.route for e in world.shop.application.endpoints if not e.route.writes]
    wrong: list[str] = []
    for cell in cells(routes):
        reply = await world.shop.request(
            "GET",
            path_of(cell, world),
            bearer=world.bearers[cell.role.name],
            headers={"Tradewind-Reason": "matrix"},
        )
        status = reply.status
        if isinstance(cell.route.permission, OwnCredentials):
            fine = wrong_with(cell, reply) == ""
        elif cell.outcome is Outcome.ALLOWED:
            codes = {kind.code for kind in cell.route.problems} | {"not_found", "invalid_query"}
            fine = status < 300 or reply.json["code"] in codes
            if holder(cell.route) and cell.own and "{number}" not in cell.route.path:
                fine = status == 200
        else:
            fine = (status, reply.json["code"]) == REFUSALS[cell.outcome]
        if not fine:
            wrong.append(f"{cell.name}: {cell.outcome.value}, but {status} {reply.raw[:200]!r}")
    assert wrong == []


def holder(route: Route) -> bool:
    return isinstance(route.permission, OrderHolder | CartHolder)


async def test_what_is_anothers_is_as_if_it_were_not_there(world: World) -> None:
    """An order of somebody else and one that never was: the same answer, but for the trace id."""

    async def said(order_id: str) -> dict[str, Any]:
        reply = await world.shop.request(
            "GET", f"/v1/orders/{order_id}", bearer=world.own.order_token
        )
        document: dict[str, Any] = reply.json
        document.pop("trace_id")
        return {"status": reply.status, **document}

    assert await said(world.foreign.order_id) == await said("ord_" + "0" * 26)


async def test_nobody_reaches_the_account_of_another(world: World) -> None:
    """Routes that open the caller's own take ids: those of another account are not there."""
    shop = world.shop
    mine, theirs = world.bearers["customer"], world.bearers["support"]
    address = {
        "name": "Ada Lovelace",
        "line1": "12 St James's Square",
        "city": "London",
        "postal_code": "SW1Y 4JH",
        "country": "GB",
    }
    made = await shop.request("POST", "/v1/me/addresses", address, bearer=mine)
    assert made.status == 201, made.raw
    session_id = (await shop.request("GET", "/v1/sessions", bearer=mine)).json["items"][0]["id"]
    ids = {"address_id": made.json["id"], "session_id": session_id}
    routes = [e.route for e in shop.application.endpoints if e.route.whose is Whose.CALLER]
    named = [r for r in routes if "{" in r.path]
    assert {name for r in named for name in PARAMETER.findall(r.path)} - {"purpose"} == set(ids)
    for route in named:
        if "purpose" in route.path:
            continue  # a word, not a thing
        path = PARAMETER.sub(lambda m: ids[m[1]], route.path)
        body = address if route.body is not None else None
        reply = await shop.request(route.method, path, body, bearer=theirs)
        assert reply.status == 404, (route.operation, reply.raw)
    kept = await shop.request("GET", "/v1/me/addresses", bearer=mine)
    assert [each["id"] for each in kept.json["items"]] == [made.json["id"]]
