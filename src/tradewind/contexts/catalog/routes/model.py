"""HTTP: the tree of categories, what attributes hold, prices of groups, what changed."""

from collections.abc import Callable

import msgspec

from tradewind.contexts.catalog import queries
from tradewind.contexts.catalog.commands import (
    ApplyPrices,
    AttributeDefinition,
    CategoryBody,
    CategoryPatch,
    DefineAttribute,
    DropAttribute,
    FollowCategories,
    KeepCategory,
    KeepPriceList,
    ListPricesBody,
    PriceListBody,
    RemoveCategory,
    RemovePriceList,
    SetListPrices,
)
from tradewind.contexts.catalog.events import category_path, sku_key
from tradewind.contexts.catalog.problems import (
    AttributeNotFound,
    CategoryExists,
    CategoryInUse,
    CategoryNotFound,
    InvalidAttribute,
    InvalidCategory,
    InvalidPriceList,
    PriceListNotFound,
    ProductNotFound,
)
from tradewind.contexts.catalog.queries import model
from tradewind.contexts.catalog.routes.products import once_copied, who
from tradewind.contexts.catalog.tables import (
    Attribute,
    AttributeList,
    AttributeQuery,
    Category,
    CategoryBranch,
    CategoryList,
    CategoryQuery,
    History,
    ListPrices,
    PageQuery,
    PriceList,
    PriceLists,
)
from tradewind.kernel.answers import Answer
from tradewind.kernel.messages import Command
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Anyone, Route, Scope, Whose

WRITE = Scope("catalog:write")
ID_LENGTH_MAX = 80
# So many units of work follow a change before it is answered; a sweep does the rest.
ROUNDS_MAX = 40


async def get_categories(request: Request) -> Answer:
    """All categories, a parent before its children; with `tree=true` each with those below it, in
    the order of their positions.

    Categories come into being with the first product that stands in them, or by PUT.
    """
    query: CategoryQuery = request.query
    async with request.reading() as snapshot:
        if query.tree:
            return Answer(body=CategoryList(items=await model.tree(snapshot), next=None))
        after = decode_cursor(query.cursor, str)[0] if query.cursor else ""
        rows = await queries.categories(snapshot, after=after, count_max=query.limit + 1)
    page = [CategoryBranch(**msgspec.structs.asdict(row)) for row in rows[: query.limit]]
    more = encode_cursor(page[-1].path) if len(rows) > query.limit else None
    return Answer(body=CategoryList(items=page, next=more))


async def get_category(request: Request) -> Answer:
    """One category by its id."""
    async with request.reading() as snapshot:
        found = await model.category(snapshot, request.params["id"])
    if found is None:
        raise CategoryNotFound()
    return Answer(body=found)


async def put_category(request: Request) -> Answer:
    """Make a category under an id of your choice, or make one be like the body.

    Moved or renamed, it takes everything below it along, and its products get the new path: 200
    once all have it, 202 where they are many and still on their way.
    """
    return await keep(request, request.body)


async def patch_category(request: Request) -> Answer:
    """Change what the body says of a category; `"parent": null` moves it to the top."""
    return await keep(request, request.body)


async def keep(request: Request, wanted: CategoryBody | CategoryPatch) -> Answer:
    """Keep a category and let its products follow."""
    category_id = request.params["id"]
    if not is_plain(category_id):
        raise InvalidCategory("An id is lower-case letters, digits, '-' and '_', at most 80.")
    answer: Answer = await request.submit(
        KeepCategory(category_id=category_id, wanted=wanted, by=who(request))
    )
    if not await rounds(request, FollowCategories):
        return Answer(status=202, body=answer.body)
    return await once_copied(request, answer)


def is_plain(text: str) -> bool:
    """Whether a text can be an id that somebody chooses."""
    rest = text.replace("-", "").replace("_", "")
    plain = rest.isascii() and rest.isalnum() and text == text.lower()
    return plain and len(text) <= ID_LENGTH_MAX and text[0] not in "-_"


async def rounds(request: Request, command: Callable[[], Command]) -> bool:
    """Let what follows from a change follow, some at a time; whether all did."""
    for _ in range(ROUNDS_MAX):
        if not await request.submit(command()):
            return True
    return False


