"""Waiting for a decision, and showing an order with what only its holder may see."""

import copy
from collections.abc import Mapping

import msgspec

from tradewind.contexts.orders import problems, queries
from tradewind.contexts.orders.routes.bodies import ADDRESS_FIELDS
from tradewind.contexts.orders.tables import LineRow, OrderRow, OrderView, view
from tradewind.kernel.answers import Answer, Pending, Settled
from tradewind.kernel.problems import Problem
from tradewind.platform.bus.batcher import OutcomeUnknown
from tradewind.platform.gateway.request import Request

encode = msgspec.json.Encoder().encode
decode_view = msgspec.json.Decoder(OrderView).decode


async def answer_placed(
    request: Request,
    outcome: Pending | Settled,
    order_id: str,
    personal: Mapping[str, str | None] | None,
) -> Answer | Settled:
    """Wait for the decision and finish its answer with what only the caller may see.

    `personal` is what the order knows of the customer; None: the vault is asked.
    """
    resource = order_id
    if isinstance(outcome, Pending):
        resource = outcome.resource
        settled = await wait(request, resource)
        if settled is None:
            return await not_yet(request, resource)
        outcome = settled
    # A twin's or a replayed answer is about the first request's record, not about ours.
    mine = personal if resource == order_id and not outcome.replayed else None
    return await finish(request, outcome, mine)


async def wait(request: Request, resource: str) -> Settled | None:
    """The answer for a resource, if it comes while the client is ready to wait."""
    patience = request.prefer_wait_s
    if patience is None:
        patience = request.node.settings.wait_default_s
    return await request.node.answers.wait(resource, patience)


async def not_yet(request: Request, order_id: str) -> Answer:
    """202: the order is placed, its decision will be at Location."""
    await request.node.make_durable()
    async with request.reading() as snapshot:
        found = await queries.order(snapshot, order_id)
    if found is None:
        # Placed, and lost again with the last instants of a crashed server: nobody was told of it.
        raise OutcomeUnknown
    shown = await fill(request, *found)
    shown.order_token = request.node.secrets.order_token(order_id)
    location = {"location": f"/v1/orders/{order_id}"}
    return Answer(status=202, body=shown, headers=location | applied(request))


def applied(request: Request) -> dict[str, str]:
    """Preference-Applied, where the client preferred something."""
    wait_s = request.prefer_wait_s
    return {} if wait_s is None else {"preference-applied": f"wait={wait_s:g}"}


async def finish(
    request: Request, answer: Settled, personal: Mapping[str, str | None] | None
) -> Settled:
    """A kept answer with the vault's tokens exchanged: the same bytes for the same order."""
    headers = {**answer.headers, **applied(request)}
    if answer.status >= 400:
        document = msgspec.json.decode(answer.body)
        if isinstance(order_id := document.get("order_id"), str):
            document["order_token"] = request.node.secrets.order_token(order_id)
        return Settled(answer.status, encode(document), headers, answer.replayed)
    shown: OrderView = copy.copy(answer.shown) if answer.shown else decode_view(answer.body)
    assert shown.email is not None
    if personal is None:
        personal = (await request.node.vault.open([shown.email]))[shown.email]
        if personal is None:
            raise Erased
    exchange(shown, personal)
    shown.order_token = request.node.secrets.order_token(shown.id)
    return Settled(answer.status, encode(shown), headers, answer.replayed)


class Erased(Problem):
    """The person asked to be forgotten: the answer that was kept can no longer be given."""

    status = 410
    code = "erased"
    title = "The personal data of this order has been erased."


def exchange(shown: OrderView, personal: Mapping[str, str | None]) -> None:
    """Put personal data in the place of its token."""
    shown.email = personal.get("email")
    address = {name: value for name in ADDRESS_FIELDS if (value := personal.get(name)) is not None}
    shown.shipping_address = address or None
    if personal.get("customer_ref") is not None:
        shown.customer_ref = personal["customer_ref"]


async def read(request: Request, order_id: str) -> tuple[OrderRow, list[LineRow]]:
    """An order. Raises `OrderNotFound`."""
    async with request.reading() as snapshot:
        found = await queries.order(snapshot, order_id)
    if found is None:
        raise problems.OrderNotFound(f"There is no order {order_id[:64]!r}.")
    return found


async def fill(request: Request, row: OrderRow, lines: list[LineRow]) -> OrderView:
    """An order as its holder sees it; personal data that was erased is null."""
    return fill_from(await request.node.vault.open([row.customer]), row, lines)


def fill_from(
    opened: Mapping[str, Mapping[str, str] | None], row: OrderRow, lines: list[LineRow]
) -> OrderView:
    """The same, where the vault has been asked already."""
    shown = view(row, lines)
    personal = opened.get(row.customer)
    if personal is None:
        shown.email, shown.erased = None, True
    else:
        exchange(shown, personal)
    return shown


async def finish_cancelled(request: Request, answer: Settled) -> Settled:
    """A kept answer to a cancellation, tokens exchanged."""
    if answer.status >= 400:
        return answer
    shown = decode_view(answer.body)
    assert shown.email is not None
    personal = (await request.node.vault.open([shown.email]))[shown.email]
    if personal is None:
        raise Erased
    exchange(shown, personal)
    return Settled(answer.status, encode(shown), answer.headers, answer.replayed)
