"""How a cart looks at this moment: priced by the offers, tagged by what is shown."""

from datetime import datetime, timedelta
from hashlib import blake2b

import msgspec
from msgspec import UNSET, UnsetType

from tradewind.contexts.orders.rules.placing import Offers
from tradewind.contexts.orders.tables import OfferRow, RejectionView, TotalsView
from tradewind.contexts.orders.tables.carts import (
    CartLineView,
    CartOrderView,
    CartRow,
    CartView,
    HoldView,
    ShippingOptionView,
    Standing,
)
from tradewind.kernel.money import line_total_minor, wire, wire_e4

STANDARD = "standard"

encode = msgspec.json.Encoder().encode


def shipping_options(currency: str) -> list[ShippingOptionView]:
    """The ways to have a cart delivered, the one that is taken without a choice first."""
    return [ShippingOptionView(STANDARD, "Standard delivery", wire(0, currency))]


def offer_now(offers: Offers, row: CartRow, sku: str, at: datetime) -> OfferRow | None:
    """What a sku is sold for at a moment, to whom the cart is for, in its currency."""
    return offers.find(
        sku, row.currency, group=row.customer_group, now_ms=int(at.timestamp() * 1_000)
    )


def price_now(offers: Offers, row: CartRow, sku: str, at: datetime) -> int | None:
    """The unit price of a line at this moment; None where it is not sold."""
    offer = offer_now(offers, row, sku, at)
    return None if offer is None else offer.unit_price_e4


def prices_now(row: CartRow, offers: Offers, at: datetime) -> tuple[tuple[int, int | None], ...]:
    """Every line's number and price at this moment."""
    lines = zip(row.numbers, row.skus, strict=True)
    return tuple((number, price_now(offers, row, sku, at)) for number, sku in lines)


def view(
    row: CartRow, offers: Offers, standing: Standing, *, expires: timedelta, at: datetime
) -> CartView:
    """A cart as it goes on the wire, personal data still as a token."""
    currency = row.currency
    lines = []
    subtotal = 0
    for number, sku, title, quantity, then in zip(
        row.numbers, row.skus, row.titles, row.quantities, row.prices_then, strict=True
    ):
        offer = offer_now(offers, row, sku, at)
        now = None if offer is None else offer.unit_price_e4
        total = None if now is None else line_total_minor(now, quantity, currency)
        subtotal += total or 0
        lines.append(
            CartLineView(
                id=str(number),
                sku=sku if offer is None else offer.sku,
                title=title if offer is None else offer.title,
                quantity=quantity,
                for_sale=now is not None,
                unit_price=None if now is None else wire_e4(now, currency),
                total=None if total is None else wire(total, currency),
                price_when_added=UNSET if then in (None, now) else wire_e4(then, currency),
            )
        )
    chosen = [o for o in shipping_options(currency) if o.id == row.shipping_option]
    zero = wire(0, currency)
    order = None
    if row.order_id is not None and standing in ("checking_out", "ordered"):
        order = CartOrderView(id=row.order_id, status=row.order_status or "placed")
    refused = row.order_rejection if standing == "open" else None
    return CartView(
        id=row.cart_id,
        status=standing,
        version=row.version,
        currency=currency,
        lines=lines,
        totals=TotalsView(
            subtotal=wire(subtotal, currency),
            shipping=zero,
            tax=zero,
            discount=zero,
            fees=zero,
            total=wire(subtotal, currency),
        ),
        email=row.person,
        shipping_option=chosen[0] if chosen else None,
        customer=row.customer,
        created_at=row.created_at,
        changed_at=row.touched_at,
        expires_at=row.touched_at + expires,
        order=order or UNSET,
        refusal=RejectionView(refused) if refused else UNSET,
        merged_into=row.merged_into or UNSET,
        hold=hold_of(row, at),
    )


def hold_of(row: CartRow, now: datetime) -> HoldView | UnsetType:
    """What is kept for a cart; nothing once its time is over."""
    if row.hold_until is None or row.hold_until <= now:
        return UNSET
    answered = row.hold_told >= row.hold_asked
    keys = row.hold_short if answered else []
    short = [sku for sku in row.skus if sku.upper() in keys]
    return HoldView("held" if answered else "asked", row.hold_until, short)


def etag_of(shown: CartView) -> str:
    """A strong tag: the version, which If-Match compares, and a digest of all that is shown."""
    return f'"{shown.version}-{blake2b(encode(shown), digest_size=9).hexdigest()}"'
