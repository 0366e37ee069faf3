"""What stands on an invoice or a credit note: as data, and as a `Paper`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tradewind.contexts.orders import queries
from tradewind.contexts.orders.tables import (
    DocumentLineView,
    DocumentView,
    IssuedRow,
    LineRow,
    OrderRow,
    ReturnView,
    decode_fees,
    issued_view,
)
from tradewind.kernel.money import wire, wire_e4
from tradewind.platform.documents.paper import Paper, PaperLine
from tradewind.platform.gateway.request import Request
from tradewind.platform.vault.texts import sealed_in, with_texts

TITLES = {"invoice": "Invoice", "credit_note": "Credit note"}
ERASED = "The personal data of this customer was erased."

Order = tuple[OrderRow, list[LineRow]]


async def sources_of(request: Request, row: IssuedRow) -> tuple[Order | None, ReturnView | None]:
    """The order and the return that a document is about."""
    order: Order | None = None
    returned: ReturnView | None = None
    async with request.reading() as snapshot:
        if row.order_id is not None:
            order = await queries.order(snapshot, row.order_id)
        if row.return_id is not None:
            returned = await queries.one_return(snapshot, row.return_id)
    return order, returned


async def document_of(request: Request, row: IssuedRow) -> DocumentView:
    """A document as data, with its lines: they add up to its total."""
    order, returned = await sources_of(request, row)
    row = await readable(request, row)
    lines = lines_of(row, order, returned) + more_of(row, order)
    return msgspec.structs.replace(issued_view(row), lines=lines)


async def paper_of(request: Request, row: IssuedRow) -> Paper:
    """A document as it is printed. What it says of the customer comes from the vault now."""
    order, returned = await sources_of(request, row)
    row, personal = await readable(request, row), await customer_of(request, row)
    number = f"{row.series}-{row.year}-{row.serial:06d}"
    about = {"Number": number, "Date": f"{row.dated:%d %B %Y}"}
    if row.order_id is not None:
        about["Order"] = row.order_id
    if row.corrects is not None:
        about["Invoice"] = row.corrects
    if returned is not None:
        about["Return"] = returned.id
    if row.reason:
        about["Reason"] = row.reason
    seller = request.node.settings.seller if row.seller is None else row.seller
    return Paper(
        title=TITLES[row.kind],
        number=number,
        seller=[part.strip() for part in seller.split("|")],
        customer=buyer(personal),
        about=about,
        lines=[printed(line) for line in lines_of(row, order, returned)],
        totals=totals_of(row, order),
    )


async def readable(request: Request, row: IssuedRow) -> IssuedRow:
    """The document with its texts as they were written."""
    document = {
        "reason": row.reason,
        "lines": msgspec.json.decode(row.lines) if row.lines else None,
    }
    opened = await request.node.vault.open_texts(sealed_in(document))
    texts: Any = with_texts(document, opened)
    for line in texts["lines"] or ():
        line["description"] = line["description"] or "-"
    lines = msgspec.json.encode(texts["lines"]).decode() if row.lines else None
    return msgspec.structs.replace(row, reason=texts["reason"], lines=lines)


async def customer_of(request: Request, row: IssuedRow) -> Mapping[str, str | None] | None:
    """Whose document it is, as the law keeps them.

    Of an erased customer only who may read retained papers sees name and address.
    """
    vault, credential = request.node.vault, request.credential
    personal = (await vault.open([row.customer])).get(row.customer)
    if personal is None and credential is not None and credential.may("papers:retained"):
        return (await vault.open_retained([row.customer])).get(row.customer)
    return personal


def buyer(personal: Mapping[str, str | None] | None) -> list[str]:
    """Name and address, a line each: those of the bill where they are told apart."""
    if personal is None:
        return [ERASED]
    prefix = "billing_" if personal.get("billing_country") else ""
    names = ("name", "line1", "line2", "postal_code", "city", "region", "country")
    found = {name: personal.get(prefix + name) for name in names}
    place = " ".join(v for v in (found.pop("postal_code"), found.pop("city")) if v)
    lines = [found["name"], found["line1"], found["line2"], place, found["region"]]
    lines += [found["country"], personal.get("email") or personal.get("customer_ref")]
    return [line for line in lines if line]


def printed(line: DocumentLineView) -> PaperLine:
    """A line on paper: what is no article has neither number nor quantity."""
    return PaperLine(
        line.description or "-",
        line.sku or "",
        str(line.quantity) if line.sku else "",
        line.unit_price.amount if line.unit_price else "",
        line.amount.amount,
    )


def lines_of(
    row: IssuedRow, order: Order | None, returned: ReturnView | None
) -> list[DocumentLineView]:
    """What it is for."""
    if row.lines:
        return issued_view(row).lines
    if returned is not None:
        return lines_that_came(order, returned)
    if row.kind == "invoice" and order is not None:
        return lines_that_went(order, row.currency)
    return [charge(f"Refund: {row.reason or 'goodwill'}", row.total_minor, row.currency)]


def charge(description: str, amount_minor: int, currency: str) -> DocumentLineView:
    """A line that is no article."""
    return DocumentLineView(description, None, 1, wire(amount_minor, currency))


def lines_that_went(order: Order, currency: str) -> list[DocumentLineView]:
    """What was bought, and its fees."""
    row, bought = order
    lines = [
        DocumentLineView(
            line.title,
            line.sku,
            line.quantity,
            wire(line.total_minor, currency),
            unit_price=wire_e4(line.unit_price_e4, currency),
        )
        for line in bought
    ]
    return lines + [
        charge(fee.code.replace("_", " ").capitalize(), fee.amount_minor, currency)
        for fee in decode_fees(row.fees)
    ]


def lines_that_came(order: Order | None, returned: ReturnView) -> list[DocumentLineView]:
    """What came back, and the fees that are given back with it."""
    titles = {line.number: line.title for line in order[1]} if order else {}
    lines = [
        DocumentLineView(
            titles.get(line.line, line.sku), line.sku, line.restock + line.write_off, line.refund
        )
        for line in returned.lines
        if line.restock or line.write_off
    ]
    if returned.fees_refund != wire(0, returned.fees_refund.currency):
        lines.append(DocumentLineView("Fees", None, 1, returned.fees_refund))
    return lines


def more_of(row: IssuedRow, order: Order | None) -> list[DocumentLineView]:
    """What an invoice adds below its lines: carriage, and what was taken off."""
    if row.kind != "invoice" or order is None:
        return []
    found = {"Shipping": order[0].shipping_minor, "Discount": -order[0].discount_minor}
    return [charge(name, minor, row.currency) for name, minor in found.items() if minor]


def totals_of(row: IssuedRow, order: Order | None) -> dict[str, str]:
    """What it adds up to. Prices are gross; the tax they contain is told beside them."""
    currency = row.currency
    totals = {line.description or "-": line.amount.amount for line in more_of(row, order)}
    totals["Total"] = f"{wire(row.total_minor, currency).amount} {currency}"
    if row.tax_rate_bp:
        rate = f"{row.tax_rate_bp / 100:g} %"
        totals[f"of it tax at {rate}"] = wire(row.tax_minor, currency).amount
        totals["Net"] = wire(row.total_minor - row.tax_minor, currency).amount
    return totals
