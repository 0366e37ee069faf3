"""Rows of carts, and how a cart looks on the wire."""

from datetime import datetime
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from tradewind.contexts.orders.tables import RejectionView, TotalsView
from tradewind.kernel.money import Amount

Ended = Literal["ordered", "merged", "deleted", "expired"]
Standing = Literal["open", "checking_out", "ordered", "merged", "deleted", "expired"]


class CartRow(Struct, kw_only=False):
    """A row of orders.carts, and how the order stands that it last became."""

    cart_id: str
    version: int
    currency: str
    credential: str | None
    customer: str | None
    person: str | None
    contact: str | None
    shipping_country: str | None
    billing_country: str | None
    shipping_option: str | None
    order_id: str | None
    ended: Ended | None
    merged_into: str | None
    lines_made: int
    announced: int
    last_change: str | None
    hold_asked: int
    hold_until: datetime | None
    created_at: datetime
    touched_at: datetime
    look_at: datetime
    numbers: list[int]
    skus: list[str]
    titles: list[str]
    quantities: list[int]
    prices_then: list[int | None]
    prices_shown: list[int | None]
    hold_told: int = 0
    hold_short: list[str] = []
    customer_group: str = ""  # of whoever began it; "": everybody
    order_status: str | None = None
    order_rejection: str | None = None
    order_was_held: bool = False


class OwnedCart(Struct, frozen=True):
    """A cart of somebody."""

    customer: str
    cart_id: str


# What of it is the cart's own.
CART_COLUMNS = CartRow.__struct_fields__[:27]
# A row as it is read, of carts c and orders o.
CART_ROW = ", ".join(
    (
        *(f"c.{name}" for name in (*CART_COLUMNS, "hold_told", "hold_short", "customer_group")),
        *("o.status", "o.rejection_code", "o.review_before IS NOT NULL"),
    )
)


class CartLineView(Struct, frozen=True, kw_only=True):
    """A line of a cart. Its price is that of this moment, or null where the sku is not sold.

    `price_when_added` is there where the price was another when the line was put in.
    """

    id: str
    sku: str
    title: str
    quantity: int
    for_sale: bool
    unit_price: Amount | None
    total: Amount | None
    price_when_added: Amount | UnsetType = UNSET


class ShippingOptionView(Struct, frozen=True):
    """A way to have a cart delivered, and what it costs."""

    id: str
    title: str
    price: Amount


class CartOrderView(Struct, kw_only=True):
    """The order that a cart became."""

    id: str
    status: str
    order_token: str | UnsetType = UNSET


class HoldView(Struct, frozen=True):
    """Units that are kept for a cart: `asked` for, or `held` until then but for those `short`."""

    status: Literal["asked", "held"]
    until: datetime
    short: list[str]


class CartView(Struct, kw_only=True):
    """A cart on the wire, priced at this moment.

    Inside the platform `email` holds the vault's token of the shopper; it is exchanged for the
    address, and the addresses filled, where the caller may see them.
    """

    id: str
    status: Standing
    version: int
    currency: str
    lines: list[CartLineView]
    totals: TotalsView
    email: str | None
    shipping_address: dict[str, str] | None = None
    billing_address: dict[str, str] | None = None
    shipping_option: ShippingOptionView | None
    customer: str | None
    created_at: datetime
    changed_at: datetime
    expires_at: datetime
    order: CartOrderView | UnsetType = UNSET
    refusal: RejectionView | UnsetType = UNSET
    hold: HoldView | UnsetType = UNSET
    merged_into: str | UnsetType = UNSET
    erased: bool | UnsetType = UNSET
    cart_token: str | UnsetType = UNSET
