"""Invoices and credit notes: issued, listed, shown as data, as a page, as a PDF."""

import asyncio
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from tradewind.contexts.orders import problems, queries
from tradewind.contexts.orders.commands import IssueCreditNote
from tradewind.contexts.orders.events import CreditedLine
from tradewind.contexts.orders.queries import account_of
from tradewind.contexts.orders.routes.answering import read
from tradewind.contexts.orders.routes.bodies import (
    Country,
    Currency,
    Email,
    Identifier,
    Text100,
    Text200,
    minor,
)
from tradewind.contexts.orders.routes.papers import document_of, paper_of
from tradewind.contexts.orders.routes.returns import MAIN, Code, Reason, Units, historic
from tradewind.contexts.orders.tables import DocumentView, IssuedRow, issued_view
from tradewind.kernel.answers import Answer, Settled
from tradewind.kernel.ids import new_id
from tradewind.kernel.money import AMOUNT_MINOR_MAX, Amount
from tradewind.kernel.problems import FieldError
from tradewind.platform.documents import html, pdf
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Keyed, OrderHolder, Route, Scope, Whose

HTML = "text/html; charset=utf-8"
PDF = "application/pdf"
# The page is one file with its style in it: nothing else is loaded, run, or may frame it.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


class CreditedBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What is credited: `amount` is of the whole line. `restock` units go back on the shelf."""

    description: Text200
    amount: Amount
    quantity: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    sku: Text100 | None = None
    restock: Units = 0


class CreditNoteBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What no order here answers for: a sale elsewhere, a correction, goodwill."""

    currency: Currency
    lines: Annotated[list[CreditedBody], Meta(min_length=1, max_length=1_000)]
    reason: Reason
    email: Email | None = None
    customer_ref: Text100 | None = None
    country: Country | None = None
    external_id: Identifier | None = None
    location: Code = MAIN
    at: datetime | None = None  # of imported history


async def post_credit_note(request: Request) -> Answer | Settled:
    """Credit a customer without an order. It is owed until somebody pays it out: see the ledger."""
    body: CreditNoteBody = request.body
    assert request.credential is not None, "the route needs a scope"
    at = historic(request, body.at)
    lines = credited(body)
    kept = await request.node.vault.keep(
        {"email": body.email, "customer_ref": body.customer_ref, "country": body.country}
    )
    lines = tuple(
        [
            msgspec.structs.replace(
                line, description=await request.sealed(line.description, person=kept.person)
            )
            for line in lines
        ]
    )
    outcome: Answer | Settled = await request.submit(
        IssueCreditNote(
            credit_note_id=new_id("crn"),
            currency=body.currency,
            customer=kept.person,
            country=body.country,
            reason=await request.sealed(body.reason, person=kept.person),
            lines=lines,
            credential=request.credential.id,
            external_id=body.external_id,
            location=body.location,
            at=at,
            idempotency=request.idempotency,
        )
    )
    return outcome


def credited(body: CreditNoteBody) -> tuple[CreditedLine, ...]:
    """The lines in minor units. Raises `InvalidCreditNote`."""
    errors = [
        FieldError(f"/lines/{index}/sku", "is needed where units go back on the shelf")
        for index, line in enumerate(body.lines)
        if line.restock and line.sku is None
    ]
    if body.email is None and body.customer_ref is None:
        errors.append(FieldError("/email", "is required, or customer_ref"))
    lines = tuple(
        CreditedLine(
            description=line.description,
            sku=line.sku,
            quantity=line.quantity,
            amount_minor=minor(line.amount, f"/lines/{index}/amount", body.currency),
            restock=line.restock,
        )
        for index, line in enumerate(body.lines)
    )
    total_minor = sum(line.amount_minor for line in lines)
    if not 0 < total_minor <= AMOUNT_MINOR_MAX:
        errors.append(FieldError("/lines", "the total must be more than zero, and an amount"))
    if errors:
        raise problems.InvalidCreditNote("Correct these fields.", errors=tuple(errors))
    return lines


class DocumentsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which documents."""

    kind: Literal["invoice", "credit_note"] = "invoice"
    year: Annotated[int, Meta(ge=1900, le=9999)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: str | None = None


class DocumentsPage(Struct, frozen=True):
    """Documents."""

    items: list[DocumentView]
    next: str | None = None


async def get_documents(request: Request) -> Answer:
    """Invoices or credit notes, the newest number first."""
    query: DocumentsQuery = request.query
    settings = request.node.settings
    series = settings.invoice_series if query.kind == "invoice" else settings.credit_note_series
    before = (query.year + 1 if query.year else 10_000, 0)
    if query.cursor is not None:
        before = decode_cursor(query.cursor, int, int)
    async with request.reading() as snapshot:
        rows = await queries.documents(
            snapshot,
            series=series,
            before=before,
            year_min=query.year or 0,
            count_max=query.limit,
        )
    cursor = encode_cursor(rows[-1].year, rows[-1].serial) if len(rows) == query.limit else None
    items = [issued_view(row) for row in rows]
    return Answer(body=DocumentsPage(items=items, next=cursor))


async def get_documents_of_order(request: Request) -> Answer:
    """The invoice of an order and its credit notes."""
    order_id = request.params["order_id"]
    await read(request, order_id)
    async with request.reading() as snapshot:
        rows = await queries.documents_of(snapshot, order_id)
    return Answer(body=DocumentsPage(items=[issued_view(row) for row in rows]))


async def find(request: Request) -> IssuedRow:
    """The document in the address; under an order, of that order. Raises `DocumentNotFound`."""
    name = request.params["number"]
    found = None
    parts = name.split("-")
    if len(parts) == 3 and all(p.isascii() and p.isdigit() and len(p) <= 9 for p in parts[1:]):
        async with request.reading() as snapshot:
            found = await queries.document(snapshot, parts[0], int(parts[1]), int(parts[2]))
    order_id = request.params.get("order_id")
    if found is None or (order_id is not None and found.order_id != order_id):
        raise problems.DocumentNotFound(f"There is no document {name[:64]!r}.")
    return found


async def get_document(request: Request) -> Answer:
    """A document as data."""
    return Answer(body=await document_of(request, await find(request)))


async def get_document_html(request: Request) -> Answer:
    """A document as a page that prints well."""
    paper = await paper_of(request, await find(request))
    headers = {"content-security-policy": POLICY}
    return Answer(body=html.render(paper), media_type=HTML, headers=headers)


async def get_document_pdf(request: Request) -> Answer:
    """A document as a PDF."""
    row = await find(request)
    paper = await paper_of(request, row)
    content = await asyncio.to_thread(pdf.render, paper)
    name = f'inline; filename="{paper.number}.pdf"'
    return Answer(body=content, media_type=PDF, headers={"content-disposition": name})


def shown_at(path: str, permission: Scope | OrderHolder) -> tuple[Route, ...]:
    """The three faces of a document under an address."""
    return tuple(
        Route(
            method="GET",
            path=path + suffix,
            handler=handler,
            summary=summary,
            permission=permission,
            whose=Whose.SHOP if isinstance(permission, Scope) else Whose.HOLDER,
            personal=handler is not get_document,  # a paper names the customer
            needs_reason=handler is not get_document,
            answers={200: kind},
            answer_types=answer_types,
            problems=(problems.DocumentNotFound,),
        )
        for suffix, handler, summary, kind, answer_types in (
            ("", get_document, "Read a document.", DocumentView, ()),
            ("/html", get_document_html, "Read a document as a page.", bytes, (HTML,)),
            ("/pdf", get_document_pdf, "Read a document as a PDF.", bytes, (PDF,)),
        )
    )


ROUTES = (
    Route(
        method="POST",
        path="/v1/credit-notes",
        handler=post_credit_note,
        summary="Credit a customer without an order.",
        permission=Scope("orders:write"),
        whose=Whose.SHOP,
        needs_reason=True,
        body=CreditNoteBody,
        answers={201: DocumentView},
        problems=(
            problems.InvalidOrder,
            problems.InvalidCreditNote,
            problems.ExternalIdTaken,
            problems.FieldNotAllowed,
        ),
        keyed=Keyed.REQUIRED,
    ),
    Route(
        method="GET",
        path="/v1/documents",
        handler=get_documents,
        summary="List invoices or credit notes.",
        permission=Scope("orders:read"),
        whose=Whose.SHOP,
        query=DocumentsQuery,
        answers={200: DocumentsPage},
    ),
    *shown_at("/v1/documents/{number}", Scope("orders:read")),
    Route(
        method="GET",
        path="/v1/orders/{order_id}/documents",
        handler=get_documents_of_order,
        summary="List the documents of an order.",
        permission=OrderHolder("order_id", "orders:read", account_of),
        whose=Whose.HOLDER,
        answers={200: DocumentsPage},
        problems=(problems.OrderNotFound,),
    ),
    *shown_at(
        "/v1/orders/{order_id}/documents/{number}",
        OrderHolder("order_id", "orders:read", account_of),
    ),
)
