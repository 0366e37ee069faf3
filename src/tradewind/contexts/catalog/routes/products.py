"""HTTP: the catalog for shoppers, upserts for partners."""

import hashlib
import re

from msgspec import Raw

from tradewind.contexts.catalog import queries
from tradewind.contexts.catalog.commands import (
    ArchiveProduct,
    Precondition,
    ProductBody,
    UpsertProduct,
)
from tradewind.contexts.catalog.events import category_path
from tradewind.contexts.catalog.problems import (
    GroupNotYours,
    InvalidProduct,
    ProductNotFound,
    SkuTaken,
    VersionMismatch,
)
from tradewind.contexts.catalog.queries import model
from tradewind.contexts.catalog.tables import (
    GroupQuery,
    Page,
    PageOfRaw,
    Product,
    ProductList,
    ProductQuery,
)
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import is_id, new_id
from tradewind.platform.cache.memory import Depends
from tradewind.platform.gateway.etags import if_match, strong
from tradewind.platform.gateway.pages import broken_cursor, decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Anyone, Route, Scope, Whose

# Whose copies an answer to a change waits for (semantics: read your own writes).
COPIES = ("orders.offers", "inventory.stock")
COPIES_TIMEOUT_S = 2.0
# May be kept, must be asked about: a version costs one round trip and no body.
REVALIDATE = "public, no-cache"
WRITE = Scope("catalog:write")
VERSION = re.compile(r"[1-9][0-9]{0,17}")
NO_VERSION = -1  # what no product has


# Shoppers


async def get_products(request: Request) -> Answer:
    """The products on the shelf, newest first; of a category and all below it, with all the words.

    Archived products and variants are left out.
    """
    query: ProductQuery = request.query
    before = product_cursor(query.cursor) if query.cursor else None
    words, category = queries.words_of(query.q), category_path(query.category)
    async with request.reading() as snapshot:
        rows = await queries.list_products(
            snapshot, words, category, before=before, count_max=query.limit + 1
        )
        group = group_of(request, query.group)
        shown = {row.product_id: row.document for row in rows[: query.limit]}
        if group:
            shown = await model.for_group(snapshot, shown, group)
    page = rows[: query.limit]
    more = encode_cursor(page[-1].product_id) if len(rows) > query.limit else None
    if group:
        return Answer(
            body=PageOfRaw(items=[Raw(d.encode()) for d in shown.values()], next=more),
            headers=headers_for(group),
        )
    # Whatever comes, goes or changes between the ends of the page; the row behind it, too.
    last = rows[-1].product_id if len(rows) > query.limit else ""
    request.depends = Depends(span=(last, before or queries.BEHIND_ALL_IDS))
    return Answer(body=PageOfRaw(items=[Raw(row.document.encode()) for row in page], next=more))


async def get_product(request: Request) -> Answer:
    """One product by its id. With `If-None-Match` the answer is 304 while nothing changed.

    The ETag is made of the catalog version and the availability of the variants.
    """
    async with request.reading() as snapshot:
        page = await queries.product(snapshot, request.params["id"])
    return await answer_with(request, page)


async def get_product_of_sku(request: Request) -> Answer:
    """The product that has this sku, with all its variants. Letter case does not matter."""
    async with request.reading() as snapshot:
        page = await queries.product_of_sku(snapshot, request.params["sku"])
    return await answer_with(request, page)


async def answer_with(request: Request, page: Page | None) -> Answer:
    """A product with its ETag; the gateway says 304 where the caller has it already."""
    query: GroupQuery = request.query
    group = group_of(request, query.group)
    if page is None:
        raise ProductNotFound()
    if group:
        async with request.reading() as snapshot:
            shown = await model.for_group(snapshot, {page.product_id: page.document}, group)
        body = shown[page.product_id].encode()
        digest = hashlib.blake2b(body, digest_size=6).hexdigest()
        tag = strong(page.version, digest)
        return Answer(body=body, headers={"etag": tag, **headers_for(group)})
    request.depends = Depends(keys=frozenset((page.product_id,)))
    tag = strong(page.version, page.mark)
    return Answer(body=page.document.encode(), headers={"etag": tag})


def group_of(request: Request, wanted: str | None) -> str:
    """Whose prices the caller is shown. Raises `GroupNotYours`."""
    credential = request.credential
    own = credential.customer_group if credential is not None else ""
    if wanted is None or wanted == own:
        return own
    if wanted and (credential is None or not credential.may(WRITE.name)):
        raise GroupNotYours(f"Ask with a key of the group {wanted!r}, or without ?group=.")
    return wanted


