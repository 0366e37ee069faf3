"""HTTP: stock in and out, in files."""

from collections.abc import AsyncIterator
from typing import Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct

from tradewind.contexts.inventory.commands import (
    BeginStockImport,
    FinishStockImport,
    TakeStockLines,
)
from tradewind.contexts.inventory.queries import transfers
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
from tradewind.kernel.sheets import write_rows
from tradewind.platform.gateway.importing import MEDIA_TYPES, Kind, receive_import
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import STREAMED_BODY_BYTES_MAX, Route, Scope, Whose

READ = Scope("inventory:read")
WRITE = Scope("inventory:write")
IMPORT_ERRORS_SHOWN_MAX = 1_000
STOCK = Kind(
    begin=BeginStockImport,
    chunk=TakeStockLines,
    finish=FinishStockImport,
    copies=("catalog.availability",),
)
# A page of an export is 50 kB, and one short read.
PAGE_ROWS = 1_000
COLUMNS = ("sku", "location", "on_hand")
EXAMPLES = {
    "application/x-ndjson": '{"sku":"MUG-BLUE","location":"main","on_hand":40}\n',
    "text/csv": "sku,location,on_hand\r\nMUG-BLUE,main,40\r\n",
}
encode = msgspec.json.Encoder().encode


async def post_import(request: Request) -> Answer:
    """Import counts: NDJSON, `{"sku": "MUG", "on_hand": 12, "location": "main"}` a line, or CSV
    with the columns `sku`, `on_hand` and, where it is not `main`, `location`; `mapping` says what
    columns of other names hold.

    Committed every 500 lines or fewer; a line that is wrong costs no other. A count that is what
    is known already changes nothing. `dry_run`, `resume` and `id` as for products.
    """
    import_id = await receive_import(request, STOCK)
    report = await read_import(request, import_id)
    place = f"/v1/imports/stock/{quote(import_id, safe='')}"
    return Answer(status=202, body=report, headers={"Location": place})


async def get_import(request: Request) -> Answer:
    """An import of counts: how far it is, and the first 1,000 lines that were not taken."""
    return Answer(body=await read_import(request, request.params["id"]))


async def read_import(request: Request, import_id: str) -> Import:
    """The report of an import as it is sent."""
    async with request.reading() as snapshot:
        found = await transfers.import_report(
            snapshot, import_id, errors_max=IMPORT_ERRORS_SHOWN_MAX
        )
    if found is None:
        raise ImportNotFound()
    return import_of(*found, kind="stock")


class StockExportQuery(Struct, frozen=True, kw_only=True):
    """How to write the counts."""

    format: Literal["ndjson", "csv"] = "ndjson"


async def export_stock(request: Request) -> Answer:
    """All units on hand, in the order of skus and locations, as an import takes them.

    Read in pages: a count that changes meanwhile may be in it or not. What is promised to orders
    is not part of it.
    """
    query: StockExportQuery = request.query
    if query.format == "csv":
        return Answer(body=as_csv(request), media_type="text/csv; charset=utf-8")
    return Answer(body=as_ndjson(request), media_type="application/x-ndjson")


async def pages(request: Request) -> AsyncIterator[list[tuple[str, str, int]]]:
    """The counts, a page at a time."""
    place = ("", "")
    while True:
        async with request.reading() as snapshot:
            rows = await transfers.shelves_after(snapshot, place, count_max=PAGE_ROWS)
        if rows:
            yield [(row.sku, row.location, row.on_hand) for row in rows]
        if len(rows) < PAGE_ROWS:
            return
        place = (rows[-1].sku_key, rows[-1].location)


async def as_csv(request: Request) -> AsyncIterator[bytes]:
    """The counts as a sheet."""
    yield write_rows([COLUMNS])
    async for page in pages(request):
        yield write_rows(page)


async def as_ndjson(request: Request) -> AsyncIterator[bytes]:
    """The counts as lines."""
    async for page in pages(request):
        yield b"".join(encode(dict(zip(COLUMNS, row, strict=True))) + b"\n" for row in page)


ROUTES = (
    Route(
        method="POST",
        path="/v1/imports/stock",
        handler=post_import,
        summary="Import counts of stock.",
        permission=WRITE,
        whose=Whose.SHOP,
        query=ImportQuery,
        answers={202: Import},
        problems=(ImportNotFound, ImportOutOfStep, ImportDiffers, InvalidSheet),
        streamed=True,
        media_types=MEDIA_TYPES,
        examples=EXAMPLES,
        body_bytes_max=STREAMED_BODY_BYTES_MAX,
        tag="stock",
    ),
    Route(
        method="GET",
        path="/v1/imports/stock/{id}",
        handler=get_import,
        summary="Read an import of counts and its report.",
        permission=WRITE,
        whose=Whose.SHOP,
        answers={200: Import},
        problems=(ImportNotFound,),
        tag="stock",
    ),
    Route(
        method="GET",
        path="/v1/exports/stock",
        handler=export_stock,
        summary="Export stock.",
        permission=READ,
        whose=Whose.SHOP,
        query=StockExportQuery,
        answers={200: bytes},
        examples=EXAMPLES,
        tag="stock",
    ),
)
