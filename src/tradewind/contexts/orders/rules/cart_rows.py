"""One cart's row: how it stands, its lines, whom it is for, the order it asks for."""

import copy

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import CheckOutCart, PlaceOrder, Shopper, WantedLine
from tradewind.contexts.orders.events import AbandonedLine, CartAbandoned
from tradewind.contexts.orders.tables import OfferRow
from tradewind.contexts.orders.tables.carts import CartRow, Standing
from tradewind.kernel.ids import is_id
from tradewind.kernel.problems import Problem

LINES_MAX = 1_000
QUANTITY_MAX = 1_000_000


def standing_of(row: CartRow) -> Standing:
    """How a cart stands: what ended it, or else what its order says.

    A refused order leaves the cart open; one that was held had been accepted, whatever the review
    said later.
    """
    if row.ended is not None:
        return row.ended
    if row.order_id is None or row.order_status is None:
        return "open"
    if row.order_status == "placed":
        return "checking_out"
    if row.order_status == "rejected" and not row.order_was_held:
        return "open"
    return "ordered"


def add_line(row: CartRow, offer: OfferRow, quantity: int) -> None:
    """A new line at the end."""
    row.lines_made += 1
    row.numbers.append(row.lines_made)
    row.skus.append(offer.sku)
    row.titles.append(offer.title)
    row.quantities.append(quantity)
    row.prices_then.append(offer.unit_price_e4)
    row.prices_shown.append(offer.unit_price_e4)


def set_quantity(row: CartRow, number: int, quantity: int | None) -> Problem | None:
    """Another quantity of a line, or no line."""
    if number not in row.numbers:
        return problems.CartLineNotFound()
    place = row.numbers.index(number)
    if quantity is not None:
        row.quantities[place] = quantity
        return None
    for column in columns_of(row):
        del column[place]
    return None


def join(row: CartRow, guest: CartRow) -> None:
    """The guest's lines into the cart; of what both have quantities add up, to the most."""
    same = row.currency == guest.currency
    places = places_of(row)
    for theirs, (sku, quantity) in enumerate(zip(guest.skus, guest.quantities, strict=True)):
        here = places.get(sku.upper())
        if here is not None:
            row.quantities[here] = min(row.quantities[here] + quantity, QUANTITY_MAX)
            continue
        row.lines_made += 1
        row.numbers.append(row.lines_made)
        row.skus.append(sku)
        row.titles.append(guest.titles[theirs])
        row.quantities.append(quantity)
        row.prices_then.append(guest.prices_then[theirs] if same else None)
        row.prices_shown.append(None)


def places_of(row: CartRow) -> dict[str, int]:
    """Where the line of each sku stands."""
    return {sku.upper(): place for place, sku in enumerate(row.skus)}


def columns_of(row: CartRow) -> tuple[list[object], ...]:
    """The arrays that are the lines."""
    return (  # type: ignore[return-value]
        row.numbers,
        row.skus,
        row.titles,
        row.quantities,
        row.prices_then,
        row.prices_shown,
    )


def copy_of(row: CartRow) -> CartRow:
    """A cart that does not change with this one."""
    copied = copy.copy(row)
    copied.numbers, copied.skus, copied.titles = row.numbers[:], row.skus[:], row.titles[:]
    copied.quantities = row.quantities[:]
    copied.prices_then, copied.prices_shown = row.prices_then[:], row.prices_shown[:]
    return copied


def shopper_of(row: CartRow) -> Shopper:
    """Who a cart is for."""
    return Shopper(
        person=row.person,
        contact=row.contact,
        shipping_country=row.shipping_country,
        billing_country=row.billing_country,
    )


def give(row: CartRow, shopper: Shopper) -> None:
    """Have a cart be for somebody."""
    row.person, row.contact = shopper.person, shopper.contact
    row.shipping_country, row.billing_country = shopper.shipping_country, shopper.billing_country


def account_of(row: CartRow) -> str | None:
    """The account that a cart belongs to, if it is anybody's: its id is the word for its owner."""
    return row.customer if row.customer and is_id(row.customer, "acc") else None


def order_of(row: CartRow, command: CheckOutCart) -> PlaceOrder:
    """The cart as the order that it asks for."""
    assert row.person is not None and row.shipping_country is not None
    lines = zip(row.skus, row.quantities, strict=True)
    return PlaceOrder(
        order_id=command.order_id,
        payment_id=command.payment_id,
        credential=command.credential,
        external_id=None,
        customer=row.person,
        contact=row.contact,
        guest=command.credential is None and row.customer is None,
        currency=row.currency,
        lines=tuple(WantedLine(sku=sku, quantity=quantity) for sku, quantity in lines),
        fees=(),
        shipping_country=row.shipping_country,
        billing_country=row.billing_country,
        payment_token=command.payment_token,
        expected_total_minor=None,  # compared with the cart's own prices
        channel="web",
        imported=False,
        placed_at=None,
        customer_group=row.customer_group,
        cart_id=row.cart_id,
        account=account_of(row),
        hold=row.hold_asked if row.hold_until is not None else 0,
    )


def abandoned(row: CartRow) -> CartAbandoned:
    """The fact that a cart was left."""
    lines = zip(row.skus, row.quantities, row.prices_shown, strict=True)
    return CartAbandoned(
        sequence=row.announced,
        cart_id=row.cart_id,
        currency=row.currency,
        lines=tuple(AbandonedLine(sku=s, quantity=q, unit_price_e4=p) for s, q, p in lines),
        customer=row.customer,
        person=row.person,
        contact=row.contact,
        touched_at=row.touched_at,
    )