def headers_for(group: str) -> dict[str, str]:
    """What keeps prices of a group out of caches that others share."""
    return {"cache-control": "private, no-cache"} if group else {}


def product_cursor(cursor: str) -> str:
    """The product that a page ended with. A cursor of another list is refused, not tried."""
    (product_id,) = decode_cursor(cursor, str)
    if not is_id(product_id, "prd"):
        raise broken_cursor()
    return str(product_id)


# Partners


async def put_product(request: Request) -> Answer:
    """Create or replace the product with this external id; what the body leaves out is taken away.

    A variant that is left out is archived: its sku stays with the product for ever (409 `sku_taken`
    for any other). `on_hand` sets the stock at the default location. `If-Match` with an ETag that
    was read refuses a change upon a change (412); its catalog version counts, its availability
    does not. An unchanged product keeps its version. The answer is sent once orders take the new
    prices; where that takes more than 2 s it is 202 with a `Location`.
    """
    answer: Answer = await request.submit(
        UpsertProduct(
            product_id=new_id("prd"),
            external_id=request.params["id"],
            body=request.body,
            precondition=precondition_of(request),
            by=who(request),
        )
    )
    return await once_copied(request, answer)


async def delete_product(request: Request) -> Answer:
    """Take the product with this external id off the shelf; a later PUT brings it back.

    It is archived, not erased: orders still point to its skus. `If-Match` works as for PUT.
    """
    answer: Answer = await request.submit(
        ArchiveProduct(
            external_id=request.params["id"],
            precondition=precondition_of(request),
            by=who(request),
        )
    )
    return await once_copied(request, answer)


def who(request: Request) -> str:
    """Whose credential this is, for the history."""
    return request.credential.id if request.credential else ""


async def once_copied(request: Request, answer: Answer) -> Answer:
    """The answer once all who answer shoppers, orders and inventory know; the same as 202 where
    the latter take too long.
    """
    await request.known_to_all()
    if await request.node.caught_up(COPIES, timeout_s=COPIES_TIMEOUT_S):
        return answer
    return Answer(status=202, body=answer.body, headers=answer.headers)


def precondition_of(request: Request) -> Precondition:
    """If-Match and If-None-Match as what must be true of the product."""
    tags = if_match(request)
    if tags is not None:
        # A tag is version and availability mark; the version alone counts here.
        versions = [tag.partition("-")[0] for tag in tags]
        known = tuple(int(v) for v in versions if VERSION.fullmatch(v)) or (NO_VERSION,)
        return Precondition(versions=known, must_exist=True)
    if "if-match" in request.headers:
        return Precondition(must_exist=True)
    if request.headers.get("if-none-match", "").strip() == "*":
        return Precondition(versions=(0,))
    return Precondition()


ROUTES = (
    Route(
        method="GET",
        path="/v1/products",
        handler=get_products,
        summary="List products.",
        permission=Anyone(),
        whose=Whose.PUBLIC,
        query=ProductQuery,
        answers={200: ProductList, 304: None},
        cache=REVALIDATE,
        tag="Catalog",
    ),
    Route(
        method="GET",
        path="/v1/products/{id}",
        handler=get_product,
        summary="Read a product.",
        permission=Anyone(),
        whose=Whose.PUBLIC,
        query=GroupQuery,
        answers={200: Product, 304: None},
        problems=(ProductNotFound, GroupNotYours),
        cache=REVALIDATE,
        tag="Catalog",
    ),
    Route(
        method="GET",
        path="/v1/products/sku:{sku}",
        handler=get_product_of_sku,
        summary="Read the product that has a sku.",
        permission=Anyone(),
        whose=Whose.PUBLIC,
        query=GroupQuery,
        answers={200: Product, 304: None},
        problems=(ProductNotFound, GroupNotYours),
        cache=REVALIDATE,
        tag="Catalog",
    ),
    Route(
        method="PUT",
        path="/v1/products/{id}",
        handler=put_product,
        summary="Create or replace a product, by its external id.",
        permission=WRITE,
        whose=Whose.SHOP,
        body=ProductBody,
        answers={200: Product, 201: Product, 202: Product},
        problems=(InvalidProduct, SkuTaken, VersionMismatch),
        tag="Catalog",
    ),
    Route(
        method="DELETE",
        path="/v1/products/{id}",
        handler=delete_product,
        summary="Archive a product, by its external id.",
        permission=WRITE,
        whose=Whose.SHOP,
        answers={204: None, 202: None},
        problems=(ProductNotFound, VersionMismatch),
        tag="Catalog",
    ),
)
