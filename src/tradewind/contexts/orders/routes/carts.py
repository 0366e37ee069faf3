"""Carts over HTTP: opened, filled, merged, checked out."""

import copy
from datetime import timedelta
from functools import partial
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import (
    CartChange,
    ChangeCart,
    CheckOutCart,
    Discard,
    MergeCarts,
    OpenCart,
    PutIn,
    SetQuantity,
    Shopper,
    Show,
    WantedLine,
)
from tradewind.contexts.orders.queries import carts as queries
from tradewind.contexts.orders.routes.answering import Erased, answer_placed
from tradewind.contexts.orders.routes.bodies import minor
from tradewind.contexts.orders.routes.cart_bodies import (
    CartBody,
    CartLineBody,
    CartPatch,
    CheckoutBody,
    Customer,
    MergeBody,
    Personal,
    check_customer,
    details_of,
    exchange_cart,
    still_known,
)
from tradewind.contexts.orders.tables.carts import CartRow, CartView, ShippingOptionView
from tradewind.kernel.answers import Answer, Settled
from tradewind.kernel.ids import new_id
from tradewind.kernel.problems import FieldError, Problem
from tradewind.platform.gateway.etags import if_match, tagged
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request

encode = msgspec.json.Encoder().encode
decode_view = msgspec.json.Decoder(CartView).decode

# Whoever changes the addresses of one cart at the same moment is tried again so often.
TRIES = 5
LINE_DIGITS_MAX = 9
# "~" sorts behind every id.
NEWEST = "~"


async def post_cart(request: Request) -> Answer | Settled:
    """Begin a cart. Its `cart_token` is the only key to it that a guest gets: keep it.

    Lines are priced from the catalog at every read; the same sku in two lines becomes one.
    """
    body: CartBody = request.body
    check_customer(request, body.customer)
    given = CartPatch(
        email=body.email or UNSET,
        shipping_address=body.shipping_address or UNSET,
        billing_address=body.billing_address or UNSET,
    )
    details, personal = await details_of(request, given, nothing_yet)
    credential = request.credential
    command = OpenCart(
        cart_id=new_id("crt"),
        credential=None if credential is None or credential.cart_id else credential.id,
        customer=body.customer or (credential.account_id if credential else None),
        currency=body.currency,
        lines=tuple(WantedLine(sku=line.sku, quantity=line.quantity) for line in body.lines),
        shopper=details.shopper or Shopper(),
        customer_group=credential.customer_group if credential else "",
        idempotency=request.idempotency,
    )
    outcome = await request.submit(command)
    return await finish(request, outcome, command.shopper.person, personal, tell_token=True)


async def nothing_yet() -> None:
    """The row of a cart that is about to be made."""


async def get_cart(request: Request) -> Answer:
    """A cart at the prices of this moment.

    Whoever may change the cart has hereby been shown these prices: a checkout compares with them.
    """
    async with request.reading() as snapshot:
        found = await queries.cart(
            snapshot, request.params["cart_id"], expires=expires_after(request)
        )
    if found is None:
        raise not_found(request)
    if found.is_news and may_change(request, found.row) and not request.node.disk.low:
        await note_shown(request, found)
    shown = found.view
    known = None
    if shown.email is not None:
        known = (await request.node.vault.open([shown.email]))[shown.email]
    return tagged(request, found.etag, with_personal(request, shown, known))


async def note_shown(request: Request, found: queries.SeenCart) -> None:
    """Remember the prices that this answer shows. If that fails, a checkout asks once more."""
    command = ChangeCart(
        cart_id=found.row.cart_id,
        change_id=new_id("chg"),
        versions=None,
        change=Show(found.prices),
    )
    try:
        await request.submit(command)
    except Problem:
        return


class CartsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose carts."""

    customer: Customer
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: str | None = None


class CartsPage(Struct, frozen=True):
    """Carts, newest first."""

    items: list[CartView]
    next: str | None


async def get_carts(request: Request) -> Answer:
    """The carts of a customer, newest first, those that were ordered or have ended included."""
    query: CartsQuery = request.query
    before = NEWEST if query.cursor is None else decode_cursor(query.cursor, str)[0]
    async with request.reading() as snapshot:
        found = await queries.of_customer(
            snapshot,
            query.customer,
            before=before,
            count_max=query.limit,
            expires=expires_after(request),
        )
    persons = [each.view.email for each in found if each.view.email is not None]
    opened = await request.node.vault.open(persons)
    items = [with_personal(request, f.view, opened.get(f.view.email or "")) for f in found]
    more = len(items) == query.limit
    return Answer(body=CartsPage(items, encode_cursor(items[-1].id) if more else None))


async def patch_cart(request: Request) -> Answer | Settled:
    """Say who the cart is for and how it is to be delivered. What is left out stays as it is."""
    body: CartPatch = request.body
    check_customer(request, body.customer)
    for _ in range(TRIES):
        details, personal = await details_of(request, body, partial(row_of, request))
        details = msgspec.structs.replace(
            details,
            shipping_option=body.shipping_option or None,
            customer=body.customer or None,
        )
        try:
            outcome = await change(request, details)
        except problems.CartChanged:
            continue
        person = None if details.shopper is None else details.shopper.person
        return await finish(request, outcome, person, personal)
    raise problems.CartChanged("Read the cart and send the change again.")


async def delete_cart(request: Request) -> Answer | Settled:
    """Throw a cart away, and what it knows of a person."""
    return await change(request, Discard())


async def post_line(request: Request) -> Answer | Settled:
    """Put units of a sku in; they join the line that the sku has already."""
    body: CartLineBody = request.body
    return await finish(request, await change(request, PutIn(body.sku, body.quantity)))


async def patch_line(request: Request) -> Answer | Settled:
    """Set the quantity of a line."""
    return await finish(request, await change(request, to_quantity(request, request.body.quantity)))


async def delete_line(request: Request) -> Answer | Settled:
    """Take a line out. The answer is the cart without it."""
    return await finish(request, await change(request, to_quantity(request, None)))


class ShippingOptions(Struct, frozen=True):
    """The ways to have a cart delivered; without a choice it is the first."""

    items: list[ShippingOptionView]
    next: None = None


async def get_shipping_options(request: Request) -> Answer:
    """The ways to have the cart delivered, with what each costs. PATCH the cart to choose one."""
    row = await row_of(request)
    if row is None:
        raise not_found(request)
    return Answer(body=ShippingOptions(queries.shipping_options(row.currency)))


async def post_merge(request: Request) -> Answer | Settled:
    """Put the lines of a guest's cart into this one, as somebody signs in.

    Quantities of the same sku add up, as far as a line goes. The guest's cart ends; who repeats the
    request is answered the same. A cart without addresses takes the guest's.
    """
    body: MergeBody = request.body
    guest_id = request.node.secrets.cart_of_token(body.from_token)
    if guest_id is None:
        raise problems.InvalidCart(
            "from_token opens no cart.", errors=(FieldError("/from_token", "opens no cart"),)
        )
    command = MergeCarts(
        cart_id=request.params["cart_id"],
        guest_id=guest_id,
        versions=versions_of(request),
        idempotency=request.idempotency,
    )
    return await finish(request, await request.submit(command))


async def post_checkout(request: Request) -> Answer | Settled:
    """Order what is in the cart. Answers as `POST /v1/orders` does, and waits like it.

    All in one step: the cart is an order, or nothing happened. Where a price is not the one that
    the shopper was shown last, 409 `price_changed` tells which, and the cart shows the new ones;
    checking out again under a new key accepts them. After a refusal of stock or card the cart is
    open again and says why.
    """
    body: CheckoutBody = request.body
    cart_id = request.params["cart_id"]
    credential = request.credential
    assert credential is not None, "the route needs a token or a scope"
    for _ in range(TRIES):
        details, personal = await details_of(request, body, partial(row_of, request))
        if details.shopper is None:
            details, personal = await still_known(request, await row_of(request))
        expected = body.expected_total
        order_id = new_id("ord")
        command = CheckOutCart(
            cart_id=cart_id,
            versions=versions_of(request),
            order_id=order_id,
            payment_id=new_id("pay"),
            credential=None if credential.cart_id is not None else credential.id,
            payment_token=body.payment.token,
            expected_total_minor=None
            if expected is None
            else minor(expected, "/expected_total", expected.currency),
            expected_currency=None if expected is None else expected.currency,
            details=details,
            idempotency=request.idempotency,
        )
        try:
            outcome = await request.submit(command)
        except problems.CartChanged:
            continue
        return await answer_placed(request, outcome, order_id, personal)
    raise problems.CartChanged("Read the cart and check it out again.")


# -- what they have in common


async def row_of(request: Request) -> CartRow | None:
    """The row of the cart in the address. None is refused where the request is decided: what was
    answered under its key before is answered again.
    """
    async with request.reading() as snapshot:
        return await queries.row_of(snapshot, request.params["cart_id"])


async def change(request: Request, what: CartChange) -> Answer | Settled:
    """A change of the cart in the address; what was decided."""
    command = ChangeCart(
        cart_id=request.params["cart_id"],
        change_id=new_id("chg"),
        versions=versions_of(request),
        change=what,
        idempotency=request.idempotency,
    )
    outcome: Answer | Settled = await request.submit(command)
    return outcome


def to_quantity(request: Request, quantity: int | None) -> SetQuantity:
    """A change of the line in the address. Raises `CartLineNotFound`."""
    line = request.params["line_id"]
    if not (line.isascii() and line.isdigit() and len(line) <= LINE_DIGITS_MAX):
        raise problems.CartLineNotFound()
    return SetQuantity(int(line), quantity)


def versions_of(request: Request) -> tuple[str, ...] | None:
    """The versions of If-Match; a tag is version and digest, and the version counts."""
    tags = if_match(request)
    return None if tags is None else tuple(tag.partition("-")[0] for tag in tags)


def expires_after(request: Request) -> timedelta:
    """How long a cart is kept that nobody touches."""
    return timedelta(days=request.node.settings.cart_expires_days)


def may_change(request: Request, row: CartRow) -> bool:
    """Whether the caller is the shopper, or the shop front that speaks for them."""
    credential = request.credential
    if credential is None:
        return False
    mine = credential.account_id is not None and credential.account_id == row.customer
    return mine or credential.cart_id is not None or credential.may("carts:write")


def not_found(request: Request) -> problems.CartNotFound:
    """The refusal for a cart that is not there."""
    return problems.CartNotFound(f"There is no cart {request.params['cart_id'][:64]!r}.")


async def finish(
    request: Request,
    outcome: Answer | Settled,
    person: str | None = None,
    personal: Personal | None = None,
    *,
    tell_token: bool = False,
) -> Answer | Settled:
    """An answer with the vault's tokens exchanged; `personal` is known to be of `person`."""
    replayed = isinstance(outcome, Settled) and outcome.replayed
    if isinstance(outcome, Answer):
        shown: CartView = copy.copy(outcome.body)
    elif outcome.status >= 400:
        return outcome
    else:
        shown = copy.copy(outcome.shown) if outcome.shown else decode_view(outcome.body)
    if shown.email is not None and shown.email != person:
        personal = (await request.node.vault.open([shown.email]))[shown.email]
        if personal is None and replayed:
            raise Erased
    shown = with_personal(request, shown, personal)
    if tell_token:
        shown.cart_token = request.node.secrets.cart_token(shown.id)
    headers = {"content-type": "application/json", **outcome.headers}
    return Settled(outcome.status, encode(shown), headers, replayed)


def with_personal(request: Request, shown: CartView, personal: Personal | None) -> CartView:
    """A cart as the caller may see it; personal data that was erased is null."""
    if shown.email is not None and personal is not None:
        exchange_cart(shown, personal)
    elif shown.email is not None:
        shown.email, shown.erased = None, True
    credential = request.credential
    if shown.order is not UNSET and credential is not None and credential.cart_id == shown.id:
        token = request.node.secrets.order_token(shown.order.id)
        shown.order = msgspec.structs.replace(shown.order, order_token=token)
    return shown
