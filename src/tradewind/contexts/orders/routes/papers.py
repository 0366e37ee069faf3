"""What stands on an invoice or a credit note: the rows of this context as a `Paper`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tradewind.contexts.orders import queries
from tradewind.contexts.orders.tables import (
    IssuedRow,
    LineRow,
    OrderRow,
    ReturnView,
    decode_credited,
    decode_fees,
)
from tradewind.kernel.money import format_e4, format_minor
from tradewind.platform.documents.paper import Paper, PaperLine
from tradewind.platform.gateway.request import Request
from tradewind.platform.vault.texts import sealed_in, with_texts

TITLES = {"invoice": "Invoice", "credit_note": "Credit note"}
ERASED = "The personal data of this customer was erased."


async def paper_of(request: Request, row: IssuedRow) -> Paper:
    """A document as it is printed. What it says of the customer comes from the vault now."""
    order: tuple[OrderRow, list[LineRow]] | None = None
    returned: ReturnView | None = None
    async with request.reading() as snapshot:
        if row.order_id is not None:
            order = await queries.order(snapshot, row.order_id)
        if row.return_id is not None:
            returned = await queries.one_return(snapshot, row.return_id)
    known = (await request.node.vault.open([row.customer])).get(row.customer)
    row, personal = await opened(request, row, known)
    number = f"{row.series}-{row.year}-{row.serial:06d}"
    about = {"Number": number, "Date": f"{row.dated:%d %B %Y}"}
    if row.order_id is not None:
        about["Order"] = row.order_id
    if returned is not None:
        about["Return"] = returned.id
    if row.reason:
        about["Reason"] = row.reason
    return Paper(
        title=TITLES[row.kind],
        number=number,
        seller=[part.strip() for part in request.node.settings.seller.split("|")],
        customer=buyer(personal),
        about=about,
        lines=lines_of(row, order, returned),
        totals=totals_of(row, order),
    )


async def opened(
    request: Request, row: IssuedRow, personal: Mapping[str, str] | None
) -> tuple[IssuedRow, Mapping[str, str] | None]:
    """The document with its texts as they were written, and the customer as the law keeps them.

    Of an erased customer only who may read retained papers sees name and address.
    """
    vault, credential = request.node.vault, request.credential
    if personal is None and credential is not None and credential.may("papers:retained"):
        personal = (await vault.open_retained([row.customer])).get(row.customer)
    document = {
        "reason": row.reason,
        "lines": msgspec.json.decode(row.lines) if row.lines else None,
    }
    texts: Any = with_texts(document, await vault.open_texts(sealed_in(document)))
    for line in texts["lines"] or ():
        line["description"] = line["description"] or "-"
    lines = msgspec.json.encode(texts["lines"]).decode() if row.lines else None
    return msgspec.structs.replace(row, reason=texts["reason"], lines=lines), personal


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


def lines_of(
    row: IssuedRow, order: tuple[OrderRow, list[LineRow]] | None, returned: ReturnView | None
) -> list[PaperLine]:
    """What it is for."""
    currency = row.currency
    if row.lines:
        return [
            PaperLine(
                line.description,
                line.sku or "",
                str(line.quantity),
                "",
                format_minor(line.amount_minor, currency),
            )
            for line in decode_credited(row.lines)
        ]
    titles = {line.number: line.title for line in order[1]} if order else {}
    if returned is not None:
        shown = [
            PaperLine(
                titles.get(line.line, line.sku),
                line.sku,
                str(line.restock + line.write_off),
                "",
                line.refund.amount,
            )
            for line in returned.lines
            if line.restock or line.write_off
        ]
        if returned.fees_refund.amount != format_minor(0, currency):
            shown.append(PaperLine("Fees", "", "", "", returned.fees_refund.amount))
        return shown
    if row.kind == "invoice" and order is not None:
        lines = [
            PaperLine(
                line.title,
                line.sku,
                str(line.quantity),
                format_e4(line.unit_price_e4, currency),
                format_minor(line.total_minor, currency),
            )
            for line in order[1]
        ]
        fees = decode_fees(order[0].fees)
        lines += [
            PaperLine(fee.code.replace("_", " ").capitalize(), "", "", "", amount)
            for fee in fees
            for amount in [format_minor(fee.amount_minor, currency)]
        ]
        return lines
    amount = format_minor(row.total_minor, currency)
    return [PaperLine(f"Refund: {row.reason or 'goodwill'}", "", "", "", amount)]


def totals_of(row: IssuedRow, order: tuple[OrderRow, list[LineRow]] | None) -> dict[str, str]:
    """What it adds up to. Prices are gross; the tax they contain is told beside them."""
    currency = row.currency
    totals: dict[str, str] = {}
    if row.kind == "invoice" and order is not None:
        for name, value in (
            ("Shipping", order[0].shipping_minor),
            ("Discount", -order[0].discount_minor),
        ):
            if value:
                totals[name] = format_minor(value, currency)
    totals["Total"] = f"{format_minor(row.total_minor, currency)} {currency}"
    if row.tax_rate_bp:
        rate = f"{row.tax_rate_bp / 100:g} %"
        net = format_minor(row.total_minor - row.tax_minor, currency)
        totals[f"of it tax at {rate}"] = format_minor(row.tax_minor, currency)
        totals["Net"] = net
    return totals
