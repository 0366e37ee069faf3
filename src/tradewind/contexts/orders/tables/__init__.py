"""Rows and results of orders, and the shapes it shows on the wire."""

from collections.abc import Sequence
from datetime import date, datetime

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tradewind.contexts.orders.events import CreditedLine, Fee
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
    country: str | None  # None: placed before it was kept
    tax_rate_bp: int  # what the prices contain, in hundredths of a percent

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
BASKET_COLUMNS = (
    "b.skus, b.titles, b.quantities, b.unit_prices_e4, b.totals_minor, b.country, b.tax_rate_bp"
)


END_OF_TIME_MS = 2**63 - 1


class OfferRow(Struct, frozen=True):
    """What one sku costs in one currency, as orders knows it: whom, and when."""

    sku_key: str
    currency: str
    sku: str
    title: str
    unit_price_e4: int
    version: int = 0  # of its product: a change of that changes it
    customer_group: str = ""  # "": everybody
    list_id: str = ""
    from_ms: int = 0
    until_ms: int = END_OF_TIME_MS


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


# -- after yes


class ReturnRow(Struct):
    """A row of orders.returns."""

    return_id: str
    order_id: str
    status: str
    reason: str
    requested_by: str
    credential: str | None
    external_id: str | None
    refund_minor: int
    fees_refund_minor: int
    refund_id: str | None
    exchange_order_id: str | None
    exchange_asked_as: str | None
    awaited: str | None
    note: str | None
    requested_at: datetime
    changed_at: datetime


class ReturnLineRow(Struct):
    """A row of orders.return_lines."""

    return_id: str
    line: int
    sku: str
    quantity: int
    reason: str | None
    restock: int = 0
    write_off: int = 0
    refund_minor: int = 0


class ReturnableRow(Struct):
    """A row of orders.returnable: what of a line came back, and may still. Line 0: the fees."""

    order_id: str
    line: int
    units: int
    total_minor: int
    promised: int = 0
    arrived: int = 0
    refunded_minor: int = 0


class FulfilmentRow(Struct, frozen=True):
    """A row of orders.fulfilments."""

    order_id: str
    carrier: str | None
    tracking: str | None
    fulfilled_at: datetime


class DocumentRow(Struct, frozen=True):
    """A row of orders.documents, but for when it was issued."""

    series: str
    year: int
    serial: int
    kind: str
    source: str
    order_id: str | None
    return_id: str | None
    credential: str | None
    external_id: str | None
    customer: str
    country: str | None
    currency: str
    total_minor: int
    tax_minor: int
    tax_rate_bp: int
    reason: str | None
    lines: str | None
    dated: date


class SeriesRow(Struct, frozen=True):
    """A row of orders.document_series."""

    series: str
    year: int
    last: int


RETURN_COLUMNS = ", ".join(ReturnRow.__struct_fields__)
RETURN_LINE_COLUMNS = ", ".join(ReturnLineRow.__struct_fields__)
RETURNABLE_COLUMNS = ", ".join(ReturnableRow.__struct_fields__)
DOCUMENT_COLUMNS = ", ".join(DocumentRow.__struct_fields__)


class FulfilmentView(Struct, frozen=True):
    """How an order left the house."""

    carrier: str | None
    tracking: str | None
    fulfilled_at: datetime


class FulfilmentList(Struct, frozen=True):
    """How an order left the house; empty until it did."""

    items: list[FulfilmentView]
    next: str | None = None


class ReturnLineView(Struct, frozen=True):
    """A line of a return. `line` counts the order's lines from 1."""

    line: int
    sku: str
    quantity: int
    reason: str | None
    restock: int
    write_off: int
    refund: Amount


class ReturnView(Struct, kw_only=True):
    """A return on the wire. `refund` is all of it, fees included."""

    id: str
    order_id: str
    status: str
    reason: str | None  # None: the customer was erased
    lines: list[ReturnLineView]
    refund: Amount
    fees_refund: Amount
    refund_id: str | None
    exchange_order_id: str | None
    credit_note: str | None
    external_id: str | None
    note: str | None
    requested_at: datetime
    changed_at: datetime


def return_view(
    row: ReturnRow, lines: Sequence[ReturnLineRow], currency: str, credit_note: str | None = None
) -> ReturnView:
    """A return as it goes on the wire."""
    return ReturnView(
        id=row.return_id,
        order_id=row.order_id,
        status=row.status,
        reason=row.reason,
        lines=[
            ReturnLineView(
                line=line.line,
                sku=line.sku,
                quantity=line.quantity,
                reason=line.reason,
                restock=line.restock,
                write_off=line.write_off,
                refund=wire(line.refund_minor, currency),
            )
            for line in lines
        ],
        refund=wire(row.refund_minor, currency),
        fees_refund=wire(row.fees_refund_minor, currency),
        refund_id=row.refund_id,
        exchange_order_id=row.exchange_order_id,
        credit_note=credit_note,
        external_id=row.external_id,
        note=row.note,
        requested_at=row.requested_at,
        changed_at=row.changed_at,
    )


class DocumentLineView(Struct, frozen=True):
    """A line of a document; `amount` is of all units. A discount is less than nothing."""

    description: str | None  # None: the customer was erased
    sku: str | None
    quantity: int
    amount: Amount
    restock: int = 0  # of a credit note that stands alone
    unit_price: Amount | None = None


class DocumentView(Struct, kw_only=True):
    """An invoice or a credit note on the wire. Prices are gross: `tax` is contained in `total`.

    `lines` add up to `total`; in lists only credit notes that stand alone have them.
    """

    number: str
    kind: str
    id: str | None  # of a credit note that stands alone
    order_id: str | None
    return_id: str | None
    refund_id: str | None
    external_id: str | None
    dated: date
    issued_at: datetime
    currency: str
    total: Amount
    tax: Amount
    tax_rate: str  # percent
    country: str | None
    reason: str | None
    lines: list[DocumentLineView]
    corrects: str | None = None  # the number of the invoice


class IssuedRow(DocumentRow, frozen=True):
    """A row of orders.documents, with the number of the invoice that a credit note corrects.

    `seller` is that of the day, a line after each ``|``; None: issued before it was kept.
    """

    issued_at: datetime
    seller: str | None
    corrects: str | None


decode_credited = msgspec.json.Decoder(tuple[CreditedLine, ...]).decode


def issued_view(row: IssuedRow) -> DocumentView:
    """A document that was read, as it goes on the wire."""
    return document_view(row, row.issued_at, row.corrects)


def document_view(
    row: DocumentRow, issued_at: datetime, corrects: str | None = None
) -> DocumentView:
    """A document as it goes on the wire."""
    alone = row.order_id is None
    lines = decode_credited(row.lines) if row.lines else ()
    return DocumentView(
        number=f"{row.series}-{row.year}-{row.serial:06d}",
        kind=row.kind,
        id=row.source if alone else None,
        order_id=row.order_id,
        return_id=row.return_id,
        refund_id=row.source if row.kind == "credit_note" and not alone else None,
        external_id=row.external_id,
        dated=row.dated,
        issued_at=issued_at,
        currency=row.currency,
        total=wire(row.total_minor, row.currency),
        tax=wire(row.tax_minor, row.currency),
        tax_rate=f"{row.tax_rate_bp / 100:g}",
        country=row.country,
        reason=row.reason,
        lines=[
            DocumentLineView(
                description=line.description,
                sku=line.sku,
                quantity=line.quantity,
                amount=wire(line.amount_minor, row.currency),
                restock=line.restock,
            )
            for line in lines
        ],
        corrects=corrects,
    )
