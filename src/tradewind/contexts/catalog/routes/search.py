"""HTTP: searches, suggestions while somebody types, and how the shop is searched."""

from collections.abc import Sequence

from msgspec import Raw

from tradewind.contexts.catalog import queries
from tradewind.contexts.catalog.commands import SearchBody, SetSearch
from tradewind.contexts.catalog.events import category_path
from tradewind.contexts.catalog.problems import GroupNotYours, InvalidSearchSettings
from tradewind.contexts.catalog.queries import model
from tradewind.contexts.catalog.routes.products import (
    REVALIDATE,
    WRITE,
    group_of,
    headers_for,
)
from tradewind.contexts.catalog.tables import (
    FoundProduct,
    SearchOfRaw,
    SearchQuery,
    SearchResult,
    SearchSettings,
    SuggestedCategory,
    Suggestions,
    SuggestionsOfRaw,
    SuggestQuery,
)
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import is_id
from tradewind.platform.cache.memory import Depends
from tradewind.platform.gateway.pages import broken_cursor, decode_cursor, encode_cursor
from tradewind.platform.gateway.problems import invalid_query
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Anyone, Route, Whose

FACETS_MAX = 10
FACET_NAME_LENGTH_MAX = 100
# What changes without another word about a product.
SOLD = frozenset(("price", "availability"))


async def get_search(request: Request) -> Answer:
    """Full-text search, best first: an exact sku or EAN, then titles over brands, values, texts.

    Words are stemmed and all must occur; `"in quotes"` in this order, `-without` this one, `or`
    either. The last word may be unfinished, and one letter of a word may be wrong. Where hardly any
    product has all the words, those that lack some follow (`match=all` leaves them out).

    `facets` names what to count over everything found: `category`, `categories` with all below
    each, `brand`, `price`, `availability` or any attribute. `filter[NAME]=VALUE` takes such a
    value; it does not narrow the counts of its own facet. Without `q` it lists everything, newest
    first. Filters, ranges and the order of prices are those of the prices for everybody.
    """
    query: SearchQuery = request.query
    group = group_of(request, query.group)
    sort = "newest" if query.sort == "relevance" and not query.q.strip() else query.sort
    before, indexed = search_cursor(query.cursor, sort) if query.cursor else (None, None)
    names = facet_names(query.facets)
    found = await queries.find(
        request.memory,
        request.reading,
        queries.Wanted(
            text=query.q,
            filters=filters_of(query),
            names=names,
            limit=query.limit,
            sort=sort,
            strict=query.match == "all",
            before=before,
            indexed=indexed,
        ),
    )
    changing = {*names, *query.filter, sort.removeprefix("-")}
    documents = await shown_to(request, found.products, group, wide=not changing.isdisjoint(SOLD))
    more = None
    if found.last is not None:
        more = encode_cursor(*found.last, f"{'i' if found.indexed else 'r'}:{sort}")
    return Answer(
        body=SearchOfRaw(
            items=[
                Raw(scored(documents[row.product_id], row.score_micro)) for row in found.products
            ],
            facets=found.counted,
            next=more,
            total=found.total,
            did_you_mean=found.corrected or None,
            exact=found.exact,
        ),
        headers=headers_for(group),
    )


async def get_suggestions(request: Request) -> Answer:
    """What somebody may mean who has typed `q` so far: searches, categories, products."""
    query: SuggestQuery = request.query
    group = group_of(request, query.group)
    found = await queries.suggest(request.memory, request.reading, query.q, query.limit)
    documents = await shown_to(request, found.products, group, wide=False)
    return Answer(
        body=SuggestionsOfRaw(
            queries=found.queries,
            categories=[SuggestedCategory(*pair) for pair in found.categories],
            products=[Raw(document.encode()) for document in documents.values()],
        ),
        headers=headers_for(group),
    )