async def delete_category(request: Request) -> Answer:
    """Take a category away that nothing stands in."""
    answer: Answer = await request.submit(RemoveCategory(category_id=request.params["id"]))
    return answer


async def get_attributes(request: Request) -> Answer:
    """What attributes hold, where that is defined; with `category` those that count there, which
    are its own and those of all above it.
    """
    query: AttributeQuery = request.query
    place = None if query.category is None else category_path(query.category)
    async with request.reading() as snapshot:
        return Answer(body=AttributeList(items=await model.attributes(snapshot, place)))


async def put_attribute(request: Request) -> Answer:
    """Say what an attribute holds. From now on products that are written must keep to it where it
    counts; those that are there stay as they are until then. Other attributes stay free.
    """
    name = request.params["name"]
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise InvalidAttribute("A name is 1 to 100 printable characters.")
    answer: Answer = await request.submit(DefineAttribute(name=name, body=request.body))
    return answer


async def delete_attribute(request: Request) -> Answer:
    """Let an attribute hold anything again."""
    answer: Answer = await request.submit(DropAttribute(name=request.params["name"]))
    return answer


async def get_price_lists(request: Request) -> Answer:
    """All price lists."""
    async with request.reading() as snapshot:
        return Answer(body=PriceLists(items=await model.price_lists(snapshot)))


async def read_list(request: Request) -> PriceList:
    """The list of the address. Raises `PriceListNotFound`."""
    async with request.reading() as snapshot:
        found = await model.price_list(snapshot, request.params["id"])
    if found is None:
        raise PriceListNotFound()
    return found


async def get_price_list(request: Request) -> Answer:
    """One price list, without its prices."""
    return Answer(body=await read_list(request))


async def put_price_list(request: Request) -> Answer:
    """Make a price list under an id of your choice, or make it be like the body.

    Its prices count for callers whose key has its `customer_group`, between `valid_from` and
    `valid_until`, before the prices for everybody: in what they are shown and in their orders.
    With `prices` (at most 500) it holds those and no others; without, they stay. 200 or 201 once
    all products have the prices, 202 where they are many.
    """
    list_id = request.params["id"]
    if not is_plain(list_id):
        raise InvalidPriceList("An id is lower-case letters, digits, '-' and '_', at most 80.")
    answer: Answer = await request.submit(KeepPriceList(list_id=list_id, body=request.body))
    return await applied(request, answer)


async def applied(request: Request, answer: Answer) -> Answer:
    """The answer once products have the prices of their lists."""
    by = who(request)
    if not await rounds(request, lambda: ApplyPrices(by=by)):
        return Answer(status=202, body=answer.body)
    return await once_copied(request, answer)


async def get_list_prices(request: Request) -> Answer:
    """The prices of a list, in the order of the skus."""
    query: PageQuery = request.query
    owner = await read_list(request)
    after = decode_cursor(query.cursor, str)[0] if query.cursor else ""
    async with request.reading() as snapshot:
        rows = await model.list_prices(snapshot, owner, after=after, count_max=query.limit + 1)
    page = rows[: query.limit]
    more = encode_cursor(sku_key(page[-1].sku)) if len(rows) > query.limit else None
    return Answer(body=ListPrices(items=page, next=more))


async def patch_list_prices(request: Request) -> Answer:
    """Change up to 500 prices of a list: new ones, other ones, `null` takes one away."""
    body: ListPricesBody = request.body
    command = SetListPrices(list_id=request.params["id"], prices=tuple(body.prices))
    answer: Answer = await request.submit(command)
    return await applied(request, answer)


async def delete_price_list(request: Request) -> Answer:
    """Let the prices of a list count no more."""
    answer: Answer = await request.submit(RemovePriceList(list_id=request.params["id"]))
    return await applied(request, answer)


async def get_history(request: Request) -> Answer:
    """The last hundred changes of a product, archived or not, newest first: who, when, and which
    fields with their old and new values. `{id}` is its id or its external id.
    """
    async with request.reading() as snapshot:
        product_id = await model.product_id(snapshot, request.params["id"])
        if product_id is None:
            raise ProductNotFound()
        return Answer(body=History(items=await model.history(snapshot, product_id)))


