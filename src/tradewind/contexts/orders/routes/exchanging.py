"""Other units in the place of those that come back."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import ExchangeReturn, PlaceOrder, WantedLine
from tradewind.contexts.orders.routes.answering import Erased, answer_placed, read
from tradewind.contexts.orders.routes.bodies import Quantity, Text100
from tradewind.contexts.orders.routes.placing import REFUSED
from tradewind.contexts.orders.routes.returns import find
from tradewind.contexts.orders.tables import OrderView, OrderWithLines
from tradewind.kernel.answers import Answer, Settled
from tradewind.kernel.ids import new_id
from tradewind.kernel.problems import Problem
from tradewind.kernel.terms import card_of
from tradewind.platform.bus.idempotency import digest_of
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Keyed, Route, Scope, Whose

CHANNEL = "exchange"
BUSY = 500  # from here on an answer says nothing of the order: it is asked for again


class ExchangeLine(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of what goes out, at today's price."""

    sku: Text100
    quantity: Quantity


class ExchangeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What the customer gets instead."""

    lines: Annotated[list[ExchangeLine], Meta(min_length=1, max_length=1_000)]


async def post_exchange(request: Request) -> Answer | Settled:
    """Send other units in the place of an approved return: an order of its own, at today's prices,
    to the same customer and address, paid with the card of the first order. The answer is that of
    POST /v1/orders. What comes back is paid back when it is received; a return has one exchange.
    """
    assert request.credential is not None, "the route needs a scope"
    found = await find(request)
    row, _ = await read(request, found.order_id)
    assert isinstance(row, OrderWithLines), "orders are read with their baskets"
    personal = (await request.node.vault.open([row.customer])).get(row.customer)
    if personal is None:
        raise Erased
    assert request.idempotency is not None, "the route needs a key"
    step = ExchangeReturn(
        return_id=found.id,
        order_id=found.order_id,
        by=request.credential.id,
        exchange_order_id=new_id("ord"),
        asked_as=digest_of(request.idempotency).hex(),
    )
    order_id: str = await request.submit(step)
    try:
        outcome = await place(request, row, order_id)
    except Problem as refused:
        if refused.status < BUSY:
            await request.submit(msgspec.structs.replace(step, given_up=True))
        raise
    return await answer_placed(request, outcome, order_id, personal)


async def place(request: Request, row: OrderWithLines, order_id: str) -> Any:
    """Hand in the order that goes out in the place of another one."""
    body: ExchangeBody = request.body
    assert request.credential is not None, "the route needs a scope"
    return await request.submit(
        PlaceOrder(
            order_id=order_id,
            payment_id=order_id.replace("ord_", "pay_", 1),
            credential=request.credential.id,
            external_id=None,
            customer=row.customer,
            contact=row.contact,
            guest=False,
            currency=row.currency,
            lines=tuple(WantedLine(sku=line.sku, quantity=line.quantity) for line in body.lines),
            fees=(),
            shipping_country=row.country or "ZZ",
            billing_country=None,
            payment_token=card_of(row.order_id),
            expected_total_minor=None,
            channel=CHANNEL,
            imported=False,
            placed_at=None,
            idempotency=request.idempotency,
        )
    )


ROUTES = (
    Route(
        method="POST",
        path="/v1/returns/{return_id}/exchange",
        handler=post_exchange,
        summary="Send other units in the place of a return.",
        permission=Scope("orders:write"),
        whose=Whose.SHOP,
        body=ExchangeBody,
        answers={201: OrderView, 202: OrderView},
        problems=(
            problems.ReturnNotFound,
            problems.ReturnNotOpen,
            problems.ReturnExchanged,
            problems.InvalidOrder,
            problems.UnknownSku,
            problems.OrderNotFound,
            Erased,
            *REFUSED,
        ),
        keyed=Keyed.REQUIRED,
    ),
)
