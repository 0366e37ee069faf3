"""The record over HTTP: who did what."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tradewind.kernel.answers import Answer
from tradewind.platform.audit import reading
from tradewind.platform.audit.reading import Filters, Recorded
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Route, Scope, Whose

Text = Annotated[str, Meta(min_length=1, max_length=200)]
Time = Annotated[datetime, Meta(tz=True)]


class AuditQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which entries."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: str | None = None
    principal: Text | None = None
    object: Text | None = None
    operation: Text | None = None
    notice: Text | None = None
    kind: Literal["write", "read", "notice"] | None = None
    address: Text | None = None
    trace: Text | None = None
    since: Time | None = None
    until: Time | None = None


class AuditPage(Struct, frozen=True):
    """Entries, newest first."""

    items: list[Recorded]
    next: str | None


async def get_audit(request: Request) -> Answer:
    """Who did what, to what, from where and why: newest first, at most a second old.

    `position` and `digest` are the entry's place in the chain of hashes; `tradewind audit verify`
    proves that nothing was changed. Principals are ids, addresses of the internet are tokens.
    Reading the record is recorded, and needs a reason.
    """
    query: AuditQuery = request.query
    before = reading.END
    if query.cursor is not None:
        (before,) = decode_cursor(query.cursor, int)
    filters = Filters(**{n: getattr(query, n) for n in Filters.__struct_fields__})
    async with request.reading() as snapshot:
        rows = await reading.page(snapshot, filters, before=before, count_max=query.limit + 1)
    items = [reading.shown(row, request.node.audit.mask) for row in rows[: query.limit]]
    more = encode_cursor(items[-1].position) if len(rows) > query.limit else None
    return Answer(body=AuditPage(items, more))


ROUTES = (
    Route(
        method="GET",
        path="/v1/audit",
        handler=get_audit,
        summary="Read who did what.",
        permission=Scope("audit:read"),
        whose=Whose.SHOP,
        personal=True,  # people write names into reasons
        needs_reason=True,
        notice="audit_read",
        query=AuditQuery,
        answers={200: AuditPage},
        tag="audit",
    ),
)
