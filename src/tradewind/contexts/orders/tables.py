"""Rows and results of orders, and the shapes it shows on the wire."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tradewind.contexts.orders.events import Fee
from tradewind.kernel.money import Amount, wire, wire_e4

decode_fees = msgspec.json.Decoder(tuple[Fee, ...]).decode


class OrderRow(Struct, kw_only=False):
    """A row of orders.orders as decisions need it."""

    order_id: str
    version: int
    status: str
    currency: str
    subtotal_minor: int
    shipping_minor: int
    tax_minor: int
    discount_minor: int
    fees_minor: int
    total_minor: int
    customer: str
    contact: str | None
    payment_id: str
    payment_status: str
    stock_released: bool
    channel: str
    imported: bool  # history: nobody is written to about it
    external_id: str | None
    fees: str
    placed_at: datetime
    decide_before: datetime
    review_before: datetime | None
    decided_at: datetime | None
    rejection_code: str | None


class LineRow(Struct, frozen=True):
    """A line of an order: a row of the view orders.lines."""

    order_id: str
    number: int
    sku: str
    title: str
    quantity: int
    unit_price_e4: int
    total_minor: int


class OrderWithLines(OrderRow):
    """A row of orders.orders and that of orders.baskets: the arrays belong together."""

    skus: list[str]
    titles: list[str]
    quantities: list[int]
    unit_prices_e4: list[int]
    totals_minor: list[int]

    def lines(self) -> list[LineRow]:
        """The arrays as lines."""
        columns = zip(
            self.skus,
            self.titles,
            self.quantities,
            self.unit_prices_e4,
            self.totals_minor,
            strict=True,
        )
        return [LineRow(self.order_id, n, *line) for n, line in enumerate(columns, start=1)]


ORDER_COLUMNS = ", ".join(f"o.{name}" for name in OrderRow.__struct_fields__)
BASKET_COLUMNS = "b.skus, b.titles, b.quantities, b.unit_prices_e4, b.totals_minor"


class OfferRow(Struct, frozen=True):
    """What one sku costs in one currency, as orders knows it."""

    sku_key: str
    currency: str
    sku: str
    title: str
    unit_price_e4: int


class LineView(Struct, frozen=True):
    """A line on the wire."""

    sku: str
    title: str
    quantity: int
    unit_price: Amount
    total: Amount


class FeeView(Struct, frozen=True):
    """A fee on the wire."""

    code: str
    amount: Amount


class TotalsView(Struct, frozen=True):
    """What an order adds up to."""

    subtotal: Amount
    shipping: Amount
    tax: Amount
    discount: Amount
    fees: Amount
    total: Amount


class PaymentView(Struct, frozen=True):
    """The payment of an order, as orders last heard of it."""

    id: str
    status: str


class RejectionView(Struct, frozen=True):
    """Why an order was rejected."""

    code: str


class OrderView(Struct, kw_only=True):
    """An order on the wire.

    Inside the platform `email` holds the vault's token of the customer; it is exchanged for the
    address, and `shipping_address` filled, where the caller may see them.
    """

    id: str
    status: str
    email: str | None
    currency: str
    lines: list[LineView]
    totals: TotalsView
    fees: list[FeeView]
    payment: PaymentView
    channel: str
    external_id: str | None
    placed_at: datetime
    decided_at: datetime | None
    version: int
    shipping_address: dict[str, str] | None = None
    customer_ref: str | UnsetType | None = UNSET
    rejection: RejectionView | UnsetType = UNSET
    erased: bool | UnsetType = UNSET
    order_token: str | UnsetType = UNSET


def view(row: OrderRow, lines: Sequence[LineRow]) -> OrderView:
    """An order as it goes on the wire, personal data still as a token."""
    currency = row.currency
    return OrderView(
        id=row.order_id,
        status=row.status,
        email=row.customer,
        currency=currency,
        lines=[
            LineView(
                sku=line.sku,
                title=line.title,
                quantity=line.quantity,
                unit_price=wire_e4(line.unit_price_e4, currency),
                total=wire(line.total_minor, currency),
            )
            for line in lines
        ],
        totals=TotalsView(
            subtotal=wire(row.subtotal_minor, currency),
            shipping=wire(row.shipping_minor, currency),
            tax=wire(row.tax_minor, currency),
            discount=wire(row.discount_minor, currency),
            fees=wire(row.fees_minor, currency),
            total=wire(row.total_minor, currency),
        ),
        fees=[FeeView(f.code, wire(f.amount_minor, currency)) for f in decode_fees(row.fees)],
        payment=PaymentView(row.payment_id, row.payment_status),
        channel=row.channel,
        external_id=row.external_id,
        placed_at=row.placed_at,
        decided_at=row.decided_at,
        version=row.version,
        rejection=RejectionView(row.rejection_code) if row.rejection_code else UNSET,
    )
