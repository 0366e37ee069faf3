"""HTTP: whole shops in and out."""

from typing import Literal
from urllib.parse import quote

from msgspec import Struct

from tradewind.contexts.catalog import queries
from tradewind.contexts.catalog.commands import BeginImport, FinishImport, ImportChunk
from tradewind.kernel.answers import Answer
from tradewind.kernel.imports import (
    Import,
    ImportDiffers,
    ImportNotFound,
    ImportOutOfStep,
    ImportQuery,
    InvalidSheet,
    import_of,
)
from tradewind.platform.gateway.importing import MEDIA_TYPES, Kind, receive_import
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import STREAMED_BODY_BYTES_MAX, Route, Scope, Whose

WRITE = Scope("catalog:write")
IMPORT_ERRORS_SHOWN_MAX = 1_000
EXAMPLES = {
    "application/x-ndjson": (
        '{"external_id": "mug", "title": "Mug", "category": "Kitchen/Mugs", "variants": '
        '[{"sku": "MUG-BLUE", "price": {"amount": "12.75", "currency": "GBP"}, "on_hand": 40}]}\n'
    ),
    "text/csv": (
        "external_id,title,category,sku,price,currency,on_hand\r\n"
        "mug,Mug,Kitchen/Mugs,MUG-BLUE,12.75,GBP,40\r\n"
        "mug,,,MUG-RED,11.50,GBP,7\r\n"
    ),
}
# All who follow a product: the import is never more than one commit ahead of them.
PRODUCTS = Kind(
    begin=BeginImport,
    chunk=ImportChunk,
    finish=FinishImport,
    copies=("orders.offers", "inventory.stock", "catalog.availability"),
)


async def post_import(request: Request) -> Answer:
    """Import products: NDJSON, one product a line, as PUT takes it with its `external_id` in it;
    or CSV, one variant a line, with the names of the columns in the first.

    Columns are called like their fields (`external_id, title, description, category, attributes,
    archived, sku, variant_title, price, currency, prices, variant_attributes, on_hand,
    variant_archived`; `attributes.colour` is one attribute), or `mapping` says what they hold:
    `{"sku": "Article", "price": {"column": "Price", "decimal": ","}}`, or `{"value": "EUR"}`.
    A row changes what it says and nothing else; an empty cell says nothing.

    The body is read as it comes, up to 1 GiB, and committed every 500 lines or fewer; a line that
    is wrong is reported with its number and costs no other. The import that is answered shows what
    happened; while the body is still on its way its address shows how far it is. Importing a file
    again changes nothing. With `dry_run=true` nothing is changed at all, and the report says what
    would be.

    If the connection broke, send the whole file again with `?resume=` and the import's id: lines
    that were taken are skipped, and another file is refused. Who chooses the `id` beforehand can
    do so without having seen an answer.
    """
    import_id = await receive_import(request, PRODUCTS)
    report = await read_import(request, import_id)
    place = f"/v1/imports/{quote(import_id, safe='')}"
    return Answer(status=202, body=report, headers={"Location": place})


async def get_import(request: Request) -> Answer:
    """An import: how far it is, and the first 1,000 lines that were not taken, each with why."""
    return Answer(body=await read_import(request, request.params["id"]))


async def read_import(request: Request, import_id: str) -> Import:
    """The report of an import as it is sent."""
    async with request.reading() as snapshot:
        found = await queries.import_report(snapshot, import_id, errors_max=IMPORT_ERRORS_SHOWN_MAX)
    if found is None:
        raise ImportNotFound()
    return import_of(*found, kind="products")


class ExportQuery(Struct, frozen=True, kw_only=True):
    """How to write what is exported."""

    format: Literal["ndjson", "csv"] = "ndjson"


async def export_products(request: Request) -> Answer:
    """All products, archived ones too, in the order of their external ids, as an import takes them:
    exported, imported into an empty shop and exported again they are the same to the byte.

    Read in pages: a product that changes meanwhile is in it as it was or as it is. Stock has an
    export of its own. In a sheet a cell that begins like a formula stands behind an apostrophe,
    which an import takes away.
    """
    query: ExportQuery = request.query
    as_sheet = query.format == "csv"
    kind = "text/csv; charset=utf-8" if as_sheet else "application/x-ndjson"
    pages = queries.exported_products(request.reading, as_sheet=as_sheet)
    return Answer(body=pages, media_type=kind)


ROUTES = (
    Route(
        method="GET",
        path="/v1/exports/products",
        handler=export_products,
        summary="Export products.",
        permission=WRITE,
        whose=Whose.SHOP,
        query=ExportQuery,
        answers={200: bytes},
        examples=EXAMPLES,
        tag="Catalog",
    ),
    Route(
        method="POST",
        path="/v1/imports/products",
        handler=post_import,
        summary="Import products.",
        permission=WRITE,
        whose=Whose.SHOP,
        query=ImportQuery,
        answers={202: Import},
        problems=(ImportNotFound, ImportOutOfStep, ImportDiffers, InvalidSheet),
        streamed=True,
        media_types=MEDIA_TYPES,
        examples=EXAMPLES,
        body_bytes_max=STREAMED_BODY_BYTES_MAX,
        tag="Catalog",
    ),
    Route(
        method="GET",
        path="/v1/imports/{id}",
        handler=get_import,
        summary="Read an import and its report.",
        permission=WRITE,
        whose=Whose.SHOP,
        answers={200: Import},
        problems=(ImportNotFound,),
        tag="Catalog",
    ),
)
