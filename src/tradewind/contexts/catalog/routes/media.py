"""HTTP: pictures and papers of products."""

from typing import Annotated

from msgspec import Meta, Struct

from tradewind.contexts.catalog.commands import MEDIA_MAX, ArrangeMedia, MediumBody
from tradewind.contexts.catalog.events import Medium
from tradewind.contexts.catalog.problems import (
    InvalidMedium,
    InvalidProduct,
    MediumNotFound,
    ProductNotFound,
)
from tradewind.contexts.catalog.queries import model
from tradewind.contexts.catalog.routes.products import once_copied, who
from tradewind.contexts.catalog.tables import Media
from tradewind.kernel.answers import Answer
from tradewind.platform.blobs import MEDIA_TYPES, blobs_of, media_type_of
from tradewind.platform.gateway.etags import is_known, strong
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Anyone, Route, Scope, Whose

WRITE = Scope("catalog:write")
MEDIUM_BYTES_MAX = 10 * 1024 * 1024
# The name is made of the content: what was once true stays so.
FOR_EVER = "public, max-age=31536000, immutable"
# A file runs nothing and loads nothing, should a browser open it by itself.
POLICY = "default-src 'none'; sandbox"


class MediumQuery(Struct, frozen=True, kw_only=True):
    """What a medium shows, for who does not see it."""

    alt: Annotated[str, Meta(max_length=500)] = ""


class MediaBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All media of a product, in the order in which they are shown."""

    media: Annotated[list[MediumBody], Meta(max_length=MEDIA_MAX)]


async def post_media(request: Request) -> Answer:
    """Upload a picture or a paper: the file itself is the body, at most 10 MiB.

    What it is is seen by its bytes: PNG, JPEG, GIF, WebP, AVIF or PDF. It is shown behind the media
    that are there; the same file sent again changes nothing. `{id}` is the id of the product, or
    its external id.
    """
    query: MediumQuery = request.query
    product_id = await find(request)
    name = await blobs_of(request.node.settings.home).keep(request.stream())
    if name is None:
        raise InvalidMedium()
    medium = Medium(id=name, alt=query.alt)
    answer: Answer = await request.submit(
        ArrangeMedia(product_id=product_id, media=(medium,), added=True, by=who(request))
    )
    return await once_copied(request, answer)


async def put_media(request: Request) -> Answer:
    """Say which media a product has, in which order, and what they show. Files stay."""
    body: MediaBody = request.body
    media = tuple(Medium(id=medium.id, alt=medium.alt) for medium in body.media)
    answer: Answer = await request.submit(
        ArrangeMedia(product_id=await find(request), media=media, by=who(request))
    )
    return await once_copied(request, answer)


async def find(request: Request) -> str:
    """The product of the address. Raises `ProductNotFound`."""
    async with request.reading() as snapshot:
        found = await model.product_id(snapshot, request.params["id"])
    if found is None:
        raise ProductNotFound()
    return found


async def get_medium(request: Request) -> Answer:
    """A file. Its address never has another content, so it may be kept for ever."""
    name = request.params["id"]
    tag = strong(name)
    content = await blobs_of(request.node.settings.home).read(name)
    if content is None:
        raise MediumNotFound()
    headers = {"etag": tag, "content-security-policy": POLICY}
    known = request.headers.get("if-none-match")
    if known is not None and is_known(known, tag):
        return Answer(status=304, headers=headers)
    return Answer(body=content, media_type=media_type_of(name), headers=headers)


ROUTES = (
    Route(
        method="POST",
        path="/v1/products/{id}/media",
        handler=post_media,
        summary="Upload a picture or a paper of a product.",
        permission=WRITE,
        whose=Whose.SHOP,
        query=MediumQuery,
        answers={200: Media, 201: Media, 202: Media},
        problems=(ProductNotFound, InvalidMedium, InvalidProduct),
        streamed=True,
        media_types=(*MEDIA_TYPES.values(), "application/octet-stream"),
        body_bytes_max=MEDIUM_BYTES_MAX,
        tag="Catalog",
    ),
    Route(
        method="PUT",
        path="/v1/products/{id}/media",
        handler=put_media,
        summary="Arrange the media of a product.",
        permission=WRITE,
        whose=Whose.SHOP,
        body=MediaBody,
        answers={200: Media, 202: Media},
        problems=(ProductNotFound, InvalidProduct),
        tag="Catalog",
    ),
    Route(
        method="GET",
        path="/v1/media/{id}",
        handler=get_medium,
        summary="Read a picture or a paper.",
        permission=Anyone(),
        whose=Whose.PUBLIC,
        answers={200: bytes, 304: None},
        answer_types=tuple(MEDIA_TYPES.values()),
        problems=(MediumNotFound,),
        cache=FOR_EVER,
        tag="Catalog",
    ),
)
