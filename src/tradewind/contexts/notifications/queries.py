"""The embedded mailbox: rows hold tokens, the texts are written when they are read."""

from collections.abc import Callable, Mapping, Sequence

from tradewind.contexts.notifications import rules
from tradewind.contexts.notifications.tables import KeptMail, Mail, ToldMessage
from tradewind.kernel.subject import Subject
from tradewind.platform.database.transaction import Snapshot

# Served by messages_mailbox (contact, message_id) WHERE via = 'mailbox': no sort.
MAILBOX_OF = """
    SELECT message_id, order_id, kind, person, total_minor, currency, template, header_id,
           settled_at
      FROM notifications.messages
     WHERE via = 'mailbox' AND contact = $1 AND message_id < $2
     ORDER BY message_id DESC LIMIT $3
"""

# Served by the primary key.
MAILBOX = """
    SELECT message_id, order_id, kind, person, total_minor, currency, template, header_id,
           settled_at
      FROM notifications.messages
     WHERE via = 'mailbox' AND message_id < $1
     ORDER BY message_id DESC LIMIT $2
"""


# Served by the unique key (order_id, kind).
MESSAGES_OF_ORDERS = """
    SELECT message_id, order_id, kind, template, status, via, queued_at, settled_at
      FROM notifications.messages WHERE order_id = ANY($1::text[]) ORDER BY message_id
"""


async def export(db: Snapshot, subject: Subject) -> Mapping[str, Sequence[ToldMessage]]:
    """The messages about the orders of a subject, and about its accounts."""
    about = [*subject.orders, *subject.errands]
    found = await db.fetch(MESSAGES_OF_ORDERS, about, into=ToldMessage)
    return {"messages": found}


async def mailbox(
    db: Snapshot, *, contact: str | None, before: str, count_max: int
) -> list[KeptMail]:
    """The newest mails to a contact (None: to anybody) with an id below `before`."""
    if contact is None:
        return await db.fetch(MAILBOX, before, count_max, into=KeptMail)
    return await db.fetch(MAILBOX_OF, contact, before, count_max, into=KeptMail)


def as_mails(
    rows: Sequence[KeptMail],
    people: Mapping[str, Mapping[str, str] | None],
    *,
    shop_url: str,
    account_url: str = "",
    token_of: Callable[[str], str] = str,
) -> list[Mail]:
    """The mails of `rows` in words. Of an erased person only the facts of the order are left.

    `token_of` makes the token of an errand, as the sender does.
    """
    mails = []
    for row in rows:
        person = people.get(row.person)
        text = rules.write_text(
            row.template,
            name=None if person is None else person.get("name"),
            order_id=row.order_id,
            total_minor=row.total_minor,
            currency=row.currency,
            shop_url=shop_url,
            token=token_of(row.order_id) if row.kind == "account" else "",
            account_url=account_url,
        )
        mails.append(
            Mail(
                id=row.message_id,
                to=None if person is None else person.get("email"),
                subject=text.subject,
                text=None if person is None else text.text,
                html=None if person is None else text.html,
                kind=row.kind,
                order_id=None if row.kind == "account" else row.order_id,
                sent_at=row.sent_at,
                message_id=row.header_id,
                erased=person is None,
            )
        )
    return mails
