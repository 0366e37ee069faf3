"""The HTTP face of orders."""

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from tradewind.contexts.orders import problems, queries
from tradewind.contexts.orders.commands import CancelOrder, PlaceOrder, WantedLine
from tradewind.contexts.orders.events import Fee
from tradewind.contexts.orders.tables import LineRow, OrderRow, OrderView, view
from tradewind.kernel.answers import Answer, Pending, Settled
from tradewind.kernel.ids import new_id
from tradewind.kernel.money import Amount, parse_e4, parse_minor
from tradewind.kernel.problems import FieldError, Problem
from tradewind.platform.bus.batcher import OutcomeUnknown
from tradewind.platform.bus.feed import FeedEvent
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Anyone, Keyed, OrderHolder, Route, Scope

Text100 = Annotated[str, Meta(min_length=1, max_length=100)]
Text200 = Annotated[str, Meta(min_length=1, max_length=200)]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$")]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
# Someone writes to it, so it must have one @ and a dot behind; more is not for us to judge.
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]

ADDRESS_FIELDS = ("name", "line1", "line2", "city", "region", "postal_code", "country", "phone")
FAR_PAST = datetime(1, 1, 2, tzinfo=UTC)

encode = msgspec.json.Encoder().encode
decode_view = msgspec.json.Decoder(OrderView).decode


class LineBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a new order."""

    sku: Text100
    quantity: Quantity
    unit_price: Amount | None = None  # orders:import only


class FeeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A fee of an imported order, in the order's currency."""

    code: Annotated[str, Meta(min_length=1, max_length=50)]
    amount: Amount


class AddressBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to; of imported history only the country may be known."""

    country: Country
    name: Text200 | None = None
    line1: Text200 | None = None
    line2: Annotated[str, Meta(max_length=200)] | None = None
    city: Text100 | None = None
    region: Annotated[str, Meta(max_length=100)] | None = None
    postal_code: Annotated[str, Meta(max_length=20)] | None = None
    phone: Annotated[str, Meta(max_length=40)] | None = None


class CardBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The provider's token of a card. Card data itself never comes here."""

    token: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.:-]+$")]


class OrderBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A new order. Prices come from the catalog at this moment."""

    currency: Currency
    lines: Annotated[list[LineBody], Meta(min_length=1, max_length=1_000)]
    shipping_address: AddressBody
    payment: CardBody
    email: Email | None = None
    billing_address: AddressBody | None = None
    external_id: Text100 | None = None
    expected_total: Amount | None = None
    # With the scope orders:import only, for what happened elsewhere before:
    placed_at: datetime | None = None
    channel: Annotated[str, Meta(min_length=1, max_length=50)] | None = None
    fees: Annotated[list[FeeBody], Meta(max_length=50)] | None = None
    customer_ref: Text100 | None = None


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
        placed_at=None if body.placed_at is None else body.placed_at.astimezone(UTC),
        idempotency=request.idempotency,
    )
    outcome = await request.submit(command)
    return await answer_placed(request, outcome, order_id, personal)


async def answer_placed(
    request: Request, outcome: Pending | Settled, order_id: str, personal: Mapping[str, str | None]
) -> Answer | Settled:
    """Wait for the decision and finish its answer with what only the caller may see."""
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


def personal_fields(body: OrderBody) -> dict[str, str | None]:
    """Everything in an order that names a person, for the vault."""
    fields: dict[str, str | None] = {"email": body.email, "customer_ref": body.customer_ref}
    for name in ADDRESS_FIELDS:
        fields[name] = getattr(body.shipping_address, name)
    if body.billing_address is not None:
        for name in ADDRESS_FIELDS:
            fields[f"billing_{name}"] = getattr(body.billing_address, name)
    return fields


def is_import(request: Request, body: OrderBody) -> bool:
    """Whether the order is history. Raises `FieldNotAllowed` for who may not say so."""
    told = [
        name
        for name in ("placed_at", "channel", "fees", "customer_ref")
        if getattr(body, name) is not None
    ]
    told += [f"lines/{i}/unit_price" for i, line in enumerate(body.lines) if line.unit_price]
    if not told:
        return False
    if request.credential is None or not request.credential.may("orders:import"):
        raise problems.FieldNotAllowed(
            "Leave these fields out, or use a credential with the scope orders:import.",
            errors=tuple(FieldError(f"/{name}", "is for imports only") for name in told),
        )
    return True


def check_body(body: OrderBody, *, imported: bool) -> None:
    """What the shape of the body cannot say. Raises `InvalidOrder`."""
    if body.email is None and body.customer_ref is None:
        raise invalid("/email", "is required")
    address = body.shipping_address
    if not imported:
        for name in ("name", "line1", "city"):
            if getattr(address, name) is None:
                raise invalid(f"/shipping_address/{name}", "is required")
    if body.placed_at is not None:
        if body.placed_at.tzinfo is None:
            raise invalid("/placed_at", "needs a time zone")
        if not body.placed_at.year >= 1970 or body.placed_at > datetime.now(UTC):
            raise invalid("/placed_at", "must be in the past")


def minor(amount: Amount, pointer: str, currency: str) -> int:
    """An amount of the order's currency in minor units. Raises `InvalidOrder`."""
    value = parse_minor(amount.amount, amount.currency)
    if amount.currency != currency:
        raise invalid(f"{pointer}/currency", f"must be {currency}, the currency of the order")
    if value is None or value < 0:
        raise invalid(f"{pointer}/amount", "is not an amount of this currency")
    return value


