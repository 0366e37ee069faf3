"""What belongs to whoever is signed in: their orders and carts."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from tradewind.contexts.orders import queries
from tradewind.contexts.orders.commands import ClaimOrders
from tradewind.contexts.orders.queries import carts as cart_queries
from tradewind.contexts.orders.routes.answering import fill_from
from tradewind.contexts.orders.routes.carts import (
    NEWEST,
    CartsPage,
    expires_after,
    with_personal,
)
from tradewind.contexts.orders.routes.reading import OrdersPage
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import new_id
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Route, SignedIn, Whose


class OwnQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: str | None = None


class Claimed(Struct, frozen=True):
    """The orders that are yours from now on."""

    orders: list[str]


def account_of(request: Request) -> str:
    """Who is signed in."""
    assert request.credential is not None, "the route needs somebody who is signed in"
    assert request.credential.account_id is not None, "the route needs an account"
    return request.credential.account_id


async def get_own_orders(request: Request) -> Answer:
    """Your orders, newest first: those that you placed here, and those that you claimed."""
    query: OwnQuery = request.query
    before = queries.NEWEST
    if query.cursor is not None:
        before = queries.Place(*decode_cursor(query.cursor, datetime, str))
    async with request.reading() as snapshot:
        found = await queries.orders_of_account(
            snapshot, account_of(request), before=before, count_max=query.limit
        )
    opened = await request.node.vault.open([row.customer for row, _ in found.items])
    items = [fill_from(opened, row, lines) for row, lines in found.items]
    place = found.next
    cursor = None if place is None else encode_cursor(place.placed_at, place.order_id)
    return Answer(body=OrdersPage(items=items, next=cursor))


async def post_claim(request: Request) -> Answer:
    """Take over the orders that were placed with your address before you had an account.

    Your address is verified, so they are yours. Repeating it claims what came since.
    """
    assert request.credential is not None, "the route needs somebody who is signed in"
    contact = request.credential.contact
    if contact is None:
        return Answer(body=Claimed([]))
    claimed: list[str] = await request.submit(
        ClaimOrders(claim_id=new_id("clm"), account=account_of(request), contact=contact)
    )
    return Answer(body=Claimed(claimed))


async def get_own_carts(request: Request) -> Answer:
    """Your carts, newest first, those that were ordered or have ended included."""
    query: OwnQuery = request.query
    before = NEWEST if query.cursor is None else decode_cursor(query.cursor, str)[0]
    async with request.reading() as snapshot:
        found = await cart_queries.of_customer(
            snapshot,
            account_of(request),
            before=before,
            count_max=query.limit,
            expires=expires_after(request),
        )
    persons = [each.view.email for each in found if each.view.email is not None]
    opened = await request.node.vault.open(persons)
    items = [with_personal(request, f.view, opened.get(f.view.email or "")) for f in found]
    more = len(items) == query.limit
    return Answer(body=CartsPage(items, encode_cursor(items[-1].id) if more else None))


ROUTES = (
    Route(
        method="GET",
        path="/v1/me/orders",
        handler=get_own_orders,
        summary="List your orders.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        query=OwnQuery,
        answers={200: OrdersPage},
        tag="me",
    ),
    Route(
        method="POST",
        path="/v1/me/orders/claim",
        handler=post_claim,
        summary="Take over the orders that you placed as a guest.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        answers={200: Claimed},
        tag="me",
    ),
    Route(
        method="GET",
        path="/v1/me/carts",
        handler=get_own_carts,
        summary="List your carts.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        query=OwnQuery,
        answers={200: CartsPage},
        tag="me",
    ),
)