async def shown_to(
    request: Request, found: Sequence[FoundProduct], group: str, *, wide: bool
) -> dict[str, str]:
    """What was found as the caller is shown it, by id. With prices of a group it is not remembered;
    else it ends with a change of what was found, or with any change where it is `wide`.
    """
    documents = {row.product_id: row.document for row in found}
    if group:
        async with request.reading() as snapshot:
            return await model.for_group(snapshot, documents, group)
    request.depends = Depends(keys=frozenset(documents), deep=True, wide=wide)
    return documents


async def get_search_settings(request: Request) -> Answer:
    """How the shop is searched: language, attributes that name the brand, synonyms."""
    async with request.reading() as snapshot:
        row = await queries.settings_of(snapshot)
    body = SearchSettings(language=row.language, brand=list(row.brand), synonyms=list(row.synonyms))
    return Answer(body=body)


async def put_search_settings(request: Request) -> Answer:
    """Search the shop in this way from now on; what the body leaves out is as in the beginning.

    A synonym is a line: `tv => television` also finds televisions for who types tv; `sofa, couch`
    works both ways; each may be several words. A new language makes each process read the shop
    anew, which takes a second for some thousand products.
    """
    answer: Answer = await request.submit(SetSearch(body=request.body))
    await request.known_to_all()
    return answer


def filters_of(query: SearchQuery) -> queries.Filters:
    """What may be shown. Raises a problem that names the parameter."""
    values = dict(query.filter)
    for name in ("category", "categories"):
        if name in values:
            values[name] = [category_path(value) for value in values[name]]
    for value in values.get("price", ()):
        if not queries.is_range(value):
            raise invalid_query("filter[price]", "must be a range such as 10..25, ..10 or 25..")
    return queries.Filters(category_path(query.category), query.currency, values)


def scored(document: str, score_micro: int) -> bytes:
    """A prepared product with its score as one more member."""
    return f'{document[:-1]},"score":{score_micro / 1_000_000!r}}}'.encode()


def facet_names(text: str) -> list[str]:
    """What to count, each name once. Raises a problem that names the parameter."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if len(names) > FACETS_MAX or any(len(name) > FACET_NAME_LENGTH_MAX for name in names):
        raise invalid_query("facets", f"takes at most {FACETS_MAX} names, separated by commas")
    return names


def search_cursor(cursor: str, sort: str) -> tuple[tuple[int | str, str], bool]:
    """Where a page of a search ended, in this order; whether the index gave it."""
    key, product_id, made_by = decode_cursor(cursor, int | str, str, str)
    of_text = sort == "title"
    if not is_id(product_id, "prd") or isinstance(key, str) != of_text:
        raise broken_cursor()
    if made_by not in (f"i:{sort}", f"r:{sort}"):
        raise broken_cursor()
    return (key, product_id), made_by.startswith("i")


ROUTES = (
    Route(
        method="GET",
        path="/v1/search",
        handler=get_search,
        summary="Search products.",
        permission=Anyone(),
        whose=Whose.PUBLIC,
        query=SearchQuery,
        answers={200: SearchResult, 304: None},
        problems=(GroupNotYours,),
        cache=REVALIDATE,
        tag="Catalog",
    ),
    Route(
        method="GET",
        path="/v1/search/suggest",
        handler=get_suggestions,
        summary="Suggest while somebody types.",
        permission=Anyone(),
        whose=Whose.PUBLIC,
        query=SuggestQuery,
        answers={200: Suggestions, 304: None},
        problems=(GroupNotYours,),
        cache=REVALIDATE,
        tag="Catalog",
    ),
    Route(
        method="GET",
        path="/v1/search/settings",
        handler=get_search_settings,
        summary="Read how the shop is searched.",
        permission=WRITE,
        whose=Whose.SHOP,
        answers={200: SearchSettings},
        tag="Catalog",
    ),
    Route(
        method="PUT",
        path="/v1/search/settings",
        handler=put_search_settings,
        summary="Say how the shop is searched.",
        permission=WRITE,
        whose=Whose.SHOP,
        notice="settings_changed",
        body=SearchBody,
        answers={200: SearchSettings},
        problems=(InvalidSearchSettings,),
        tag="Catalog",
    ),
)
