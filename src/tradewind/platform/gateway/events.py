"""The public event feed over HTTP."""

from typing import Annotated

from msgspec import Meta, Struct

from tradewind.kernel.answers import Answer
from tradewind.platform.audit.events import SOURCE, TOPIC
from tradewind.platform.bus import feed
from tradewind.platform.bus.feed import FeedPage
from tradewind.platform.gateway.problems import Forbidden, invalid_query
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Route, Scope, Whose

READS_AUDIT = "audit:read"


class EventsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to go on, and of which topic."""

    after: Annotated[str, Meta(max_length=200)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    topic: Annotated[str, Meta(max_length=100)] | None = None


async def get_events(request: Request) -> Answer:
    """The public events behind a cursor, in the order they happened.

    `next` is always given, at the end too: keep it and pass it as `after` to go on, now or in a
    year. What concerns security, the topic `security-events`, is shown to who may read the audit.
    Per source and subject `sequence` counts 1, 2, 3, so a reader can prove that it has all.
    """
    query: EventsQuery = request.query
    after = 0
    if query.after is not None:
        position = feed.decode_cursor(query.after)
        if position is None:
            raise invalid_query("after", "is not a cursor of this feed; begin without it")
        after = position
    topics = request.node.plan.sources
    if query.topic is not None and query.topic not in topics:
        raise invalid_query("topic", f"is none of {', '.join(sorted(topics))}")
    assert request.credential is not None, "the route needs a scope"
    hidden: set[str] = set()
    if not request.credential.may(READS_AUDIT):
        if query.topic == TOPIC:
            raise Forbidden(f"The topic {TOPIC} takes the scope {READS_AUDIT}.")
        hidden = {SOURCE}
    page = await request.node.feed_page(
        after=after, topic=query.topic, limit=query.limit, hidden=hidden
    )
    return Answer(body=page)


class FeedEnd(Struct, frozen=True):
    """Where the feed ends at this moment."""

    next: str


async def get_end(request: Request) -> Answer:
    """The cursor behind the newest event: where to begin for what happens from now on."""
    return Answer(body=FeedEnd(await request.node.feed_end()))


ROUTES = (
    Route(
        method="GET",
        path="/v1/events/end",
        handler=get_end,
        summary="Find the end of the feed.",
        permission=Scope("events:read"),
        whose=Whose.SHOP,
        answers={200: FeedEnd},
        tag="events",
    ),
    Route(
        method="GET",
        path="/v1/events",
        handler=get_events,
        summary="Follow what happens.",
        permission=Scope("events:read"),
        whose=Whose.SHOP,
        query=EventsQuery,
        answers={200: FeedPage},
        tag="events",
    ),
)
