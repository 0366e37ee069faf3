"""Dead letters over HTTP: see them, try them again, give them up."""

from typing import Annotated

from msgspec import Meta, Struct

from tradewind.kernel.answers import Answer
from tradewind.platform.bus.dead_letters import DeadLetter
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Route, Scope, Whose

Name = Annotated[str, Meta(min_length=1, max_length=200)]


class LettersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose, and whether to show what waits behind them too."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    consumer: Name | None = None
    parked: bool = False


class LettersPage(Struct, frozen=True):
    """Dead letters, oldest first."""

    items: list[DeadLetter]
    next: str | None = None


class RetryBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which to try again: all, those of a consumer, or of one of its keys."""

    consumer: Name | None = None
    key: Name | None = None


class DropBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which to give up."""

    consumer: Name
    key: Name


class Retried(Struct, frozen=True):
    """How many dead letters will be tried again."""

    count: int


async def get_dead_letters(request: Request) -> Answer:
    """What a consumer could not handle, with the error; it blocks only its own key."""
    query: LettersQuery = request.query
    letters = await request.node.dead_letters(
        consumer=query.consumer, parked=query.parked, count_max=query.limit
    )
    return Answer(body=LettersPage(items=letters))


async def post_retry(request: Request) -> Answer:
    """Try dead letters again, and then what waits behind them, in the order of the log."""
    body: RetryBody = request.body
    count = await request.node.retry_dead_letters(
        consumer=body.consumer, key=body.key, audit=request.audited()
    )
    return Answer(status=202, body=Retried(count))


async def post_drop(request: Request) -> Answer:
    """Give a key's dead letter up for good; what waits behind it is handled."""
    body: DropBody = request.body
    await request.node.drop_dead_letter(
        consumer=body.consumer, key=body.key, audit=request.audited(f"{body.consumer} {body.key}")
    )
    return Answer(status=204)


ROUTES = (
    Route(
        method="GET",
        path="/v1/dead-letters",
        handler=get_dead_letters,
        summary="List what could not be handled.",
        permission=Scope("events:read"),
        whose=Whose.SHOP,
        query=LettersQuery,
        answers={200: LettersPage},
        tag="events",
    ),
    Route(
        method="POST",
        path="/v1/dead-letters/retry",
        handler=post_retry,
        summary="Try dead letters again.",
        permission=Scope("events:write"),
        whose=Whose.SHOP,
        body=RetryBody,
        answers={202: Retried},
        tag="events",
    ),
    Route(
        method="POST",
        path="/v1/dead-letters/drop",
        handler=post_drop,
        summary="Give a dead letter up.",
        permission=Scope("events:write"),
        whose=Whose.SHOP,
        body=DropBody,
        answers={204: None},
        tag="events",
    ),
)