def price_e4(amount: Amount, pointer: str, currency: str) -> int:
    """A unit price in ten-thousandths. Raises `InvalidOrder`."""
    value = parse_e4(amount.amount)
    if amount.currency != currency:
        raise invalid(f"{pointer}/currency", f"must be {currency}, the currency of the order")
    if value is None or value < 0:
        raise invalid(f"{pointer}/amount", "is not a price")
    return value


def invalid(pointer: str, message: str) -> problems.InvalidOrder:
    """A refusal that points at one place."""
    return problems.InvalidOrder(
        f"{pointer[1:].replace('/', '.')} {message}.", errors=(FieldError(pointer, message),)
    )


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


Status = Literal["placed", "confirmed", "held", "rejected", "cancelled", "fulfilled", "returned"]


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
    if after is not None and after.tzinfo is None:
        after = after.replace(tzinfo=UTC)
    async with request.reading() as snapshot:
        found = await queries.orders(
            snapshot,
            before=before,
            placed_after=after or FAR_PAST,
            status=query.status,
            contact=contact,
            count_max=query.limit,
        )
    opened = await request.node.vault.open([row.customer for row, _ in found.items])
    items = [fill_from(opened, row, lines) for row, lines in found.items]
    place = found.next
    cursor = None if place is None else encode_cursor(place.placed_at, place.order_id)
    return Answer(body=OrdersPage(items=items, next=cursor))


class CancelBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why."""

    reason: Annotated[str, Meta(min_length=1, max_length=500)]


async def post_cancel(request: Request) -> Answer | Settled:
    """Call an order off. 200 when its stock and its money are given back, 202 until then."""
    order_id = request.params["order_id"]
    assert request.credential is not None, "the route needs a scope"
    command = CancelOrder(
        order_id=order_id,
        reason=request.body.reason,
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


REFUSED = tuple(problems.REFUSALS.values())
ROUTES = (
    Route(
        method="POST",
        path="/v1/orders",
        handler=post_order,
        summary="Place an order.",
        permission=Anyone(),
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
        method="GET",
        path="/v1/orders",
        handler=get_orders,
        summary="List orders, newest first.",
        permission=Scope("orders:read"),
        query=OrdersQuery,
        answers={200: OrdersPage},
    ),
    Route(
        method="GET",
        path="/v1/orders/{order_id}",
        handler=get_order,
        summary="Read an order.",
        permission=OrderHolder("order_id", "orders:read"),
        answers={200: OrderView},
        problems=(problems.OrderNotFound,),
    ),
    Route(
        method="GET",
        path="/v1/orders/{order_id}/timeline",
        handler=get_timeline,
        summary="Read what happened to an order.",
        permission=OrderHolder("order_id", "orders:read"),
        answers={200: Timeline},
        problems=(problems.OrderNotFound,),
    ),
    Route(
        method="POST",
        path="/v1/orders/{order_id}/cancel",
        handler=post_cancel,
        summary="Cancel an order.",
        permission=Scope("orders:write"),
        body=CancelBody,
        answers={200: OrderView, 202: OrderView},
        problems=(problems.OrderNotFound, problems.OrderNotCancellable, Erased),
        keyed=Keyed.REQUIRED,
    ),
)