def route(method: str, path: str, handler: object, summary: str, **more: object) -> Route:
    """A route of this file: for who may change the catalog, unless it says otherwise."""
    told = {"permission": WRITE, "whose": Whose.SHOP, "tag": "Catalog", **more}
    return Route(method=method, path=path, handler=handler, summary=summary, **told)  # type: ignore[arg-type]


KEPT = (InvalidCategory, CategoryExists, CategoryInUse)
ROUTES = (
    route(
        "GET",
        "/v1/categories",
        get_categories,
        "List categories.",
        permission=Anyone(),
        whose=Whose.PUBLIC,
        query=CategoryQuery,
        answers={200: CategoryList, 304: None},
        cache="public, no-cache",
    ),
    route(
        "GET",
        "/v1/categories/{id}",
        get_category,
        "Read a category.",
        permission=Anyone(),
        whose=Whose.PUBLIC,
        answers={200: Category, 304: None},
        problems=(CategoryNotFound,),
        cache="public, no-cache",
    ),
    route(
        "PUT",
        "/v1/categories/{id}",
        put_category,
        "Create or replace a category.",
        body=CategoryBody,
        answers={200: Category, 201: Category, 202: Category},
        problems=KEPT,
    ),
    route(
        "PATCH",
        "/v1/categories/{id}",
        patch_category,
        "Rename, move or describe a category.",
        body=CategoryPatch,
        answers={200: Category, 202: Category},
        problems=(CategoryNotFound, *KEPT),
    ),
    route(
        "DELETE",
        "/v1/categories/{id}",
        delete_category,
        "Delete an empty category.",
        answers={204: None},
        problems=(CategoryNotFound, CategoryInUse),
    ),
    route(
        "GET",
        "/v1/attributes",
        get_attributes,
        "List attributes that are defined.",
        permission=Anyone(),
        whose=Whose.PUBLIC,
        query=AttributeQuery,
        answers={200: AttributeList, 304: None},
        cache="public, no-cache",
    ),
    route(
        "PUT",
        "/v1/attributes/{name}",
        put_attribute,
        "Define an attribute.",
        body=AttributeDefinition,
        answers={200: Attribute, 201: Attribute},
        problems=(InvalidAttribute,),
    ),
    route(
        "DELETE",
        "/v1/attributes/{name}",
        delete_attribute,
        "Let an attribute hold anything again.",
        answers={204: None},
        problems=(AttributeNotFound,),
    ),
    route(
        "GET", "/v1/price-lists", get_price_lists, "List price lists.", answers={200: PriceLists}
    ),
    route(
        "GET",
        "/v1/price-lists/{id}",
        get_price_list,
        "Read a price list.",
        answers={200: PriceList},
        problems=(PriceListNotFound,),
    ),
    route(
        "PUT",
        "/v1/price-lists/{id}",
        put_price_list,
        "Create or replace a price list.",
        body=PriceListBody,
        answers={200: PriceList, 201: PriceList, 202: PriceList},
        problems=(InvalidPriceList,),
    ),
    route(
        "GET",
        "/v1/price-lists/{id}/prices",
        get_list_prices,
        "List the prices of a price list.",
        query=PageQuery,
        answers={200: ListPrices},
        problems=(PriceListNotFound,),
    ),
    route(
        "PATCH",
        "/v1/price-lists/{id}/prices",
        patch_list_prices,
        "Change prices of a price list.",
        body=ListPricesBody,
        answers={200: PriceList, 202: PriceList},
        problems=(PriceListNotFound, InvalidPriceList),
    ),
    route(
        "DELETE",
        "/v1/price-lists/{id}",
        delete_price_list,
        "Delete a price list.",
        answers={204: None, 202: None},
        problems=(PriceListNotFound,),
    ),
    route(
        "GET",
        "/v1/products/{id}/history",
        get_history,
        "Read what changed of a product.",
        answers={200: History},
        problems=(ProductNotFound,),
    ),
)
