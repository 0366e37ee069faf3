"""HTTP: the embedded mailbox, where mail goes while no mail server is set."""

from tradewind.contexts.notifications import queries
from tradewind.contexts.notifications.tables import MailboxQuery, Mails
from tradewind.kernel.answers import Answer
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Route, Scope, Whose

AFTER_EVERY_ID = "msg_~"  # sorts behind every message id in "C" order


async def get_mailbox(request: Request) -> Answer:
    """The mails that the embedded mailbox took, newest first.

    With `to`, those to exactly this e-mail address. Texts are written anew from the order and the
    vault: after a person's erasure the mail is listed with `"erased": true` and no text.
    """
    query: MailboxQuery = request.query
    node = request.node
    contact = None
    if query.to is not None:
        contact = await node.vault.find_contact(query.to)
        if contact is None:
            return Answer(body=Mails(items=[], next=None))
    before = AFTER_EVERY_ID
    if query.cursor is not None:
        (before,) = decode_cursor(query.cursor, str)
    async with request.reading() as snapshot:
        rows = await queries.mailbox(
            snapshot, contact=contact, before=before, count_max=query.limit + 1
        )
    page = rows[: query.limit]
    people = await node.vault.open(sorted({row.person for row in page}))
    items = queries.as_mails(
        page,
        people,
        shop_url=node.settings.shop_url,
        account_url=node.settings.account_pages,
        token_of=node.secrets.errand_token,
    )
    more = len(rows) > query.limit
    return Answer(
        body=Mails(items=items, next=encode_cursor(page[-1].message_id) if more else None)
    )


ROUTES = (
    Route(
        method="GET",
        path="/v1/mailbox",
        handler=get_mailbox,
        summary="Read the embedded mailbox.",
        permission=Scope("mailbox:read"),
        whose=Whose.SHOP,
        personal=True,
        query=MailboxQuery,
        answers={200: Mails},
        tag="mailbox",
    ),
)
