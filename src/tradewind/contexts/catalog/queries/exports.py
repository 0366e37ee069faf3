"""Exports: products as an import takes them, in the order of their external ids."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import msgspec
from msgspec import Struct

from tradewind.contexts.catalog.rules import sheet_rows as rows
from tradewind.contexts.catalog.rules.products import restore
from tradewind.contexts.catalog.tables import ProductRow, VariantRow
from tradewind.kernel.sheets import write_rows
from tradewind.platform.database.transaction import Snapshot

Reading = Callable[[], AbstractAsyncContextManager[Snapshot]]
# A page is one short read: some 2 ms, and 500 kB at most.
PAGE_ROWS = 200
encode = msgspec.json.Encoder().encode
decode_variants = msgspec.json.Decoder(list[VariantRow]).decode

# Served by products_external_id, in its order, and by variants_by_product. One statement, so a
# product and its variants are of one moment.
PAGE = """
    SELECT p.product_id, p.external_id, p.title, p.description, p.category, p.attributes, p.version,
           p.archived, p.mark, p.options, p.media,
           (SELECT json_agg(json_build_object(
                     'sku_key', v.sku_key, 'product_id', v.product_id, 'sku', v.sku,
                     'title', v.title, 'prices', v.prices::text,
                     'attributes', v.attributes::text, 'archived', v.archived,
                     'position', v.position, 'availability', 'out_of_stock',
                     'options', v.options))
              FROM catalog.variants v WHERE v.product_id = p.product_id)
      FROM catalog.products p
     WHERE p.external_id > $1 ORDER BY p.external_id LIMIT $2
"""


class ExportRow(ProductRow, frozen=True):
    """A product with its variants as JSON."""

    variants: str = "[]"


class Exported(Struct, frozen=True):
    """A page of an export, ready to be sent."""

    text: bytes
    last: str
    count: int


async def page(snapshot: Snapshot, after: str, *, as_sheet: bool) -> Exported:
    """The products behind an external id."""
    found = await snapshot.fetch(PAGE, after, PAGE_ROWS, into=ExportRow)
    pieces: list[bytes] = []
    for row in found:
        product = restore(row, decode_variants(row.variants))
        if as_sheet:
            pieces.append(write_rows(rows.sheet_rows(product)))
        else:
            pieces.append(encode(rows.exported(product)) + b"\n")
    last = found[-1].external_id if found else ""
    return Exported(b"".join(pieces), last, len(found))


async def products(reading: Reading, *, as_sheet: bool) -> AsyncIterator[bytes]:
    """All products, archived ones too, a page at a time; no connection is held in between."""
    after = ""
    if as_sheet:
        yield write_rows([rows.SHEET_COLUMNS])
    while True:
        async with reading() as snapshot:
            found = await page(snapshot, after, as_sheet=as_sheet)
        if found.text:
            yield found.text
        if found.count < PAGE_ROWS:
            return
        after = found.last
