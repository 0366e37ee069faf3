"""POST /v1/orders, and calling an order off."""

from datetime import UTC
from typing import Annotated

from msgspec import Meta, Struct

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import CancelOrder, PlaceOrder, WantedLine
from tradewind.contexts.orders.events import Fee
from tradewind.contexts.orders.routes.answering import (
    Erased,
    answer_placed,
    applied,
    fill,
    finish_cancelled,
    read,
    wait,
)
from tradewind.contexts.orders.routes.bodies import (
    OrderBody,
    check_body,
    invalid,
    is_import,
    minor,
    personal_fields,
    price_e4,
)
from tradewind.contexts.orders.tables import OrderView
from tradewind.kernel.answers import Answer, Pending, Settled
from tradewind.kernel.ids import new_id
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Anyone, Keyed, Route, Scope, Whose


async def post_order(request: Request) -> Answer | Settled:
    """Place an order. The answer comes when it is decided: 201 confirmed or held, or why not.

    `Prefer: wait=N` says how many seconds to wait (10 by default, 30 at most); an order that is
    not decided by then is answered 202, and goes on. A refusal after placing (402, 409) names the
    rejected order.
    """
    body: OrderBody = request.body
    imported = is_import(request, body)
    check_body(body, imported=imported)
    if body.external_id is not None and request.credential is None:
        raise invalid("/external_id", "needs a credential: it is unique per credential")
    personal = personal_fields(body)
    kept = await request.node.vault.keep(personal)
    order_id = new_id("ord")
    command = PlaceOrder(
        order_id=order_id,
        payment_id=new_id("pay"),
        credential=None if request.credential is None else request.credential.id,
        external_id=body.external_id,
        customer=kept.person,
        contact=kept.contact,
        guest=request.credential is None,
        currency=body.currency,
        lines=tuple(
            WantedLine(
                sku=line.sku,
                quantity=line.quantity,
                unit_price_e4=None
                if line.unit_price is None
                else price_e4(line.unit_price, f"/lines/{index}/unit_price", body.currency),
            )
            for index, line in enumerate(body.lines)
        ),
        fees=tuple(
            Fee(code=fee.code, amount_minor=minor(fee.amount, f"/fees/{i}/amount", body.currency))
            for i, fee in enumerate(body.fees or ())
        ),
        shipping_country=body.shipping_address.country,
        billing_country=None if body.billing_address is None else body.billing_address.country,
        payment_token=body.payment.token,
        expected_total_minor=None
        if body.expected_total is None
        else minor(body.expected_total, "/expected_total", body.currency),
        channel=body.channel or "web",
        imported=imported,
        customer_group=request.credential.customer_group if request.credential else "",
        account=None if request.credential is None else request.credential.account_id,
        placed_at=None if body.placed_at is None else body.placed_at.astimezone(UTC),
        idempotency=request.idempotency,
    )
    outcome = await request.submit(command)
    return await answer_placed(request, outcome, order_id, personal)


class CancelBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why."""

    reason: Annotated[str, Meta(min_length=1, max_length=500)]


async def post_cancel(request: Request) -> Answer | Settled:
    """Call an order off. 200 when its stock and its money are given back, 202 until then."""
    order_id = request.params["order_id"]
    assert request.credential is not None, "the route needs a scope"
    command = CancelOrder(
        order_id=order_id,
        reason=await request.sealed(request.body.reason, order_id=order_id),
        by=request.credential.id,
        idempotency=request.idempotency,
    )
    outcome = await request.submit(command)
    if isinstance(outcome, Pending):
        settled = await wait(request, outcome.resource)
        if settled is None:
            shown = await fill(request, *await read(request, order_id))
            headers = {"location": f"/v1/orders/{order_id}", **applied(request)}
            return Answer(status=202, body=shown, headers=headers)
        outcome = settled
    return await finish_cancelled(request, outcome)


REFUSED = tuple(problems.REFUSALS.values())
ROUTES = (
    Route(
        method="POST",
        path="/v1/orders",
        handler=post_order,
        summary="Place an order.",
        permission=Anyone(),
        whose=Whose.MAKER,
        body=OrderBody,
        answers={201: OrderView, 202: OrderView},
        problems=(
            problems.InvalidOrder,
            problems.UnknownSku,
            problems.PriceChanged,
            problems.ExternalIdTaken,
            problems.FieldNotAllowed,
            Erased,
            *REFUSED,
        ),
        keyed=Keyed.REQUIRED,
        queue=PlaceOrder,
        limit="orders",
    ),
    Route(
        method="POST",
        path="/v1/orders/{order_id}/cancel",
        handler=post_cancel,
        summary="Cancel an order.",
        permission=Scope("orders:write"),
        whose=Whose.SHOP,
        needs_reason=True,
        body=CancelBody,
        answers={200: OrderView, 202: OrderView},
        problems=(problems.OrderNotFound, problems.OrderNotCancellable, Erased),
        keyed=Keyed.REQUIRED,
    ),
)
