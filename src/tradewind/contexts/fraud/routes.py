"""HTTP: the reviews of held orders."""

from typing import Literal

from tradewind.contexts.fraud import queries
from tradewind.contexts.fraud.commands import DecideReview, ReviewBody
from tradewind.contexts.fraud.problems import ReviewClosed, UnknownReview
from tradewind.contexts.fraud.tables import Review, ReviewPage, ReviewQuery, as_shown
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import is_id
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Keyed, Route, Scope, Whose

AFTER_EVERY_ID = "ord_~"  # sorts behind every order id in "C" order


async def get_reviews(request: Request) -> Answer:
    """Held orders that wait for a decision, the newest first; with `status`, those that had one."""
    query: ReviewQuery = request.query
    before = AFTER_EVERY_ID
    if query.cursor is not None:
        (before,) = decode_cursor(query.cursor, str)
    async with request.reading() as snapshot:
        rows = await queries.reviews(
            snapshot, status=query.status, before=before, count_max=query.limit + 1
        )
    page = rows[: query.limit]
    more = len(rows) > query.limit
    return Answer(
        body=ReviewPage(
            items=[as_shown(row) for row in page],
            next=encode_cursor(page[-1].order_id) if more else None,
        )
    )


async def get_review(request: Request) -> Answer:
    """Why an order was held, and what became of it."""
    async with request.reading() as snapshot:
        row = await queries.review(snapshot, order_in(request))
    if row is None:
        raise UnknownReview()
    return Answer(body=as_shown(row))


async def release_order(request: Request) -> Answer:
    """Let a held order go on: it is confirmed and captured."""
    return await decide(request, "released")


async def refuse_order(request: Request) -> Answer:
    """End a held order: it is rejected (`fraud_blocked`), stock and money are given back."""
    return await decide(request, "refused")


async def decide(request: Request, verdict: Literal["released", "refused"]) -> Answer:
    """Hand a reviewer's decision in. The order itself follows within moments."""
    body: ReviewBody = request.body
    assert request.credential is not None, "the route needs a scope"
    answer: Answer = await request.submit(
        DecideReview(
            order_id=order_in(request),
            verdict=verdict,
            reason=await request.sealed(body.reason, order_id=order_in(request)),
            reviewer=request.credential.id,
            idempotency=request.idempotency,
        )
    )
    return answer


def order_in(request: Request) -> str:
    """The order id in the address; what can not be one was never held."""
    order_id = request.params["order_id"]
    if not is_id(order_id, "ord"):
        raise UnknownReview()
    return order_id


REVIEWER = Scope("fraud:review")

ROUTES = (
    Route(
        method="GET",
        path="/v1/reviews",
        handler=get_reviews,
        summary="List the reviews of held orders.",
        permission=REVIEWER,
        whose=Whose.SHOP,
        query=ReviewQuery,
        answers={200: ReviewPage},
        tag="reviews",
    ),
    Route(
        method="GET",
        path="/v1/reviews/{order_id}",
        handler=get_review,
        summary="Read the review of an order.",
        permission=REVIEWER,
        whose=Whose.SHOP,
        answers={200: Review},
        problems=(UnknownReview,),
        tag="reviews",
    ),
    Route(
        method="POST",
        path="/v1/reviews/{order_id}/release",
        handler=release_order,
        summary="Release a held order.",
        permission=REVIEWER,
        whose=Whose.SHOP,
        needs_reason=True,
        body=ReviewBody,
        answers={200: Review},
        problems=(UnknownReview, ReviewClosed),
        keyed=Keyed.ACCEPTED,
        tag="reviews",
    ),
    Route(
        method="POST",
        path="/v1/reviews/{order_id}/refuse",
        handler=refuse_order,
        summary="Refuse a held order.",
        permission=REVIEWER,
        whose=Whose.SHOP,
        needs_reason=True,
        body=ReviewBody,
        answers={200: Review},
        problems=(UnknownReview, ReviewClosed),
        keyed=Keyed.ACCEPTED,
        tag="reviews",
    ),
)
