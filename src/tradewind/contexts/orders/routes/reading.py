"""Reading orders: one, its timeline, many."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tradewind.contexts.orders import problems, queries
from tradewind.contexts.orders.queries import account_of
from tradewind.contexts.orders.routes.answering import fill, fill_from, read
from tradewind.contexts.orders.tables import OrderView
from tradewind.kernel.answers import Answer
from tradewind.kernel.instants import in_utc
from tradewind.platform.bus.feed import FeedEvent
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import OrderHolder, Route, Scope, Whose

FAR_PAST = datetime(1, 1, 2, tzinfo=UTC)


async def get_order(request: Request) -> Answer:
    """An order as it stands."""
    row, lines = await read(request, request.params["order_id"])
    return Answer(body=await fill(request, row, lines))


class Timeline(Struct, frozen=True):
    """What happened to an order, in order; each entry names its cause."""

    items: list[FeedEvent]
    next: str | None = None


async def get_timeline(request: Request) -> Answer:
    """What happened to an order, who said so, when, and because of what."""
    order_id = request.params["order_id"]
    await read(request, order_id)
    return Answer(body=Timeline(items=await request.node.history(order_id)))


Status = Literal[
    "placed",
    "confirmed",
    "held",
    "rejected",
    "cancelled",
    "fulfilled",
    "partly_returned",
    "returned",
]


class OrdersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which orders."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: str | None = None
    status: Status | None = None
    email: Annotated[str, Meta(min_length=1, max_length=254)] | None = None
    placed_after: datetime | None = None


class OrdersPage(Struct, frozen=True):
    """Orders, newest first."""

    items: list[OrderView]
    next: str | None


async def get_orders(request: Request) -> Answer:
    """Orders, newest first. `email` finds exactly that address.

    Of a status that few orders have, a page may be short and yet have a `next`.
    """
    query: OrdersQuery = request.query
    before = queries.NEWEST
    if query.cursor is not None:
        before = queries.Place(*decode_cursor(query.cursor, datetime, str))
    contact = None
    if query.email is not None:
        contact = await request.node.vault.find_contact(query.email)
        if contact is None:
            return Answer(body=OrdersPage(items=[], next=None))
    after = query.placed_after
    async with request.reading() as snapshot:
        found = await queries.orders(
            snapshot,
            before=before,
            placed_after=FAR_PAST if after is None else in_utc(after),
            status=query.status,
            contact=contact,
            count_max=query.limit,
        )
    opened = await request.node.vault.open([row.customer for row, _ in found.items])
    items = [fill_from(opened, row, lines) for row, lines in found.items]
    place = found.next
    cursor = None if place is None else encode_cursor(place.placed_at, place.order_id)
    return Answer(body=OrdersPage(items=items, next=cursor))


ROUTES = (
    Route(
        method="GET",
        path="/v1/orders",
        handler=get_orders,
        summary="List orders, newest first.",
        permission=Scope("orders:read"),
        whose=Whose.SHOP,
        personal=True,
        query=OrdersQuery,
        answers={200: OrdersPage},
    ),
    Route(
        method="GET",
        path="/v1/orders/{order_id}",
        handler=get_order,
        summary="Read an order.",
        permission=OrderHolder("order_id", "orders:read", account_of),
        whose=Whose.HOLDER,
        personal=True,
        answers={200: OrderView},
        problems=(problems.OrderNotFound,),
    ),
    Route(
        method="GET",
        path="/v1/orders/{order_id}/timeline",
        handler=get_timeline,
        summary="Read what happened to an order.",
        permission=OrderHolder("order_id", "orders:read", account_of),
        whose=Whose.HOLDER,
        answers={200: Timeline},
        problems=(problems.OrderNotFound,),
    ),
)
