"""Sending orders out, and taking back what comes home."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tradewind.contexts.orders import problems, queries
from tradewind.contexts.orders.commands import (
    ApproveReturn,
    Arrival,
    ArrivedLine,
    FulfilOrder,
    ReceiveReturn,
    RejectReturn,
    RequestReturn,
    WantedReturn,
)
from tradewind.contexts.orders.queries import account_of
from tradewind.contexts.orders.routes.answering import (
    Erased,
    applied,
    finish_cancelled,
    read,
    wait,
)
from tradewind.contexts.orders.routes.bodies import Identifier, Quantity, Text100, invalid, minor
from tradewind.contexts.orders.tables import (
    FulfilmentList,
    FulfilmentView,
    OrderView,
    ReturnView,
)
from tradewind.kernel.answers import Answer, Pending, Settled
from tradewind.kernel.ids import new_id
from tradewind.kernel.money import Amount
from tradewind.kernel.problems import FieldError
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Keyed, OrderHolder, Recorded, Route, Scope, Whose

MAIN = "main"  # the location of everything, unless another is named
Reason = Annotated[str, Meta(min_length=1, max_length=500)]
LineNumber = Annotated[int, Meta(ge=1, le=1_000)]
Units = Annotated[int, Meta(ge=0, le=1_000_000)]
Code = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$", max_length=40)]


class FulfilBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Who carries it, where that is known. `at` is for imported history."""

    carrier: Text100 | None = None
    tracking: Text100 | None = None
    at: datetime | None = None


class ReturnLineBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Units of one line of the order; lines count from 1."""

    line: LineNumber
    quantity: Quantity
    reason: Reason | None = None


class ArrivedBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What came of a line. Without `refund` the customer gets its share of what was paid."""

    line: LineNumber
    restock: Units = 0
    write_off: Units = 0
    refund: Amount | None = None


class ReceiveBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A parcel that was opened."""

    lines: Annotated[list[ArrivedBody], Meta(min_length=1, max_length=1_000)]
    fees_refund: Amount | None = None
    location: Code = MAIN


class ReturnBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a customer wants to give back. `receive`: staff have it in hand already."""

    lines: Annotated[list[ReturnLineBody], Meta(min_length=1, max_length=1_000)]
    reason: Reason
    external_id: Identifier | None = None
    receive: ReceiveBody | None = None
    at: datetime | None = None


class RejectBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why not."""

    reason: Reason


async def post_fulfil(request: Request) -> Settled:
    """Say that everything of the order left the house: its units leave the stock."""
    body: FulfilBody = request.body
    assert request.credential is not None, "the route needs a scope"
    order_id = request.params["order_id"]
    carrier, tracking = [
        None if text is None else await request.sealed(text, order_id=order_id)
        for text in (body.carrier, body.tracking)
    ]
    outcome = await request.submit(
        FulfilOrder(
            order_id=order_id,
            carrier=carrier,
            tracking=tracking,
            at=historic(request, body.at),
            by=request.credential.id,
            idempotency=request.idempotency,
        )
    )
    return await finish_cancelled(request, outcome)


async def get_fulfilments(request: Request) -> Answer:
    """How an order left the house: empty until it did."""
    order_id = request.params["order_id"]
    await read(request, order_id)
    async with request.reading() as snapshot:
        found = await queries.fulfilment(snapshot, order_id)
    shown = (
        [] if found is None else [FulfilmentView(found.carrier, found.tracking, found.fulfilled_at)]
    )
    return Answer(body=FulfilmentList(items=shown))


async def post_return(request: Request) -> Answer | Settled:
    """Ask to give units of a fulfilled order back; its holder may, and staff.

    Staff who have the parcel in hand send `receive` with it: the return is then approved, received
    and paid back in one step (201 when the money is back, 202 until then).
    """
    body: ReturnBody = request.body
    order_id = request.params["order_id"]
    row, _ = await read(request, order_id)
    credential = request.credential
    staff = credential is not None and credential.may("orders:write")
    if body.receive is not None and not staff:
        raise problems.FieldNotAllowed(
            "Leave this field out: the shop says what came.",
            errors=(FieldError("/receive", "is for staff"),),
        )
    if body.external_id is not None and credential is None:
        raise invalid("/external_id", "needs a credential: it is unique per credential")
    arrival = None if body.receive is None else arrival_of(body.receive, row.currency)
    lines = [
        WantedReturn(
            line=line.line,
            quantity=line.quantity,
            reason=line.reason and await request.sealed(line.reason, person=row.customer),
        )
        for line in body.lines
    ]
    outcome = await request.submit(
        RequestReturn(
            return_id=new_id("ret"),
            order_id=order_id,
            by="the holder of the order" if credential is None else credential.id,
            lines=tuple(lines),
            reason=await request.sealed(body.reason, person=row.customer),
            credential=None if credential is None else credential.id,
            external_id=body.external_id,
            at=historic(request, body.at),
            arrival=arrival,
            idempotency=request.idempotency or request.idempotency_for(order_id),
        )
    )
    return await answer_received(request, outcome)


async def post_approve(request: Request) -> Answer | Settled:
    """Agree to take the units back, and wait for the parcel."""
    found = await find(request)
    assert request.credential is not None, "the route needs a scope"
    outcome: Answer | Settled = await request.submit(
        ApproveReturn(
            return_id=found.id,
            order_id=found.order_id,
            by=request.credential.id,
            idempotency=request.idempotency,
        )
    )
    return outcome


async def post_reject(request: Request) -> Answer | Settled:
    """Do not take the units back. They may be asked for again."""
    found = await find(request)
    assert request.credential is not None, "the route needs a scope"
    outcome: Answer | Settled = await request.submit(
        RejectReturn(
            return_id=found.id,
            order_id=found.order_id,
            by=request.credential.id,
            reason=await request.sealed(request.body.reason, order_id=found.order_id),
            idempotency=request.idempotency,
        )
    )
    return outcome


async def post_receive(request: Request) -> Answer | Settled:
    """Say what came: for each line units for the shelf, units for the bin, and the money.

    200 when the money is back with the customer, 202 until then. What did not come of the announced
    units may be asked for again.
    """
    found = await find(request)
    assert request.credential is not None, "the route needs a scope"
    outcome = await request.submit(
        ReceiveReturn(
            return_id=found.id,
            order_id=found.order_id,
            by=request.credential.id,
            arrival=arrival_of(request.body, found.refund.currency),
            idempotency=request.idempotency,
        )
    )
    return await answer_received(request, outcome)


async def answer_received(
    request: Request, outcome: Answer | Pending | Settled
) -> Answer | Settled:
    """Wait until the money is back."""
    if not isinstance(outcome, Pending):
        return outcome
    settled = await wait(request, outcome.resource)
    if settled is not None:
        return Settled(
            settled.status,
            settled.body,
            {**settled.headers, **applied(request)},
            settled.replayed,
        )
    return_id = outcome.resource.split(".")[0]
    await request.node.make_durable()
    async with request.reading() as snapshot:
        found = await queries.one_return(snapshot, return_id)
    location = {"location": f"/v1/returns/{return_id}"}
    return Answer(status=202, body=found, headers=location | applied(request))


def arrival_of(body: ReceiveBody, currency: str) -> Arrival:
    """What came, with amounts in minor units. Raises `InvalidOrder`."""
    return Arrival(
        lines=tuple(
            ArrivedLine(
                line=line.line,
                restock=line.restock,
                write_off=line.write_off,
                refund_minor=None
                if line.refund is None
                else minor(line.refund, f"/lines/{index}/refund", currency),
            )
            for index, line in enumerate(body.lines)
        ),
        fees_refund_minor=0
        if body.fees_refund is None
        else minor(body.fees_refund, "/fees_refund", currency),
        refund_id=new_id("ref"),
        location=body.location,
    )


def historic(request: Request, at: datetime | None) -> datetime | None:
    """A time in the past, told by who may import history. Raises `FieldNotAllowed`."""
    if at is None:
        return None
    if request.credential is None or not request.credential.may("orders:import"):
        raise problems.FieldNotAllowed(
            "Leave this field out, or use a credential with the scope orders:import.",
            errors=(FieldError("/at", "is for imports only"),),
        )
    if at.tzinfo is None:
        raise invalid("/at", "needs a time zone")
    if not at.year >= 1970 or at > datetime.now(UTC):
        raise invalid("/at", "must be in the past")
    return at.astimezone(UTC)


async def find(request: Request) -> ReturnView:
    """The return in the address. Raises `ReturnNotFound`."""
    return_id = request.params["return_id"]
    async with request.reading() as snapshot:
        found = await queries.one_return(snapshot, return_id)
    if found is None:
        raise problems.ReturnNotFound(f"There is no return {return_id[:64]!r}.")
    return found


async def get_return(request: Request) -> Answer:
    """A return as it stands."""
    return Answer(body=await find(request))


ReturnStatus = Literal[
    "requested", "approved", "rejected", "received", "refunded", "refund_refused"
]


class ReturnsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which returns."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: str | None = None
    status: ReturnStatus | None = None


class ReturnsPage(Struct, frozen=True):
    """Returns."""

    items: list[ReturnView]
    next: str | None = None


async def get_returns(request: Request) -> Answer:
    """Returns, newest first."""
    query: ReturnsQuery = request.query
    before = queries.LAST_ID
    if query.cursor is not None:
        (before,) = decode_cursor(query.cursor, str)
    async with request.reading() as snapshot:
        items = await queries.returns(
            snapshot, before=before, status=query.status, count_max=query.limit
        )
    cursor = encode_cursor(items[-1].id) if len(items) == query.limit else None
    return Answer(body=ReturnsPage(items=items, next=cursor))


async def get_returns_of_order(request: Request) -> Answer:
    """All returns of an order, oldest first."""
    order_id = request.params["order_id"]
    await read(request, order_id)
    async with request.reading() as snapshot:
        items = await queries.returns_of(snapshot, order_id)
    return Answer(body=ReturnsPage(items=items))


STEPS = (problems.ReturnNotFound, problems.ReturnNotOpen)
ARRIVALS = (
    problems.InvalidOrder,
    problems.InvalidReturn,
    problems.RefundExceedsLine,
    problems.ReturnRefundRefused,
)
ROUTES = (
    Route(
        method="POST",
        path="/v1/orders/{order_id}/fulfil",
        handler=post_fulfil,
        summary="Send an order out.",
        permission=Scope("orders:write"),
        whose=Whose.SHOP,
        body=FulfilBody,
        answers={200: OrderView},
        problems=(
            problems.OrderNotFound,
            problems.OrderNotFulfillable,
            problems.InvalidOrder,
            problems.FieldNotAllowed,
            Erased,
        ),
        keyed=Keyed.REQUIRED,
    ),
    Route(
        method="GET",
        path="/v1/orders/{order_id}/fulfilments",
        handler=get_fulfilments,
        summary="Read how an order left the house.",
        permission=OrderHolder("order_id", "orders:read", account_of),
        whose=Whose.HOLDER,
        answers={200: FulfilmentList},
        problems=(problems.OrderNotFound,),
    ),
    Route(
        method="POST",
        path="/v1/orders/{order_id}/returns",
        handler=post_return,
        summary="Give units of an order back.",
        permission=OrderHolder("order_id", "orders:write", account_of),
        whose=Whose.HOLDER,
        recorded=Recorded.EVERYBODY,
        body=ReturnBody,
        answers={201: ReturnView, 202: ReturnView},
        problems=(
            problems.OrderNotFound,
            problems.OrderNotReturnable,
            problems.ReturnExceedsOrder,
            problems.ExternalIdTaken,
            problems.FieldNotAllowed,
            *ARRIVALS,
        ),
        keyed=Keyed.REQUIRED,
    ),
    Route(
        method="GET",
        path="/v1/orders/{order_id}/returns",
        handler=get_returns_of_order,
        summary="List the returns of an order.",
        permission=OrderHolder("order_id", "orders:read", account_of),
        whose=Whose.HOLDER,
        answers={200: ReturnsPage},
        problems=(problems.OrderNotFound,),
    ),
    Route(
        method="GET",
        path="/v1/returns",
        handler=get_returns,
        summary="List returns, newest first.",
        permission=Scope("orders:read"),
        whose=Whose.SHOP,
        query=ReturnsQuery,
        answers={200: ReturnsPage},
    ),
    Route(
        method="GET",
        path="/v1/returns/{return_id}",
        handler=get_return,
        summary="Read a return.",
        permission=Scope("orders:read"),
        whose=Whose.SHOP,
        answers={200: ReturnView},
        problems=(problems.ReturnNotFound,),
    ),
    Route(
        method="POST",
        path="/v1/returns/{return_id}/approve",
        handler=post_approve,
        summary="Agree to a return.",
        permission=Scope("orders:write"),
        whose=Whose.SHOP,
        answers={200: ReturnView},
        problems=STEPS,
        keyed=Keyed.ACCEPTED,
    ),
    Route(
        method="POST",
        path="/v1/returns/{return_id}/reject",
        handler=post_reject,
        summary="Refuse a return.",
        permission=Scope("orders:write"),
        whose=Whose.SHOP,
        needs_reason=True,
        body=RejectBody,
        answers={200: ReturnView},
        problems=STEPS,
        keyed=Keyed.ACCEPTED,
    ),
    Route(
        method="POST",
        path="/v1/returns/{return_id}/receive",
        handler=post_receive,
        summary="Say what came back, and pay for it.",
        permission=Scope("orders:write"),
        whose=Whose.SHOP,
        body=ReceiveBody,
        answers={200: ReturnView, 202: ReturnView},
        problems=(*STEPS, *ARRIVALS),
        keyed=Keyed.REQUIRED,
    ),
)
